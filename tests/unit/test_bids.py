"""The first configuration for what fMRIPrep wrote: it loads, passes the check, and its responses are made."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from tests.helpers import flags

from dynalign.check.study import check
from dynalign.config.preflight import check_files
from dynalign.config.study import load
from dynalign.init.__main__ import main
from dynalign.io.arrays import read_array
from dynalign.io.errors import InputError
from dynalign.responses import recordings
from dynalign.stimulus import timing
from dynalign.tables.reader import read_table

GRID, TRS, TR, UNSTEADY = (4, 4, 3), 70, 2.0, 2
MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
SENTENCE = ["The", "old", "keeper", "climbed", "the", "stairs", "and", "lit", "the", "lamp."]
SPACE = "space-MNI152NLin2009cAsym_res-2"
FUNC = "bids/derivatives/fmriprep/sub-{subject}/func/sub-{subject}_task-story_run-{run}"


def save(path, values, tr: float | None = TR):
    image = nibabel.Nifti1Image(values, np.eye(4))
    if values.ndim == 4:
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_zooms((1, 1, 1, tr or 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def confounds(rng) -> dict[str, np.ndarray]:
    """As fMRIPrep writes them: 24 terms of motion, two of tissue, two cosines, outliers before the steady state."""
    table = {name: rng.standard_normal(TRS).cumsum() for name in MOTION}
    table |= {f"{name}_derivative1": np.diff(table[name], prepend=np.nan) for name in MOTION}
    table |= {f"{name}_power2": values**2 for name, values in table.items()}
    table |= {name: 500 + rng.standard_normal(TRS) for name in ("csf", "white_matter", "global_signal")}
    table |= {f"cosine{k:02d}": np.cos(np.pi * (k + 1) * (np.arange(TRS) + 0.5) / TRS) for k in range(2)}
    return table | {f"non_steady_state_outlier{k:02d}": (np.arange(TRS) == k) * 1.0 for k in range(UNSTEADY)}


def write_table(path, table) -> None:
    rows = zip(*table.values(), strict=True)
    lines = ["\t".join("n/a" if value != value else str(value) for value in row) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["\t".join(table), *lines, ""]))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset with derivatives, and what lies in the voxels besides confounds, by subject and run."""
    folder, rng, noise = tmp_path_factory.mktemp("made"), np.random.default_rng(0), {}
    mask = np.zeros(GRID, dtype=np.uint8)
    mask[1:3] = 1
    for subject in ("01", "02"):
        for run in (1, 2):
            place = str(folder / FUNC.format(subject=subject, run=run))
            table = confounds(rng)
            write_table(folder / f"{place}_desc-confounds_timeseries.tsv", table)
            moved = np.array([table[name] for name in [*MOTION, "csf"]])
            noise[subject, run] = rng.standard_normal((*GRID, TRS))
            values = noise[subject, run] + 3 * np.einsum("xyzc,ct->xyzt", rng.standard_normal((*GRID, 7)), moved)
            values[..., :UNSTEADY] += 1e4
            for space in (SPACE, "space-T1w"):
                save(folder / f"{place}_{space}_desc-preproc_bold.nii.gz", values.astype(np.float32))
                save(folder / f"{place}_{space}_desc-brain_mask.nii.gz", mask)
                (folder / f"{place}_{space}_desc-preproc_bold.json").write_text(json.dumps({"RepetitionTime": TR}))
            save(folder / f"{place}_{SPACE}_boldref.nii.gz", values[..., 0].astype(np.float32))
            onsets = [6.0, *(8 + 0.5 * k for k in range(230))]
            words = ["n/a", *(SENTENCE[k % 10] for k in range(230))]
            events = {"onset": onsets, "duration": [0.5] * 231, "word": words}
            write_table(folder / f"bids/sub-{subject}/func/sub-{subject}_task-story_run-{run}_events.tsv", events)
        save(
            folder
            / f"bids/derivatives/fmriprep/sub-{subject}/func/sub-{subject}_task-rest_{SPACE}_desc-preproc_bold.nii.gz",
            np.zeros((*GRID, 9), dtype=np.float32),
        )
    return folder, noise, mask


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    copy = shutil.copytree(made[0], tmp_path / "copy")
    monkeypatch.chdir(copy)
    return copy


