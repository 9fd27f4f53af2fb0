"""Six data sets in six layouts, written from one planted truth and run by configuration alone, give the same scores.

The model is trained and the story parsed once. Each layout writes the planted responses as its files, and runs the
whole workflow: every table, figure and map, and the page.
"""

import copy
import json
import subprocess
import sys
from collections.abc import Callable

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from nibabel import cifti2
from nibabel.gifti import GiftiDataArray
from safetensors.numpy import load_file
from scipy.spatial import ConvexHull

from dynalign.config.embedded import Simulation
from dynalign.datasets.simulation import brain_mask, time_words
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table
from tests import recordings
from tests.workflow.conftest import ROOT, copy_repository, snakemake, tiny_study

TR = 2.0
#: Paragraphs of each run.
PARAGRAPHS = (6, 5, 6)
#: The first represented words of a story told alone are shown by then, two delays included: before, its vectors are
#: not those of the same story told after another.
TRIM = {"start": 22, "end": 2}
HIGH_PASS_S = 64.0
CONTEXT = 16
KEY = ["checkpoint", "layer", "removal", "property", "subject"]
#: What is fitted on words of training rows alone. All else (the paper's removal, permuted labels, what is readable)
#: sees all words with a vector, and a story told alone has fewer of them.
LOCAL = ["none", "leace-crossfit"]


class Data:
    """What is planted, in a folder in which every layout's study runs.

    Half of the voxels follow the trained model's vectors one TR later, each in a direction of its own; the others
    follow nothing. All drift.
    """

    def __init__(self, folder):
        self.folder = folder
        made, rng = folder / "results/tiny", np.random.default_rng(7)
        self.mask = brain_mask((6, 8, 5))
        n = int(self.mask.sum())
        self.driven = rng.permutation(n) < n // 2
        self.words = read_table(made / "data/words.tsv")
        timed, trs = read_table(made / "story/words.tsv"), read_table(made / "story/trs.tsv")
        stored = load_file(made / "representation/step-16.safetensors")
        tr_of = timed["tr"].to_numpy()[stored["word_index"]]
        nothing = np.full(32, np.nan)
        means = np.array([stored["layer-1"][tr_of == tr].mean(axis=0) if tr in tr_of else nothing for tr in trs["tr"]])
        means = np.where(np.isnan(means), np.nanmean(means, axis=0), means)
        means = (means - means.mean(axis=0)) / means.std(axis=0)
        directions, self.runs = rng.standard_normal((32, n)) / np.sqrt(32), []
        for rows in trs.groupby("run").indices.values():
            signal = np.roll(means[rows], 1, axis=0) @ directions
            drift = np.linspace(-15, 15, len(rows))[:, None] * rng.standard_normal(n)
            noise = rng.standard_normal((len(rows), n))
            self.runs.append((1000 + 10 * (signal * self.driven + noise) + drift).astype(np.float32))
        trained = tiny_study(folder)
        self.trs = [len(run) for run in self.runs]
        #: All that says nothing of where stimulus and responses lie.
        self.same = {key: trained[key] for key in ("properties", "probing", "encoding", "removal", "shares", "figures")}
        self.same |= {"threads": trained["threads"], "baselines": []}
        self.same["annotation"] = {"file": "results/tiny/annotation/story.conllu"}
        self.same["model"] = trained["model"] | {"source": "results/tiny/model", "revision": "step-{step}"}

    def study(self, name: str, story: dict, brain: dict, **more) -> dict:
        """A study of the layout `table`, or of another that `story` names."""
        story = {"layout": "table", "download": None, "tr": TR, "trim": TRIM} | story
        if story["layout"] == "table":
            story["trs"] = self.trs
        brain = {"detrend": "cosine", "high_pass_s": HIGH_PASS_S, "standardize": True} | brain
        return copy.deepcopy(self.same) | {"study": name, "subjects": ["F"], "story": story, "brain": brain} | more

    def nifti(self, path, values) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        recordings.nifti(path, values, TR, self.mask)

    def write_mask(self, path) -> None:
        nibabel.Nifti1Image(self.mask.astype(np.uint8), recordings.AFFINE).to_filename(path)

    def write_words(self, path) -> str:
        write_table(self.words, self.folder / path)
        return str(path)

    def of_run(self, run: int) -> pd.DataFrame:
        return self.words[self.words["run"] == run].drop(columns="run")


