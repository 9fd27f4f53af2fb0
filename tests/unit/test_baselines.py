"""Baselines: noise that is noise, types that are kept, controls counted by hand, tables of one's own."""

import json

import numpy as np
import pandas as pd
import pytest
import wordfreq
from scipy import stats
from tests.helpers import flags

from dynalign.config.features import CONTROLS
from dynalign.io.arrays import write_record
from dynalign.io.errors import InputError
from dynalign.models import baselines, tokens
from dynalign.models.layers import read_layer
from dynalign.stimulus.features import control_values
from dynalign.tables.writer import write_table

HIDDEN = 8


def story_of(n: int, first: int, word_index=None) -> tokens.Tokens:
    """One token per word; words from `first` on are represented."""
    every = np.arange(n)
    return tokens.Tokens(
        ids=np.zeros(n, int),
        word_index=every if word_index is None else word_index,
        first=every,
        last=every,
        represented=every >= first,
        context_tokens=2,
        depth=2,
        hidden=HIDDEN,
        max_context=0,
    )


def table_of(words, **columns) -> pd.DataFrame:
    n = len(words)
    plain = {
        "word_index": np.arange(n),
        "word": words,
        "sentence": np.zeros(n, int),
        "run": np.ones(n, int),
        "onset": 0.5 * np.arange(n),
        "tr": np.arange(n) // 4,
        "dropped": np.zeros(n, int),
    }
    return pd.DataFrame(plain | columns)


def command(tmp_path, kind, words, story, seed=5, name="x", features=None, tr=None) -> list[np.ndarray]:
    """Run the command; the layers that it wrote. With a `tr`, words of stories have no TRs."""
    write_table(words, tmp_path / "words.tsv")
    if tr is None:
        trs = np.arange(words["tr"].max() + 1)
        write_table(pd.DataFrame({"tr": trs, "run": 1, "time": 2.0 * trs, "kept": 1}), tmp_path / "trs.tsv")
    write_record(tmp_path / "tokens.npz", story)
    output = tmp_path / f"{name}.safetensors"
    timing = {"trs": tmp_path / "trs.tsv"} if tr is None else {"tr": tr}
    paths = flags(kind=kind, words=tmp_path / "words.tsv", output=output, **timing)
    paths += flags(tokens=tmp_path / "tokens.npz", features=json.dumps(features or {}))
    baselines.main([*paths, *flags(seed=seed)])
    n_layers = 1 if kind not in ("random", "random_types") else story.depth + 1
    layers = []
    for layer in range(n_layers):
        X, word_index = read_layer(output, layer)
        assert X.dtype == np.float32
        assert word_index.tolist() == story.word_index[story.represented].tolist()
        layers.append(X)
    with pytest.raises(InputError, match=f"lacks layer-{n_layers}"):
        read_layer(output, n_layers)
    return layers


@pytest.mark.parametrize("kind", ["random", "random_types", "controls"])
def test_same_seed_same_bytes(kind, tmp_path):
    words = table_of([*"abcde" * 9])
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        command(tmp_path, kind, words, story_of(45, 3), seed, name)
    first, again, other = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert first == again
    assert (first != other) == (kind != "controls")


