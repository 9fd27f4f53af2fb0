"""Confounds: what was planted goes, what was not stays; against nilearn and least squares; wrong tables are named."""

import json

import numpy as np
import pandas as pd
import pytest
from tests.helpers import flags

from dynalign.check.findings import Findings
from dynalign.check.inputs import Inputs, _recordings
from dynalign.config.brain import Brain
from dynalign.config.preflight import missing_files
from dynalign.config.recordings import Recording, Recordings, with_recordings
from dynalign.config.story import Story, Trim
from dynalign.config.study import load
from dynalign.io.arrays import read_array
from dynalign.io.errors import InputError
from dynalign.io.images import write_image
from dynalign.responses import recordings, timeline
from dynalign.responses.confounds import Regressors, read_confounds, read_runs
from dynalign.tables.writer import write_table

TR, LENGTHS = 2.0, (120, 100)
RUNS = np.repeat([1, 2], LENGTHS)
MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
FULL = [f"{name}{end}" for name in MOTION for end in ("", "_derivative1", "_power2", "_derivative1_power2")]


def given(values, steady=None, source="confounds.tsv") -> Regressors:
    steady = np.ones(len(values), dtype=bool) if steady is None else steady
    return Regressors(source, [f"c{k}" for k in range(values.shape[1])], values, steady)


def cosines(n: int, period: float) -> np.ndarray:
    """As in SPM: DCT-II with periods longer than `period` s."""
    order = int(np.floor(2 * n * TR / period))
    return np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(1, order + 1)) / n)


def residuals(values, *regressors):
    """Least squares against regressors and a mean."""
    design = np.column_stack([np.ones(len(values)), *regressors])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


@pytest.fixture
def planted():
    """Two runs of movement, a slow drift and a signal; what moves and drifts lies in all but the last voxel."""
    rng = np.random.default_rng(0)
    moved = {run: rng.standard_normal((n, 6)).cumsum(axis=0) for run, n in zip((1, 2), LENGTHS, strict=True)}
    signal = np.sin(2 * np.pi * np.arange(len(RUNS))[:, None] * TR / np.array([5, 6, 7, 8, 9]))
    responses = 900 + signal
    for run, n in zip((1, 2), LENGTHS, strict=True):
        drift = 9 * np.cos(np.pi * 2 * (np.arange(n) + 0.5) / n)[:, None]
        responses[run == RUNS, :4] += moved[run] @ rng.standard_normal((6, 4)) + drift
    return responses, {run: given(values) for run, values in moved.items()}, signal


@pytest.mark.parametrize("detrend", ["none", "linear", "cosine"])
def test_cleaning_is_one_regression(planted, detrend):
    """Of responses on confounds, drift and mean together, run by run."""
    responses, confounds, _ = planted
    cleaned = recordings.clean_runs(responses, RUNS, TR, Brain(detrend=detrend), confounds)
    for run, n in zip((1, 2), LENGTHS, strict=True):
        drift = {"none": np.empty((n, 0)), "linear": np.arange(n)[:, None], "cosine": cosines(n, 128)}[detrend]
        expected = residuals(responses[run == RUNS], confounds[run].columns, drift)
        np.testing.assert_allclose(cleaned[run == RUNS], expected, atol=1e-9)


def test_planted_movement_goes_and_signal_stays(planted):
    responses, confounds, signal = planted
    brain = Brain(detrend="cosine", standardize=True)
    before = recordings.clean_runs(responses, RUNS, TR, brain)
    cleaned = recordings.clean_runs(responses, RUNS, TR, brain, confounds)
    for run in (1, 2):
        rows = run == RUNS
        both = np.corrcoef(cleaned[rows].T, confounds[run].columns.T)[:5, 5:]
        assert np.abs(both).max() < 1e-8
        kept = [np.corrcoef(cleaned[rows, v], signal[rows, v])[0, 1] for v in range(5)]
        lost = [np.corrcoef(before[rows, v], signal[rows, v])[0, 1] for v in range(4)]
        assert min(kept) > 0.95
        assert max(lost) < 0.9
        np.testing.assert_allclose(cleaned[rows].std(axis=0), 1, atol=1e-12)


