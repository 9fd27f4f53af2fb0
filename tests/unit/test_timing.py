"""Words, sentences, runs and TRs, against METHOD's own figures and hand-made cases."""

import csv

import numpy as np
import pandas as pd
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


def test_words_that_a_program_put_in_quotes_are_named(tmp_path):
    """As data frames and spreadsheets write tables; quotes of the text itself are the words' own."""
    path = tmp_path / "words.tsv"
    frame = pd.DataFrame({"onset": [0.0, 0.5, 1.0], "run": 1, "word": ["He", '"Hm."', 'said".']})
    frame.to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match=r'words\.tsv: row 1: the word """Hm\.""" stands in quotes.*quoting=3'):
        read_table_layout(path, 2.0, [10])
    frame.to_csv(path, sep="\t", index=False, quoting=csv.QUOTE_NONE)
    assert read_table_layout(path, 2.0, [10]).words == frame["word"].tolist()
    frame.to_csv(tmp_path / "words.csv", index=False)
    assert read_table_layout(tmp_path / "words.csv", 2.0, [10]).words == frame["word"].tolist()


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


#: Words of two runs: onset, end, word, sentence.
SPOKEN = {
    1: [(0.5, 0.9, "„One", 0), (1.0, 1.4, "two,", 0), (2.25, 3, "three.“", 0), (5e-5 + 3, 4, "Yes!", 1)],
    2: [(0.0, 0.5, "She", 2), (0.5, 1, '"said"', 2), (4, 5.5, "no.", 2)],
}
END = 6


def filled(intervals):
    """Intervals of a tier without gaps, as Praat writes them, with marks of silence in turn."""
    marks, last, full = iter(["", "sp", "<p:>", "SIL", "", "sil"]), 0.0, []
    for start, end, text in [*intervals, (END, END, None)]:
        if start > last:
            full.append((last, start, next(marks)))
        full += [(start, end, text)] if text is not None else []
        last = end
    return full


def textgrid(words, sentences, long: bool) -> str:
    """A TextGrid as Praat saves it: tiers of points, words, phones, perhaps of sentences."""
    tiers = {"words": filled(words), "phones": [(0, 1, "w"), (1, END, "")]}
    tiers |= {"Sentence": filled(sentences)} if sentences else {}
    quoted = {name: [(a, b, t.replace('"', '""')) for a, b, t in rows] for name, rows in tiers.items()}
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    if not long:
        parts = [head + f"0\n{END}\n<exists>\n{len(tiers) + 1}", f'"TextTier"\n"clicks"\n0\n{END}\n1\n1.5\n"1 ""x"""']
        for name, rows in quoted.items():
            parts += [f'"IntervalTier"\n"{name}"\n0\n{END}\n{len(rows)}', *(f'{a}\n{b}\n"{t}"' for a, b, t in rows)]
        return "\n".join(parts) + "\n"
    parts = [head + f"xmin = 0 \nxmax = {END} \ntiers? <exists> \nsize = {len(tiers) + 1} \nitem []: "]
    parts.append(
        f'    item [1]:\n        class = "TextTier" \n        name = "clicks" \n        xmin = 0 \n        xmax = {END}'
    )
    parts.append(
        '        points: size = 1 \n        points [1]:\n            number = 1.5 \n            mark = "1 ""x""" '
    )
    for number, (name, rows) in enumerate(quoted.items(), start=2):
        parts.append(
            f'    item [{number}]:\n        class = "IntervalTier" \n        name = "{name}" \n        xmin = 0 '
        )
        parts.append(f"        xmax = {END} \n        intervals: size = {len(rows)} ")
        for k, (a, b, t) in enumerate(rows, start=1):
            parts.append(f"        intervals [{k}]:\n            xmin = {a} \n            xmax = {b} ")
            parts.append(f'            text = "{t}" ')
    return "\n".join(parts) + "\n"


def sentences_of(rows):
    """An interval for each sentence, a little wider than its words."""
    numbers = sorted({number for *_, number in rows})
    spans = [[row for row in rows if row[3] == number] for number in numbers]
    return [(rows[0][0], rows[-1][1], " ".join(row[2] for row in rows)) for rows in spans]