def written(capsys, *more, bids="bids"):
    main(["--bids", bids, "--task", "story", "--output", "mine.yaml", *more])
    with open("mine.yaml", encoding="utf-8") as stream:
        return yaml.safe_load(stream), capsys.readouterr().out


MNI = ("--space", "MNI152NLin2009cAsym")


@pytest.mark.parametrize("bids", ["bids", "bids/derivatives/fmriprep"])
def test_a_configuration_that_is_whole(folder, capsys, bids):
    values, said = written(capsys, *MNI, bids=bids)
    assert values == {
        "study": "mine",
        "subjects": ["01", "02"],
        "story": {
            "layout": "table", "download": None, "words": "bids/sub-01/func/sub-01_task-story_run-{run}_events.tsv",
            "tr": 2.0, "trs": [70, 70], "trim": {"start": 2, "end": 0}, "language": "en",
        },
        "brain": {
            "images": f"{FUNC}_{SPACE}_desc-preproc_bold.nii.gz",
            "mask": f"{FUNC}_{SPACE}_desc-brain_mask.nii.gz".replace("{run}", "1"),
            "detrend": "none",
            "confounds": {
                "files": f"{FUNC}_desc-confounds_timeseries.tsv", "strategy": ["motion", "high_pass", "wm_csf"]
            },
            "standardize": True,
        },
    }  # fmt: skip
    assert "To do" not in said
    assert "not taken" not in said
    assert f"  cleaning {FUNC}_desc-confounds_timeseries.tsv: motion, high_pass, wm_csf\n" in said
    assert "fMRIPrep marks 2 volumes at the start as not in steady state; they are cut" in said
    text = (folder / "mine.yaml").read_text()
    assert "# fMRIPrep makes a mask for each run; one of them stands for all" in text
    study = load(values)
    check_files(study)
    found = check(study)
    assert found.problems == []
    assert "460 words (0 dropped) in 46 sentences" in found.screen()


def test_its_responses_are_made(folder, made, capsys):
    """They are what is left of the noise that was planted, by least squares on the same confounds."""
    values, _ = written(capsys, *MNI)
    study = load(values)
    timing.main(flags(words="words.tsv", trs="trs.tsv", options=study.story.model_dump_json()))
    _, noise, mask = made
    for subject in study.subjects:
        options = study.brain.model_dump_json()
        recordings.main(flags(trs="trs.tsv", subject=subject, output="out.npy", options=options))
        expected = []
        for run in (1, 2):
            place = FUNC.format(subject=subject, run=run)
            table = np.genfromtxt(f"{place}_desc-confounds_timeseries.tsv", names=True, missing_values="n/a")
            names = [name for name in table.dtype.names if not name.startswith(("global", "non_steady"))]
            assert len(names) == 28
            design = np.column_stack([np.ones(TRS), *(table[name] for name in names)])[UNSTEADY:]
            left = noise[subject, run][mask > 0].T[UNSTEADY:]
            left = left - design @ np.linalg.lstsq(design, left, rcond=None)[0]
            expected.append(left / left.std(axis=0))
        cleaned = read_array("out.npy")
        assert cleaned.shape == (136, mask.sum())
        np.testing.assert_allclose(cleaned, np.concatenate(expected), atol=2e-3)
    assert "28 confounds are taken out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--bids", "bids"], r"bids: a study takes the runs of one task, here rest, story; choose: --task rest"),
        (["--bids", "bids", "--task", "x"], r"bids: no preprocessed run of task 'x'; there are runs of rest, story"),
        (["--bids", "bids", "--task", "story"], r"one space, here MNI152NLin2009cAsym, T1w; choose: --space MNI152"),
        (["--bids", "bids", "--task", "story", "--space", "fsavg"], r"of space 'fsavg'; there are runs of MNI152NLin"),
        (["--bids", "bids", "--task", "rest", "--session", "1"], r"of session '1'; there are runs of none"),
        (["--bids", "raw", "--task", "story"], r"raw: no such folder; give the one that fMRIPrep wrote"),
        (["--bids", "bids/sub-01", "--task", "story"], r"bids/sub-01: no file …_desc-preproc_bold\.nii\.gz in it"),
        (["--folder", "bids", "--task", "story"], r"--task, --space and --session go with --bids"),
        (["--folder", "bids", "--bids", "bids"], r"give either --folder, .* or --bids"),
        ([], r"give either --folder"),
    ],
)
def test_what_is_not_told_is_asked(folder, more, message):
    with pytest.raises(InputError, match=message):
        main([*more, "--output", "mine.yaml"])
    assert not (folder / "mine.yaml").exists()


