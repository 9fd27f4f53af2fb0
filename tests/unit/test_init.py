"""The first configuration for a folder of images: what is written loads; what lacks is said, with a way out."""

import json

import nibabel
import numpy as np
import pytest
import yaml

from dynalign.config.preflight import check_files
from dynalign.config.study import load
from dynalign.init.__main__ import main
from dynalign.init.patterns import by_subject, by_subject_and_run
from dynalign.io.errors import InputError

GRID = (3, 4, 2)
WORDS = "onset\trun\tword\n0.5\t1\tOne.\n0.5\t2\tTwo.\n"


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(path, data, tr=None, unit="sec", affine=None):
    image = nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine)
    if tr is not None:
        image.header.set_zooms((1, 1, 1, tr))
    image.header.set_xyzt_units("mm", unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def run_image(path, volumes, tr=2.0, unit="sec"):
    save(path, np.zeros((*GRID, volumes), dtype=np.int16), tr, unit)


def mask_image(path, value=1, affine=None):
    mask = np.zeros(GRID, dtype=np.uint8)
    mask[1:] = value
    save(path, mask, affine=affine)


@pytest.fixture
def padded(tmp_path):
    """Two subjects, two runs of 12 and 10 volumes, padded with zeros; a mask each."""
    for subject in ("01", "02"):
        for run, volumes in ((1, 12), (2, 10)):
            run_image(tmp_path / f"data/sub-{subject}_run-{run:02d}_bold.nii.gz", volumes)
        mask_image(tmp_path / f"data/sub-{subject}_mask.nii.gz")
    (tmp_path / "data/words.tsv").write_text(WORDS)
    return tmp_path / "data"


def written(capsys, *more):
    """The configuration that is written for `data`, and what is said; both tell the same things to do."""
    main(["--folder", "data", *more])
    said = capsys.readouterr().out
    with open("config/mine.yaml", encoding="utf-8") as stream:
        text = stream.read()
    problems = sorted(line for line in said.splitlines() if line.startswith("  - "))
    marked = [line.partition("TO DO: ")[2] for line in text.splitlines() if "TO DO: " in line]
    assert problems == sorted(line for line in problems for mark in marked if line.endswith(mark))
    return yaml.safe_load(text), said


def loads(values):
    check_files(load(values))


def test_runs_padded_with_zeros(padded, capsys):
    values, said = written(capsys, "--study", "lamp")
    assert values == {
        "study": "lamp",
        "subjects": ["01", "02"],
        "story": {
            "layout": "table", "download": None, "words": "data/words.tsv", "tr": 2.0, "trs": [12, 10],
            "trim": {"start": 0, "end": 0}, "language": "en",
        },
        "brain": {
            "images": "data/sub-{subject}_run-{run:02d}_bold.nii.gz", "mask": "data/sub-{subject}_mask.nii.gz",
            "detrend": "cosine", "standardize": True,
        },
    }  # fmt: skip
    loads(values)
    assert "To do" not in said
    assert ".nii.gz: subjects 01, 02; runs 1, 2\n" in said
    assert said.endswith(
        "Next: python -m dynalign.check --configfile config/mine.yaml\n"
        "then: snakemake --cores 16 --configfile config/mine.yaml\n"
    )


def test_keys_have_the_explanations_of_the_configuration_and_the_default_model_is_a_comment(padded, capsys, tmp_path):
    written(capsys)
    lines = (tmp_path / "config/mine.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[lines.index("  words: data/words.tsv") - 2] == (
        "  # `table`, `recordings`: the words, tab-separated, .csv, or .TextGrid (Praat); a path with {run} (`table`) "
        "or {story} (`recordings`) where each has a file, in which no such column is needed"
    )
    assert lines[lines.index("#   source: EleutherAI/pythia-160m") - 2] == "# model:"
    # Without the marks of comments, the model reads back as the default.
    start = lines.index("# model:")
    model = yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines[start:] if line))
    assert load(model).model == load({}).model


