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
    read_story,
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
    return Timing([f"w{i}." for i in range(len(onsets))], onsets, 2.0 * np.arange(1351), runs)


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
        ("(Mrs.", True),  # punkt's reading: a title is the whole word
        ('door!"', True),
        ("why?')", True),
        ("said,", False),
        ("e.g", False),
        ('"Dr.', True),
        ("St.", False),
        ("Finch.''", True),
        ("he``", False),
        ("no!``", True),
        ("„Nein.“", True),
        ("»Ja?«", True),
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
    timing = Timing(["a"], np.array([-0.5]), 2.0 * np.arange(4), np.ones(4, dtype=int))
    with pytest.raises(InputError, match=r"word 0 \('a'\) has onset -0\.5 s, but the first TR starts at 0 s"):
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


def test_a_word_on_a_boundary_does_not_depend_on_how_decimals_were_rounded(tmp_path):
    """Word k of a run begins where its TR k does, so it belongs to TR k - 1, and word 0 to its run's first TR."""
    for tr, decimals in ((0.72, 2), (1.2, 1), (2.4, 1), (1.49, 2), (0.8, 1), (60.0, 0), (4 / 3, 3)):
        lengths = (400, 3, 400)
        rows = [f"{k * tr:.{decimals}f}\t{run}\tw." for run, n in enumerate(lengths, start=1) for k in range(n + 1)]
        (tmp_path / "words.tsv").write_text("\n".join(["onset\trun\tword", *rows, ""]), encoding="utf-8")
        timing = read_table_layout(tmp_path / "words.tsv", tr, lengths)
        expected = [
            start + max(k - 1, 0) for start, n in zip((0, 400, 403), lengths, strict=True) for k in range(n + 1)
        ]
        assert words_to_trs(timing).tolist() == expected
        words, trs = tables(timing, Story(trim=Trim(start=0, end=0)))
        assert words["run"].tolist() == np.repeat([1, 2, 3], [401, 4, 401]).tolist()
        if decimals < 3:
            assert [f"{time:.{decimals}f}" for time in trs["time"]] == [f"{k * tr:.{decimals}f}" for k in range(803)]
            assert max(len(str(time)) for time in trs["time"]) <= 8  # 3.6, not 3.5999999999999996


@pytest.mark.parametrize("begin", [0.0, 1.6e9])
@pytest.mark.parametrize("tr", [0.72, 1.2, 1.49, 60.0])
def test_boundaries_on_any_clock(tmp_path, begin, tr):
    """Arrays with a pause between runs, TR times that jitter, and words that begin with a TR, as printed."""
    rng = np.random.default_rng(0)
    runs = np.repeat([1, 2], [300, 200])
    times = begin + np.concatenate([tr * np.arange(300), tr * (320 + np.arange(200))])
    times += rng.uniform(-2e-4, 2e-4, 500) * tr
    offset = rng.choice([0.0, 1e-4, -1e-4, 0.01, -0.01], 500)
    offset[[0, 300]] = 0.0
    expected = np.arange(500) - (offset < 5e-3)
    expected[[0, 300]] = 0, 300
    onsets = np.round(times + offset * tr, 4)
    arrays = {"words_fmri": np.array(["w."] * 500), "time_words_fmri": onsets, "time_fmri": times, "runs_fmri": runs}
    for name, array in arrays.items():
        write_array(tmp_path / f"{name}.npy", array)
    timing = read_arrays_layout(tmp_path)
    assert words_to_trs(timing).tolist() == expected.tolist()
    # Onsets and TR times come back to the bit, also those that count from 1970.
    for table, name in zip(tables(timing, Story(trim=Trim(start=0, end=0))), ("words", "trs"), strict=True):
        write_table(table, tmp_path / f"{name}.tsv")
    assert read_words(tmp_path / "words.tsv")["onset"].tolist() == onsets.tolist()
    assert read_trs(tmp_path / "trs.tsv")["time"].tolist() == times.tolist()


HEAD = "onset\trun\tword\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0.5\t1\ta\nn/a\t1\tb\n", r"row 1: onset is 'n/a', but each row needs a number; correct it, or remove"),
        ("0.5\t1\ta\n1,5\t1\tb\n", r"row 1: onset is '1,5', but each row needs a number; write decimals with a point"),
        ("0.5\t1\ta\n\t1\tb\n", r"row 1: onset is '', but"),
        ("0.5\t1\ta\ninf\t1\tb\n", r"row 1: onset is 'inf', but"),
        ("0.5\tn/a\ta\n", r"row 0: run is 'n/a', but"),
        ("0.5\trun-1\ta\n", r"row 0: run is 'run-1', but"),
        ("0.5\t1.5\ta\n", r"row 0: run 1\.5, but story\.trs gives runs 1 to 2"),
        ("-0.5\t1\ta\n", r"row 0: onset -0\.5 s lies outside run 1 \(0 to 6 s: 3 TRs of 2 s\); onsets count from the"),
        ("6.01\t1\ta\n", r"row 0: onset 6\.01 s lies outside run 1 \(0 to 6 s: 3 TRs of 2 s\)"),
        ("0\t2\ta\n6\t1\tb\n", r"row 1: run 1 after run 2; sort"),
    ],
)
def test_cells_that_are_no_time_are_named(tmp_path, rows, message):
    (tmp_path / "words.tsv").write_text(HEAD + rows, encoding="utf-8")
    with pytest.raises(InputError, match=rf"words\.tsv: {message}"):
        read_table_layout(tmp_path / "words.tsv", 2.0, [3, 3])


