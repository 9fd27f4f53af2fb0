"""A clean copy of the repository, and the small study run once in it."""

import copy
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from dynalign.config.embedded import Simulation
from dynalign.datasets.simulation import time_words

ROOT = Path(__file__).parents[2]
# As `. .venv/bin/activate` does: jobs call `python`.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

#: The embedded study's properties; two like `tense` are left out.
PROPERTIES = yaml.safe_load((ROOT / "config/demo.yaml").read_text(encoding="utf-8"))["properties"]
for name in ("subject_number", "object_number"):
    del PROPERTIES[name]

#: The embedded study, cut to what the tests need: one subject, two checkpoints, one layer.
SMALL = {
    "study": "small",
    "subjects": ["F"],
    "story": {
        "layout": "table",
        "download": None,
        "words": "results/small/data/words.tsv",
        "tr": 2.0,
        "trs": [220, 210, 218, 230],
        "trim": {"start": 12, "end": 4},
    },
    "brain": {
        "images": "results/small/data/sub-{subject}_run-{run}_bold.nii.gz",
        "mask": "results/small/data/sub-{subject}_mask.nii.gz",
        "detrend": "cosine",
        "standardize": True,
    },
    "annotation": {
        "models": "resources/stanza-mini",
        "download": False,
        "processors": ["tokenize", "pos", "lemma", "depparse", "constituency"],
    },
    "properties": PROPERTIES,
    # As in the embedded study: small batches learn as much in half the time.
    "training": {"steps": 256, "depth": 2, "batch": 8, "sequence": 64},
    "model": {"source": "trained", "depth": 2, "steps": [0, 256], "layers": [2], "device": "cpu"},
    "probing": {"permutations": 10, "C": [0.01, 1.0], "inner_folds": 2},
    # Not word types: they take half an encoding's time.
    "shares": {"nuisance": ["word_rate", "length", "log_frequency", "position_in_sentence", "position_in_run"]},
    "removal": {"permutations": 5},
    # As in the embedded study: those that are chosen.
    "encoding": {"inner_folds": 5, "alphas": [10, 100, 1e3, 1e4, 1e5, 1e6, 1e10]},
    "threads": {"representation": 1, "encoding": 1, "training": 1},
    "simulation": {"text": "resources/demo/story.txt", "shape": [8, 10, 6], "brain_only": "mood"},
}


#: All stages, and of the figures (2 s of imports each) two: one that draws a table, one that reads scores.
TARGETS = [
    *(f"results/tiny/tables/{name}.tsv" for name in ("checkpoints", "perplexity", "probing", "alignment")),
    "results/tiny/tables/removal_effects.tsv",
    "results/tiny/figures/table-2-correlations.tsv",
    "results/tiny/figures/figure-01-perplexity.png",
    "results/tiny/maps/F.nii.gz",
]


def tiny_story(text: str) -> str:
    """Two runs of six and five paragraphs."""
    first, second = text.split("\n---\n")[:2]
    return "\n---\n".join("\n\n".join(run.split("\n\n")[:n]) for run, n in ((first, 6), (second, 5)))


def tiny_study(folder: Path) -> dict:
    """The smallest study in which every rule has a job: a story of two minutes, two checkpoints, one layer.

    Its story is written into the folder; all else comes with the workflow.
    """
    text = tiny_story((ROOT / "resources/demo/story.txt").read_text(encoding="utf-8"))
    (folder / "tiny.txt").write_text(text, encoding="utf-8")
    simulation = {"text": "tiny.txt", "shape": [6, 8, 5]}
    study = copy.deepcopy(SMALL)
    study["study"] = "tiny"
    study["shares"] = {"compute": False}
    study["story"] |= {
        "words": "results/tiny/data/words.tsv",
        "trs": time_words(text, Simulation(**simulation), 2.0)[1],
        "trim": {"start": 2, "end": 2},
    }
    study["brain"] |= {
        "images": "results/tiny/data/sub-{subject}_run-{run}_bold.nii.gz",
        "mask": "results/tiny/data/sub-{subject}_mask.nii.gz",
    }
    study["training"] = {"steps": 16, "depth": 1, "hidden": 32, "vocabulary": 300, "characters": 40_000, "sequence": 32}
    study["model"] |= {"depth": 1, "steps": [0, 16], "layers": [1], "context_tokens": 16}
    study["properties"] = {"tense": {"classes": ["Past"]}, "sentence_length": {"thresholds": [7, 16]}}
    study["probing"] = {"permutations": 10, "C": [0.01, 1.0], "folds": 2, "inner_folds": 2}
    study["encoding"] = {"inner_folds": 3, "folds": 3, "alphas": [1.0, 1000.0, 1e6], "delays": [1, 2], "gap": 2}
    study["simulation"] = simulation
    study["figures"] = {"properties": ["tense"], "steps": [16]}
    return study