def test_nested_folders_of_bids_with_other_images_beside_them(tmp_path, capsys):
    for subject in ("01", "02", "pilot"):
        folder = tmp_path / f"data/sub-{subject}/func"
        for run in (1, 2):
            run_image(folder / f"sub-{subject}_task-story_run-{run}_bold.nii", 9)
            mask_image(folder / f"sub-{subject}_task-story_run-{run}_desc-brain_mask.nii.gz")
        run_image(folder / f"sub-{subject}_task-rest_bold.nii", 30)
        save(tmp_path / f"data/sub-{subject}/anat/sub-{subject}_T1w.nii", np.ones((5, 5, 5), dtype=np.float32))
    (tmp_path / "data/stimuli").mkdir()
    (tmp_path / "data/stimuli/words.tsv").write_text(
        WORDS.replace("word\n", "word\tsentence\n", 1).replace(".\n", ".\t1\n")
    )
    # What git-annex keeps is no data of its own.
    run_image(tmp_path / "data/.git/annex/sub-09_task-story_run-1_bold.nii", 9)
    values, said = written(capsys)
    assert values["subjects"] == ["01", "02", "pilot"]
    assert values["story"]["trs"] == [9, 9]
    pattern = "data/sub-{subject}/func/sub-{subject}_task-story_run-"
    assert values["brain"]["images"] == pattern + "{run}_bold.nii"
    assert values["brain"]["mask"] == pattern + "1_desc-brain_mask.nii.gz"
    loads(values)
    assert "other 4-D images, not taken: data/sub-{subject}/func/sub-{subject}_task-rest_bold.nii\n" in said
    assert f"other images of two values, not taken: {pattern}2_desc-brain_mask.nii.gz" in said
    assert "data/stimuli/words.tsv (its column `sentence` is taken)" in said


def test_names_that_vary_and_one_mask_for_all(tmp_path, capsys):
    for subject in ("AB", "CD"):
        for run in (1, 2):
            run_image(tmp_path / f"data/{subject}/story{run}.nii.gz", 8 + run)
    mask_image(tmp_path / "data/group/mask.nii.gz", value=255)
    (tmp_path / "data/words.tsv").write_text(WORDS)
    values, said = written(capsys)
    assert values["subjects"] == ["AB", "CD"]
    assert values["story"]["trs"] == [9, 10]
    assert values["brain"]["images"] == "data/{subject}/story{run}.nii.gz"
    assert values["brain"]["mask"] == "data/group/mask.nii.gz"
    assert "data/group/mask.nii.gz, for all subjects" in said
    loads(values)


def test_a_single_run_needs_no_number(tmp_path, capsys):
    for subject in ("001", "002", "003"):
        run_image(tmp_path / f"data/sub-{subject}/func/sub-{subject}_task-story_bold.nii.gz", 20, tr=1.5)
        mask_image(tmp_path / f"data/sub-{subject}/func/sub-{subject}_mask.nii.gz")
    (tmp_path / "data/words.tsv").write_text("onset\trun\tword\n1\t1\tOne.\n")
    values, _ = written(capsys)
    assert values["brain"]["images"] == "data/sub-{subject}/func/sub-{subject}_task-story_bold.nii.gz"
    assert values["story"]["trs"] == [20]
    loads(values)


@pytest.mark.parametrize(
    ("paths", "pattern", "there"),
    [
        (["s1/r1.nii", "s1/r2.nii", "s2/r1.nii"], "{subject}/r{run}.nii", {("s1", 1), ("s1", 2), ("s2", 1)}),
        (["sub01run1.nii", "sub02run1.nii"], None, None),
        (["sub01_run10.nii", "sub01_run9.nii"], "{subject}_run{run}.nii", {("sub01", 9), ("sub01", 10)}),
        (["a/run_09.nii", "b/run_10.nii"], "{subject}/run_{run:02d}.nii", {("a", 9), ("b", 10)}),
        (["Ann.nii", "Bob.nii"], "{subject}.nii", {("Ann", 1), ("Bob", 1)}),
        (["sub-1/1_run-1.nii", "sub-2/2_run-1.nii"], "sub-{subject}/{subject}_run-{run}.nii", {("1", 1), ("2", 1)}),
        (["sub-1_ses-1_bold.nii", "sub-1_ses-2_bold.nii"], "sub-{subject}_ses-1_bold.nii", {("1", 1)}),
        # A subject and a run of one number are told apart.
        (["sub-1_run-1.nii", "sub-2_run-2.nii"], "sub-{subject}_run-{run}.nii", {("1", 1), ("2", 2)}),
    ],
)  # fmt: skip
def test_subjects_and_runs_in_paths(paths, pattern, there):
    found = by_subject_and_run(paths)
    if pattern is None:
        assert not any("{run" in each for each in found)
    else:
        assert found[pattern] == there


