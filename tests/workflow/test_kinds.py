"""The smallest study with its responses in HDF5: by configuration alone, the same scores (others: tests/layouts)."""

import copy
import shutil

import nibabel
import numpy as np
import pytest

from dynalign.tables.reader import read_table
from tests import recordings
from tests.workflow.conftest import snakemake


@pytest.fixture
def copied(finished_tiny, tmp_path):
    """A folder in which the study of simulated NIfTI images has its scores and maps; its configuration."""
    folder, study, _ = finished_tiny
    return shutil.copytree(folder, tmp_path / "kinds", symlinks=True), study


def own_study(folder, study: dict, name: str, brain: dict) -> dict:
    """The same of a scientist's own words and recordings, with one checkpoint and the parse that are there."""
    own = copy.deepcopy(study) | {"study": name, "subjects": ["F"]}
    del own["simulation"], own["training"]
    own["model"] |= {"source": "results/tiny/model", "revision": "step-{step}", "steps": [16]}
    own["annotation"]["file"] = "results/tiny/annotation/story.conllu"
    shutil.copy(folder / "results/tiny/data/words.tsv", folder / f"{name}/words.tsv")
    own["story"]["words"] = f"{name}/words.tsv"
    del own["brain"]["mask"]
    own["brain"] |= brain
    return own


def responses(folder) -> list[np.ndarray]:
    """The simulated responses inside the mask, TRs × voxels by run."""
    data = folder / "results/tiny/data"
    mask = np.asarray(nibabel.load(data / "sub-F_mask.nii.gz").dataobj) > 0
    return [np.asarray(nibabel.load(data / f"sub-F_run-{run}_bold.nii.gz").dataobj)[mask].T for run in (1, 2)]


def run_to_scores(folder, name: str, own: dict, *more: str):
    """Run the study to its scores and `more`, and compare them with those of the NIfTI study."""
    targets = [f"results/{name}/{target}" for target in ("tables/alignment.tsv", *more)]
    run = snakemake(folder, "--cores", "2", *targets, config=own)
    assert run.status == 0, run.output[-4000:]
    tables = [read_table(folder / f"results/{one}/tables/alignment.tsv") for one in ("tiny", name)]
    key = ["checkpoint", "layer", "removal", "property", "subject"]
    expected, found = (table.set_index(key) for table in tables)
    assert set(found.index.get_level_values("checkpoint")) == {"step-16", "random"}
    expected = expected.loc[found.index]
    for column in ("mean_r", "ci_low", "inner_score", "share_significant"):
        np.testing.assert_allclose(found[column], expected[column], atol=1e-5, err_msg=column)
    image = nibabel.load(folder / "results/tiny/maps/F.nii.gz")
    mask = np.asarray(nibabel.load(folder / "results/tiny/data/sub-F_mask.nii.gz").dataobj) > 0
    index = read_table(folder / "results/tiny/maps/F.tsv").query("image == 'score' and checkpoint != 'step-0'")
    return np.asarray(image.dataobj)[mask].T[index["volume"]]


def test_datasets_give_the_scores_of_the_images_and_have_regions(copied):
    folder, study = copied
    (folder / "hdf5").mkdir()
    runs = responses(folder)
    for number, values in enumerate(runs, 1):
        recordings.hdf5(folder / f"hdf5/sub-F.h5::bold/run-{number}", values)
    np.save(folder / "hdf5/F_front.npy", np.arange(runs[0].shape[1]) < 20)
    own = own_study(folder, study, "hdf5", {"images": "hdf5/sub-{subject}.h5::bold/run-{run}"})
    own["rois"] = {"arrays": "hdf5/{subject}_{roi}.npy", "names": ["front"]}
    expected = run_to_scores(folder, "hdf5", own, "maps/F.h5", "tables/roi_alignment.tsv")
    np.testing.assert_allclose(recordings.read_maps([folder / "results/hdf5/maps/F.h5"]), expected, atol=1e-5)
    regions = read_table(folder / "results/hdf5/tables/roi_alignment.tsv").query("removal == 'none'")
    assert set(regions["n_voxels"]) == {20}
    index = read_table(folder / "results/hdf5/maps/F.tsv").query("image == 'score'")
    for row in index.itertuples():
        here = regions[(regions["checkpoint"] == row.checkpoint) & (regions["layer"] == row.layer)]
        np.testing.assert_allclose(here["mean_r"], expected[row.volume, :20].mean(), atol=1e-5)
    everything = snakemake(folder, "-n", config=own)
    assert everything.status == 0, everything.output[-2000:]
    assert not [rule for rule in everything.jobs if rule.endswith("_map")]