#: Rules that put cells together: they run again when there is one more.
AGGREGATIONS = {
    "alignment_table",
    "removal_effects_table",
    "removal_effects_group_table",
    "group_statistics",
    "shares_statistics",
    "group_shares_statistics",
    "shares_table",
    "probing_table",
    "perplexity_table",
    "audit",
    "checkpoints_table",
    "contrasts_table",
    "emergence_table",
    "perplexity_alignment_table",
    "score_maps",
    "table_1_probing",
    "cell_statistics",
    "table_dictionary",
    "page",
}


def copy_repository(target: Path) -> Path:
    """Copy what git would clone, uncommitted changes included."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() or (ROOT / name).is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name, follow_symlinks=False)
    return target


#: What README says for one machine: what a killed run left is made again.
PROFILE = ("--workflow-profile", "workflow/profiles/default")


class Run:
    """What one call of snakemake did."""

    def __init__(self, process: subprocess.CompletedProcess):
        self.status = process.returncode
        self.output = process.stdout + process.stderr

    @property
    def jobs(self) -> dict[str, int]:
        """Planned jobs by rule, without the target."""
        if "Nothing to be done" in self.output:
            return {}
        table = re.search(r"job +count\n[- ]+\n(.*?)\ntotal ", self.output, re.DOTALL)
        assert table, self.output
        counts = {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}
        for target in ("all", "default"):
            counts.pop(target, None)
        return counts


def snakemake(folder: Path, *arguments: str, config: dict | str | None = None) -> Run:
    """Call snakemake in a folder; a configuration given as a dict is written there first.

    The package is the folder's own where it has one, as after ``pip install -e``.
    """
    if isinstance(config, dict):
        (folder / "config" / "test.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        config = "config/test.yaml"
    environment = dict(os.environ)
    if (folder / "workflow/dynalign").is_dir():
        environment["PYTHONPATH"] = str(folder / "workflow")
    if config is not None:
        arguments += ("--configfile", config)
    with tempfile.TemporaryDirectory() as made:
        outputs = [Path(made, name) for name in ("stdout", "stderr")]
        call = {"folder": str(folder), "arguments": arguments, "environment": environment}
        print(json.dumps(call | {"outputs": list(map(str, outputs))}), file=forks().stdin, flush=True)
        status = int(forks().stdout.readline())
        return Run(subprocess.CompletedProcess(arguments, status, *(path.read_text("utf-8") for path in outputs)))


@functools.cache
def forks() -> subprocess.Popen:
    """The process of forks.py, which ends with this one: Snakemake's start is half of a dry run's time."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, Path(__file__).with_name("forks.py")]
    return subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A copy to plan in; nothing is run there."""
    return copy_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A copy in which the small study has run to its end."""
    folder = copy_repository(tmp_path_factory.mktemp("finished"))
    run = snakemake(folder, "--cores", "2", config=SMALL)
    assert run.status == 0, run.output[-6000:]
    return folder


@pytest.fixture(scope="session")
def finished_tiny(tmp_path_factory) -> tuple[Path, dict, float]:
    """A folder in which the tiny study ran once, where nothing is changed; its configuration; how long that took."""
    folder = copy_repository(tmp_path_factory.mktemp("undisturbed"))
    study = tiny_study(folder)
    start = time.monotonic()
    run = snakemake(folder, "--cores", "2", "--show-failed-logs", *TARGETS, config=study)
    assert run.status == 0, run.output[-6000:]
    return folder, study, time.monotonic() - start