def test_files_of_known_subjects():
    paths = ["1/mask_1.nii", "2/mask_2.nii", "sub-2_run-1_mask.nii", "sub-3_mask.nii", "all.nii"]
    assert by_subject(paths, ["1", "2"]) == {
        "{subject}/mask_{subject}.nii": {"1", "2"}, "sub-{subject}_run-1_mask.nii": {"2"}, "all.nii": {"1", "2"}
    }  # fmt: skip


def test_ragged_runs_are_left_to_the_user_with_all_counts(padded, capsys):
    run_image(padded / "sub-02_run-02_bold.nii.gz", 9)
    values, said = written(capsys)
    assert "trs" not in values["story"]
    assert "story.trs: subjects differ in volumes per run: [12, 10] for 01; [12, 9] for 02; choose" in said
    with pytest.raises(InputError, match="needs the key 'trs'"):
        load(values)


def test_every_problem_is_said_at_once(padded, capsys):
    (padded / "sub-02_run-02_bold.nii.gz").unlink()
    (padded / "sub-02_mask.nii.gz").unlink()
    (padded / "words.tsv").unlink()
    for run in (1, 2):
        run_image(padded / f"sub-01_run-{run:02d}_bold.nii.gz", 5, tr=2.5)
    (padded / "sub-03_run-01_bold.nii.gz").write_bytes(b"no image")
    (padded / "gone.tsv").symlink_to(padded / "nowhere.tsv")
    values, said = written(capsys)
    assert values["subjects"] == ["01", "02"]
    assert values["story"]["trs"] == [5, 5]
    assert "tr" not in values["story"]
    assert "words" not in values["story"]
    for problem in (
        "subjects: '02' has no data/sub-02_run-02_bold.nii.gz; get it, or take the subject out",
        "story.tr: headers differ in TR: 2.5 s in data/sub-01_run-01_bold.nii.gz, data/sub-01_run-02_bold.nii.gz; 2 s",
        "story.words: no tab-separated table with the columns onset, run, word; write one table for all subjects",
        "brain.mask: there is no data/sub-02_mask.nii.gz; make it, or take the subject out",
        "brain.images: data/sub-03_run-01_bold.nii.gz: not a whole NIfTI image",
    ):
        assert f"  - {problem}" in said


@pytest.mark.parametrize(
    ("tr", "unit", "expected"),
    [(1500, "msec", 1.5), (0.72, "sec", 0.72), (1500, "unknown", 1.5), (2, "unknown", 2.0), (1, "sec", 1.0)],
)
def test_the_tr_is_the_headers_in_its_unit(padded, capsys, tr, unit, expected):
    for path in padded.glob("*_bold.nii.gz"):
        run_image(path, 10, tr, unit)
    values, said = written(capsys)
    assert values["story"]["tr"] == expected
    assert f"TR       {expected:g} s\n" in said
    loads(values)


@pytest.mark.parametrize(("tr", "unit"), [(0, "sec"), (1, "unknown")])
def test_a_tr_that_no_header_states_is_asked_for(padded, capsys, tr, unit):
    paths = sorted(padded.glob("*_bold.nii.gz"))
    for path in paths:
        run_image(path, 10, tr, unit)
    values, said = written(capsys)
    assert "tr" not in values["story"]
    assert "story.tr: no header states the TR (pixdim[4]); write it here, in s" in said


def test_headers_that_state_no_tr_are_counted(padded, capsys):
    run_image(padded / "sub-01_run-01_bold.nii.gz", 12, 0)
    values, said = written(capsys)
    assert values["story"]["tr"] == 2.0
    assert "TR       2 s; 1 headers state none" in said


def test_runs_that_do_not_count_from_one_are_named(tmp_path, capsys):
    for run in (0, 1, 3):
        run_image(tmp_path / f"data/sub-1_run-{run}_bold.nii.gz", 9)
    _, said = written(capsys)
    assert "brain.images: its runs are 0, 1, 3, but runs count 1, 2, …" in said


def test_a_mask_on_another_grid_is_none(padded, capsys):
    for subject in ("01", "02"):
        mask_image(padded / f"sub-{subject}_mask.nii.gz", affine=np.diag([2.0, 2, 2, 1]))
    values, said = written(capsys)
    assert "mask" not in values["brain"]
    assert "brain.mask: no 3-D image that holds 0 and one other value on the grid of data/sub-01_run-01_bold" in said
    assert (
        "data/sub-01_mask.nii.gz: its affine differs from that of data/sub-01_run-01_bold.nii.gz by up to 1 mm" in said
    )
    assert "nilearn.masking.compute_epi_mask('data/sub-01_run-01_bold.nii.gz')" in said