@pytest.mark.parametrize("detrend", ["linear", "cosine"])
def test_cleaning_is_nilearns(detrend):
    from nilearn.signal import clean

    rng = np.random.default_rng(1)
    responses, values = rng.standard_normal((100, 8)), rng.standard_normal((100, 5))
    steady = np.arange(100) >= 3
    cleaned = recordings.clean_runs(
        responses, np.ones(100, dtype=int), TR, Brain(detrend=detrend), {1: given(values, steady)}
    )
    drift = {"filter": "cosine", "high_pass": 1 / 128, "t_r": TR} if detrend == "cosine" else {"filter": False}
    expected = clean(
        responses, detrend=detrend == "linear", standardize=None, confounds=values,
        sample_mask=np.flatnonzero(steady), **drift,
    )  # fmt: skip
    np.testing.assert_allclose(cleaned[3:], expected - expected.mean(axis=0), atol=1e-12)
    assert np.isnan(cleaned[:3]).all()


def test_drift_goes_where_a_confound_looks_like_it():
    """A head that sinks slowly; nilearn leaves its own cosines out then, and so the faster drift in."""
    n = 120
    sinks = np.cos(np.pi * (np.arange(n) + 0.5) / n)[:, None] + 1e-3 * np.random.default_rng(0).standard_normal((n, 1))
    faster = np.cos(np.pi * 3 * (np.arange(n) + 0.5) / n)[:, None]
    noise = np.random.default_rng(1).standard_normal((n, 1))
    cleaned = recordings.clean_runs(
        noise + 50 * faster, np.ones(n, dtype=int), TR, Brain(detrend="cosine"), {1: given(sinks)}
    )
    np.testing.assert_allclose(cleaned, residuals(noise, sinks, cosines(n, 128)), atol=1e-9)


@pytest.mark.parametrize("detrend", ["none", "linear", "cosine"])
def test_without_confounds_nothing_changes(planted, detrend):
    """To the bit: what was cleaned before need not be encoded again."""
    from nilearn.signal import clean

    responses = planted[0].astype(np.float32).astype(float)
    drift = {"filter": "cosine", "high_pass": 1 / 128, "t_r": TR} if detrend == "cosine" else {"filter": False}
    cleaned = recordings.clean_runs(responses, RUNS, TR, Brain(detrend=detrend))
    for run in (1, 2):
        block = responses[run == RUNS]
        if detrend != "none":
            block = clean(block, detrend=detrend == "linear", standardize=None, **drift)
            block = block - block.mean(axis=0)
        assert (cleaned[run == RUNS] == block).all()


def test_confounds_of_one_voxels_kind_leave_constants_constant():
    values = np.random.default_rng(0).standard_normal((60, 3))
    responses = np.column_stack([np.full(60, 1000.1), 500 + values @ [1, 2, 3]])
    cleaned = recordings.clean_runs(responses, np.ones(60, dtype=int), TR, Brain(standardize=True), {1: given(values)})
    assert (cleaned == 0).all()
    with pytest.raises(InputError, match=r"confounds\.tsv: 58 confounds, .* leave nothing of 60 volumes; take fewer"):
        recordings.clean_runs(
            responses, np.ones(60, dtype=int), TR, Brain(), {1: given(np.random.default_rng(0).random((60, 58)))}
        )


