# Paths, wildcards and helpers of the rules. No science here.
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import apply_wildcards, get_flag_value, is_flagged

# Every process that reads this file (the head, a job on a cluster node) finds the package and the Python
# that runs it, whatever the environment: nothing is installed into a job's environment, nothing is tracked.
WORKFLOW = Path(workflow.current_basedir).parent
sys.path.insert(0, str(WORKFLOW))

from dynalign import provenance, snakemake_locks
from dynalign.cli import prepend_to_environment
from dynalign.config import model as model_config, study as configuration
from dynalign.config.preflight import check_files
from dynalign.datasets import harry_potter
from dynalign.io.atomic import check_writable
from dynalign.io.errors import InputError
from dynalign.models import checkpoints

prepend_to_environment("PYTHONPATH", WORKFLOW)
prepend_to_environment("PATH", Path(sys.executable).parent)

# A run that was killed goes on with the same command. Locks of dead heads are removed; jobs that were at work are done
# again without --rerun-incomplete: files appear whole or not at all, but a job of several may have written some.
if workflow.is_main_process:
    HEAD = snakemake_locks.attend(".snakemake")
    prepare_dag = workflow._prepare_dag

    def prepare_dag_anew(*arguments, **options):
        """Snakemake has its settings only after this file is read."""
        workflow.dag_settings.force_incomplete = True
        if workflow.executor_plugin is not None and not workflow.dryrun:
            try:
                check_writable(R)
            except InputError as error:
                raise WorkflowError(str(error)) from None
        return prepare_dag(*arguments, **options)

    workflow._prepare_dag = prepare_dag_anew

try:
    STUDY = configuration.load(config)
    check_files(STUDY)
except InputError as error:
    raise WorkflowError(str(error)) from None

# Captions of the report read the configuration: they see the defaults too.
config.update(STUDY.model_dump(mode="json"))

#: Root of the study's results: the one place for this path.
R = f"results/{STUDY.study}"

STEPS = [f"step-{step}" for step in STUDY.model.steps]
PROPERTIES = list(STUDY.properties)
ARMS = [f"{removal}.{name}" for removal, name in STUDY.arms]


wildcard_constraints:
    ckpt="|".join(map(re.escape, STUDY.checkpoints)),
    layer="|".join(sorted({str(layer) for name in STUDY.checkpoints for layer in STUDY.layers_of(name)})),
    subject="|".join(map(re.escape, STUDY.subjects)),


def code(step, entry="main"):
    """Digest of the code behind a step's command, or one of its sub-commands (the function's name).

    As a parameter, it reruns exactly the rules whose code changed.
    """
    return provenance.digest(step, entry)


def content(*paths):
    """Digest of small text inputs that live in the repository, whose time stamps a clone does not keep."""
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12] for path in paths]


def section(part, *names, without=()):
    """A section of the configuration as JSON, only with what the job uses.

    A function of the wildcards, because Snakemake would expand braces in a plain string.
    """
    values = part.model_dump(mode="json")
    text = json.dumps({key: values[key] for key in names or values if key not in without})
    return lambda wildcards: text


def on_gpu(device):
    """1 where a job runs on a GPU, else 0. `auto`: if this machine has one; on a cluster, say cuda or cpu."""
    return int(device == "cuda" or (device == "auto" and shutil.which("nvidia-smi") is not None))


def step_of(ckpt):
    """Training step of a checkpoint's name, empty for a baseline."""
    return ckpt.removeprefix("step-") if ckpt.startswith("step-") else ""


def scores_of_subject():
    """A subject's folders of scores, for every checkpoint and layer."""
    return [
        f"{R}/encoding/{ckpt}/layer-{layer}/{{subject}}"
        for ckpt in STUDY.checkpoints
        for layer in STUDY.layers_of(ckpt)
    ]


def table(name, label):
    """An output in ``tables/``, marked for the report with its caption."""
    caption = f"../report/{name.replace('_', '-')}-table.rst"
    return report(f"{R}/tables/{name}.tsv", category="Tables", caption=caption, labels={"table": label})