def test_label_images_with_their_table_are_regions(padded, capsys):
    labels = np.zeros(GRID, dtype=np.int16)
    labels[1:] = [[[3], [3], [7], [7]]]
    for subject in ("01", "02"):
        save(padded / f"sub-{subject}_mean.nii.gz", np.arange(24, dtype=np.int16).reshape(GRID))
        save(padded / f"sub-{subject}_atlas.nii.gz", labels)
    (padded / "other.tsv").write_text("index\tname\n1\tIFG\n")
    (padded / "atlas.tsv").write_text("index\tname\n3\tIFG\n7\tAG\n")
    values, said = written(capsys)
    assert values["rois"] == {"image": "data/sub-{subject}_atlas.nii.gz", "labels": "data/atlas.tsv"}
    assert values["brain"]["mask"] == "data/sub-{subject}_mask.nii.gz"
    assert "regions  data/sub-{subject}_atlas.nii.gz, named in data/atlas.tsv" in said
    loads(values)
    (padded / "sub-02_atlas.nii.gz").unlink()
    main(["--folder", "data", "--output", "second.yaml"])
    assert "  - rois.image: no such file data/sub-02_atlas.nii.gz (subject '02')" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "text", "said_of_it"),
    [
        (["words.txt"], "onset,run,word\n1,1,One.\n", "data/words.txt has onset, run, word, separated by ','"),
        (["words.tsv"], "Onset\tRun\tWord\n1\t1\tOne.\n", "data/words.tsv has Onset, Run, Word"),
        (
            ["sub-01_run-1_events.tsv", "sub-01_run-2_events.tsv"],
            "onset\tduration\tword\n1\t0.5\tOne.\n",
            "data/sub-01_run-1_events.tsv and 1 like it have onset, duration, word",
        ),
    ],
)
def test_a_table_that_is_nearly_one_of_words_is_named(padded, capsys, names, text, said_of_it):
    (padded / "words.tsv").unlink()
    for name in names:
        (padded / name).write_text(text)
    values, said = written(capsys)
    assert "words" not in values["story"]
    assert (
        f"story.words: no tab-separated table with the columns onset, run, word; {said_of_it}; write one table" in said
    )


@pytest.mark.parametrize(
    ("names", "text", "words", "how"),
    [
        (["words.csv"], '"onset","run","word"\n1,1,One.\n', "data/words.csv", "no column `sentence`"),
        (
            ["story_run-01.tsv", "story_run-02.tsv"],
            "onset\tword\tsentence\n1\tOne.\t1\n",
            "data/story_run-{run:02d}.tsv",
            "its column `sentence`",
        ),
        (["run1.TextGrid", "run2.TextGrid"], "", "data/run{run}.TextGrid", "the tier `words`"),
        (["sub-01_run-1_events.tsv", "sub-01_run-2_events.tsv"], "onset\tword\n1\tOne.\n", None, ""),
        (["run1.TextGrid", "run3.TextGrid"], "", None, ""),
    ],
)
def test_words_in_other_files(padded, capsys, names, text, words, how):
    (padded / "words.tsv").unlink()
    for name in names:
        (padded / name).write_text(text)
    values, said = written(capsys)
    assert values["story"].get("words") == words
    if words:
        assert f"words    {words} ({how}" in said
        loads(values)


def checkpoint(folder, layers=6, weights="model.safetensors", tokenizer=True):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": layers}))
    (folder / weights).touch()
    if tokenizer:
        (folder / "tokenizer.json").touch()


def test_a_folder_of_checkpoints_is_the_model(padded, capsys):
    for step in (0, 512, 1000):
        checkpoint(padded / f"model/step-{step}", layers=24)
    values, said = written(capsys)
    assert values["model"] == {
        "source": "data/model", "revision": "step-{step}", "steps": [0, 512, 1000], "depth": 24,
        "layers": [0, 4, 8, 12, 16, 20, 24],
    }  # fmt: skip
    assert "model    data/model: steps 0, 512, 1000" in said
    loads(values)


