"""Nuisance features: what each measurement has, against loops over words and samples."""

import json

import numpy as np
import pandas as pd
import pytest
from tests.helpers import flags

from dynalign.config.features import CONTROLS, Feature, columns_of
from dynalign.io.errors import InputError
from dynalign.stimulus import features, timing
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

TR = 4 / 3


@pytest.fixture
def story(tmp_path):
    """Two runs of 8 and 6 TRs with a pause between; TR 0 shows a dropped word alone, TRs 3 to 5 nothing."""
    times = np.concatenate([TR * np.arange(8), 20 + TR * np.arange(6)])
    runs = np.repeat([1, 2], [8, 6])
    onsets = [1, 2, 2.5, 3, 8.5, 9, 21, 21.2, 22.5]
    words = ["+", "The", "owl", "flew.", "Nobody", "+", "saw", "it.", "End."]
    values = timing.Timing(words, np.array(onsets), times, runs)
    for table, name in zip(
        timing.tables(values, timing.Story(drop=("+",), trim={"start": 1, "end": 1})), ("words", "trs"), strict=True
    ):
        write_table(table, tmp_path / f"{name}.tsv")
    return timing.read_words(tmp_path / "words.tsv"), timing.read_trs(tmp_path / "trs.tsv")


def own(tmp_path, table: pd.DataFrame | str, **more) -> Feature:
    path = tmp_path / "own.tsv"
    path.write_text(table) if isinstance(table, str) else table.to_csv(path, sep="\t", index=False)
    return Feature(table=str(path), **more)


def test_controls_are_means_over_the_words_that_the_model_sees(story):
    words, trs = story
    table = features.feature_table(words, trs, {})
    assert list(table) == ["tr", "run", *CONTROLS]
    assert table["run"].tolist() == trs["run"].tolist()
    every = features.control_values(words)
    for tr in trs["tr"]:
        seen = words.query("tr == @tr and dropped == 0")
        row = table.loc[tr]
        assert row["word_rate"] == (words["tr"] == tr).sum()
        assert row["log_frequency"] == pytest.approx(every.loc[seen["word_index"], "log_frequency"].mean(), nan_ok=True)
        assert row["length"] == pytest.approx(seen["word"].map(len).mean(), nan_ok=True)
    # By hand: TR 1 ends at 2.67 s and holds "The owl", the second run begins with "saw it."
    assert table["word_rate"].tolist() == [1, 2, 1, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0]
    assert table.loc[1, ["position_in_sentence", "position_in_run"]].tolist() == [0.5, 1.25]
    assert table.loc[8, ["position_in_sentence", "position_in_run"]].tolist() == [1.5, pytest.approx(0.1)]
    assert table.loc[0, list(CONTROLS[1:])].isna().all()


def test_a_row_per_word_is_averaged_over_the_words_that_the_table_has(story, tmp_path):
    words, trs = story
    values = {1: 4.0, 2: 6.0, 3: 1.5, 5: 100.0, 6: 2.0}  # word 5 is dropped, 4, 7 and 8 are not there
    table = pd.DataFrame({"word": "text", "word_index": list(values)[::-1], "x": list(values.values())[::-1]})
    found = features.feature_table(words, trs, {"own": own(tmp_path, table)})
    assert list(found)[-1] == "own"
    expected = [np.mean([values[w] for w in words.query("tr == @tr and dropped == 0").index if w in values] or [np.nan])
                for tr in trs["tr"]]  # fmt: skip
    np.testing.assert_allclose(found["own"], expected)
    assert found["own"].notna().sum() == 3


def test_samples_are_averaged_over_the_tr_in_which_they_are_taken(story, tmp_path, capsys):
    """A series at 10 Hz that begins before the first run and outlasts it, and has a gap."""
    words, trs = story
    rng = np.random.default_rng(0)
    samples = pd.DataFrame({"onset": np.round(np.arange(-1, 12, 0.1), 1), "run": 1})
    samples = pd.concat([samples, samples.assign(run=2).query("onset < 3 or onset > 6")])
    samples = samples.assign(low=rng.normal(size=len(samples)), high=rng.normal(size=len(samples)), note="text")
    found = features.feature_table(words, trs, {"sound": own(tmp_path, samples.sample(frac=1, random_state=1))})
    sums: dict[int, list] = {}
    for row in samples.itertuples():
        for tr in trs.itertuples():
            start = tr.time - {1: 0, 2: 20}[tr.run]
            if row.run == tr.run and start - 1e-6 <= row.onset < start + TR - 1e-6:
                sums.setdefault(tr.tr, []).append((row.low, row.high))
    expected = np.array([np.mean(sums.get(tr, [(np.nan, np.nan)]), axis=0) for tr in trs["tr"]])
    np.testing.assert_allclose(found[["sound_low", "sound_high"]], expected)
    # Of the second run, TR 11 lies within the gap from 3 to 6 s.
    assert np.flatnonzero(found["sound_low"].isna()).tolist() == [11]
    assert "samples lie outside their runs and do not count" in capsys.readouterr().err
    assert columns_of("sound", found) == ["sound_low", "sound_high"]