def story_of(run: int) -> str:
    return f"tale-{run}"


def nifti(data: Data) -> dict:
    """Volumes with a mask."""
    for run, values in enumerate(data.runs, 1):
        data.nifti(data.folder / f"nifti/sub-F_run-{run}.nii.gz", values)
    data.write_mask(data.folder / "nifti/mask.nii.gz")
    brain = {"images": "nifti/sub-{subject}_run-{run}.nii.gz", "mask": "nifti/mask.nii.gz"}
    return data.study("nifti", {"words": data.write_words("nifti/words.tsv")}, brain)


def bids(data: Data) -> dict:
    """Derivatives of fMRIPrep; `dynalign.init` writes the configuration.

    What the reference's cosines take out as drift, confounds hold here: the slower ones as cosines, the next motion,
    the fastest tissue. So the same is taken out if, and only if, all of them are.
    """
    rng = np.random.default_rng(3)
    for run, values in enumerate(data.runs, 1):
        n = len(values)
        order = int(2 * n * TR / HIGH_PASS_S)
        cosines = np.cos(np.pi * np.arange(1, order + 1) * (np.arange(n)[:, None] + 0.5) / n)
        slow = order - 2
        table = {f"cosine{k:02d}": cosines[:, k] for k in range(slow)}
        moves = [f"{kind}_{axis}{term}{square}" for kind in ("trans", "rot") for axis in "xyz"
                 for term in ("", "_derivative1") for square in ("", "_power2")]  # fmt: skip
        table |= {name: rng.normal() * cosines[:, slow] for name in moves}
        table |= {name: rng.normal() * cosines[:, slow + 1] for name in ("csf", "white_matter")}
        name = f"sub-F_task-tales_run-{run}"
        func = data.folder / "bids/derivatives/fmriprep/sub-F/func"
        place = func / f"{name}_space-MNI152NLin2009cAsym"
        data.nifti(place.with_name(f"{place.name}_desc-preproc_bold.nii.gz"), values)
        data.write_mask(place.with_name(f"{place.name}_desc-brain_mask.nii.gz"))
        place.with_name(f"{place.name}_desc-preproc_bold.json").write_text(json.dumps({"RepetitionTime": TR}))
        write_table(pd.DataFrame(table), func / f"{name}_desc-confounds_timeseries.tsv")
        means = {column: {"Method": "Mean"} for column in ("csf", "white_matter")}
        (func / f"{name}_desc-confounds_timeseries.json").write_text(json.dumps(means))
        raw = data.folder / f"bids/sub-F/func/{name}_events.tsv"
        raw.parent.mkdir(parents=True, exist_ok=True)
        events = data.of_run(run).assign(duration=0.5)
        events.loc[-1] = {"onset": 0.0, "duration": 20.0, "word": "n/a"}
        write_table(events.sort_index()[["onset", "duration", "word"]], raw)
    command = [sys.executable, "-m", "dynalign.init", "--bids", "bids", "--task", "tales", "--output", "bids.yaml"]
    subprocess.run(command, cwd=data.folder, check=True)
    written = yaml.safe_load((data.folder / "bids.yaml").read_text())
    assert written["brain"]["confounds"]["strategy"] == ["motion", "high_pass", "wm_csf"]
    # What a user adds: how much is cut, and what is studied.
    written["story"]["trim"] = TRIM
    return written | copy.deepcopy(data.same)


def sphere(path, n: int) -> None:
    """A mesh of n vertices."""
    points = np.random.default_rng(n).standard_normal((n, 3))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    faces = ConvexHull(points).simplices.astype(np.int32)
    nibabel.GiftiImage(darrays=[GiftiDataArray(points, 1008), GiftiDataArray(faces, 1009)]).to_filename(path)