def write_words(folder, kind: str, sentences: bool = False) -> dict:
    """Write the words of two runs in one of the ways, and say how the configuration names them."""
    rows = [(run, *row) for run, of_run in SPOKEN.items() for row in of_run]
    columns = ["onset", "run", "word", *(["sentence"] if sentences else [])]
    cells = [[f"{start:.6g}", str(run), word, str(number)][: len(columns)] for run, start, _, word, number in rows]
    if kind == "tsv":
        (folder / "w.tsv").write_text("".join("\t".join(row) + "\n" for row in [columns, *cells]), encoding="utf-8")
        return {"words": f"{folder}/w.tsv"}
    if kind in ("csv", "semicolons"):
        with open(folder / "w.CSV", "w", encoding="utf-8-sig", newline="") as stream:
            csv.writer(stream, delimiter="," if kind == "csv" else ";").writerows([columns, *cells])
        return {"words": f"{folder}/w.CSV"}
    for run, of_run in SPOKEN.items():
        if kind == "events":
            head = ["onset", "duration", "token", "trial_type", *(["sentence"] if sentences else [])]
            lines = [["-3", "1", "n/a", "trigger", "n/a"][: len(head)]]
            for start, end, word, number in of_run:
                lines.append([f"{start:.6g}", f"{end - start:g}", word, "word", str(number)][: len(head)])
                lines.append([f"{start:.6g}", "n/a", "n/a", "press", "n/a"][: len(head)])
            text = "".join("\t".join(line) + "\n" for line in [head, *lines])
            (folder / f"sub-1_run-{run:02d}_events.tsv").write_text(text, encoding="utf-8")
        else:
            form, coding = kind.split()
            text = textgrid([row[:3] for row in of_run], sentences_of(of_run) if sentences else None, form == "long")
            (folder / f"run{run}.TextGrid").write_bytes(text.encode(coding))
    if kind == "events":
        return {"words": f"{folder}/sub-1_run-{{run:02d}}_events.tsv", "word_column": "token"}
    return {"words": f"{folder}/run{{run}}.TextGrid"}


KINDS = [
    "tsv",
    "csv",
    "semicolons",
    "events",
    "long utf-8",
    "short utf-8",
    "long utf-16",
    "short utf-16",
    "long utf-8-sig",
]


def spoken_story(**more) -> Story:
    return Story(layout="table", download=None, tr=2.0, trs=[3, 3], trim=Trim(start=0, end=0), **more)


@pytest.mark.parametrize("sentences", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_words_are_the_same_however_they_are_written(tmp_path, kind, sentences):
    words, _ = read_story(spoken_story(**write_words(tmp_path, kind, sentences)))
    rows = [(run, *row) for run, of_run in SPOKEN.items() for row in of_run]
    write_table(words, tmp_path / "words.tsv")
    again = read_words(tmp_path / "words.tsv")
    assert again["word"].tolist() == [word for *_, word, _ in rows]
    assert again["run"].tolist() == [run for run, *_ in rows]
    assert again["onset"].tolist() == [float(f"{start:.6g}") + 6 * (run - 1) for run, start, *_ in rows]
    assert again["tr"].tolist() == [0, 0, 1, 1, 3, 3, 4]
    assert again["sentence"].tolist() == [number for *_, number in rows]
    assert again["dropped"].tolist() == [0] * 7


def edit(path, old: str, new: str, coding="utf-8") -> None:
    text = path.read_bytes().decode(coding)
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode(coding))


@pytest.mark.parametrize("form", ["long", "short"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"words"', '"tokens"', r"run2\.TextGrid: which tier .* called 'word'; it has 'tokens', 'phones', 'S"),
        ('"Sentence"', '"word"', r"run2\.TextGrid: gives no sentences, but .*run1\.TextGrid does"),
        ('"phones"', '"SENTENCES"', r"run2\.TextGrid: which tier holds the sentences\? It has 'words', 'SENTE"),
        ('"Sentence"', '"Words"', r"run2\.TextGrid: which tier .* it has 'words', 'phones', 'Words'"),
        ('"TextGrid"', '"Pitch 1"', r"run2\.TextGrid: no TextGrid; save one in Praat"),
        ('"no."', '"oh no."', r"'oh no\.'.* white space"),
        ('""said""', '"said"', r"run2\.TextGrid: not a whole TextGrid \(1\.0 where a text in quotes"),
    ],
)
def test_a_wrong_textgrid_is_named(tmp_path, form, old, new, message):
    story = spoken_story(**write_words(tmp_path, f"{form} utf-8", sentences=True))
    edit(tmp_path / "run2.TextGrid", old, new)
    if new == '"word"':  # the only tier of that name; that of sentences is gone
        edit(tmp_path / "run2.TextGrid", '"words"', '"phones"')
    with pytest.raises(InputError, match=message):
        read_story(story)