@pytest.mark.parametrize("decimals", [3, 15])
def test_one_sample_at_the_start_of_each_tr_is_that_trs(story, tmp_path, decimals):
    """Motion parameters: a row per volume, its time rounded (4 TRs of 4/3 s are written 5.333, which is before)."""
    words, trs = story
    onsets = np.round(trs["time"] - trs["run"].map({1: 0, 2: 20}), decimals)
    motion = pd.DataFrame({"run": trs["run"], "onset": onsets, "x": 10.0 + trs["tr"], "y": trs["tr"] ** 2})
    found = features.feature_table(words, trs, {"motion": own(tmp_path, motion, columns=("y",), delays=(0,))})
    np.testing.assert_allclose(found["motion"], trs["tr"] ** 2)
    # A word at that very time is seen from then on: it belongs to the TR before.
    assert timing.words_to_trs(timing.Timing(["a"], np.array([2 * TR]), TR * np.arange(4), np.ones(4)))[0] == 1


@pytest.mark.parametrize(
    ("table", "more", "message"),
    [
        ("time\tx\n1\t1\n", {}, r"lacks column 'onset'; it has time, x, and needs word_index, or onset and run"),
        ("word_index\tx\n1\t1\n2\t3\n", {"columns": ["y"]}, r"lacks column 'y'; it has word_index, x"),
        ("word_index\tword\n1\tThe\n", {}, r"no column of numbers beside word_index"),
        ("word_index\tx\n1\t1\n2\tn/a\n", {}, r"row 1: x is 'n/a', but each row needs a number; .*own\.columns"),
        ("word_index\tx\n1\t1\n2\t\n", {}, r"row 1: x is '', but each row needs a number"),
        ("word_index\tx\ty\n1\t1\t1,5\n2\t2\t2,5\n", {}, r"row 0: y is '1,5', .*; write decimals with a point"),
        ("run\tonset\tx\n1\t0,5\t1\n1\t3\t2\n", {}, r"row 0: onset is '0,5', .*; write decimals with a point"),
        ("word_index\tx\n1\t1\n9\t2\n", {}, r"row 1: word_index 9 is unknown; the story has 0 to 8"),
        ("word_index\tx\n1\t1\n1\t2\n", {}, r"row 1: word_index 1 stands twice"),
        ("word_index\tx\ty\n1\t1\t.1\n2\t2\t.1\n3\t2\t.1\n", {}, r"column y never changes; leave it out"),
        ("word_index\tx\n0\t1\n5\t2\n", {}, r"nothing of it falls on the story"),
        ("run\tonset\tx\n1\t0\t1\n3\t0\t2\n", {}, r"row 1: run 3 is unknown; the story has 1, 2"),
        ("run\tonset\tx\n1\t900\t1\n2\t901\t2\n", {}, r"nothing of it falls on the story: .* no time within a run"),
    ],
)
def test_tables_that_cannot_be_used(story, tmp_path, table, more, message):
    with pytest.raises(InputError, match=rf"features\.own: .*own\.tsv: {message}"):
        features.own_values("own", own(tmp_path, table, **more), *story)


@pytest.mark.parametrize("tr", [0.72, 1.2, 60.0])
@pytest.mark.parametrize("begin", [0.0, 1.6e9])
def test_a_sample_at_a_trs_start_on_any_clock(tmp_path, tr, begin):
    """A sample within a thousandth of a TR before its start is taken at it; one that is earlier is not."""
    trs = pd.DataFrame({"tr": range(600), "run": 1, "time": begin + tr * np.arange(600), "kept": 1})
    write_table(trs, tmp_path / "trs.tsv")
    early = np.where(np.arange(600) % 2, 0.9e-3, 10e-3) * tr
    samples = pd.DataFrame({"run": 1, "onset": np.round(tr * np.arange(600) - early, 5), "x": np.arange(600.0)})
    feature = own(tmp_path, samples)
    found = features.own_values("own", feature, None, timing.read_trs(tmp_path / "trs.tsv"))["own"]
    # Sample k, for odd k, is TR k's; k + 1 comes before the next TR. The sample before the run counts nowhere.
    assert found.to_dict() == {k: k + 0.5 for k in range(1, 599, 2)} | {599: 599.0}


def test_tables_of_other_programs_are_read_alike(story, tmp_path):
    text = "word_index\tx\n1\t1\n2\t3.5\n"
    expected = features.own_values("own", own(tmp_path, text), *story)
    for coding, line_end in (("utf-8-sig", "\n"), ("utf-16", "\r\n"), ("utf-8", "\r")):
        feature = own(tmp_path, text)
        (tmp_path / "own.tsv").write_bytes(text.replace("\n", line_end).encode(coding))
        pd.testing.assert_frame_equal(features.own_values("own", feature, *story), expected)


def test_command(story, tmp_path):
    section = own(tmp_path, "word_index\tvalue\tx_raw\n1\t1\t2\n2\t3\t4\n6\t8\t9\n").model_dump(mode="json")
    paths = {name: tmp_path / f"{name}.tsv" for name in ("words", "trs")}
    (tmp_path / "story").mkdir()
    output = tmp_path / "story/features.tsv"
    features.main(flags(**paths, output=output, features=json.dumps({"own": section}), language="en"))
    read = read_table(output, kind="features")
    pd.testing.assert_frame_equal(
        read, features.feature_table(*story, {"own": Feature(**section)}), check_dtype=False, rtol=1e-7
    )
    assert read["own_value"].tolist()[:2] == [pytest.approx(np.nan, nan_ok=True), 2]