def gifti(data: Data) -> dict:
    """Two hemispheres, drawn on surfaces of the data's own."""
    left = 60
    (data.folder / "gifti").mkdir()
    for run, values in enumerate(data.runs, 1):
        for hemi, part in (("L", values[:, :left]), ("R", values[:, left:])):
            recordings.gifti(data.folder / f"gifti/sub-F_run-{run}_hemi-{hemi}.func.gii", part)
    for hemi, n in (("L", left), ("R", data.runs[0].shape[1] - left)):
        sphere(data.folder / f"gifti/sphere.{hemi}.surf.gii", n)
    brain = {"images": "gifti/sub-{subject}_run-{run}_hemi-{hemi}.func.gii", "mesh": "gifti/sphere.{hemi}.surf.gii"}
    return data.study("gifti", {"words": data.write_words("gifti/words.tsv")}, brain)


def cifti(data: Data) -> dict:
    """A dense series: vertices of both hemispheres without their medial walls, and voxels below."""
    n = data.runs[0].shape[1]
    models = (
        cifti2.BrainModelAxis.from_surface(np.arange(5, 45), 50, "cortex_left")
        + cifti2.BrainModelAxis.from_surface(np.arange(0, 80, 2), 90, "cortex_right")
        + cifti2.BrainModelAxis.from_mask(
            np.arange(6 * n).reshape(6, n, 1) < n - 80, "thalamus_left", recordings.AFFINE
        )
    )
    (data.folder / "cifti").mkdir()
    for run, values in enumerate(data.runs, 1):
        recordings.cifti(data.folder / f"cifti/sub-F_run-{run}.dtseries.nii", values, TR, models)
    brain = {"images": "cifti/sub-{subject}_run-{run}.dtseries.nii"}
    return data.study("cifti", {"words": data.write_words("cifti/words.tsv")}, brain)


def stories(data: Data) -> dict:
    """HDF5 and TextGrids, a file of each for each story; the table of recordings says who heard which."""
    (data.folder / "stories/F").mkdir(parents=True)
    for run, values in enumerate(data.runs, 1):
        recordings.hdf5(data.folder / f"stories/F/{story_of(run)}.hf5::data", values)
        words = data.of_run(run)
        begins, ends = words["onset"].to_numpy(), [*words["onset"][1:], words["onset"].iloc[-1] + 0.5]
        intervals = [(0.0, begins[0], "sp"), *zip(begins, ends, words["word"], strict=True)]
        recordings.textgrid(data.folder / f"stories/{story_of(run)}.TextGrid", {"word": intervals})
    rows = [
        {"subject": "F", "run": run, "story": story_of(run), "images": f"stories/F/{story_of(run)}.hf5"}
        for run in range(1, 1 + len(data.runs))
    ]
    write_table(pd.DataFrame(rows), data.folder / "stories/recordings.tsv")
    story = {"layout": "recordings", "words": "stories/{story}.TextGrid"}
    return data.study("stories", story, {}, recordings="stories/recordings.tsv")


def ragged(data: Data) -> dict:
    """F as it is; G lacks the second run, is scanned in another order, stops early, and hears the first run again."""
    starts = np.cumsum([0, *data.trs])[:-1] * TR
    words = data.words.assign(story="tales", onset=data.words["onset"] + starts[data.words["run"] - 1])
    (data.folder / "ragged").mkdir()
    write_table(words.drop(columns="run"), data.folder / "ragged/words.tsv")
    rows = []
    for subject, order in (("F", (1, 2, 3)), ("G", (3, 1, 1))):
        for run, old in enumerate(order, 1):
            values = data.runs[old - 1]
            path = f"ragged/sub-{subject}_run-{run}.nii.gz"
            data.nifti(data.folder / path, values[:-5] if subject == "G" and old == 3 else values)
            row = {"subject": subject, "run": run, "story": "tales", "start": starts[old - 1], "images": path}
            rows.append(row | {"repeat": 1 + order[: run - 1].count(old), "mask": "ragged/mask.nii.gz"})
    data.write_mask(data.folder / "ragged/mask.nii.gz")
    write_table(pd.DataFrame(rows), data.folder / "ragged/recordings.tsv")
    story = {"layout": "recordings", "words": "ragged/words.tsv"}
    more = {"recordings": "ragged/recordings.tsv", "subjects": ["F", "G"]}
    return data.study("ragged", story, {}, **more)


