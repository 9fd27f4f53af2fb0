"""The stand-in of the Harry Potter data has its shape, its timing, and a signal where it says so."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dynalign.datasets import harry_potter, rehearsal, training_text
from dynalign.io.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def story():
    return rehearsal.words(training_text.read_grammar(ROOT / "resources/demo/grammar.yaml"), 0)


def test_the_words_are_as_many_and_as_long_as_the_real_ones(story):
    assert story.shape == (5176,)
    assert story.dtype == np.dtype("<U14")
    assert (story == "+").sum() == 201
    assert sum("@" in word for word in story) > 50
    assert "+" not in (story[0], story[-1])
    crosses = np.flatnonzero(story == "+")
    assert all(word.rstrip("@").endswith((".", "!", "?")) for word in story[crosses - 1])


def trs_features(story):
    """Mean features of each TR, by METHOD 2.3, word by word."""
    times = harry_potter.timing()
    features = rehearsal.word_features(story, 0)
    sums, counts = np.zeros((1351, features.shape[1])), np.zeros(1351)
    for onset, values in zip(times["time_words_fmri"], features, strict=True):
        tr = int(np.ceil(onset / 2)) - 1
        sums[tr] += values
        counts[tr] += 1
    return sums / np.maximum(counts, 1)[:, None]


def explained(story, values, shift=0):
    """Variance that the five delays explain in the second half, fitted on the first."""
    features = trs_features(story)
    bounds = [(0, 340), (340, 692), (692, 971), (971, 1351)]
    kept = np.concatenate([np.arange(first + 20, last - 15) for first, last in bounds])
    X = np.concatenate([features[kept - delay - shift] for delay in range(1, 6)], axis=1)
    X = np.column_stack([X, np.ones(len(X))])
    fitted = np.linalg.lstsq(X[:600], values[:600], rcond=None)[0]
    r = [np.corrcoef(X[600:] @ fitted[:, v], values[600:, v])[0, 1] for v in range(values.shape[1])]
    return np.array(r)


def test_the_planted_voxels_follow_the_words_of_the_papers_delays(story):
    values, planted = rehearsal.responses(story, 0, 0, 120)
    assert values.shape == (1211, 120)
    assert 40 < planted.sum() < 80
    r = explained(story, values)
    assert r[planted].mean() > 0.4
    assert abs(r[~planted].mean()) < 0.03
    for shift in (-1, 1):
        assert explained(story, values, shift)[planted].mean() < r[planted].mean() - 0.04


def test_seeds_and_subjects_differ(story):
    one, _ = rehearsal.responses(story, 0, 0, 5)
    again, _ = rehearsal.responses(story, 0, 0, 5)
    np.testing.assert_array_equal(one, again)
    for other, _ in (rehearsal.responses(story, 0, 1, 5), rehearsal.responses(story, 1, 0, 5)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
    single, _ = rehearsal.responses(story, 0, 0, 5, "float32")
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, one, rtol=1e-6)


def test_the_command_writes_what_passes_as_the_real_data(tmp_path, monkeypatch):
    """Through the checks that the real files meet."""
    monkeypatch.setitem(harry_potter.SHAPES, "data_subject_N", (1211, 50))
    arguments = ["--folder", str(tmp_path), "--grammar", str(ROOT / "resources/demo/grammar.yaml")]
    rehearsal.main([*arguments, "--subjects", "N", "--voxels", "50", "--dtype", "float32"])
    for name in ("words_fmri", "time_words_fmri", "time_fmri", "runs_fmri", "data_subject_N"):
        harry_potter.check(tmp_path / f"{name}.npy", name)
    truth = np.load(tmp_path / "truth_N.npy", allow_pickle=False)
    assert truth.shape == (50,)
    assert truth.dtype == bool
    wrong = [sys.executable, "-m", "dynalign.datasets.rehearsal", *arguments, "--voxels", "0"]
    process = subprocess.run(wrong, cwd=ROOT / "workflow", capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr == "error: --voxels 0: at least 1\n"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--subjects", "X"], "--subjects X: the data's subjects are"),
        (["--dtype", "int8"], "--dtype int8: float64 or float32"),
        (["--grammar", "none.yaml"], "none.yaml: no such file"),
    ],
)
def test_what_cannot_be_made_is_told(wrong, message, tmp_path):
    with pytest.raises(InputError, match=message):
        rehearsal.main(["--folder", str(tmp_path), *wrong])
    assert not any(tmp_path.iterdir())