@pytest.mark.parametrize("form", ["long", "short"])
def test_a_textgrid_that_was_cut_anywhere_is_refused(tmp_path, form):
    """Praatio reads it as far as it goes."""
    story = spoken_story(**write_words(tmp_path, f"{form} utf-8", sentences=True))
    path = tmp_path / "run1.TextGrid"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for n in range(len(lines)):
        path.write_text("".join(lines[:n]), encoding="utf-8")
        with pytest.raises(InputError, match=r"run1\.TextGrid: (not a whole|no) TextGrid"):
            read_story(story)


def test_times_of_textgrids_keep_their_signs_and_exponents(tmp_path):
    story = spoken_story(**write_words(tmp_path, "long utf-8"))
    path = tmp_path / "run1.TextGrid"
    edit(path, "xmin = 0.5 ", 'xmin = 5e-05 ! moved from 0.5 "by me"')
    assert read_story(story)[0]["onset"][0] == 5e-5
    edit(path, "xmin = 5e-05", "xmin = -0.5")
    with pytest.raises(InputError, match=r"run1\.TextGrid: row 1: onset -0\.5 s lies outside run 1"):
        read_story(story)


def test_a_word_outside_all_sentences_is_named(tmp_path):
    story = spoken_story(**write_words(tmp_path, "short utf-8", sentences=True))
    edit(tmp_path / "run1.TextGrid", '"„One two, three.“"', '"sil"')
    with pytest.raises(InputError, match=r"run1\.TextGrid: the word '„One' at 0\.7 s lies in no sentence of the tier"):
        read_story(story)


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("events", "4\t1.5\tno.", "n/a\t1.5\tno.", r"run-02_events\.tsv: row 5: onset is 'n/a', but each row needs"),
        ("events", "4\t1.5\tno.", "7\t1.5\tno.", r"run-02_events\.tsv: row 5: onset 7 s lies outside run 2 \(0 to 6 s"),
        ("events", "0.5\t0.5", "4.5\t0.5", r"run-02_events\.tsv: word onsets must not fall, but word 2 starts at 10 s"),
        ("events", "token", "form", r"run-02_events\.tsv: lacks column 'token'; it has onset, duration, form"),
        ("csv", '"""said"""', '"said" x', r"w\.CSV: its quotes do not fit: .* written twice"),
        ("csv", '"""said"""', '"said', r"w\.CSV: its quotes do not fit: .*unexpected end of data"),
        ("csv", "0.5,2,", "0.5,2,x,", r"w\.CSV: not a comma-separated table: .*Expected 3 fields in line 7, saw 4"),
        ("semicolons", "0.5;2;", "0,5;2;", r"w\.CSV: row 5: onset is '0,5', .*decimals with a point"),
        ("csv", "onset,", "begin,", r"w\.CSV: lacks column 'onset'; it has begin, run, word"),
    ],
)
def test_a_wrong_file_of_words_is_named(tmp_path, kind, old, new, message):
    story = spoken_story(**write_words(tmp_path, kind))
    edit(tmp_path / ("w.CSV" if kind != "events" else "sub-1_run-02_events.tsv"), old, new)
    with pytest.raises(InputError, match=message):
        read_story(story)


def test_a_file_of_words_that_is_missing_is_named(tmp_path):
    story = spoken_story(**write_words(tmp_path, "long utf-8"))
    (tmp_path / "run2.TextGrid").unlink()
    with pytest.raises(InputError, match=r"run2\.TextGrid: no such file"):
        read_story(story)


def test_a_textgrid_without_punctuation_or_sentences_tells_the_way_out(tmp_path):
    words = [(k / 100, (k + 1) / 100, "w") for k in range(300)]
    (tmp_path / "story.TextGrid").write_text(textgrid(words, None, long=False))
    story = Story(layout="table", download=None, tr=2.0, trs=[3], words=f"{tmp_path}/story.TextGrid")
    with pytest.raises(InputError, match=r"one sentence of 300 words .* tier `sentence` to TextGrids"):
        read_story(story)
    with pytest.raises(ValueError, match=r"words: '.*story\.TextGrid' lacks \{run\}"):
        Story(layout="table", download=None, tr=2.0, trs=[3, 3], words=f"{tmp_path}/story.TextGrid")
