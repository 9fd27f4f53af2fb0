"""``python -m dynalign.check``: what it says of a sound study, and every kind of fault, each planted in one."""

import json
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from tests.helpers import flags

from dynalign.check import __main__ as command
from dynalign.check.cost import jobs
from dynalign.check.study import check
from dynalign.config.study import load
from dynalign.io.errors import InputError

SUBJECTS, RUNS, TRS, TR = ("01", "02"), (1, 2), 70, 2.0
SENTENCE = ["The", "old", "keeper", "climbed", "the", "stairs", "and", "lit", "the", "lamp."]
N_WORDS = 2 * 230


def write_words(folder: Path, change=lambda rows: rows) -> None:
    """Two runs of words, two in a TR, from 8 s on; `change` edits rows of text (onset, run, word)."""
    rows = []
    for number in range(N_WORDS):
        run, within = divmod(number, N_WORDS // 2)
        word = SENTENCE[number % len(SENTENCE)]
        rows.append([f"{8 + 0.5 * within:g}", str(run + 1), word])
    text = "\n".join("\t".join(row) for row in [["onset", "run", "word"], *change(rows)])
    (folder / "words.tsv").write_text(text + "\n", encoding="utf-8")


def write_labels(folder: Path, labels) -> None:
    lines = ["word_index\tlabel", *(f"{index}\t{label}" for index, label in enumerate(labels))]
    (folder / "labels.tsv").write_text("\n".join(lines) + "\n")


def image(folder: Path, name: str, values, tr: float | None = TR, affine=None) -> None:
    made = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    made.header.set_xyzt_units("mm", "sec")
    if tr is not None and made.ndim == 4:
        made.header.set_zooms((1, 1, 1, tr))
    nibabel.save(made, folder / name)


def volumes(n=TRS, shape=(4, 4, 3), dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((*shape, n)).astype(dtype)


MASK = np.zeros((4, 4, 3), dtype=np.uint8)
MASK[1:3, 1:3] = 1


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A folder with a sound study: words, labels, images, regions, a feature, and a model's two checkpoints."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    from dynalign.models.training import train_tokenizer

    folder = tmp_path_factory.mktemp("sound")
    write_words(folder)
    write_labels(folder, np.where(np.arange(N_WORDS) // 7 % 2, "warm", "cold"))
    for subject in SUBJECTS:
        image(folder, f"sub-{subject}_mask.nii.gz", MASK)
        image(folder, f"sub-{subject}_rois.nii.gz", MASK * np.arange(1, 4, dtype=np.uint8))
        for run in RUNS:
            image(folder, f"sub-{subject}_run-{run}.nii.gz", volumes())
    (folder / "rois.tsv").write_text("index\tname\n1\tlow\n2\tmiddle\n3\thigh\n")
    loud = "".join(f"{run}\t{onset}\t{onset * 7 % 11}\n" for run in RUNS for onset in range(0, int(TRS * TR), 2))
    (folder / "loud.tsv").write_text(f"run\tonset\tloud\n{loud}")
    tokenizer = train_tokenizer([" ".join(SENTENCE)], 280)
    config = GPTNeoXConfig(vocab_size=280, hidden_size=8, num_hidden_layers=2, num_attention_heads=2)
    torch.manual_seed(0)
    for step in (0, 8):
        GPTNeoXForCausalLM(config).save_pretrained(folder / f"model/step{step}")
    config.save_pretrained(folder / "model/tokenizer")
    tokenizer.save_pretrained(folder / "model/tokenizer")
    return folder


def study_values() -> dict:
    return {
        "study": "mine",
        "subjects": list(SUBJECTS),
        "story": {
            "layout": "table", "download": None, "words": "words.tsv", "tr": TR, "trs": [TRS, TRS],
            "trim": {"start": 6, "end": 4},
        },
        "brain": {"images": "sub-{subject}_run-{run}.nii.gz", "mask": "sub-{subject}_mask.nii.gz"},
        "properties": {"warmth": {"table": "labels.tsv", "classes": ["warm"]}, "coin": {"random": 2}},
        "model": {"source": "./model", "steps": [0, 8], "depth": 2, "layers": [0, 2], "context_tokens": 10},
        "features": {"loud": {"table": "loud.tsv"}},
        "shares": {"nuisance": ["word_rate", "length", "loud", "word_types"]},
        "rois": {"image": "sub-{subject}_rois.nii.gz", "labels": "rois.tsv"},
        "encoding": {"delays": [1, 2, 3], "gap": 3},
        "figures": {"properties": []},
    }  # fmt: skip


@pytest.fixture
def folder(sound, tmp_path, monkeypatch) -> Path:
    """A copy of it, as the working directory."""
    copy = shutil.copytree(sound, tmp_path / "study")
    monkeypatch.chdir(copy)
    return copy


def test_a_sound_study_is_told_on_one_screen(folder):
    found = check(load(study_values()))
    assert found.problems == []
    text = found.screen()
    for expected in (
        "words.tsv: 460 words (0 dropped) in 46 sentences",
        "runs of 70, 70 TRs: 140 TRs of 2 s, 120 after trimming",
        "voxels: 01 12, 02 12",
        "hidden size 8; windows of 10 tokens; 1103 tokens, 454 words represented",
        "warmth: warm 229, other 231 words",
        "5 folds of 24 TRs, 90–93 to train on (gap 3); 10 inner folds of 9–10",
        "probing     4 folds of 110–120 words, whole sentences",
        "2 representation, 1 baseline, 6 removal, 6 probing, 6 encoding",
        "core-hours (encoding",
        "no problem found",
    ):
        assert expected in text, text
    assert len(text.splitlines()) < 40
    assert max(map(len, text.splitlines())) <= 140


def test_the_check_reads_every_model_and_adds_up_what_they_cost(folder):
    values = study_values()
    one = check(load(values))
    both = load(values | {"models": {"short": {}, "long": {"context_tokens": 40, "layers": [2]}}})
    found = check(both)
    assert found.problems == []
    text = found.screen()
    for expected in (
        "models.short",
        "windows of 10 tokens; 1103 tokens, 454 words represented",
        "windows of 40 tokens; 1103 tokens, 442 words represented",
        "4 representation, 2 baseline, 9 removal, 9 probing, 12 encoding",
    ):
        assert expected in text, text
    # Folds of the responses are the same; those of words are not.
    assert len(re.findall("warmth: warm 229", text)) == 1
    assert len(re.findall("^probing ", text, re.MULTILINE)) == 2
    assert jobs(both.of("long"))["encoding"] == 6
    hours = [float(re.search("about ([0-9.e-]+) core-hours", one.screen())[1]) for one in (one, found)]
    # As many jobs of encoding, which are all start here, and half the probing.
    assert 1.7 < hours[1] / hours[0] < 1.8


def test_a_problem_of_one_model_is_told_with_its_name_and_one_of_all_once(folder):
    models = {"a": {}, "b": {"context_tokens": 1200}}
    problems = check(load(study_values() | {"models": models, "encoding": {"folds": 90}})).problems
    long = [text for text in problems if "1200" in text]
    assert long
    assert all(text.startswith("models.b: ") for text in long)
    assert any(text.startswith("models.b: model.context_tokens: 1200 tokens stand before") for text in problems)
    folds = [text for text in problems if "fold" in text]
    assert len(folds) == 1
    assert not folds[0].startswith("models.")


def test_jobs_are_those_that_snakemake_plans():
    """As `test_plan` counts them for the paper's study: 7 checkpoints and `random`, 7 layers, 3 subjects."""
    assert jobs(load({})) == {"representation": 7, "baseline": 1, "removal": 56, "probing": 56, "encoding": 24}


def edited(key: str, value):
    """A fault of the configuration: a key, with dots, set to a value."""

    def plant(folder, values):
        *sections, last = key.split(".")
        for section in sections:
            values = values.setdefault(section, {})
        values[last] = value

    return plant


def cell(row: int, column: int, value: str):
    """A fault of the words table: one cell."""

    def change(rows):
        rows[row][column] = value
        return rows

    return lambda folder, values: write_words(folder, change)


def words(change):
    return lambda folder, values: write_words(folder, change)


def labelled(make):
    return lambda folder, values: write_labels(folder, make(np.arange(N_WORDS)))


def put(name: str, values, **more):
    return lambda folder, _: image(folder, name, values, **more)


def text(name: str, content: str):
    return lambda folder, _: (folder / name).write_text(content)


def gone(name: str):
    def plant(folder, values):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return plant


def reconfigured(name: str, **changes):
    def plant(folder, values):
        path = folder / name / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return plant


def grayordinates(folder, values):
    models = nibabel.cifti2.BrainModelAxis.from_mask(MASK, affine=np.eye(4))
    data = np.ones((1, int(MASK.sum())), dtype=np.float32)
    image = nibabel.Cifti2Image(data, (nibabel.cifti2.ScalarAxis(["mask"]), models))
    image.to_filename(folder / "sub-01_mask.nii")
    values["brain"]["mask"] = "sub-{subject}_mask.nii"
    shutil.copy(folder / "sub-01_mask.nii", folder / "sub-02_mask.nii")


def colours(folder, values):
    rgb = np.zeros((4, 4, 3, TRS), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(rgb, np.eye(4)), folder / "sub-01_run-1.nii.gz")


def parse_of_another_text(folder, values):
    line = "1\tIt\tit\tPRON\t_\t_\t0\troot\t_\t_"
    (folder / "parse.conllu").write_text(f"# constituency = (ROOT (NP (PRP It)))\n{line}\n\n")
    values["annotation"] = {"file": "parse.conllu"}
    values["properties"]["pos"] = {"classes": ["NOUN"]}


def one_run(folder, values):
    write_words(folder, lambda rows: [row for row in rows if row[1] == "1"])
    write_labels(folder, ["warm", "cold"] * (N_WORDS // 4))
    values["story"]["trs"] = [TRS]
    values["encoding"]["folds"] = "runs"
    gone("loud.tsv")(folder, values)
    del values["features"], values["shares"]


def ragged_array(folder, values):
    """The layout of arrays, with responses of another length."""
    at = np.arange(N_WORDS) * 0.5 + 8.25
    np.save(folder / "words_fmri.npy", np.array(SENTENCE * (N_WORDS // 10)))
    np.save(folder / "time_words_fmri.npy", at)
    np.save(folder / "time_fmri.npy", np.arange(140) * 2.0)
    np.save(folder / "runs_fmri.npy", np.repeat([1.0, 2.0], 70))
    for subject in SUBJECTS:
        np.save(folder / f"data_subject_{subject}.npy", np.zeros((133 if subject == "02" else 140, 6)))
    values["story"] = {"layout": "arrays", "download": None, "folder": ".", "trim": values["story"]["trim"]}
    del values["brain"], values["rois"]


def as_arrays(more):
    def plant(folder, values):
        ragged_array(folder, values)
        np.save(folder / "data_subject_02.npy", np.zeros((140, 6)))
        more(folder, values)

    return plant


def with_confounds(rows: int, **more):
    """A table of confounds for each run; that of the last has so many rows."""

    def plant(folder, values):
        for subject in SUBJECTS:
            for run in RUNS:
                n = rows if (subject, run) == (SUBJECTS[-1], RUNS[-1]) else TRS
                lines = ["x\tnon_steady_state_outlier00", *(f"{k}\t{k == 4:d}" for k in range(n)), ""]
                (folder / f"sub-{subject}_run-{run}_confounds.tsv").write_text("\n".join(lines))
        values["brain"]["confounds"] = {"files": "sub-{subject}_run-{run}_confounds.tsv"} | (more or {"columns": ["x"]})

    return plant


def no_confounds(folder, values):
    with_confounds(TRS)(folder, values)
    gone("sub-01_run-2_confounds.tsv")(folder, values)


def by_run(folder, values):
    """A table of words for each run, the second with a decimal comma."""
    for run in ("1", "2"):
        write_words(folder, lambda rows, run=run: [row for row in rows if row[1] == run])
        (folder / "words.tsv").rename(folder / f"words-{run}.tsv")
    path = folder / "words-2.tsv"
    path.write_text(path.read_text().replace("8.5\t", "8,5\t", 1))
    values["story"]["words"] = "words-{run}.tsv"


RIM = MASK.astype(np.float32)
RIM[0] = 1e-6

#: A fault, what plants it in a sound study, and how it is told.
FAULTS = {
    # the configuration
    "a misspelt key": (edited("encoding.gaps", 3), r"encoding\.gaps: unknown key .* did you mean 'gap'"),
    "a value of the wrong kind": (edited("story.tr", "two"), r"story\.tr: .*number"),
    "a layer beyond the depth": (edited("model.layers", [0, 3]), r"layers: unknown layer 3; allowed are 0 to 2"),
    "a ceiling of one subject": (
        lambda folder, values: values.update(subjects=["01"], noise_ceiling={"compute": True}),
        r"noise_ceiling\.compute: .* needs two subjects",
    ),
    "an unknown nuisance feature": (edited("shares.nuisance", ["loudness"]), r"shares\.nuisance: .*'loudness'"),
    # files
    "no words table": (gone("words.tsv"), r"story\.words: no such file words\.tsv"),
    "no image of a run": (gone("sub-02_run-2.nii.gz"), r"brain\.images: no such file .* \(subject '02', run 2\)"),
    "no mask": (gone("sub-01_mask.nii.gz"), r"brain\.mask: no such file .* \(subject '01'\)"),
    "no labels": (gone("labels.tsv"), r"properties\.warmth\.table: no such file labels\.tsv"),
    "no feature": (gone("loud.tsv"), r"features\.loud\.table: no such file"),
    "no names of regions": (gone("rois.tsv"), r"rois\.labels: no such file rois\.tsv"),
    "no parser": (edited("annotation", {"download": False, "models": "stanza"}), r"annotation\.models: no such file"),
    "no checkpoint": (gone("model/step8"), r"model\.source: no such file \./model/step8/config\.json"),
    "no weights": (
        gone("model/step8/model.safetensors"),
        r"step8: holds no weights of the kind .*safetensors \(it has",
    ),
    "weights of another kind": (edited("model.weights", "pytorch"), r"step0: holds no weights of the kind .*pytorch"),
    "a tokenizer without config.json": (
        gone("model/tokenizer/config.json"),
        r"no such file \./model/tokenizer/config\.json; copy that of a checkpoint",
    ),
    # words in time
    "an onset n/a": (cell(3, 0, "n/a"), r"words\.tsv: row 3: .*n/a"),
    "a decimal comma": (cell(3, 0, "9,5"), r"words\.tsv: row 3: .*9,5.*point"),
    "a negative onset": (cell(0, 0, "-1"), r"words\.tsv: row 0: .*-1"),
    "an onset after the run": (cell(-1, 0, "141"), r"words\.tsv: row 459: .*141"),
    "a run that is not there": (cell(-1, 1, "3"), r"words\.tsv: row 459: run .*3"),
    "onsets that fall": (cell(5, 0, "9"), r"words\.tsv: .*onsets must not fall"),
    "a word with a space": (cell(5, 2, "lit it"), r"words\.tsv: .*'lit it'"),
    "words in milliseconds": (
        words(lambda rows: [[f"{float(onset) * 1000:g}", run, word] for onset, run, word in rows]),
        r"words\.tsv: row 0: .*8000",
    ),
    "no punctuation": (
        words(lambda rows: [[onset, run, word.strip(".")] for onset, run, word in rows]),
        r"460 words.*sentence",
    ),
    "a run without words": (
        words(lambda rows: [row for row in rows if row[1] == "1"]),
        r"words\.tsv: run 2 has no word in the 60 TRs",
    ),
    "all words dropped": (edited("story.drop", sorted(set(SENTENCE))), r"story\.drop leaves no words"),
    "too much trimmed": (
        edited("story.trim", {"start": 50, "end": 20}),
        r"run 1 has 70 TRs, of which story\.trim cuts",
    ),
    "a decimal comma in the words of a run": (by_run, r"words-2\.tsv: row 1: onset is '8,5'"),
    # images
    "no confounds": (no_confounds, r"brain\.confounds\.files: no such file .* \(subject '01', run 2\)"),
    "too few rows of confounds": (with_confounds(69), r"sub-02_run-2_confounds\.tsv: 69 rows, but run 2 has 70 TRs"),
    "a confound that is not there": (
        with_confounds(TRS, columns=["y"]),
        r"sub-01_run-1_confounds\.tsv: lacks column 'y'; it has x",
    ),
    "confounds of fMRIPrep's that are not": (
        with_confounds(TRS, strategy=["motion"]),
        r"sub-01_run-1_confounds\.tsv: not all that brain\.confounds\.strategy asks for is there: .*motion",
    ),
    "too few volumes": (
        put("sub-02_run-1.nii.gz", volumes(66)),
        r"sub-02_run-1.*66 volumes, but run 1 has 70 TRs .* 60",
    ),
    "another TR": (put("sub-01_run-2.nii.gz", volumes(), tr=1.5), r"sub-01_run-2.*TR of 1\.5 .*story\.tr is 2 s"),
    "another grid": (put("sub-01_run-1.nii.gz", volumes(shape=(4, 4, 4))), r"sub-01_run-1.*grid of 4 × 4 × 4"),
    "another affine": (
        put("sub-01_run-1.nii.gz", volumes(), affine=np.diag([2.0, 1, 1, 1])),
        r"sub-01_run-1.*affine differs",
    ),
    "a run of one volume": (put("sub-01_run-1.nii.gz", volumes()[..., 0]), r"sub-01_run-1.*4-D"),
    "a complex image": (put("sub-01_run-1.nii.gz", volumes(dtype=np.complex64)), r"sub-01_run-1.*complex64"),
    "an image of colours": (colours, r"sub-01_run-1.*colours"),
    "grayordinates as a mask": (grayordinates, r"sub-01_mask\.nii: is a Cifti2 file.*name it \.dtseries\.nii"),
    "a text as an image": (text("sub-01_run-1.nii.gz", "no image"), r"sub-01_run-1.*not a whole NIfTI image"),
    "a mask with a rim": (put("sub-01_mask.nii.gz", RIM), r"sub-01_mask.*holds 3 values .*threshold"),
    "an empty mask": (put("sub-01_mask.nii.gz", 0 * MASK), r"sub-01_mask.*all voxels are 0"),
    "labels between whole numbers": (put("sub-02_rois.nii.gz", MASK * np.float32(1.5)), r"sub-02_rois.*holds 1\.5"),
    "a region without a name": (
        text("rois.tsv", "index\tname\n1\tlow\n2\tmiddle\n"),
        r"label 3 has no name in rois\.tsv",
    ),
    "arrays of another length": (ragged_array, r"data_subject_02\.npy: 133 rows, but the story has 140 TRs, 120 after"),
    "an array of text": (
        as_arrays(lambda folder, values: np.save(folder / "data_subject_01.npy", np.array([["a"]]))),
        r"data_subject_01\.npy: expected real numbers",
    ),
    "voxels of another brain": (
        as_arrays(
            lambda folder, values: (
                [np.save(folder / f"{subject}.npy", np.ones(7, bool)) for subject in SUBJECTS],
                values.update(brain={"voxels": "{subject}.npy"}),
            )
        ),
        r"01\.npy: expected a boolean array of shape \(6,\)",
    ),
    # labels and features
    "a word without a label": (
        labelled(lambda index: ["warm", "cold"] * 20),
        r"labels\.tsv: no label for word_index 40",
    ),
    "a label n/a": (labelled(lambda index: np.where(index == 7, "n/a", "warm")), r"labels\.tsv: row 7: .*n/a"),
    "one class only": (
        labelled(lambda index: np.repeat("warm", len(index))),
        r"warmth: all 460 words are in class 'warm'",
    ),
    "a class of three words": (
        labelled(lambda index: np.where(np.isin(index, [50, 200, 400]), "warm", "cold")),
        r"warmth: .*class 0 has 3 words, fewer than the 4 folds",
    ),
    "a class before the first represented word": (
        labelled(lambda index: np.where(index < 6, "warm", "cold")),
        r"warmth: all 454 words that have a representation are in one class \(the first has word_index 6",
    ),
    "a class in one test fold": (
        labelled(lambda index: np.where((index > 150) & (index < 170), "warm", "cold")),
        r"warmth: class 1 only among the \d+ words that outer fold 2 of encoding can learn from",
    ),
    "a feature that never changes": (
        text("loud.tsv", "run\tonset\tloud\n" + "1\t2\t5\n1\t4\t5\n"),
        r"features\.loud: .*column loud never changes",
    ),
    "a feature of one moment": (
        text("loud.tsv", "run\tonset\tloud\n" + "1\t30\t5\n1\t32\t6\n"),
        r"outer fold 1 of encoding: .*only 0 have",
    ),
    "a parse of another text": (parse_of_another_text, r"parse\.conllu: "),
    # folds
    "runs as folds, with one run": (one_run, r"encoding\.folds: 'runs' needs two runs or more"),
    "more folds than TRs": (
        edited("encoding.folds", 200),
        r"120 rows cannot be cut into 200 folds|test fold of one TR",
    ),
    "too many inner folds": (
        edited("encoding.inner_folds", 60),
        r"encoding\.inner_folds: .*validation blocks of one TR",
    ),
    "a gap that leaves nothing": (edited("encoding.gap", 60), r"gap of 60 leaves \d+ of 120 rows to train on"),
    "more probing folds than sentences": (edited("probing.folds", 60), r"probing\.folds: 454 rows .*60 folds"),
    "more components than dimensions": (
        edited("encoding.pca_components", 9),
        r"encoding\.pca_components: 9 components",
    ),
    # the model
    "a context longer than the story": (edited("model.context_tokens", 1102), r"1102"),
    "a context longer than the model's": (
        reconfigured("model/tokenizer", max_position_embeddings=8),
        r"context is 8 tokens, shorter than the window of 10",
    ),
    "another depth": (
        lambda folder, values: values["model"].update(depth=3, layers=[0, 3]),
        r"2 transformer layers, but model\.depth is 3",
    ),
    "a checkpoint of another shape": (reconfigured("model/step8", hidden_size=16), r"step8: the model has .*size 16"),
    "a model that is not causal": (
        text("model/tokenizer/config.json", json.dumps({"model_type": "t5"})),
        r"tokenizer/config\.json: ",
    ),
    "a model that is not known": (
        text("model/tokenizer/config.json", json.dumps({"model_type": "gpt9"})),
        r"tokenizer/config\.json: .*gpt9",
    ),
    "a broken config.json": (text("model/step8/config.json", "{"), r"step8/config\.json: "),
    "quantised weights": (
        reconfigured("model/step0", quantization_config={"quant_method": "awq", "bits": 4}),
        r"step0/config\.json: .*quant",
    ),
    "a broken tokenizer": (text("model/tokenizer/tokenizer.json", "{}"), r"tokenizer\.json: .*tokenizer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(folder, capsys, fault):
    plant, message = FAULTS[fault]
    values = study_values()
    plant(folder, values)
    Path("mine.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"^\d+ problems?; the study is not run"):
        command.main(["--configfile", "mine.yaml", "--output", "found.txt"])
    shown = capsys.readouterr().out
    listed = shown.partition(" problem")[2]
    assert re.search(message, listed), shown
    assert not Path("found.txt").exists()


def test_all_problems_are_told_at_once(folder, capsys):
    values = study_values()
    told_apart = ["an onset n/a", "another TR", "a mask with a rim", "no image of a run", "too many inner folds"]
    for fault in (*told_apart, "quantised weights", "no labels", "a broken tokenizer"):
        FAULTS[fault][0](folder, values)
    found = check(load(values))
    assert len(found.problems) == 8, found.problems


def test_what_the_workflow_has_made_is_read(folder, capsys):
    """The second check of a run: tables and tokens as they stand in the results."""
    from dynalign.models import tokens
    from dynalign.stimulus import properties, timing
    from dynalign.tables.writer import write_table

    values = study_values()
    study = load(values)
    timing.main(["--words", "w.tsv", "--trs", "t.tsv", "--options", study.story.model_dump_json()])
    tokens.main(flags(words="w.tsv", tokenizer="model/tokenizer", context_tokens=10, depth=2, output="tokens.npz"))
    labels = properties.label_table(timing.read_words("w.tsv"), [], study.properties, 0)
    labels.loc[labels.index >= 6, "warmth"] = 0
    write_table(labels, "l.tsv")
    made = {"words": "w.tsv", "trs": "t.tsv", "tokens": "tokens.npz", "labels": "l.tsv"}
    found = check(study, **made)
    assert any("warmth: all 454 words that have a representation" in text for text in found.problems)
    labels["warmth"] = np.arange(len(labels)) % 2
    write_table(labels, "l.tsv")
    options = [part for name, path in made.items() for part in (f"--{name}", path)]
    command.main([*options, "--study", study.model_dump_json(), "--output", "check/design.txt"])
    assert Path("check/design.txt").read_text() == capsys.readouterr().out


def test_scores_on_tasks_are_checked_before_anything_runs(folder):
    scores = folder / "scores.tsv"
    study = load(study_values() | {"competence": "scores.tsv"})
    assert "competence: no such file scores.tsv" in check(study).problems
    scores.write_text("step\ttask\tscore\n0\tsciq\t0.2\n8\tsciq\t0.3\n9\tpiqa\t0.3\n")
    found = check(study)
    assert found.problems == []
    assert "scores.tsv: 1 tasks, at 2 of 2 steps" in found.screen()
    scores.write_text("step\ttask\tscore\n0\tsciq\tgood\n")
    (problem,) = check(study).problems
    assert problem.startswith("competence: scores.tsv: row 0: score is 'good'")