def fmriprep(folder, n_unsteady: int = 0, change=lambda table: table, **more):
    """Tables of confounds as fMRIPrep writes them: derivatives begin with n/a. Gives what each holds."""
    import pandas as pd

    rng = np.random.default_rng(2)
    tables = {}
    for run, n in zip((1, 2), LENGTHS, strict=True):
        table = pd.DataFrame(rng.standard_normal((n, 6)).cumsum(axis=0), columns=MOTION)
        for name in ("csf", "white_matter", "global_signal"):
            table[name] = 500 + rng.standard_normal(n)
        for name in list(table):
            table[f"{name}_derivative1"] = table[name].diff()
        for name in list(table):
            table[f"{name}_power2"] = table[name] ** 2
        table = table.rename(columns=lambda name: name.replace("_power2_derivative1", "_derivative1_power2"))
        table["framewise_displacement"] = table["trans_x"].diff().abs()
        for k in range(3):
            table[f"a_comp_cor_{k:02d}"] = rng.standard_normal(n)
        for k, cosine in enumerate(cosines(n, 128).T):
            table[f"cosine{k:02d}"] = cosine
        for k in range(n_unsteady):
            table[f"non_steady_state_outlier{k:02d}"] = np.where(np.arange(n) == k, 1.0, 0.0)
        tables[run] = table
        written = change(table.copy()) if run == 2 else table
        name = folder / f"sub-S_task-x_run-{run}_desc-confounds_timeseries"
        written.to_csv(f"{name}.tsv", sep="\t", index=False, na_rep="n/a")
        about = {f"a_comp_cor_{k:02d}": {"Mask": "combined" if k else "WM"} for k in range(3)}
        name.with_suffix(".json").write_text(json.dumps(about))
    files = f"{folder}/sub-{{subject}}_task-x_run-{{run}}_desc-confounds_timeseries.tsv"
    return tables, Brain(confounds={"files": files} | more)


KEPT = np.ones(len(RUNS), dtype=bool)


def read(brain, kept=KEPT, rows=None):
    rows = np.arange(len(RUNS)) if rows is None else rows
    return read_runs(brain, "S", RUNS, kept, rows)


@pytest.mark.parametrize(
    ("strategy", "columns"),
    [
        (
            {"strategy": ["motion", "high_pass", "wm_csf"]},
            [*FULL, "csf", "white_matter"],
        ),
        ({"strategy": ["motion"], "motion": "basic"}, MOTION),
        ({"strategy": ["global_signal"], "global_signal": "power2"}, ["global_signal", "global_signal_power2"]),
        ({"strategy": ["high_pass", "compcor"], "n_compcor": 1}, ["a_comp_cor_01"]),
        ({"strategy": ["high_pass", "compcor"]}, ["a_comp_cor_01", "a_comp_cor_02"]),
    ],
)  # fmt: skip
def test_a_strategy_takes_fmripreps_columns(tmp_path, capsys, strategy, columns):
    tables, confounds = fmriprep(tmp_path, **strategy)
    found = read(confounds)
    for run, table in tables.items():
        drift = [name for name in table if name.startswith("cosine") and "high_pass" in strategy["strategy"]]
        assert sorted(found[run].names) == sorted([*columns, *drift])
        expected = table[found[run].names].bfill()
        np.testing.assert_allclose(found[run].columns, expected, rtol=1e-12)
        assert found[run].steady.all()
        said = f"run-{run}_desc-confounds_timeseries.tsv: {len(columns) + len(drift)} confounds are taken out ("
        assert said in capsys.readouterr().err if run == 2 else True


def test_columns_by_name_are_taken_in_order(tmp_path):
    names = ["rot_x", "framewise_displacement", "csf"]
    tables, confounds = fmriprep(tmp_path, columns=names)
    found = read(confounds)
    for run, table in tables.items():
        assert found[run].names == names
        np.testing.assert_allclose(found[run].columns, table[names].bfill(), rtol=1e-12)