def test_one_session_of_several(folder, capsys):
    for session in ("a", "b"):
        for path in (folder / "bids/derivatives/fmriprep").glob("sub-*/func/*_task-story_*"):
            subject = path.name.split("_")[0]
            name = path.name.replace(f"{subject}_", f"{subject}_ses-{session}_")
            target = path.parents[1] / f"ses-{session}/func" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    shutil.copytree(folder / "bids/derivatives/fmriprep", "only", ignore=shutil.ignore_patterns("func", "ses-b"))
    for path in (folder / "bids/derivatives/fmriprep").glob("sub-*/func"):
        shutil.rmtree(path)
    with pytest.raises(InputError, match=r"one session, here a, b; choose: --session a"):
        written(capsys, *MNI)
    values, _ = written(capsys, *MNI, "--session", "b")
    start = "bids/derivatives/fmriprep/sub-{subject}/ses-b/func/sub-{subject}_ses-b_task-story_run-"
    assert values["brain"]["images"] == f"{start}{{run}}_{SPACE}_desc-preproc_bold.nii.gz"
    assert values["brain"]["mask"] == f"{start}1_{SPACE}_desc-brain_mask.nii.gz"
    assert values["brain"]["confounds"]["files"] == f"{start}{{run}}_desc-confounds_timeseries.tsv"


def test_events_for_all_subjects(folder, capsys):
    """BIDS lets a dataset say once what holds for all."""
    for run in (1, 2):
        path = folder / f"bids/sub-01/func/sub-01_task-story_run-{run}_events.tsv"
        path.rename(folder / f"bids/task-story_run-{run}_events.tsv")
    values, said = written(capsys, *MNI)
    assert values["story"]["words"] == "bids/task-story_run-{run}_events.tsv"
    assert "To do" not in said


def test_subjects_whose_events_differ_are_named(folder, capsys):
    path = folder / "bids/sub-02/func/sub-02_task-story_run-2_events.tsv"
    path.write_text(path.read_text().replace("keeper", "sailor", 1))
    _, said = written(capsys, *MNI)
    assert (
        f"story.words: words or onsets in {path.relative_to(folder)} are not those of '01', but a study has one" in said
    )


def test_events_without_words(folder, capsys):
    for path in (folder / "bids").glob("sub-*/func/*_events.tsv"):
        path.write_text(path.read_text().replace("word", "token", 1))
    values, said = written(capsys, *MNI)
    assert "words" not in values["story"]
    assert (
        "/sub-{subject}_task-story_run-{run}_events.tsv have onset, duration, token: if a column holds the wor" in said
    )