def reported(targets, suffixes):
    """Outputs of these kinds marked for the report, of the rules that make any of the targets, in their order.

    Returns
    -------
    list of dict
        path, caption (file name), category, labels, wildcards.
    """
    found, targets = [], set(targets)
    for one in workflow.rules:
        if not one.wildcard_names <= {"subject"}:
            continue
        for subject in STUDY.subjects if "subject" in one.wildcard_names else [""]:
            wildcards = {"subject": subject} if subject else {}
            paths = {path: apply_wildcards(str(path), wildcards) for path in one.output}
            if targets.isdisjoint(paths.values()):
                continue
            for path, filled in paths.items():
                if is_flagged(path, "report") and Path(filled).suffix in suffixes:
                    marked = get_flag_value(path, "report")
                    found.append(
                        {
                            "path": filled,
                            "caption": Path(marked.caption.get_path_or_uri(secret_free=True)).name,
                            "category": marked.category,
                            "labels": {
                                key: apply_wildcards(str(text), wildcards) for key, text in marked.labels.items()
                            },
                            "wildcards": wildcards,
                        }
                    )
    return found


#: With `--cache`, downloads and representations are shared between workflows ($SNAKEMAKE_OUTPUT_CACHE).
#: Snakemake warns of every rule that could be cached and is not, so rules say so only when asked.
CACHED = workflow.workflow_settings.cache is not None

# Where checkpoints come from: trained here, a local folder, or the hub.
TRAINED = STUDY.training is not None
LOCAL_MODEL = not TRAINED and model_config.is_local(STUDY.model.source)
HUB_FOLDER = model_config.hub_folder(STUDY.model.source)
TRAINING_TEXTS = [] if not TRAINED else [ancient(path) for path in STUDY.training.texts] or [f"{R}/model/corpus.txt"]


def fetched_folder(step):
    """Name of a step's folder of downloads: studies share it exactly where they fetch the same."""
    revision = "--".join(Path(STUDY.model.revision_of(step)).parts)
    commit = STUDY.model.commits.get(step)
    kind = STUDY.model.weights
    return revision + (f"@{commit}" if commit else "") + (f"+{kind}" if kind != "safetensors" else "")


def pinned(what):
    """Option that pins a step's (or the tokenizer's) commit."""
    commit = STUDY.model.commits.get(what)
    return f"--commit {commit}" if commit else ""


def folder_of(ckpt):
    """Folder of a checkpoint."""
    step = int(step_of(ckpt))
    if TRAINED:
        return f"{R}/model/{ckpt}"
    if LOCAL_MODEL:
        return f"{STUDY.model.source}/{STUDY.model.revision_of(step)}"
    return f"{HUB_FOLDER}/{fetched_folder(step)}"


def files_of(ckpt):
    """The files of a checkpoint that a job reads, or the folder that a download made whole."""
    folder = folder_of(ckpt)
    if TRAINED:
        return [f"{folder}/model.safetensors"]
    if not LOCAL_MODEL:
        return [folder]
    weights = checkpoints.weight_files([path.name for path in Path(folder).iterdir()], STUDY.model.weights)
    if not weights:
        raise WorkflowError(f"{folder}: holds no weights of the kind model.weights: {STUDY.model.weights}")
    return [f"{folder}/{name}" for name in ("config.json", *weights)]


def tokenizer_folder():
    """Folder of the tokenizer and the model's config.json: apart, so that a new checkpoint leaves it alone."""
    if TRAINED:
        return f"{R}/model/tokenizer"
    if not LOCAL_MODEL:
        commit = STUDY.model.commits.get("tokenizer")
        return f"{HUB_FOLDER}/tokenizer" + (f"@{commit}" if commit else "")
    own = f"{STUDY.model.source}/tokenizer"
    return own if Path(own).is_dir() else folder_of(STEPS[0])


# On one machine nothing would keep two jobs from sharing a GPU (all take the first that they see), so jobs with one
# run one at a time unless --resources gpu=N says otherwise. A cluster's scheduler counts its own.
if "gpu" not in workflow.global_resources and workflow.nodes is None:
    workflow.register_resource("gpu", 1)