def test_volumes_before_the_steady_state_have_no_part(tmp_path):
    """They must be trimmed; the fit is that of the others."""
    tables, confounds = fmriprep(tmp_path, n_unsteady=2, strategy=["motion"])
    with pytest.raises(InputError, match=r"run-1.*volume 1 is marked as not in steady state.*story\.trim\.start to 2"):
        read(confounds)
    kept = KEPT.copy()
    kept[[0, 1, 120, 121]] = False
    found = read(confounds, kept)
    assert found[1].steady.tolist() == [False, False, *[True] * 118]
    responses = np.random.default_rng(0).standard_normal((len(RUNS), 3))
    responses[~kept] += 1e4
    cleaned = recordings.clean_runs(responses, RUNS, TR, Brain(), found)
    for run in (1, 2):
        rows = kept & (run == RUNS)
        expected = residuals(responses[rows], found[run].columns[2:])
        np.testing.assert_allclose(cleaned[rows], expected, atol=1e-9)
    # Images without these volumes, whose tables are whole or are cut alike.
    for whole in (True, False):
        for run in (1, 2):
            path = tmp_path / f"sub-S_task-x_run-{run}_desc-confounds_timeseries.tsv"
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(lines if whole else [lines[0], *lines[3:]]))
        trimmed = read(confounds, kept, np.flatnonzero(kept))
        np.testing.assert_allclose(trimmed[2].columns[1:], tables[2][trimmed[2].names].to_numpy()[3:], rtol=1e-12)
    with pytest.raises(InputError, match=r"run-1.*118 rows, but the image of run 1 has 120 volumes"):
        read(confounds, kept)


def cell(row: int, name: str, value):
    def change(table):
        table[name] = table[name].astype(object)
        table.loc[row, name] = value
        return table

    return change


@pytest.mark.parametrize(
    ("more", "change", "message"),
    [
        ({"columns": ["csf", "rot_w"]}, lambda table: table, r"run-1.*lacks column 'rot_w'; it has trans_x"),
        ({"columns": ["csf"]}, lambda table: table.drop(columns="csf"), r"run-2.*lacks column 'csf'"),
        ({"columns": ["csf"]}, lambda table: table[:-1], r"run-2.*99 rows, but run 2 has 100 TRs, .* each volume"),
        ({"columns": ["csf"]}, cell(7, "csf", np.nan), r"run-2.*row 7: csf is 'n/a', but each row needs a number; f"),
        ({"columns": ["csf"]}, cell(7, "csf", "1,5"), r"run-2.*row 7: csf is '1,5', .*decimals with a point"),
        ({"columns": ["csf"]}, cell(7, "csf", "inf"), r"run-2.*row 7: csf is 'inf'"),
        ({"columns": ["csf"]}, lambda table: table.assign(csf=table["csf"].where(table.index > 1)), r"run-2.*row 0"),
        ({"strategy": ["motion"]}, cell(9, "rot_x", np.nan), r"run-2.*row 9: rot_x is '', but each"),
        ({"strategy": ["motion"]}, lambda table: table[:-1], r"run-2.*99 rows, but run 2 has 100 TRs"),
        (
            {"strategy": ["motion"]}, lambda table: table.drop(columns="rot_x"),
            r"run-2.*not all that brain\.confounds\.strategy asks for is there: .*rot_x",
        ),
        (
            {"strategy": ["wm_csf"]}, lambda table: table.drop(columns="csf"),
            r"run-2.*not all that brain\.confounds\.strategy asks for is there: .*csf",
        ),
        (
            {"strategy": ["high_pass"]}, lambda table: table[[name for name in table if "cosine" not in name]],
            r"run-2.*has `high_pass`, but there are no columns cosine00",
        ),
    ],
)  # fmt: skip
def test_a_wrong_table_is_named(tmp_path, more, change, message):
    _, confounds = fmriprep(tmp_path, change=change, **more)
    with pytest.raises(InputError, match=message):
        read(confounds)


def test_what_compcor_needs_is_named(tmp_path):
    _, confounds = fmriprep(tmp_path, strategy=["high_pass", "compcor"])
    (tmp_path / "sub-S_task-x_run-2_desc-confounds_timeseries.json").unlink()
    with pytest.raises(InputError, match=r"run-2.*asks for is there: .*json"):
        read(confounds)
    (tmp_path / "sub-S_task-x_run-1_desc-confounds_timeseries.tsv").unlink()
    with pytest.raises(InputError, match=r"run-1_desc-confounds_timeseries\.tsv: no such file"):
        read_confounds(confounds, "S", 1, KEPT[RUNS == 1])