def test_subjects_with_runs_of_their_own_get_a_table_of_recordings(folder, capsys):
    """One lacks the first run, and was scanned longer in the other: the words are those of the subject with both."""
    place = str(folder / FUNC)
    for path in (folder / "bids").rglob("sub-02_task-story_run-1_*"):
        path.unlink()
    image = f"{place.format(subject='02', run=2)}_{SPACE}_desc-preproc_bold.nii.gz"
    longer = np.asarray(nibabel.load(image).dataobj)
    save(Path(image), np.concatenate([longer, longer[..., :9]], axis=3))
    table = Path(f"{place.format(subject='02', run=2)}_desc-confounds_timeseries.tsv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, *lines[-9:], ""]))
    values, said = written(capsys, *MNI)
    assert "To do" not in said
    assert "mine_recordings.tsv: 3 recordings, as subjects differ in their runs" in said
    assert values["story"]["layout"] == "recordings"
    assert values["story"]["words"] == "bids/sub-01/func/sub-01_task-story_run-{story}_events.tsv"
    assert values["brain"]["confounds"] == {"strategy": ["motion", "high_pass", "wm_csf"]}
    assert not {"images", "mask"} & set(values["brain"])
    rows = read_table("mine_recordings.tsv")
    assert rows[["subject", "run", "story"]].astype(str).to_numpy().tolist() == [
        ["01", "1", "1"], ["01", "2", "2"], ["02", "1", "2"]
    ]  # fmt: skip
    for column, end in (
        ("images", f"_{SPACE}_desc-preproc_bold.nii.gz"),
        ("confounds", "_desc-confounds_timeseries.tsv"),
    ):
        assert rows[column].tolist() == [
            FUNC.format(subject=s, run=r) + end for s, r in (("01", 1), ("01", 2), ("02", 2))
        ]
    study = load(values)
    check_files(study)
    found = check(study)
    assert found.problems == []
    with pytest.raises(InputError, match=r"mine\.yaml: is there already"):
        written(capsys, *MNI)
    (folder / "mine.yaml").unlink()
    with pytest.raises(InputError, match=r"mine_recordings\.tsv: is there already"):
        written(capsys, *MNI)


def test_confounds_that_lack(folder, capsys):
    (folder / f"{FUNC.format(subject='02', run=2)}_desc-confounds_timeseries.tsv").unlink()
    values, said = written(capsys, *MNI)
    assert "confounds" not in values["brain"]
    assert values["brain"]["detrend"] == "cosine"
    assert (
        "brain.confounds: there is no bids/derivatives/fmriprep/sub-02/func/sub-02_task-story_run-2_desc-conf" in said
    )


def test_older_names_and_short_runs_without_cosines(folder, capsys):
    for path in (folder / "bids").rglob("*_desc-confounds_timeseries.tsv"):
        path.with_name(path.name.replace("timeseries", "regressors")).write_text(
            path.read_text().replace("cosine", "c")
        )
        path.unlink()
    values, _ = written(capsys, *MNI)
    section = {"files": f"{FUNC}_desc-confounds_regressors.tsv", "strategy": ["motion", "wm_csf"]}
    assert values["brain"]["confounds"] == section
    assert values["brain"]["detrend"] == "cosine"


def test_a_tr_that_stands_beside_the_images_alone(folder, capsys):
    for path in (folder / "bids").rglob(f"*_task-story_*_{SPACE}_desc-preproc_bold.nii.gz"):
        save(path, np.asarray(nibabel.load(path).dataobj), tr=None)
    values, said = written(capsys, *MNI)
    assert values["story"]["tr"] == 2.0
    assert "TR       2 s, by RepetitionTime beside the images" in said
    path = folder / f"{FUNC.format(subject='01', run=1)}_{SPACE}_desc-preproc_bold.nii.gz"
    for each in (folder / "bids").rglob("*_desc-preproc_bold.json"):
        each.write_text('{"RepetitionTime": 1.5}')
    save(path, np.asarray(nibabel.load(path).dataobj), tr=2.0)
    (folder / "mine.yaml").unlink()
    _, said = written(capsys, *MNI)
    assert "story.tr: the images' headers say so, but RepetitionTime beside" in said
