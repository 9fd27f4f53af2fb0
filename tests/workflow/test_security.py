"""A study whose paths and texts look like commands runs as if they were plain, or is refused."""

import numpy as np
import pytest

from tests.workflow.conftest import copy_repository, snakemake

HOSTILE = "my data; touch pwned $(touch pwned) `touch pwned` 'a' \"b\" & | > pwned * ? ! # \\ é"

SMALLEST = {"steps": 16, "depth": 1, "hidden": 8, "heads": 1, "vocabulary": 300}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy in a folder whose own name needs quoting."""
    return copy_repository(tmp_path_factory.mktemp("x") / "a $(touch pwned) 'repository'; touch pwned")


def nothing_was_run(folder):
    assert not list(folder.parent.parent.rglob("pwned"))


def test_paths_and_classes_that_look_like_commands_are_only_text(repository):
    data = repository / HOSTILE
    data.mkdir()
    words = ["He", "slept.", "$(touch", "pwned);", "`touch", "pwned`", "ran."] * 20
    arrays = {
        "words_fmri": np.array(words),
        "time_words_fmri": 1.0 + np.arange(140),
        "time_fmri": 2.0 * np.arange(72),
        "runs_fmri": np.repeat([1, 2], 36),
        "data_subject_S+1": np.random.default_rng(0).standard_normal((72, 3)),
    }
    for name, values in arrays.items():
        np.save(data / f"{name}.npy", values, allow_pickle=False)
    (data / "table.tsv").write_text(
        "word_index\tlabel\n" + "".join(f"{i}\t{'{subject}' if i % 2 else '$(touch pwned)'}\n" for i in range(140))
    )
    text = data / "text.txt"
    text.write_text("The sea was wide and the boat was small. " * 40)
    study = {
        "study": "a+b.c",
        "subjects": ["S+1"],
        "story": {
            "folder": HOSTILE,
            "download": None,
            "trim": {"start": 0, "end": 0},
            "drop": ["+", "$(touch pwned)"],
            "replace": {"@": "", "`touch pwned`; '": '"'},
        },
        "annotation": {
            "models": "resources/stanza-mini",
            "download": False,
            "processors": ["tokenize", "pos", "lemma", "depparse", "constituency"],
        },
        "properties": {"mine": {"table": f"{HOSTILE}/table.tsv", "classes": ["$(touch pwned)", "{subject}"]}},
        "figures": {"properties": ["mine"], "steps": [16]},
        "encoding": {"folds": 2, "inner_folds": 2},
        "training": SMALLEST | {"texts": [f"{HOSTILE}/text.txt"]},
        "model": {"source": "trained", "steps": [0, 16], "depth": 1, "layers": [1]},
    }
    results = "results/a+b.c"
    wanted = [f"{results}/{name}" for name in ("brain/S+1.npy", "tables/labels.tsv", "model/tokenizer/tokenizer.json")]
    run = snakemake(repository, "--cores", "1", "--show-failed-logs", *wanted, config=study)
    assert run.status == 0, run.output
    counts = (repository / results / "tables/class_counts.tsv").read_text()
    assert "{subject}" in counts
    assert "$(touch pwned)" in counts
    np.testing.assert_allclose(np.load(repository / wanted[0]), arrays["data_subject_S+1"], rtol=1e-6)
    nothing_was_run(repository)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"study": "x; touch pwned"}, "study: 'x; touch pwned' names files"),
        ({"story": {"folder": "{array}"}}, "story.folder: '{array}' is a path"),
        ({"model": {"steps": [0], "revision": {0: ".."}}}, "revision: '..' is no revision"),
    ],
)
def test_names_that_would_leave_their_place_stop_before_anything_runs(repository, study, message):
    run = snakemake(repository, "-n", "--cores", "1", config=study)
    assert run.status != 0
    assert message in run.output
    assert "Traceback" not in run.output
    nothing_was_run(repository)


def test_a_configuration_that_would_build_objects_is_not_read(repository):
    (repository / "config/hostile.yaml").write_text("study: !!python/object/apply:os.system ['touch pwned']\n")
    run = snakemake(repository, "-n", "--cores", "1", config="config/hostile.yaml")
    assert run.status != 0
    nothing_was_run(repository)