@pytest.mark.parametrize(
    ("confounds", "message"),
    [
        ({"files": "{subject}.tsv"}, r"brain\.confounds: needs either columns or strategy; got none"),
        ({"files": "{subject}.tsv", "columns": ["a"], "strategy": ["motion"]}, r"confounds: needs either .*; got both"),
        ({"files": "{subject}{run}.tsv", "strategy": ["scrub"]}, r"strategy: `scrub` leaves .* a table of recordings"),
        ({"files": "{subject}.tsv", "strategy": ["motions"]}, r"strategy\.0: Input should be 'motion', 'high_pass'"),
        ({"files": "{subject}.tsv", "strategy": ["compcor"]}, r"strategy: `compcor` needs `high_pass`"),
        ({"files": "run-{run}.tsv", "columns": ["a"]}, r"files: 'run-\{run\}\.tsv' lacks \{subject\}"),
        ({"files": "{subject}.tsv", "columns": ["a"]}, r"brain\.confounds\.files: '\{subject\}\.tsv' lacks \{run\}"),
        ({"columns": ["a"]}, r"brain\.confounds\.files: layout 'table' needs the path of each run's table"),
        ({"files": "{subject}.tsv", "columns": ["a"], "colums": []}, r"confounds\.colums: .*mean 'columns'"),
    ],
)  # fmt: skip
def test_mistakes_of_the_section_are_named(confounds, message):
    story = {"layout": "table", "download": None, "words": "w.tsv", "tr": 2, "trs": [9, 9]}
    brain = {"images": "{subject}{run}.nii", "mask": "mask.nii", "confounds": confounds}
    with pytest.raises(InputError, match=message):
        load({"story": story, "brain": brain})


def test_a_table_of_recordings_names_each_runs_confounds(tmp_path, monkeypatch):
    """Run numbers of a subject's own, files called as they like; against the same files by their path."""
    _, by_path = fmriprep(tmp_path, strategy=["motion"])
    name = "sub-S_task-x_run-{}_desc-confounds_timeseries".format
    rows = []
    for run, other in ((4, 2), (3, 1)):
        for end in ("tsv", "json"):
            (tmp_path / f"c{run}.{end}").write_bytes((tmp_path / f"{name(other)}.{end}").read_bytes())
        rows.append(
            {"subject": "S", "run": run, "story": "a", "images": "x.npy", "confounds": f"{tmp_path}/c{run}.tsv"}
        )
    recorded = Recordings(tuple(Recording(**row) for row in rows))
    brain = with_recordings(Brain(confounds={"strategy": ["motion"]}), recorded)
    found = read_runs(brain, "S", RUNS + 2, KEPT, np.arange(len(RUNS)))
    for run, expected in read(by_path).items():
        assert found[run + 2].names == expected.names
        np.testing.assert_array_equal(found[run + 2].columns, expected.columns)
    # What does not fit is told before anything runs.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npy").touch()
    (tmp_path / "w.tsv").write_text("story\tonset\tword\n")
    lines = ["subject\trun\tstory\timages\tconfounds", "S\t1\ta\tx.npy\tc3.tsv", "S\t2\tb\tx.npy\t"]
    study = {"subjects": ["S"], "recordings": "r.tsv", "model": {"source": "hub/model"}}
    study["story"] = {"layout": "recordings", "download": None, "words": "w.tsv", "tr": TR}
    takes = study | {"brain": {"confounds": {"columns": ["csf"]}}}
    (tmp_path / "r.tsv").write_text("\n".join(lines) + "\n")
    (problem,) = missing_files(load(takes))
    assert "r.tsv: run 2 of subject 'S' has no confounds, which brain.confounds takes out of every run" in problem
    (problem,) = missing_files(load(study))
    assert "r.tsv: has confounds, but brain.confounds does not say which are taken out" in problem
    (tmp_path / "r.tsv").write_text("\n".join([lines[0], lines[1].replace("c3", "c5")]) + "\n")
    (problem,) = missing_files(load(takes))
    assert "recordings: no such file c5.tsv (subject 'S', run 1)" in problem
    with pytest.raises(InputError, match=r"brain\.confounds\.files: not read with a table of recordings, whose column"):
        load(study | {"brain": {"confounds": {"files": "{subject}{run}.tsv", "columns": ["csf"]}}})


