"""Stretches that a subject heard again: averaged or kept, never parted by folds, and the ceiling that they give."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.helpers import flags, made_scores

from dynalign import folds
from dynalign.check.findings import Findings
from dynalign.check.inputs import Inputs, _recordings
from dynalign.config.brain import Brain
from dynalign.config.encoding import Encoding
from dynalign.config.preflight import missing_files
from dynalign.config.recordings import Recording, Recordings, read_recordings
from dynalign.config.statistics import NoiseCeiling, Statistics
from dynalign.config.story import Story, Trim
from dynalign.config.study import load
from dynalign.encoding import arms, encode, readability, ridge
from dynalign.encoding.scores import write_scores
from dynalign.io.arrays import read_array, read_record
from dynalign.io.errors import InputError
from dynalign.responses import recordings as responses
from dynalign.responses import timeline
from dynalign.statistics import ceiling, repeats, shared
from dynalign.stimulus import features, timing
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

TR = 2.0
STORY = Story(trim=Trim(start=1, end=0))


def runs_of(*rows) -> Recordings:
    return Recordings(tuple(Recording(**{"subject": "S", "images": "x.npy"} | row) for row in rows))


#: Story a is heard in runs 1 and 4, b in run 3, and the end of b, which nobody hears again, in run 2.
HEARD = runs_of(
    {"run": 1, "story": "a", "images": "1.npy"},
    {"run": 2, "story": "b", "start": 12, "images": "2.npy"},
    {"run": 3, "story": "b", "images": "3.npy"},
    {"run": 4, "story": "a", "repeat": 2, "images": "4.npy"},
)
LENGTHS = [5, 3, 6, 5]


def words_of_stories() -> pd.DataFrame:
    onsets = {"a": [0.5, 2.5, 4.5, 8.5], "b": [1.0, 5.0, 10.5, 13.0]}
    parts = [pd.DataFrame({"story": story, "onset": times}) for story, times in onsets.items()]
    words = pd.concat(parts, ignore_index=True)
    words.insert(0, "word_index", np.arange(len(words)))
    return words.assign(word="on.", sentence=[0, 0, 1, 1, 2, 2, 2, 2], dropped=0)


def laid_out(keep: bool) -> tuple:
    return timeline.timeline(words_of_stories(), HEARD, LENGTHS, TR, STORY, keep)


def test_averaged_repeats_are_one_recording():
    heard, trs = laid_out(keep=False)
    assert trs["run"].tolist() == [1] * 5 + [2] * 3 + [3] * 6
    assert heard["word_index"].tolist() == [0, 1, 2, 3, 7, 4, 5, 6]
    assert "first_tr" not in trs
    assert timing.rows_of_responses(trs).tolist() == [1, 2, 3, 4, 6, 7, 9, 10, 11, 12, 13]


def test_kept_repeats_stand_side_by_side_in_the_rows_of_responses():
    heard, trs = laid_out(keep=True)
    assert trs["run"].tolist() == [1] * 5 + [2] * 3 + [3] * 6 + [4] * 5
    assert heard["word_index"].tolist() == [0, 1, 2, 3, 7, 4, 5, 6, 0, 1, 2, 3]
    assert heard["repeat"].tolist() == [1] * 8 + [2] * 4
    assert heard["tr"].tolist()[-4:] == [14, 15, 16, 18]
    assert trs["first_tr"].tolist() == [*range(14), 0, 1, 2, 3, 4]
    assert timing.rows_of_responses(trs).tolist() == [1, 15, 2, 16, 3, 17, 4, 18, 6, 7, 9, 10, 11, 12, 13]
    # A word's controls are those of its hearing: word rate, position in sentence and run.
    table = features.feature_table(heard, trs, {})
    pd.testing.assert_frame_equal(table.iloc[:5, 2:].reset_index(drop=True), table.iloc[14:, 2:].reset_index(drop=True))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "S\t1\ta\t0\t1\nS\t2\ta\t0\t\n",
            r"story 'a' from 0 s has repeat 1 \(run 1\), 1 \(run 2\); .* column `repeat`",
        ),
        ("S\t1\ta\t0\t1\nS\t2\ta\t4\t2\n", r"story 'a' from 4 s has repeat 2 \(run 2\); .* number them 1, 2, …"),
        ("S\t1\ta\t0\t1\nS\t2\ta\t0\t3\n", r"has repeat 1 \(run 1\), 3 \(run 2\)"),
        ("S\t1\ta\t0\t0\n", r"row 0: repeat: .*greater than 0"),
    ],
)
def test_repeats_that_do_not_fit_are_named(tmp_path, rows, message):
    (tmp_path / "r.tsv").write_text("subject\trun\tstory\tstart\trepeat\timages\n" + rows.replace("\n", "\tx.npy\n"))
    with pytest.raises(InputError, match=message):
        read_recordings(tmp_path / "r.tsv")


def test_repeats_have_one_length_and_other_overlaps_are_refused():
    with pytest.raises(InputError, match=r"'S': run 4 hears run 1 again, but has 4 TRs instead of 5; cut the longer"):
        timeline.timeline(words_of_stories(), HEARD, [5, 3, 6, 4], TR, STORY)
    with pytest.raises(InputError, match=r"hears word 6 of story 'b' in two runs that begin at different times"):
        timeline.timeline(words_of_stories(), runs_of(*(
            {"run": run, "story": "b", "start": start} for run, start in ((1, 0), (2, 8))
        )), [6, 3], TR, STORY)  # fmt: skip


@pytest.fixture
def measured(tmp_path):
    """Responses of runs of 40 TRs: a signal of each stretch and noise of each hearing; drift in run 4."""
    rng = np.random.default_rng(0)
    rows = [row.model_copy(update={"images": f"{tmp_path}/{row.images}"}) for row in HEARD.root]
    known = Recordings(tuple(row.model_copy(update={"start": 200.0}) if row.run == 2 else row for row in rows))
    words = pd.DataFrame(
        {"story": np.repeat(["a", "b"], [38, 140]), "onset": np.r_[2.0 * np.arange(38), 2.0 * np.arange(140)] + 1}
    )
    words = words.assign(word_index=range(178), word="on.", sentence=np.arange(178) // 4, dropped=0)
    signals = {stretch: rng.standard_normal((40, 6)) for stretch in (("a", 0.0), ("b", 200.0), ("b", 0.0))}
    values = {}
    for row in known.root:
        values[row.run] = 9 + signals[row.story, row.start] + rng.standard_normal((40, 6))
        values[row.run] += 0.2 * np.arange(40)[:, None] * (row.run == 4)
        np.save(row.images, values[row.run].astype(np.float32))
    return known, words, values


def cleaned(values):
    """A line taken out, then standardised, and trimmed."""
    t = np.column_stack([np.ones(len(values)), np.arange(len(values))])
    rest = values - t @ np.linalg.lstsq(t, values, rcond=None)[0]
    return (rest / rest.std(axis=0))[3:-1]


@pytest.mark.parametrize("way", ["average", "keep"])
def test_the_command_cleans_every_hearing_by_itself(tmp_path, measured, way):
    known, words, values = measured
    story = Story(trim=Trim(start=3, end=1))
    _, trs = timeline.timeline(words, known, [40] * 4, TR, story, way == "keep")
    write_table(trs, tmp_path / "trs.tsv")
    brain = Brain(detrend="linear", standardize=True, repeats=way)
    command = flags(trs=tmp_path / "trs.tsv", subject="S", output=tmp_path / "S.npy", options=brain.model_dump_json())
    responses.main([*command, *flags(recordings=known.model_dump_json())])
    found = read_array(tmp_path / "S.npy")
    each = {run: cleaned(value) for run, value in values.items()}
    if way == "average":
        expected = np.concatenate([(each[1] + each[4]) / 2, each[2], each[3]])
    else:
        expected = np.concatenate([np.stack([each[1], each[4]], axis=1).reshape(72, 6), each[2], each[3]])
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("n_folds", [4, "runs", "stories"])
def test_no_fold_parts_repeats(n_folds):
    """Neither outer nor inner ones, nor do the moments beside a block train."""
    lengths, known = (
        [30, 20, 30, 30],
        runs_of(*(row.model_dump() | {"start": 90 * (row.run == 2)} for row in HEARD.root)),
    )
    words = words_of_stories()
    words = pd.concat([words, words.iloc[-1:].assign(word_index=8, onset=92.0)], ignore_index=True)
    _, trs = timeline.timeline(words, known, lengths, TR, STORY, True)
    design = arms.design_of(trs, [], (1, 2))
    assert design.source[:4].tolist() == [[0, -1], [80, -1], [1, 0], [81, 80]]
    splits = arms.outer_splits(design.runs, n_folds, 3, design.stories, design.moments)
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(len(design.trs)))
    if n_folds == "runs":
        assert [sorted(set(design.runs[test])) for _, test in splits] == [[1, 4], [2], [3]]
    if n_folds == "stories":
        assert [sorted(set(design.runs[test])) for _, test in splits] == [[1, 4], [2, 3]]
    moments = design.moments
    order = {moment: place for place, moment in enumerate(dict.fromkeys(moments.tolist()))}
    place = np.array([order[moment] for moment in moments])

    def apart(train, test):
        return np.abs(place[train][:, None] - place[test]).min()

    for train, test in splits:
        assert apart(train, test) > 3
        for inside, held in ridge.inner_splits(len(moments), train, 4, 3, moments):
            assert set(inside) <= set(train)
            assert apart(inside, held) > 3
            assert set(np.flatnonzero(np.isin(moments, moments[held]))) <= set(held)


def test_what_is_memorised_of_a_hearing_does_not_score():
    """Noise that both hearings share, and vectors that tell nothing: parted repeats would let it be predicted."""
    rng = np.random.default_rng(3)
    n, runs = 60, np.repeat([1, 2, 3], 60)
    first = np.r_[np.arange(120), np.arange(60)]
    order = np.argsort(first, kind="stable")
    vectors = rng.standard_normal((120, 200))
    word_trs = np.arange(180)
    design = arms.make_design(word_trs, runs, order, (0,), moments=first)
    noise = rng.standard_normal((120, 20))
    y = np.concatenate([noise, noise[:n]])[order]
    options = Encoding(folds=4, inner_folds=3, gap=0, delays=(0,), alphas=(0.1, 1.0, 10.0))
    twice = np.concatenate([vectors, vectors[:n]])
    found = encode.encode(twice, {}, design, y, options)["none", "original"]
    assert abs(found.r.mean()) < 0.08
    parted = arms.make_design(word_trs, runs, order, (0,))
    leak = encode.encode(twice, {}, parted, y, options.model_copy(update={"folds": "runs"}))["none", "original"]
    assert leak.r[:2].mean() > 0.9


def test_permuted_labels_are_the_same_in_every_hearing():
    rng = np.random.default_rng(4)
    word_index = np.r_[np.arange(40), np.arange(10, 30)]
    sentence, codes = word_index // 5, rng.integers(0, 2, 40).astype(float)[word_index]
    codes[word_index == 12] = np.nan
    once = readability.Once.of(word_index)
    assert once.first.tolist() == list(range(40))
    control = encode._control_labels("x", codes, sentence, 0, once)
    np.testing.assert_array_equal(control[40:], control[10:30])
    np.testing.assert_array_equal(control[:40], encode._control_labels("x", codes[:40], sentence[:40], 0))
    assert np.isnan(control[[12, 42]]).all()
    # Words in the order of their hearing, not of their numbers.
    assert readability.Once.of(np.array([5, 6, 1, 5])).again.tolist() == [0, 1, 2, 0]


def test_subjects_share_first_hearings(tmp_path):
    paths = []
    for name, keep in (("S", True), ("T", False)):
        _, trs = laid_out(keep)
        write_table(trs, tmp_path / f"{name}.trs.tsv")
        paths.append(str(tmp_path / f"{name}.trs.tsv"))
    one, other = shared.shared_rows(paths)
    assert one.tolist() == [0, 2, 4, 6, *range(8, 15)]
    assert other.tolist() == list(range(11))


def planted(rng, n_hearings: int, share: float, n_trs=400, n_voxels=50):
    """Hearings of a signal whose share of the variance is known, and the signal."""
    signal = rng.standard_normal((n_trs, n_voxels))
    noise = rng.standard_normal((n_hearings, n_trs, n_voxels))
    return np.sqrt(share) * signal + np.sqrt(1 - share) * noise, signal


def explainable_variance_of_the_tutorials(data) -> np.ndarray:
    """Of z-scored hearings × TRs, one voxel at a time: variance of the mean over mean variance, corrected for bias."""
    found = []
    for voxel in np.moveaxis(data, 2, 0):
        z = [(one - one.mean()) / one.std() for one in voxel]
        of_mean = np.var(np.mean(z, axis=0), ddof=1)
        mean_of = np.mean([np.var(one, ddof=1) for one in z])
        plain = of_mean / mean_of
        found.append(plain - (1 - plain) / (len(z) - 1))
    return np.array(found)


def hearings_of(data):
    everywhere = np.ones(data.shape[1], dtype=bool)
    return [(everywhere, one) for one in data]


@pytest.mark.parametrize("n_hearings", [2, 3, 10])
def test_explainable_variance_is_that_of_the_tutorials(n_hearings):
    data, _ = planted(np.random.default_rng(5), n_hearings, 0.3)
    data = data * 7 + 100
    found = repeats.measure(hearings_of(data), np.ones(400, dtype=int), keep=False)
    np.testing.assert_allclose(
        repeats.explainable_variance(found), explainable_variance_of_the_tutorials(data), atol=1e-6
    )
    assert found.parts.tolist() == [1 / n_hearings] * 400


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_planted_explainable_variance_is_found_without_bias(share):
    rng = np.random.default_rng(6)
    means = []
    for _ in range(30):
        data, _ = planted(rng, 2, share, n_trs=200)
        # The second hearing of a run is longer ago: two runs, of which one was heard thrice.
        runs = np.repeat([1, 2], 100)
        third = (runs == 2, planted(rng, 1, 0, n_trs=100)[0][0])
        found = repeats.measure(hearings_of(data), runs, keep=True)
        means.append(repeats.explainable_variance(found).mean())
        assert found.parts.tolist() == [1.0] * 400
        assert repeats.measure([*hearings_of(data), third], runs, keep=True).n_hearings == 3
    assert np.mean(means) == pytest.approx(share, abs=0.012)


def test_hearings_of_some_stretches_count_where_they_were_heard():
    """By a naive loop over pairs; a voxel that is constant in a hearing has no ceiling."""
    rng = np.random.default_rng(7)
    runs = np.repeat([1, 2, 3], [30, 40, 50])
    whole = rng.standard_normal((120, 4))
    second, third = rng.standard_normal((70, 4)) + whole[:70], rng.standard_normal((40, 4)) + whole[30:70]
    second[:30, 2] = 5.0
    parts = [(runs > 0, whole), (runs < 3, second), (runs == 2, third)]
    found = repeats.measure(parts, runs, keep=False, block=10)
    product, square = np.zeros(4), np.zeros(4)
    for run, rows, given in ((1, 30, [whole[:30], second[:30]]), (2, 40, [whole[30:70], second[30:], third])):
        with np.errstate(invalid="ignore"):
            z = [(one - one.mean(axis=0)) / one.std(axis=0) for one in given]
        pairs = [z[i] * z[j] for i in range(len(z)) for j in range(i)]
        product += rows / 70 * np.mean(pairs, axis=(0, 1))
        square += rows / 70 * np.mean(np.square(z), axis=(0, 1))
        assert run
    np.testing.assert_allclose(repeats.explainable_variance(found), product / square, atol=1e-6)
    assert np.isnan(repeats.explainable_variance(found)[2])
    assert (found.n_trs, found.n_hearings, len(found.weights)) == (70, 3, 7)
    assert found.parts.tolist() == [1 / 2] * 30 + [1 / 3] * 40 + [1.0] * 50
    with pytest.raises(InputError, match="nothing was heard again"):
        repeats.measure(parts[:1], runs, keep=False)
    with pytest.raises(
        InputError, match=r"30 TRs were heard again, which is 1 block of 30, .* lower statistics\.block"
    ):
        repeats.measure([parts[0], (runs == 1, second[:30])], runs, keep=False, block=30)


@pytest.mark.parametrize(("n_hearings", "keep"), [(2, False), (2, True), (5, False)])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_perfect_model_reaches_the_ceiling(n_hearings, keep, share):
    """r of the signal itself over the ceiling of voxels that are all explainable, chosen by a threshold."""
    rng = np.random.default_rng(8)
    fold, ratios, covered = np.repeat(np.arange(4), 100).astype(np.int16), [], []
    cells = np.repeat(fold, n_hearings) if keep else fold
    for _ in range(20):
        data, signal = planted(rng, n_hearings, share)
        truth, y = signal, data.mean(axis=0)
        if keep:
            truth, y = np.repeat(signal, n_hearings, axis=0), np.moveaxis(data, 0, 1).reshape(len(cells), -1)
        products = np.empty_like(y)
        for number in range(4):
            rows = cells == number
            products[rows] = stats.zscore(truth[rows]) * stats.zscore(y[rows])
        blocks = [
            products[cells == k][part].mean(axis=0) for k in range(4) for part in folds.blocks(sum(cells == k), 20)
        ]
        scores = made_scores([products[cells == k].mean(axis=0) for k in range(4)], cells)
        scores = replace(scores, blocks=np.array(blocks, dtype=np.float16))
        measured = repeats.measure(hearings_of(data), np.ones(400, dtype=int), keep)
        limit = repeats.ceiling(repeats.explainable_variance(measured), measured.parts, cells)
        row = ceiling.repeats_ratio_row(scores, measured, limit > 0.1, Statistics(), 5)
        ratios.append(row["ratio"])
        covered.append(row["ci_low"] < 1 < row["ci_high"])
    assert np.mean(ratios) == pytest.approx(1, abs=0.04)
    assert np.mean(covered) > 0.9


def test_the_jackknife_is_the_scatter_of_the_mean_ceiling():
    rng = np.random.default_rng(9)
    fold, means, widths = np.zeros(300, dtype=int), [], []
    for _ in range(150):
        data, _ = planted(rng, 2, 0.3, n_trs=300, n_voxels=5)
        measured = repeats.measure(hearings_of(data), np.ones(300, dtype=int), False)
        mean, half = repeats.mean_ceiling(measured, fold, np.ones(5, dtype=bool), 0.05)
        means.append(mean)
        widths.append(half)
    assert np.mean(widths) == pytest.approx(2.14 * np.std(means), rel=0.2)
    expected = np.sqrt(0.3 / (0.3 + 0.7 / 2))
    assert np.mean(means) == pytest.approx(expected, abs=0.01)


def test_the_ceiling_of_repeats_in_the_tables(tmp_path, measured):
    known, words, values = measured
    story = Story(trim=Trim(start=3, end=1))
    _, trs = timeline.timeline(words, known, [40] * 4, TR, story, False)
    write_table(trs, tmp_path / "trs.tsv")
    brain = Brain(detrend="linear", standardize=True)
    command = flags(subject="S", trs=tmp_path / "trs.tsv", options=brain.model_dump_json(), block=12)
    ceiling.main(["repeated", *command, *flags(recordings=known.model_dump_json(), output=tmp_path / "S.npz")])
    found = read_record(tmp_path / "S.npz", repeats.Repeats)
    pair = np.stack([cleaned(values[1]), cleaned(values[4])])
    expected = explainable_variance_of_the_tutorials(pair)
    np.testing.assert_allclose(repeats.explainable_variance(found), expected, atol=1e-5)
    # Kept hearings give the same, of rows that are no means.
    _, kept = timeline.timeline(words, known, [40] * 4, TR, story, True)
    write_table(kept, tmp_path / "kept.tsv")
    more = flags(
        subject="S", trs=tmp_path / "kept.tsv", options=brain.model_copy(update={"repeats": "keep"}).model_dump_json()
    )
    ceiling.main(["repeated", *more, *flags(recordings=known.model_dump_json(), output=tmp_path / "K.npz", block=12)])
    again = read_record(tmp_path / "K.npz", repeats.Repeats)
    np.testing.assert_array_equal(again.product, found.product)
    assert again.parts.tolist() == [1.0] * 144
    fold = np.repeat(np.arange(3), 36).astype(np.int16)
    scores = made_scores(np.full((3, 6), 0.3), fold, block=12)
    write_scores(tmp_path / "encoding/step-4/S/layer-0/none.original.npz", scores)
    table = pd.DataFrame([["step-4", 4, 0, "none", "original", "S"]], columns=[*ceiling.CELL, "subject"])
    table = table.assign(mean_r=0.3, ci_low=0, ci_high=1, inner_score=0, n_voxels=6, n_invalid=0, share_significant=0)
    write_table(table, tmp_path / "alignment.tsv")
    ratio = flags(subject="S", n_others=0, gap=2, ceiling=tmp_path / "S.npz", folder=tmp_path / "encoding")
    ratio += flags(alignment=tmp_path / "alignment.tsv", ceiling_output=tmp_path / "tables/noise_ceiling.tsv")
    ratio += flags(options=NoiseCeiling(threshold=0.3).model_dump_json(), own_trs=tmp_path / "trs.tsv")
    ratio += flags(statistics=Statistics(block=12).model_dump_json(), output=tmp_path / "r.tsv")
    ceiling.main(["ratio", *ratio])
    row = read_table(tmp_path / "tables/noise_ceiling.tsv").iloc[0]
    # A third of the rows are means of two hearings.
    limit = (np.sqrt(expected / (expected + (1 - expected) / 2)) + 2 * np.sqrt(expected)) / 3
    assert row["mean_r"] == pytest.approx(limit.mean(), abs=1e-5)
    assert row["explainable_variance"] == pytest.approx(expected.mean(), abs=1e-5)
    assert (row["n_others"], row["n_hearings"], row["n_trs"], row["n_trs_left_out"]) == (0, 2, 36, 72)
    assert row["n_above"] == (limit > 0.3).sum()
    cell = read_table(tmp_path / "r.tsv").iloc[0]
    assert cell["ratio"] == pytest.approx(0.3 / limit[limit > 0.3].mean(), abs=1e-5)
    assert cell["ci_low"] < cell["ratio"] < cell["ci_high"]


def test_the_check_cuts_the_ceilings_folds(tmp_path, monkeypatch):
    """Two subjects share one story, which cannot be cut into folds by story."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).standard_normal((30, 4)))
    words = pd.DataFrame({"story": np.repeat(["a", "b", "c"], 29), "onset": np.tile(2.0 * np.arange(29) + 1, 3)})
    words.assign(word="on.").to_csv("w.tsv", sep="\t", index=False)
    lines = ["subject\trun\tstory\timages", *(f"{one}\t{run}\t{story}\tx.npy" for one, run, story in (
        ("S", 1, "a"), ("S", 2, "b"), ("T", 1, "a"), ("T", 2, "c")
    ))]  # fmt: skip
    (tmp_path / "r.tsv").write_text("\n".join(lines) + "\n")
    study = {"subjects": ["S", "T"], "recordings": "r.tsv", "noise_ceiling": {"compute": True}}
    study |= {
        "story": {"layout": "recordings", "download": None, "words": "w.tsv", "tr": TR, "trim": {"start": 2, "end": 2}}
    }
    for folds_by, problems in (("stories", 1), (2, 0)):
        inputs, found = Inputs(), Findings()
        _recordings(load(study | {"encoding": {"folds": folds_by}}), inputs, found)
        assert len(found.problems) == problems
        if problems:
            expected = (
                "noise_ceiling.compute: subject 'S', on the 26 TRs that all subjects have: encoding.folds: 'stories'"
            )
            assert found.problems[0].startswith(expected)
        else:
            assert "noise ceiling: on the 26 TRs that all subjects have" in found.screen()


def test_one_subject_needs_repeats_for_a_ceiling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x.npy", "w.tsv"):
        (tmp_path / name).touch()
    study = {"subjects": ["S"], "recordings": "r.tsv", "noise_ceiling": {"compute": True}}
    study |= {"story": {"layout": "recordings", "download": None, "words": "w.tsv", "tr": TR}}
    study |= {"model": {"source": "hub/model"}}
    header = "subject\trun\tstory\trepeat\timages\n"
    (tmp_path / "r.tsv").write_text(header + "S\t1\ta\t1\tx.npy\n")
    (problem,) = missing_files(load(study))
    assert problem.startswith("noise_ceiling.compute: needs a second subject, or repeats in r.tsv; subject 'S' is the")
    (tmp_path / "r.tsv").write_text(header + "S\t1\ta\t1\tx.npy\nS\t2\ta\t2\tx.npy\n")
    assert missing_files(load(study)) == []
    assert json.loads(read_recordings("r.tsv").model_dump_json())[1]["repeat"] == 2