def test_a_run_begins_at_0_and_ends_with_its_last_tr(tmp_path):
    (tmp_path / "words.tsv").write_text(HEAD + "0.0\t1\ta\n6\t1\tb.\n0.0\t2\tc\n-0.0001\t3\td\n", encoding="utf-8")
    words, _ = tables(read_table_layout(tmp_path / "words.tsv", 2.0, [3, 3, 3]), Story(trim=Trim(start=0, end=0)))
    assert words["tr"].tolist() == [0, 2, 3, 6]
    assert words["run"].tolist() == [1, 1, 2, 3]


def story_in(folder, rows: str, head: str = "onset\trun\tword\tsentence\n", **more) -> Story:
    (folder / "words.tsv").write_text(head + rows, encoding="utf-8")
    layout = {"layout": "table", "download": None, "words": str(folder / "words.tsv"), "tr": 2.0, "trs": [200]}
    return Story(**layout, trim=Trim(start=0, end=0), **more)


def test_a_missing_word_is_no_word(tmp_path):
    rows = "0.5\t1\tOne\n1\t1\tn/a\n1.5\t1\ttwo.\n"
    with pytest.raises(InputError, match=r"words\.tsv: word 1 is 'n/a', a missing value in BIDS.*story\.drop"):
        read_story(story_in(tmp_path, rows, HEAD))
    words, _ = read_story(story_in(tmp_path, rows, HEAD, drop=("n/a",)))
    assert words["dropped"].tolist() == [0, 1, 0]
    with pytest.raises(InputError, match=r"word 0 \('\\u200bOne'\) reads"):
        read_story(story_in(tmp_path, "0.5\t1\t\u200bOne\n", HEAD))


def test_sentences_of_the_storys_own_are_taken_as_they_are(tmp_path):
    rows = "0.5\t1\tMr.\t3\n1\t1\t+\tn/a\n1.5\t1\tFinch.\t3\n2\t1\tno\t7\n2.5\t1\tend\t7\n"
    words, _ = read_story(story_in(tmp_path, rows, drop=("+",)))
    assert words["sentence"].tolist() == [0, "", 0, 1, 1]
    long = "".join(f"{k}\t1\tw\t{k // 300}\n" for k in range(400))
    assert np.bincount(read_story(story_in(tmp_path, long))[0]["sentence"].astype(int)).tolist() == [300, 100]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1\t1\ta\t2\n2\t1\tb\t1\n", r"word 1 \('b'\) has sentence 1 after 2; number sentences through all runs"),
        ("1\t1\ta\t1\n2\t1\tb\tn/a\n", r"word 1 \('b'\) has no sentence; number that of every word"),
        ("1\t1\ta\t1\n2\t1\tb\tlast\n", r"row 1: sentence is 'last', but each row needs a number; number the"),
    ],
)
def test_sentences_that_are_not_numbered(tmp_path, rows, message):
    with pytest.raises(InputError, match=rf"words\.tsv: {message}"):
        read_story(story_in(tmp_path, rows))


def test_a_transcript_without_punctuation_is_refused_at_once(tmp_path):
    rows = "0\t1\tOnce.\n" + "".join(f"{k / 5}\t1\tw{k}\n" for k in range(1, 1501))
    with pytest.raises(InputError, match=r"words 1 to 1500 \('w1' to 'w1500'\) are one sentence of 1500 .*`sentence`"):
        read_story(story_in(tmp_path, rows, HEAD))
    rows = "".join(f"{k / 5}\t1\tw\n" for k in range(200))
    assert read_story(story_in(tmp_path, rows, HEAD))[0]["sentence"].tolist() == [0] * 200


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_table_as_spreadsheets_save_it(tmp_path, coding, line_end):
    text = (HEAD + "0.5\t1\t“Nö\n3\t1\tb.”\n").replace("\n", line_end)
    (tmp_path / "words.tsv").write_bytes(text.encode(coding))
    if coding == "utf-16-le":  # without its mark
        with pytest.raises(InputError, match=r"words\.tsv: not UTF-8 text.*; save it as UTF-8"):
            read_table_layout(tmp_path / "words.tsv", 2.0, [3])
    else:
        timing = read_table_layout(tmp_path / "words.tsv", 2.0, [3])
        assert timing.words == ["“Nö", "b.”"]
        assert timing.onsets.tolist() == [0.5, 3.0]
