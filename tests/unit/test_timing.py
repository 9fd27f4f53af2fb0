"""Words, sentences, runs and TRs, against METHOD's own figures and hand-made cases."""

import numpy as np
import pytest

from dynalign.config.story import Story, Trim
from dynalign.io.arrays import write_array
from dynalign.io.digests import write_digest
from dynalign.io.errors import InputError
from dynalign.stimulus.timing import (
    Timing,
    ends_sentence,
    kept_trs,
    read_arrays_layout,
    read_table_layout,
    read_trs,
    read_words,
    sentence_numbers,
    tables,
    words_to_trs,
    write_table,
)

#: METHOD section 2.1: run, TRs, start (s), words, TRs kept.
HARRY_POTTER = [(1, 340, 0, 1303, 305), (2, 352, 680, 1351, 317), (3, 279, 1384, 1059, 244), (4, 380, 1942, 1463, 345)]


def harry_potter_timing() -> Timing:
    """A stand-in of the real data's exact shape and timing."""
    onsets = np.concatenate([start + 20 + 0.5 * np.arange(n) for _, _, start, n, _ in HARRY_POTTER])
    runs = np.concatenate([np.full(n, run) for run, n, *_ in HARRY_POTTER])
    return Timing([f"w{i}" for i in range(len(onsets))], onsets, 2.0 * np.arange(1351), runs)


def test_the_real_timing_gives_the_published_counts():
    words, trs = tables(harry_potter_timing(), Story())
    assert len(words) == 5176
    assert trs.groupby("run")["kept"].sum().tolist() == [kept for *_, kept in HARRY_POTTER]
    assert trs["kept"].sum() == 1211
    # The word at 20.0 s belongs to the TR that starts at 18 s: strictly before.
    assert words["tr"].iloc[0] == 9
    assert words["tr"].iloc[1] == 10
    assert words.groupby("run").size().tolist() == [n for _, _, _, n, _ in HARRY_POTTER]


def test_a_word_belongs_to_the_last_tr_strictly_before_it():
    rng = np.random.default_rng(0)
    onsets = np.sort(np.concatenate([rng.uniform(0.1, 40, 50), [2.0, 4.0, 38.0]]))
    timing = Timing(["w"] * len(onsets), onsets, 2.0 * np.arange(20), np.ones(20, dtype=int))
    naive = [max(tr for tr in range(20) if 2.0 * tr < onset) for onset in onsets]
    assert words_to_trs(timing).tolist() == naive


@pytest.mark.parametrize(
    ("word", "ends"),
    [
        ("house.", True),
        ("Mr.", False),
        ("(Mrs.", False),
        ('door!"', True),
        ("why?')", True),
        ("said,", False),
        ("e.g", False),
        ('"Dr.', False),
        ("...", True),
        ("+", False),
    ],
)
def test_sentence_ends(word, ends):
    assert ends_sentence(word) is ends


def test_sentences_are_numbered_and_the_last_word_ends_one():
    words = ["Mr.", "Finch", "said:", '"No."', "Then", "he", "left"]
    assert sentence_numbers(words).tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_dropped_words_keep_their_time_and_have_no_sentence():
    timing = Timing(["One.", "+", "@Two.@"], np.array([1.0, 1.5, 2.5]), 2.0 * np.arange(4), np.ones(4, dtype=int))
    words, _ = tables(timing, Story(drop=("+",), replace={"@": ""}, trim=Trim(start=0, end=0)))
    assert words["word"].tolist() == ["One.", "+", "Two."]
    assert words["sentence"].tolist() == [0, "", 1]
    assert words["tr"].tolist() == [0, 0, 1]


def test_a_table_survives_writing_and_reading(tmp_path):
    timing = Timing(['"null"', "1984", "NA"], np.array([1.0, 1.5, 2.5]), 2.0 * np.arange(4), np.ones(4, dtype=int))
    words, trs = tables(timing, Story(trim=Trim(start=1, end=1)))
    write_table(words, tmp_path / "words.tsv")
    write_table(trs, tmp_path / "trs.tsv")
    assert read_words(tmp_path / "words.tsv")["word"].tolist() == ['"null"', "1984", "NA"]
    assert read_trs(tmp_path / "trs.tsv")["kept"].tolist() == [0, 1, 1, 0]