LAYOUTS: dict[str, Callable[[Data], dict]] = {one.__name__: one for one in (nifti, bids, gifti, cifti, stories, ragged)}
#: What the maps of a layout are called, if not `maps/F.nii.gz`.
MAPS = {"gifti": ["F_hemi-L.func.gii", "F_hemi-R.func.gii"], "cifti": ["F.dscalar.nii"], "stories": ["F.h5"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Data:
    folder = copy_repository(tmp_path_factory.mktemp("layouts"))
    study = tiny_study(folder)
    text = (ROOT / "resources/demo/story.txt").read_text(encoding="utf-8").split("\n---\n")
    chosen = ["\n\n".join(run.split("\n\n")[:n]) for run, n in zip(text, PARAGRAPHS, strict=False)]
    (folder / "tiny.txt").write_text("\n---\n".join(chosen), encoding="utf-8")
    study["story"]["trs"] = time_words("\n---\n".join(chosen), Simulation(**study["simulation"]), TR)[1]
    made = ["results/tiny/annotation/story.conllu", "results/tiny/representation/step-16.safetensors"]
    run = snakemake(folder, "--cores", "2", *made, config=study)
    assert run.status == 0, run.output[-4000:]
    return Data(folder)


@pytest.fixture(scope="module")
def finished(data) -> Callable[[str], dict[str, pd.DataFrame]]:
    """Run a layout's whole study, once; its tables by name."""
    done: dict[str, dict] = {}

    def tables(layout: str) -> dict[str, pd.DataFrame]:
        if layout not in done:
            study = LAYOUTS[layout](data)
            assert study["study"] == layout
            run = snakemake(data.folder, "--cores", "2", "--quiet", "rules", config=study)
            assert run.status == 0, run.output[-6000:]
            again = snakemake(data.folder, "-n", config=study)
            assert again.jobs == {}, again.output[-4000:]
            folder = data.folder / "results" / layout
            assert (folder / "index.html").stat().st_size > 100_000
            # On surfaces, where a mesh is named; in slices, of volumes.
            assert (folder / "figures/map-F.png").is_file() == (layout not in ("cifti", "stories"))
            done[layout] = {path.stem: read_table(path) for path in (folder / "tables").glob("*.tsv")}
        return done[layout]

    return tables


@pytest.mark.parametrize("layout", LAYOUTS)
def test_alignment_is_high_where_it_is_planted(layout, data, finished):
    """Read from the maps, without the package."""
    finished(layout)
    maps = data.folder / "results" / layout / "maps"
    if layout in MAPS:
        values = recordings.read_maps([maps / name for name in MAPS[layout]])
    else:
        values = np.asarray(nibabel.load(maps / "F.nii.gz").dataobj)[data.mask].T
    index = read_table(maps / "F.tsv")
    volume = index.query("image == 'score' and checkpoint == 'step-16'")["volume"].item()
    score = values[volume]
    assert score[data.driven].mean() > 0.3
    assert abs(score[~data.driven].mean()) < 0.06


@pytest.mark.parametrize("layout", [one for one in LAYOUTS if one != "nifti"])
def test_scores_are_those_of_the_volumes(layout, finished):
    told_alone = layout == "stories"
    for name, columns in (
        ("alignment", ["mean_r", "ci_low", "ci_high", "inner_score", "share_significant"]),
        (
            "removal_effects",
            ["mean_difference", "ci_low", "p", *([] if told_alone else ["readable_after", "over_control"])],
        ),
    ):
        own, reference = (
            table.query("subject == 'F'" + (f" and removal in {LOCAL}" if told_alone else "")).set_index(KEY)
            for table in (finished(layout)[name], finished("nifti")[name])
        )
        assert len(own)
        assert own.index.equals(reference.index)
        for column in columns:
            np.testing.assert_allclose(own[column], reference[column], atol=1e-5, err_msg=f"{name}: {column}")


def test_probing_and_perplexity_are_those_of_the_volumes(finished):
    for layout in ("bids", "gifti", "cifti", "ragged"):
        for name in ("probing", "perplexity"):
            pd.testing.assert_frame_equal(finished(layout)[name], finished("nifti")[name])


def test_a_subject_with_other_runs_is_aligned_too(finished):
    found = finished("ragged")["alignment"].query("removal == 'none' and checkpoint == 'step-16'").set_index("subject")
    assert found.loc["G", "mean_r"] > 0.1
    assert (finished("ragged")["removal_effects_group"]["n_subjects"] == 2).all()