def assert_independent(columns: np.ndarray) -> None:
    """Standard normal columns: of all their correlations, none exceeds 5 standard errors."""
    assert stats.kstest(columns.ravel(), "norm").pvalue > 0.001
    n, k = columns.shape
    correlations = np.corrcoef(columns, rowvar=False)[np.triu_indices(k, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(n)


def test_random_is_noise_that_does_not_follow_the_text(tmp_path):
    n = 4000
    layers = command(tmp_path, "random", table_of(["word"] * (n + 60)), story_of(n + 60, 60))
    X = np.hstack(layers)
    assert X.shape == (n, 3 * HIDDEN)
    assert_independent(X)
    assert np.abs(np.corrcoef(X[:-1, 0], X[1:, 0])[0, 1]) < 5 / np.sqrt(n)


def test_random_types_keep_which_word_it_is_and_nothing_else(tmp_path):
    n = 3000
    words = [f"w{k}" for k in range(n)] + ["“W7,”", "w7", "W7."]
    layers = command(tmp_path, "random_types", table_of(words), story_of(n + 3, 0))
    for X in layers:
        for row in (n, n + 1, n + 2):
            np.testing.assert_array_equal(X[row], X[7])
    assert_independent(np.hstack(layers)[:n])
    # Types are not the noise of `random` in another order.
    noise = command(tmp_path, "random", table_of(words), story_of(n + 3, 0))
    assert len(np.intersect1d(noise[0][:n], layers[0][:n])) < 10


def test_word_types():
    forms = ["Harry,", "“harry", "HARRY’S", "don't", "+", "...", "—", "naïve!", "1984."]
    types = ["harry", "harry", "harry’s", "don't", "+", "...", "—", "naïve", "1984"]
    assert [baselines.word_type(form) for form in forms] == types


def in_the_list(word: str) -> float:
    """Zipf frequency by the list's own bins: those of words in bin k make up 10^(−k/100) of English."""
    return next(9 - k / 100 for k, words in enumerate(wordfreq.get_frequency_list("en")) if word in words)


def test_controls_counted_by_hand(tmp_path):
    """Two runs, a dropped word, two sentences; the first word has no representation."""
    words = table_of(
        ["The", "owl", "+", "saw", "the", "cat.", "Owls", "see", "The", "owl"],
        sentence=[0, 0, "", 0, 0, 0, 1, 1, 1, 1],
        run=[1, 1, 1, 1, 1, 1, 1, 2, 2, 2],
        onset=[2, 2.5, 3, 3.5, 4, 4.5, 5, 20, 20.5, 21],
        tr=[0, 0, 0, 1, 1, 1, 2, 9, 9, 9],
        dropped=[0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    )
    seen = np.array([0, 1, 3, 4, 5, 6, 7, 8, 9])
    (X,) = command(tmp_path, "controls", words, story_of(9, 1, seen))
    raw = {
        # TRs 0, 1, 2, 9 show 3 words (the dropped one too), 3, 1, 3.
        "word_rate": [3, 3, 3, 3, 1, 3, 3, 3],
        "length": [3, 3, 3, 4, 4, 3, 3, 3],
        "log_frequency": list(map(in_the_list, ["owl", "saw", "the", "cat", "owls", "see", "the", "owl"])),
        "position_in_sentence": [1, 2, 3, 4, 0, 1, 2, 3],
        "position_in_run": [0.5, 1.5, 2, 2.5, 3, 0, 0.5, 1],
    }
    assert tuple(raw) == CONTROLS
    assert X.shape == (8, 5)
    np.testing.assert_allclose(X, stats.zscore(np.column_stack(list(raw.values()))), atol=1e-6)


def test_controls_of_own_runs_are_those_of_one_who_hears_stories_whole(tmp_path):
    """Two stories in TRs of 2 s; position counts from each story's first word."""
    words = table_of(
        ["The", "owl", "+", "saw.", "It", "slept."],
        sentence=[0, 0, "", 0, 1, 1],
        story=["a", "a", "a", "a", "b", "b"],
        onset=[0.5, 1, 1.5, 2.5, 0, 7],
        dropped=[0, 0, 1, 0, 0, 0],
    ).drop(columns=["run", "tr"])
    seen = np.array([0, 1, 3, 4, 5])
    (X,) = command(tmp_path, "controls", words, story_of(5, 1, seen), tr=2.0)
    raw = {
        "word_rate": [3, 1, 1, 1],
        "length": [3, 4, 2, 6],
        "log_frequency": list(map(in_the_list, ["owl", "saw", "it", "slept"])),
        "position_in_sentence": [1, 2, 0, 1],
        "position_in_run": [0.5, 2, 0, 7],
    }
    np.testing.assert_allclose(X, stats.zscore(np.column_stack(list(raw.values()))), atol=1e-6)
    (tmp_path / "loud.tsv").write_text("story\tonset\tloud\na\t1\t3\na\t2\t5\nb\t7.5\t8\n")
    own = {"loud": {"table": str(tmp_path / "loud.tsv")}}
    (X,) = command(tmp_path, "loud", words, story_of(5, 1, seen), tr=2.0, features=own)
    # The word "It" has no sample in its TR, and gets the mean.
    np.testing.assert_allclose(X[:, 0], stats.zscore([3, 5, 16 / 3, 8]), atol=1e-6)


def test_a_word_that_the_list_lacks_counts_as_its_rarest():
    forms = ["the", "Xqzzyv", "+", "—", "“The,”", "THE."]
    found = control_values(table_of(forms))["log_frequency"].tolist()
    last = wordfreq.get_frequency_list("en")[-1]
    assert found == pytest.approx([in_the_list("the"), *3 * [in_the_list(last[0])], *2 * [in_the_list("the")]])
    with pytest.raises(InputError, match=r"story\.language: no frequencies of words in 'xx': No wordlist"):
        control_values(table_of(forms), "xx")


def test_a_control_that_never_changes_is_zero():
    """The Harry Potter words come at a constant rate."""
    words = table_of(["one", "two", "six", "ten"] * 5)
    X = baselines.standardised(control_values(words))
    assert (X[:, [0, 1]] == 0).all()
    np.testing.assert_allclose(X[:, 4].std(), 1, rtol=1e-6)


def test_words_of_another_story(tmp_path):
    with pytest.raises(InputError, match=r"words\.tsv.*lacks word 5 \(2 of 6 represented words are missing\)"):
        command(tmp_path, "random_types", table_of([*"abcde"]), story_of(7, 1))


def test_own_features_have_a_value_per_word_and_no_layers(tmp_path):
    """Of a table of words its rows, of a series the mean of the word's TR; words without a value are average."""
    words, story = table_of([*"abcdefgh"], dropped=[0, 1, 0, 0, 0, 0, 0, 0]), story_of(7, 1, np.delete(np.arange(8), 1))
    (tmp_path / "concrete.tsv").write_text("word_index\tx\ty\n7\t1\t2\n3\t4\t8\n2\t4\t5\n1\t9\t9\n")
    (tmp_path / "loud.tsv").write_text("run\tonset\tdB\n1\t0\t10\n1\t1.9\t30\n1\t2\t50\n")
    features = {name: {"table": str(tmp_path / f"{name}.tsv")} for name in ("concrete", "loud")}
    (X,) = command(tmp_path, "concrete", words, story, features=features)
    given = np.array([[4, 5], [4, 8], [3, 5], [3, 5], [3, 5], [1, 2]])
    np.testing.assert_allclose(X, stats.zscore(given), atol=1e-6)
    (X,) = command(tmp_path, "loud", words, story, features=features)
    np.testing.assert_allclose(X[:, 0], stats.zscore([20, 20, 50, 50, 50, 50]), atol=1e-6)
    with pytest.raises(InputError, match="no baseline 'quiet'"):
        command(tmp_path, "quiet", words, story, features=features)
