# Paths, wildcards and helpers of the rules. No science here.
import atexit
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

from snakemake.exceptions import WorkflowError

try:
    import dynalign
except ImportError:
    raise WorkflowError(
        f"{sys.executable}, which runs Snakemake, has no package dynalign; install it as README.md says "
        "(`make setup`, then `. .venv/bin/activate`; or `pip install`)"
    ) from None

from dynalign import provenance
from dynalign.check.study import check
from dynalign.config import model as model_config, study as configuration
from dynalign.config.brain import MAP_ENDS, recording_files
from dynalign.config.preflight import check_files
from dynalign.config.recordings import read_recordings, with_recordings
from dynalign.config.story import ARRAYS
from dynalign.datasets import harry_potter
from dynalign.io.errors import InputError
from dynalign.io.shipped import Fingerprints
from dynalign.io.yaml import read_yaml
from dynalign.models import checkpoints
from dynalign.tables import schema


def package_of_jobs():
    """Where the `python` of jobs finds the package."""
    python = shutil.which("python")
    if python and Path(python).parent.samefile(Path(sys.executable).parent):
        return dynalign.__file__
    command = [python or "python", "-c", "import dynalign; print(dynalign.__file__)"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() if python else None


if package_of_jobs() != dynalign.__file__:
    raise WorkflowError(
        f"jobs call `python`, here {shutil.which('python')}, which has not the package dynalign of {sys.executable}; "
        "activate its environment (`. .venv/bin/activate`)"
    )

try:
    # Snakemake has read them, and of a key that stands twice it took the last.
    for path in filter(os.path.isfile, workflow.configfiles):
        read_yaml(path)
    STUDY = configuration.load(config)
    check_files(STUDY)
except InputError as error:
    raise WorkflowError(str(error)) from None

# Captions of the report read the configuration: they see the defaults too.
config.update(STUDY.model_dump(mode="json"))

#: The study with each of its models.
MODELS = STUDY.by_model
#: Root of the study's results, and of what belongs to a model: the same, unless the study names several.
R = STUDY.results
M = f"{R}/models/{{model}}" if STUDY.models else R


def model_of(wildcards):
    """The model that a job is for; empty where the study names none, and in jobs for all."""
    return wildcards.get("model", "")


def study_of(wildcards):
    """The study with the model that a job is for."""
    return STUDY.of(model_of(wildcards))


def of_model(choose):
    """A parameter or an input that depends on the model: `choose` takes the study with the job's."""
    return lambda wildcards: choose(study_of(wildcards))


def filled(pattern, wildcards, **places):
    """A path with the wildcards of a job, and these places."""
    return pattern.format(**{**wildcards, **places})


def for_models(*paths):
    """These paths for every model, where they lie with one."""
    return [path.replace("{model}", name) for path in paths for name in (STUDY.models if "{model}" in path else [""])]


def steps_of(study):
    """Names of the checkpoints of a study's model."""
    return [f"step-{step}" for step in study.model.steps]


PROPERTIES = list(STUDY.properties)
ARMS = [f"{removal}.{name}" for removal, name in STUDY.arms]


wildcard_constraints:
    model="|".join(map(re.escape, STUDY.models)),
    ckpt="|".join(map(re.escape, dict.fromkeys(name for study in MODELS for name in study.checkpoints))),
    layer="|".join(
        sorted({str(layer) for study in MODELS for name in study.checkpoints for layer in study.layers_of(name)})
    ),
    subject="|".join(map(re.escape, STUDY.subjects)),


#: Digest of the code behind a command: as a parameter, it reruns exactly the rules whose code changed.
code = provenance.Digests(".snakemake/dynalign-code.json")
atexit.register(code.save)


#: Of the images of many subjects each plan would read gigabytes: what is known of them is kept beside Snakemake's own.
fingerprint = Fingerprints(".snakemake/dynalign-fingerprints.json")
atexit.register(fingerprint.save)


def content(*paths):
    """Fingerprints of files that nothing here makes: a clone or a copy does not keep the time stamps of inputs."""
    return lambda wildcards: [
        fingerprint(str(path).replace("{subject}", wildcards.get("subject", ""))) for path in paths
    ]


def given(*paths):
    """Files that the study names: they are there, also where a module's `prefix:` moves what the workflow names."""
    return [local(path) for path in paths]


def section(part, *names, without=()):
    """What a job uses of a section, as JSON; in a function, because Snakemake would expand a plain string's braces.

    Of a section that depends on the model, `part` takes the study with the job's.
    """

    def text(part):
        values = part.model_dump(mode="json")
        return json.dumps({key: values[key] for key in names or values if key not in without})

    if callable(part):
        return of_model(lambda study: text(part(study)))
    same = text(part)
    return lambda wildcards: same


#: Where subjects have runs of their own: who was scanned when, on which story.
RECORDINGS = read_recordings(STUDY.recordings) if STUDY.recordings else None
#: The words that a subject heard, its TRs, and nuisance features at them: the same for all, or each subject's.
OWN = "{subject}." if RECORDINGS else ""
HEARD, TRS, FEATURES = (f"{R}/story/{OWN}{name}.tsv" for name in ("words", "trs", "features"))
#: Every subject's TRs, where they differ.
ALL_TRS = expand(TRS, subject=STUDY.subjects) if RECORDINGS else []


def recorded(subject):
    """The rows of a subject in the table of recordings, as JSON."""
    return json.dumps([one.model_dump(mode="json") for one in RECORDINGS.of(subject)])


def recorded_option(subject):
    """The same as an option of a command; nothing where all subjects have the same runs."""
    return ["--recordings", recorded(subject)] if RECORDINGS else []


def length_of_trs():
    """The TR as an option, where subjects have runs of their own; nothing where all have the same."""
    return ["--tr", RECORDINGS.tr_of(STUDY.subjects[0], STUDY.story)] if RECORDINGS else []


def recorded_images(wildcards):
    """The files of a subject's runs."""
    return [path for one in RECORDINGS.of(wildcards.subject) for path in recording_files(one.images)]


def recorded_confounds(wildcards):
    """The tables of confounds of a subject's runs."""
    return [one.confounds for one in RECORDINGS.of(wildcards.subject) if one.confounds]


def with_descriptions(confounds):
    """Tables of confounds, and what fMRIPrep says of them, where it is there."""
    return [*confounds, *(str(Path(path).with_suffix(".json")) for path in confounds)]


def recorded_space(wildcards):
    """The files that tell where a subject's voxels lie: the mask, or the first run."""
    first = RECORDINGS.of(wildcards.subject)[0]
    return recording_files(first.mask or first.images)


#: Kind of the files of responses; arrays of all TRs have none.
KIND = None if STUDY.story.layout == "arrays" else with_recordings(STUDY.brain, RECORDINGS).kind


def maps_in(folder):
    """A subject's maps in a folder, of the kind of the responses."""
    return [f"{M}/{folder}/{{subject}}{end}" for end in MAP_ENDS[KIND]]


#: The tables of the study's own features.
OWN_FEATURES = {name: feature.table for name, feature in STUDY.features.items()}


def own_features(*names):
    """Features of the study's own as JSON; their delays are for the encoding."""
    chosen = {name: STUDY.features[name].model_dump(mode="json", exclude={"delays"}) for name in names}
    return lambda wildcards: json.dumps(chosen)


def own_feature(wildcards):
    """The baseline itself if it is a feature of the study's own."""
    return [wildcards.baseline] if wildcards.baseline in OWN_FEATURES else []


#: Delays of the study's own features that have some.
FEATURE_DELAYS = {name: one.delays for name, one in STUDY.features.items() if one.delays is not None}


def surprisal_of(wildcards):
    """The surprisal of a checkpoint's words, where it is nuisance; baselines have none."""
    asked = "nuisance" in STUDY.shared_with and "surprisal" in STUDY.shares.nuisance and step_of(wildcards.ckpt)
    return [filled(f"{M}/representation/{{ckpt}}.surprisal.tsv", wildcards)] if asked else []


def by_option(wildcards, input):
    """A job's named inputs as options of its command."""
    paths = {option: [path] if isinstance(path, str) else path for option, path in input.items()}
    return [part for option, several in paths.items() for part in (f"--{option.replace('_', '-')}", *several)]


def grows(amount):
    """Memory in MB or time in minutes that a job asks for: so much at its first attempt, and again at each further."""
    return lambda wildcards, attempt: amount * attempt


def on_gpu(device):
    """1 where a job runs on a GPU, else 0. `auto`: if this machine has one; on a cluster, say cuda or cpu."""
    return int(device == "cuda" or (device == "auto" and shutil.which("nvidia-smi") is not None))


def by_digest(**paths):
    """Inputs by the digests that stand beside them; of the files themselves no time stamp is asked.

    Snakemake compares files above a megabyte by time stamp alone, which a copy does not keep.
    """
    digests = {f"digest_of_{name}": f"{path}.sha256" for name, path in paths.items()}
    return {name: ancient(path) for name, path in paths.items()} | digests


LAYERS = by_digest(representation=f"{M}/representation/{{ckpt}}.safetensors")
ERASERS = by_digest(erasers=f"{M}/removal/{{ckpt}}/layer-{{layer}}.npz")


def erasers(suffix):
    """Those of all layers of a job's checkpoint, or their digests."""
    ask = str if suffix.endswith("sha256") else ancient
    return lambda wildcards: [
        ask(filled(f"{M}/removal/{{ckpt}}/layer-{{layer}}.{suffix}", wildcards, layer=layer))
        for layer in study_of(wildcards).layers_of(wildcards.ckpt)
    ]


RESPONSES = by_digest(responses=f"{R}/brain/{{subject}}.npy")


def step_of(ckpt):
    """Training step of a checkpoint's name, empty for a baseline."""
    return ckpt.removeprefix("step-") if ckpt.startswith("step-") else ""


def subjects_of(wildcards):
    """The subject that a job is for, or all of them."""
    return [wildcards.subject] if wildcards.get("subject") else list(STUDY.subjects)


def scores(wildcards):
    """The digests of the scores that a job reads: of its checkpoint and subject, or of all."""
    checkpoints = [wildcards.ckpt] if wildcards.get("ckpt") else study_of(wildcards).checkpoints
    return [
        filled(f"{M}/encoding/{{ckpt}}/{{subject}}.sha256", wildcards, ckpt=ckpt, subject=subject)
        for ckpt in checkpoints
        for subject in subjects_of(wildcards)
    ]


def folder_of_scores(wildcards, input):
    """The folder ``encoding/`` of the scores that a job reads, where a module's `prefix:` put it."""
    return str(next(Path(path) for path in input if path.endswith(".sha256")).parents[1])


def cells_of(*patterns, checkpoints=lambda study: study.checkpoints):
    """Files of all cells of a model, in the order of checkpoints, layers and subjects."""

    def files(wildcards):
        study = study_of(wildcards)
        paths = (
            filled(f"{M}/{pattern}", wildcards, ckpt=ckpt, layer=layer, subject=subject)
            for pattern in patterns
            for ckpt in checkpoints(study)
            for layer in study.layers_of(ckpt)
            for subject in study.subjects
        )
        return list(dict.fromkeys(paths))

    return files


def of_every_model(pattern):
    """Files of all checkpoints of all models."""
    files = cells_of(pattern, checkpoints=steps_of)
    return lambda wildcards: [path for name in STUDY.models for path in files({"model": name})]


#: What Snakemake's report shows, in the order of the rules; the page shows the same.
REPORTED = []


#: Category of what compares models, which the pages of single models leave out.
COMPARISON = "Models"


def reported(path, category, caption=None, models=STUDY.models, **labels):
    """Mark an output for the report and list it in REPORTED. The file of its caption has its name.

    `models` are those that have it, where it lies with a model.
    """
    name = Path(path).stem.replace("_", "-").removesuffix("-{subject}")
    caption = caption or (f"{name}-table.rst" if category == "Tables" else f"{name}.rst")
    if STUDY.models:
        labels["model"] = "{model}" if "{model}" in path else "all"
    axes = {"model": models, "subject": STUDY.subjects}
    axes = {axis: values for axis, values in axes.items() if f"{{{axis}}}" in path}
    for values in product(*axes.values()):
        wildcards = dict(zip(axes, values))
        entry = {"path": path.format(**wildcards), "caption": caption, "category": category}
        entry["labels"] = {key: text.format(**wildcards) for key, text in labels.items()}
        REPORTED.append(entry | {"wildcards": wildcards})
    return report(path, category=category, caption=f"../dynalign/captions/{caption}", labels=labels)


def root_of(*tables):
    """Where these tables lie, or a figure of them: with a model, unless none belongs to one."""
    return R if all(schema.TABLES[name].shared or schema.TABLES[name].compares for name in tables) else M


def path_of(table):
    """A table in ``tables/``."""
    return f"{root_of(table)}/tables/{table}.tsv"


def table(name, label, **choices):
    """An output in ``tables/``, marked for the report; `choices` as for `reported`."""
    return reported(path_of(name), "Tables", table=label, **choices)


def drawn(name, category, *more, root=M, **labels):
    """The files of a figure, whose .png is marked for the report; `more` are suffixes besides those of pictures."""
    others = [f"{root}/figures/{name}.{suffix}" for suffix in ("pdf", "svg", *more)]
    return [reported(f"{root}/figures/{name}.png", category, **labels), *others]


#: With `--cache`, downloads and representations are shared between workflows in this folder.
#: Snakemake warns of every rule that could be cached and is not, so rules say so only where there is one.
CACHED = "SNAKEMAKE_OUTPUT_CACHE" in os.environ


# Where checkpoints come from: trained here, a local folder, or the hub.
TRAINED = STUDY.training is not None
TRAINING_TEXTS = (given(*STUDY.training.texts) or [f"{R}/model/corpus.txt"]) if TRAINED else []


def is_local(study):
    """Whether the checkpoints of a study's model lie in a folder."""
    return not TRAINED and model_config.is_local(study.model.source)


#: Those of the hub.
HUB = [study for study in MODELS if not (TRAINED or is_local(study))]


def pinned(study, what):
    """The option for the commit that a step (or `tokenizer`) is pinned to; empty without one."""
    return f"--commit {study.model.commits[what]}" if what in study.model.commits else ""


def revision_of(study, step):
    """Hub revision of a step."""
    return study.model.revision_of(step)


def folder_of(study, ckpt):
    """Folder of a checkpoint."""
    return model_config.checkpoint_folder(study.model, int(step_of(ckpt)), study.model_results)


def files_of(study, ckpt):
    """The files of a checkpoint that a job reads, or its folder of downloads, whose time stamp tells nothing."""
    folder = folder_of(study, ckpt)
    if TRAINED:
        return [ancient(f"{folder}/model.safetensors")]
    if not is_local(study):
        return ancient(given(folder))
    weights = checkpoints.weight_files([path.name for path in Path(folder).iterdir()], study.model.weights)
    if not weights:
        raise WorkflowError(f"{folder}: holds no weights of the kind model.weights: {study.model.weights}")
    return ancient(given(*(f"{folder}/{name}" for name in ("config.json", *weights))))


def folders_of(study):
    """Folders of all checkpoints of a study's model."""
    return [folder_of(study, name) for name in steps_of(study)]


def in_downloads(folder):
    """A folder of downloads, from the one that studies share."""
    return str(Path(folder).relative_to(model_config.DOWNLOADS))


def checkpoints_of(wildcards):
    """A study with the model that a job is for, and the names of its checkpoints: the job's, or all."""
    study = study_of(wildcards)
    return study, [wildcards.ckpt] if wildcards.get("ckpt") else steps_of(study)


def checkpoint_files(wildcards):
    """The files of the checkpoints that a job reads."""
    study, names = checkpoints_of(wildcards)
    return [path for name in names for path in files_of(study, name)]


def content_of_checkpoints(wildcards):
    """Fingerprints of a local model's files, which nothing here makes."""
    study, names = checkpoints_of(wildcards)
    return [fingerprint(path) for name in names for path in files_of(study, name) if is_local(study)]


def tokenizer_of(study):
    """Folder of the tokenizer of a study's model."""
    return model_config.tokenizer_folder(study.model, study.model_results)


def tokenizer_file(wildcards):
    """What a job reads of the tokenizer, or its folder of downloads."""
    study = study_of(wildcards)
    folder = tokenizer_of(study)
    if TRAINED:
        return f"{folder}/tokenizer.json"
    return given(f"{folder}/tokenizer.json") if is_local(study) else ancient(given(folder))


def tables_of(wildcards):
    """The tables of a page, in the schema's order: a model's and those that all share; or those of the whole study."""
    if model := model_of(wildcards):
        paths = [path_of(name).format(model=model) for name, table in schema.TABLES.items() if not table.compares]
    else:
        paths = [f"{R}/tables/{name}.tsv" for name in schema.TABLES]
    return [path for path in dict.fromkeys(paths) if path in MARKED]


def shown_of(wildcards):
    """What a page shows besides tables: of a model, or of the whole study."""
    model = model_of(wildcards)
    return [
        entry
        for entry in REPORTED
        if entry["category"] != "Tables"
        and entry["wildcards"].get("model", "") in ("", model)
        and not (model and entry["category"] == COMPARISON)
    ]


def numbers_of(wildcards):
    """The numbers that a page's figures draw; maps have none."""
    shown = [entry for entry in shown_of(wildcards) if "subject" not in entry["wildcards"]]
    return [str(Path(entry["path"]).with_suffix(".tsv")) for entry in shown]


def packages(root):
    """What describes the tables and the numbers of figures below a root."""
    return {name: f"{root}/{name}/datapackage.json" for name in ("tables", "figures")}