def test_names_of_checkpoints_that_follow_no_pattern_pickles_and_no_tokenizer(padded, capsys):
    checkpoint(padded / "olmo/step20-tokens84B", 3, "pytorch_model.bin", tokenizer=False)
    checkpoint(padded / "olmo/step40-tokens168B", 3, "pytorch_model.bin", tokenizer=False)
    values, said = written(capsys)
    assert values["model"]["revision"] == {20: "step20-tokens84B", 40: "step40-tokens168B"}
    assert values["model"]["weights"] == "any"
    assert values["model"]["layers"] == [0, 1, 2, 3]
    assert "model.source: no such file data/olmo/step20-tokens84B/tokenizer.json; a fast tokenizer, which" in said


def test_a_padded_pattern_and_one_finished_model(padded, capsys):
    checkpoint(padded / "gpt2", 12)
    values, _ = written(capsys)
    assert (values["model"]["revision"], values["model"]["steps"]) == ({0: "gpt2"}, [0])
    loads(values)
    for step in (5, 10):
        checkpoint(padded / f"padded/checkpoint_{step:04d}")
    main(["--folder", "data", "--output", "second.yaml"])
    with open("second.yaml", encoding="utf-8") as stream:
        model = yaml.safe_load(stream)["model"]
    assert (model["revision"], model["steps"]) == ("checkpoint_{step:04d}", [5, 10])
    assert "other checkpoints, not taken: data/gpt2" in capsys.readouterr().out


def test_what_the_configuration_refuses_is_said_too(padded, capsys):
    for path in padded.glob("sub-01*"):
        path.rename(padded / path.name.replace("sub-01", f"sub-{'x' * 70}"))
    _, said = written(capsys)
    assert "To do, marked in the file:\n  - the configuration cannot be used: subjects.1: 'xxxx" in said


def test_an_existing_file_is_never_overwritten(padded, capsys, tmp_path):
    written(capsys)
    (tmp_path / "config/mine.yaml").write_text("mine")
    with pytest.raises(
        InputError, match=r"config/mine\.yaml: is there already and stays as it is; name another --outp"
    ):
        main(["--folder", "data"])
    assert (tmp_path / "config/mine.yaml").read_text() == "mine"
    assert capsys.readouterr().out == ""


def test_a_folder_without_runs_writes_nothing(tmp_path):
    with pytest.raises(InputError, match="data: no such folder; give the one that holds the images"):
        main(["--folder", "data"])
    mask_image(tmp_path / "data/mask.nii.gz")
    for name in ("sub-01_run-1_hemi-L.func.gii", "sub-01_run-1.dtseries.nii", "sub-01_run-1.npy", "sub-01.h5"):
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / name).write_text("not read")
        with pytest.raises(InputError, match=r"; for other kinds of recordings \(\.gii, .*\) see config/README\.md"):
            main(["--folder", "other"])
        (tmp_path / "other" / name).unlink()
    with pytest.raises(
        InputError, match=r"data: no run in it or below: a 4-D .*; 1 NIfTI images of other shapes; give the fol"
    ):
        main(["--folder", "data"])
    run_image(tmp_path / "data/run-1.nii", 5)
    with pytest.raises(InputError, match=r"no subject recognised in the paths of its 4-D images \(data/run-1\.nii\)"):
        main(["--folder", "data"])
    assert not (tmp_path / "config").exists()


def test_links_are_followed_and_no_circle(padded, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    for path in padded.glob("sub-02*"):
        path.rename(tmp_path / "elsewhere" / path.name)
    (padded / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(padded)
    values, said = written(capsys)
    assert values["subjects"] == ["01"]
    assert "other 4-D images, not taken: data/linked/sub-{subject}_run-{run:02d}_bold.nii.gz" in said


def test_what_the_workflow_wrote_is_no_data(padded, tmp_path, capsys):
    for subject in ("01", "02", "03"):
        run_image(tmp_path / f"results/old/maps/sub-{subject}_run-1_bold.nii.gz", 9)
    (tmp_path / "results/old/words.tsv").write_text(WORDS)
    checkpoint(tmp_path / "resources/models/hub/step1")
    main(["--folder", ".", "--output", "mine.yaml"])
    said = capsys.readouterr().out
    assert "images   data/sub-{subject}_run-{run:02d}_bold.nii.gz: subjects 01, 02; runs 1, 2\n" in said
    assert "not taken" not in said
    assert "no checkpoints found" in said