def moved(table):
    """Motion at rows 20 and 24 (three volumes between), and a jump of the signal at 60."""
    table["framewise_displacement"] = np.where(np.isin(np.arange(len(table)), [20, 24]), 0.9, 0.1)
    table["std_dvars"] = np.where(np.arange(len(table)) == 60, 2.0, 1.0)
    return table


def test_scrubbed_volumes_have_no_part_in_anything(tmp_path):
    """Neither of what is kept nor of the fit: against least squares on the others, drift by its true time."""
    tables, _ = fmriprep(tmp_path, strategy=["motion"])
    name = "sub-S_task-x_run-{}_desc-confounds_timeseries".format
    rng = np.random.default_rng(8)
    rows, values = [], {}
    for run, table in tables.items():
        (moved(table) if run == 2 else table.assign(std_dvars=1.0, framewise_displacement=0.1)).to_csv(
            tmp_path / f"{name(run)}.tsv", sep="\t", index=False, na_rep="n/a"
        )
        values[run] = rng.standard_normal((len(table), 3)) + np.outer(np.arange(len(table)), [1, 2, 3])
        values[run] += 5 * table[MOTION].to_numpy() @ rng.standard_normal((6, 3))
        if run == 2:
            values[run][[20, 21, 22, 23, 24, 60]] += 1e4
        np.save(tmp_path / f"{run}.npy", values[run])
        files = {"images": f"{tmp_path}/{run}.npy", "confounds": f"{tmp_path}/{name(run)}.tsv"}
        rows.append(Recording(subject="S", run=run, story="ab"[run - 1], **files))
    known = Recordings(tuple(rows))
    strategy = {"strategy": ["motion", "scrub"], "motion": "basic"}
    brain = Brain(confounds=strategy, detrend="linear")
    gone = timeline.scrubbed(brain, known, LENGTHS)
    assert np.flatnonzero(gone[2]).tolist() == [20, 21, 22, 23, 24, 60]
    assert not gone[1].any()
    short = Brain(confounds=strategy | {"scrub": 0, "std_dvars_threshold": 3})
    assert np.flatnonzero(timeline.scrubbed(short, known, LENGTHS)[2]).tolist() == [20, 24]
    assert timeline.scrubbed(Brain(confounds={"columns": ["csf"]}), known, LENGTHS) == {}
    words = pd.DataFrame({"story": np.repeat(["a", "b"], 90), "onset": np.tile(2.0 * np.arange(90) + 1, 2)})
    words = words.assign(word_index=range(180), word="on.", sentence=np.arange(180), dropped=0)
    story = Story(trim=Trim(start=2, end=1))
    heard, trs = timeline.timeline(words, known, LENGTHS, TR, story, False, gone)
    left = np.setdiff1d(np.arange(2, 99), [20, 21, 22, 23, 24, 60])
    assert trs.loc[(trs["run"] == 2) & (trs["kept"] == 1), "tr"].tolist() == (120 + left).tolist()
    # Words that are heard in them stay, for the responses that follow.
    assert len(heard) == 180
    write_table(trs, tmp_path / "trs.tsv")
    command = flags(trs=tmp_path / "trs.tsv", subject="S", output=tmp_path / "S.npy", options=brain.model_dump_json())
    recordings.main([*command, *flags(recordings=known.model_dump_json())])
    fitted = ~gone[2]
    expected = np.zeros((100, 3))
    expected[fitted] = residuals(values[2][fitted], tables[2][MOTION].to_numpy()[fitted], np.arange(100.0)[fitted])
    np.testing.assert_allclose(read_array(tmp_path / "S.npy")[117:], expected[left], atol=2e-4)
    with pytest.raises(
        InputError, match=r"'S', run 2: brain\.confounds \(scrub\) and story\.trim leave none of 100 TRs"
    ):
        timeline.timeline(words, known, LENGTHS, TR, story, False, gone | {2: np.ones(100, dtype=bool)})
    with pytest.raises(InputError, match=r"run-2.*100 rows, but run 2 has 99 volumes"):
        timeline.scrubbed(brain, known, (120, 99))
    # The check reads the same.
    words[["story", "onset", "word"]].to_csv(tmp_path / "words.tsv", sep="\t", index=False)
    table = pd.DataFrame([one.model_dump(exclude={"start", "tr", "mask"}) for one in known.root])
    table.to_csv(tmp_path / "recordings.tsv", sep="\t", index=False)
    study = {"subjects": ["S"], "recordings": f"{tmp_path}/recordings.tsv", "brain": {"confounds": strategy}}
    study["story"] = story.model_dump() | {"layout": "recordings", "download": None, "tr": TR}
    study["story"]["words"] = f"{tmp_path}/words.tsv"
    inputs, found = Inputs(), Findings()
    _recordings(load(study), inputs, found)
    assert found.problems == []
    assert "S: 2 runs of 2 stories, 220 TRs of 2 s (208 after trimming and scrubbing), 3 voxels" in found.screen()