def test_the_two_layouts_agree(tmp_path):
    (tmp_path / "words.tsv").write_text("onset\trun\tword\n0.5\t1\ta\n3\t1\tb.\n0.5\t2\tc\n", encoding="utf-8")
    table = read_table_layout(tmp_path / "words.tsv", 2.0, [3, 2])
    arrays = {
        "words_fmri": np.array(["a", "b.", "c"]),
        "time_words_fmri": np.array([0.5, 3.0, 6.5]),
        "time_fmri": 2.0 * np.arange(5),
        "runs_fmri": np.array([1, 1, 1, 2, 2]),
    }
    for name, array in arrays.items():
        write_array(tmp_path / f"{name}.npy", array)
    other = read_arrays_layout(tmp_path)
    assert table.words == other.words
    np.testing.assert_array_equal(table.onsets, other.onsets)
    np.testing.assert_array_equal(table.tr_runs, other.tr_runs)
    np.testing.assert_array_equal(words_to_trs(table), [0, 1, 3])


def test_bad_input_is_named(tmp_path):
    np.save(tmp_path / "words_fmri.npy", np.array(["a", None], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"words_fmri\.npy.*pickled.*unpickle_text"):
        read_arrays_layout(tmp_path)
    (tmp_path / "late.tsv").write_text("onset\trun\tword\n7\t1\ta\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"row 0: onset 7 s lies outside run 1"):
        read_table_layout(tmp_path / "late.tsv", 2.0, [3])
    (tmp_path / "run.tsv").write_text("onset\trun\tword\n1\t2\ta\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"run 2.*runs 1 to 1"):
        read_table_layout(tmp_path / "run.tsv", 2.0, [3])
    timing = Timing(["a"], np.array([0.0]), 2.0 * np.arange(4), np.ones(4, dtype=int))
    with pytest.raises(InputError, match="strictly before"):
        words_to_trs(timing)
    # Milliseconds among seconds: every word would fall into the last TR.
    timing = Timing(["a", "b"], np.array([1.0, 8.5]), 2.0 * np.arange(4), np.ones(4, dtype=int))
    with pytest.raises(InputError, match=r"the last word \('b'\) has onset 8\.5 s, but the last TR ends at 8 s"):
        words_to_trs(timing)
    with pytest.raises(InputError, match="run 1 has 4 TRs"):
        kept_trs(np.ones(4, dtype=int), 2, 2)
    timing = Timing(["@"], np.array([1.0]), 2.0 * np.arange(4), np.ones(4, dtype=int))
    with pytest.raises(InputError, match=r"'@'.*reads ''"):
        tables(timing, Story(replace={"@": ""}, trim=Trim(start=0, end=0)))


def test_arrays_are_compared_with_their_records_and_with_each_other(tmp_path):
    arrays = {
        "words_fmri": np.array(["a", "b."]),
        "time_words_fmri": np.array([0.5, 3.0]),
        "time_fmri": 2.0 * np.arange(3),
        "runs_fmri": np.array([1, 1, 2]),
    }

    def write(**changed):
        for name, array in (arrays | changed).items():
            write_array(tmp_path / f"{name}.npy", array)

    write()
    write_digest(tmp_path / "runs_fmri.npy")
    assert read_arrays_layout(tmp_path).words == ["a", "b."]
    for changed, message in (
        ({"runs_fmri": np.array([1, 2, 2])}, r"runs_fmri\.npy: changed since it was checked"),
        ({"words_fmri": np.array(["a"])}, r"words_fmri has shape \(1,\), time_words_fmri \(2,\)"),
        ({"time_fmri": 2.0 * np.arange(4)}, r"time_fmri has shape \(4,\), runs_fmri \(3,\)"),
        ({"time_words_fmri": np.array([0.5, np.nan])}, r"time_words_fmri\.npy: entry 1 is not a finite number"),
        ({"time_fmri": np.array(["0", "2", "4"])}, r"time_fmri\.npy: expected numbers, got <U1"),
    ):
        write(**changed)
        with pytest.raises(InputError, match=message):
            read_arrays_layout(tmp_path)
    (tmp_path / "runs_fmri.npy.sha256").unlink()
    write(runs_fmri=np.array([1.0, 1.5, 2.0]))
    with pytest.raises(InputError, match=r"runs_fmri\.npy: entry 1 is no run number"):
        read_arrays_layout(tmp_path)