@pytest.mark.parametrize("keep", [True, False])
def test_a_moment_goes_where_one_of_its_hearings_does(keep):
    words = pd.DataFrame({"story": "a", "onset": 2.0 * np.arange(9) + 1, "word_index": range(9), "word": "on."})
    rows = [Recording(subject="S", run=run, story="a", images="x.npy", repeat=run) for run in (1, 2)]
    gone = {1: np.arange(9) == 3, 2: np.arange(9) == 6}
    words = words.assign(sentence=0, dropped=0)
    story = Story(trim=Trim(start=0, end=0))
    _, trs = timeline.timeline(words, Recordings(tuple(rows)), [9, 9], TR, story, keep, gone)
    assert trs.loc[trs["kept"] == 0, "tr"].tolist() == ([3, 6, 12, 15] if keep else [3, 6])


def test_arrays_have_no_confounds():
    with pytest.raises(InputError, match=r"brain\.confounds: goes with layout 'table'"):
        load({"brain": {"confounds": {"files": "{subject}{run}.tsv", "columns": ["a"]}}})


def test_the_command_takes_confounds_out_and_says_so(tmp_path, capsys):
    import pandas as pd

    tables, confounds = fmriprep(tmp_path, n_unsteady=1, strategy=["motion"], motion="basic")
    rng = np.random.default_rng(5)
    kept = KEPT.copy()
    kept[[0, 120]] = False
    trs = pd.DataFrame({"tr": range(220), "run": RUNS, "time": TR * np.arange(220), "kept": kept.astype(int)})
    write_table(trs, tmp_path / "trs.tsv")
    write_image(tmp_path / "mask.nii.gz", np.ones((2, 2, 2), dtype=np.uint8), np.eye(4))
    noise = rng.standard_normal((220, 8))
    for run, table in tables.items():
        moved = noise[run == RUNS] + 5 * table[MOTION].to_numpy() @ rng.standard_normal((6, 8))
        write_image(tmp_path / f"S_{run}.nii.gz", moved.T.reshape(2, 2, 2, -1).astype(np.float32), np.eye(4), TR)
    images = {"images": f"{tmp_path}/{{subject}}_{{run}}.nii.gz", "mask": f"{tmp_path}/mask.nii.gz"}
    brain = confounds.model_copy(update=images)
    command = flags(trs=tmp_path / "trs.tsv", subject="S", output=tmp_path / "out.npy")
    recordings.main([*command, *flags(options=brain.model_dump_json())])
    cleaned = read_array(tmp_path / "out.npy")
    expected = [residuals(noise[(run == RUNS) & kept], table[MOTION].to_numpy()[1:]) for run, table in tables.items()]
    np.testing.assert_allclose(cleaned, np.concatenate(expected), atol=1e-4)
    said = capsys.readouterr().err
    assert "run-2_desc-confounds_timeseries.tsv: 6 confounds are taken out (rot_x, rot_y, rot_z, trans_x" in said
    assert "trans_z); 1 volumes not in steady state have no part in it" in said
