"""Kinds of recordings: the same responses in each come back alike, maps go back, and what does not fit is named."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel import cifti2
from nibabel.gifti import GiftiDataArray
from tests import recordings as made
from tests.helpers import flags

from dynalign.check.findings import Findings
from dynalign.check.inputs import Inputs, _images, _recordings, _responses
from dynalign.config.brain import MAP_ENDS, Brain, Rois, kind_of
from dynalign.config.preflight import missing_files
from dynalign.config.study import load
from dynalign.io.arrays import read_array
from dynalign.io.errors import InputError
from dynalign.responses import recordings
from dynalign.responses.kinds import check_images, space_of
from dynalign.responses.regions import count_voxels
from dynalign.statistics.regions import main as regions_main
from dynalign.tables.writer import write_table

KINDS = tuple(made.IMAGES)
#: Two runs of 30 and 40 TRs; trimming takes 4 and 3.
LENGTHS, KEPT = (30, 40), np.r_[[False] * 4, [True] * 23, [False] * 7, [True] * 33, [False] * 3]


@pytest.fixture
def runs():
    """Raw responses: drift, noise, one constant voxel, one that is not finite. The second run is trimmed already."""
    rng = np.random.default_rng(3)
    whole = [900 + rng.standard_normal((n, made.N)).cumsum(axis=0).astype(np.float32) for n in LENGTHS]
    for run in whole:
        run[:, 7], run[11, 9] = 5.0, np.nan
    return [whole[0], whole[1][4:-3]]


def responses(folder, brain: dict) -> np.ndarray:
    """What the step writes."""
    trs = pd.DataFrame({"tr": range(70), "run": np.repeat([1, 2], LENGTHS), "time": 2.0 * np.arange(70)})
    write_table(trs.assign(kept=KEPT.astype(int)), folder / "trs.tsv")
    options = Brain(**brain, detrend="linear", standardize=True).model_dump_json()
    recordings.main(flags(trs=folder / "trs.tsv", subject="S", output=folder / "out.npy", options=options))
    return read_array(folder / "out.npy")


def test_the_same_responses_come_back_from_every_kind(tmp_path, runs, capsys):
    found = {}
    for kind in KINDS:
        made.write(tmp_path / kind, kind, "S", runs)
        found[kind] = responses(tmp_path / kind, made.brain(tmp_path / kind, kind))
        assert "56 TRs × 40 voxels; 1 not finite (in float32), 1 constant" in capsys.readouterr().err
    assert found["nifti"].shape == (23 + 33, made.N)
    assert found["nifti"][:, 3].std() > 0.5
    for kind in KINDS:
        np.testing.assert_allclose(found[kind], found["nifti"], atol=1e-6, err_msg=kind)


#: A mask of each kind of the places that are true, written into a folder.
MASKS = {"gifti": "mask-{hemi}.gii", "cifti": "mask.dscalar.nii", "npy": "mask.npy", "hdf5": "sub-{subject}.h5::mask"}


def write_mask(folder, kind: str, inside) -> str:
    values = inside[None].astype(np.float32)
    path = f"{folder}/{MASKS[kind]}"
    if kind == "gifti":
        made.gifti(folder / "mask-L.gii", values[:, : made.LEFT])
        made.gifti(folder / "mask-R.gii", values[:, made.LEFT :])
    elif kind == "cifti":
        made.scalars(path, values)
    else:
        write = np.save if kind == "npy" else made.hdf5
        write(path.replace("{subject}", "S"), inside)
    return path


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_chooses_places_and_maps_are_nan_elsewhere(tmp_path, runs, kind):
    made.write(tmp_path, kind, "S", runs)
    inside = np.arange(made.N) % 3 != 1
    brain = made.brain(tmp_path, kind)
    whole = responses(tmp_path, brain)
    brain["mask"] = write_mask(tmp_path, kind, inside)
    np.testing.assert_array_equal(responses(tmp_path, brain), whole[:, inside])
    space = space_of(Brain(**brain), "S")
    assert int(space.inside.sum()) == count_voxels(Brain(**brain), "S", None) == inside.sum()
    paths = [f"{tmp_path}/maps/S{end}" for end in MAP_ENDS[kind]]
    values = np.random.default_rng(0).standard_normal((3, inside.sum())).astype(np.float32)
    space.write(paths, iter(values), ["a", "b", "c"], "what")
    expected = np.full((3, made.N), np.nan, dtype=np.float32)
    expected[:, inside] = values
    np.testing.assert_array_equal(made.read_maps(paths), expected)
    with pytest.raises(InputError, match=r"all voxels are 0"):
        space_of(Brain(**brain | {"mask": write_mask(tmp_path, kind, inside & False)}), "S")


@pytest.mark.parametrize("kind", KINDS)
def test_maps_come_back_at_the_places_of_the_responses_and_with_the_same_bytes(tmp_path, runs, kind):
    made.write(tmp_path, kind, "S", runs)
    values = np.random.default_rng(0).standard_normal((3, made.N)).astype(np.float32)
    values[1, 5] = np.nan
    written = []
    for name in ("one", "two"):
        paths = [f"{tmp_path}/{name}/S{end}" for end in MAP_ENDS[kind]]
        space_of(Brain(**made.brain(tmp_path, kind)), "S").write(paths, iter(values), ["a", "b", "c"], "what")
        np.testing.assert_array_equal(made.read_maps(paths), values)
        written.append([Path(path).read_bytes() for path in paths])
    assert written[0] == written[1]
    assert {kind_of(path) for path in paths} == {kind}
    assert kind_of("S1/alternateithicatom.hf5::data") == "hdf5"


def test_maps_name_what_they_are_and_lie_where_the_recordings_do(tmp_path, runs):
    for kind in ("gifti", "cifti"):
        made.write(tmp_path, kind, "S", runs)
        paths = [f"{tmp_path}/S{end}" for end in MAP_ENDS[kind]]
        names = ["step-1 layer 2", "random layer 2"]
        space_of(Brain(**made.brain(tmp_path, kind)), "S").write(paths, np.zeros((2, made.N)), names, "what")
        first = nibabel.load(paths[0])
        if kind == "cifti":
            assert first.header.get_axis(0).name.tolist() == names
            assert first.header.get_axis(1) == made.MODELS
            assert first.nifti_header.get_intent()[0] == "ConnDenseScalar"
            continue
        assert [array.meta["Name"] for array in first.darrays] == names
        structures = [nibabel.load(path).meta["AnatomicalStructurePrimary"] for path in paths]
        assert structures == ["CortexLeft", "CortexRight"]


def replace(pattern: str, write, *given):
    """A fault: a file of the recordings written anew."""

    def plant(folder, runs):
        write(f"{folder}/{pattern}", *(one(runs) if callable(one) else one for one in given))

    return plant


def cut(runs):
    return runs[0][:, :-1]


def gifti_arrays(path, *arrays):
    nibabel.GiftiImage(darrays=[GiftiDataArray(*one) for one in arrays]).to_filename(path)


def one_row(path):
    data = np.zeros((30, 2, 2), dtype=np.float32)
    nibabel.Nifti1Image(data[..., None], np.eye(4)).to_filename(path)


def parcels(path):
    axis = cifti2.ParcelsAxis.from_brain_models([("a", made.MODELS[:12]), ("b", made.MODELS[12:22])])
    image = cifti2.Cifti2Image(np.zeros((30, 2), dtype=np.float32), (cifti2.SeriesAxis(0, 2, 30), axis))
    image.to_filename(path)


def in_hertz(path):
    axis = cifti2.SeriesAxis(0, 2, 30, unit="HERTZ")
    cifti2.Cifti2Image(np.zeros((30, made.N), dtype=np.float32), (axis, made.MODELS)).to_filename(path)


def shortened(name: str, n: int):
    def plant(folder, runs):
        (folder / name).write_bytes((folder / name).read_bytes()[:n])

    return plant


def text(name: str):
    return lambda folder, runs: (folder / name).write_text("no recording")


L, R = "sub-S_run-1_hemi-L.func.gii", "sub-S_run-1_hemi-R.func.gii"
POINTS = np.zeros((5, 3), dtype=np.float32)
FAULTS = {
    "no right hemisphere": ("gifti", lambda folder, runs: (folder / R).unlink(), r"hemi-R\.func\.gii: no such file"),
    "other vertices in a run": (
        "gifti", replace("sub-S_run-2_hemi-R.func.gii", made.gifti, lambda runs: runs[1][:, :16]),
        r"run-2_hemi-R\.func\.gii: 16 vertices, but .*run-1_hemi-R\.func\.gii has 17; runs and mask",
    ),
    "hemispheres of different lengths": (
        "gifti", replace(R, made.gifti, lambda runs: runs[0][:-1, made.LEFT :]),
        r"run-1_hemi-\{hemi\}\.func\.gii: 30 TRs of the left hemisphere, 29 of the right",
    ),
    "a mesh": (
        "gifti", replace(L, gifti_arrays, (POINTS, "NIFTI_INTENT_POINTSET"), (POINTS.astype("i4"), 1009)),
        r"hemi-L\.func\.gii: holds a mesh \(NIFTI_INTENT_POINTSET\); expected values at vertices",
    ),
    "arrays of several sizes": (
        "gifti", replace(L, gifti_arrays, (POINTS[:, 0].copy(), 2001), (POINTS[:3, 0].copy(), 2001)),
        r"hemi-L\.func\.gii: 2 arrays of 5, 3; expected values",
    ),
    "time along the first axis": (
        "gifti", replace(L, made.gifti, lambda runs: runs[0][:, : made.LEFT].T, True),
        r"run-1_hemi-\{hemi\}\.func\.gii: 23 TRs of the left hemisphere, 30 of the right",
    ),
    "a GIFTI file cut short": ("gifti", shortened(L, 900), r"hemi-L\.func\.gii: not a whole GIFTI file"),
    "text as GIFTI": ("gifti", text(L), r"hemi-L\.func\.gii: not a whole GIFTI file"),
    "another TR": (
        "cifti", replace("sub-S_run-1.dtseries.nii", made.cifti, lambda runs: runs[0], 1.5),
        r"run-1\.dtseries\.nii: its header gives a TR of 1\.5 s \(its series axis\), but story\.tr is 2 s; correct",
    ),
    "other grayordinates": (
        "cifti", replace("sub-S_run-2.dtseries.nii", made.cifti, lambda runs: runs[1][:, :39], 2.0, made.MODELS[:39]),
        r"run-2\.dtseries\.nii: its 39 grayordinates are not the 40 of .*run-1\.dtseries\.nii",
    ),
    "NIfTI that is called CIFTI": (
        "cifti", replace("sub-S_run-1.dtseries.nii", one_row),
        r"run-1\.dtseries\.nii: is a Nifti1 file, but its name is that of a CIFTI-2 file",
    ),
    "scalars as a run": (
        "cifti", replace("sub-S_run-1.dtseries.nii", made.scalars, lambda runs: runs[0]),
        r"run-1\.dtseries\.nii: its rows are a Scalar axis, but a run is a series in seconds",
    ),
    "a series in Hz": (
        "cifti", replace("sub-S_run-1.dtseries.nii", in_hertz), r"its rows are a HERTZ axis, but a run is a series",
    ),
    "parcels": (
        "cifti", replace("sub-S_run-1.dtseries.nii", parcels), r"its axes are Series × Parcels, but grayordinates are",
    ),
    "text as CIFTI": ("cifti", text("sub-S_run-1.dtseries.nii"), r"run-1\.dtseries\.nii: not a whole CIFTI-2 file"),
    "other voxels": (
        "npy", replace("sub-S_run-2.npy", np.save, lambda runs: runs[1][:, 1:]), r"run-2\.npy: 39 voxels, but .*has 40",
    ),
    "1-D data": (
        "npy", replace("sub-S_run-1.npy", np.save, lambda runs: runs[0][:, 0]),
        r"run-1\.npy: expected real numbers, TRs × voxels; got float32 \(30,\)",
    ),
    "text data": (
        "npy", replace("sub-S_run-1.npy", np.save, lambda runs: runs[0].astype(str)), r"expected real numbers, TRs ×",
    ),
    "pickled data": (
        "npy", replace("sub-S_run-1.npy", np.save, lambda runs: runs[0].astype(object)), r"never unpickles",
    ),
    "transposed": (
        "npy", replace("sub-S_run-1.npy", np.save, lambda runs: runs[0].T.copy()),
        r"run-1\.npy: 40 rows, but run 1 has 30 TRs \(story\.trs\), 23 after",
    ),
    "no such dataset": (
        "hdf5", lambda folder, runs: delete(folder / "sub-S.h5", "bold/run-2"),
        r"sub-S\.h5: has no dataset 'bold/run-2' \(it has bold/run-1\); name one: .*sub-S\.h5::dataset",
    ),
    "text in a dataset": (
        "hdf5", replace("sub-S.h5::bold/run-1", made.hdf5, lambda runs: np.full((30, 40), b"x")),
        r"sub-S\.h5::bold/run-1: expected real numbers, TRs × voxels; got \|S1",
    ),
    "a dataset in one dimension": (
        "hdf5", replace("sub-S.h5::bold/run-1", made.hdf5, lambda runs: runs[0][:, 0]),
        r"sub-S\.h5::bold/run-1: expected real numbers, TRs × voxels; got float32 \(30,\)",
    ),
    "HDF5 cut short": ("hdf5", shortened("sub-S.h5", 3000), r"sub-S\.h5::bold/run-1: not a whole HDF5 file"),
    "text as HDF5": ("hdf5", text("sub-S.h5"), r"sub-S\.h5::bold/run-1: not a whole HDF5 file"),
}  # fmt: skip


def delete(file, name: str) -> None:
    import h5py

    with h5py.File(file, "a") as stored:
        del stored[name]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_named_by_the_check_of_headers(tmp_path, runs, fault):
    kind, plant, message = FAULTS[fault]
    made.write(tmp_path, kind, "S", runs)
    brain = Brain(**made.brain(tmp_path, kind))
    given = brain, "S", {1: (30, 23), 2: (40, 33)}, 2.0
    check_images(*given)
    plant(tmp_path, runs)
    with pytest.raises(InputError, match=message):
        check_images(*given)


def test_damage_behind_a_sound_header_is_named_when_data_are_read(tmp_path, runs):
    for kind, name in (("cifti", "sub-S_run-1.dtseries.nii"), ("npy", "sub-S_run-1.npy"), ("gifti", L)):
        made.write(tmp_path, kind, "S", runs)
        space = space_of(Brain(**made.brain(tmp_path, kind)), "S")
        content = (tmp_path / name).read_bytes()
        if kind == "gifti":
            (tmp_path / name).write_bytes(content.replace(b"<Data>eJ", b"<Data>AA", 1))
        else:
            (tmp_path / name).write_bytes(content[:-40])
        path = Brain(**made.brain(tmp_path, kind)).image("S", 1)
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            space.read(path)


def test_a_file_with_one_dataset_needs_no_name(tmp_path, runs):
    made.hdf5(f"{tmp_path}/S_1.h5::deep/inside", runs[0])
    space = space_of(Brain(images=f"{tmp_path}/{{subject}}_{{run}}.h5"), "S")
    np.testing.assert_array_equal(space.read(f"{tmp_path}/S_1.h5"), runs[0])
    made.hdf5(f"{tmp_path}/S_1.h5::other", runs[0])
    with pytest.raises(InputError, match=r"holds 2 datasets, of which none is named \(it has deep/inside, other\)"):
        space.read(f"{tmp_path}/S_1.h5")


def test_compressed_surfaces_are_read(tmp_path, runs):
    for hemi in "LR":
        made.gifti(tmp_path / f"S_1_{hemi}.func.gii.gz", runs[0][:, : made.LEFT])
    space = space_of(Brain(images=f"{tmp_path}/{{subject}}_{{run}}_{{hemi}}.func.gii.gz"), "S")
    assert space.header(f"{tmp_path}/S_1_{{hemi}}.func.gii.gz").n_rows == 30
    expected = np.concatenate([runs[0][:, : made.LEFT]] * 2, axis=1)
    np.testing.assert_array_equal(space.read(f"{tmp_path}/S_1_{{hemi}}.func.gii.gz"), expected)


def test_an_array_per_tr_may_be_a_column(tmp_path, runs):
    column = [(np.ascontiguousarray(row[:, None]), 2001) for row in runs[0]]
    for hemi in "LR":
        gifti_arrays(tmp_path / f"S_{hemi}.gii", *column)
    space = space_of(Brain(images=f"{tmp_path}/{{subject}}_{{hemi}}.gii"), "S")
    assert space.header(f"{tmp_path}/S_{{hemi}}.gii").n_rows == 30
    np.testing.assert_array_equal(space.read(f"{tmp_path}/S_{{hemi}}.gii"), np.tile(runs[0], 2))


@pytest.mark.parametrize("kind", KINDS)
def test_regions_are_arrays_over_the_places_of_every_kind(tmp_path, runs, kind):
    made.write(tmp_path, kind, "S", runs)
    np.save(tmp_path / "S_front.npy", np.arange(made.N) < 9)
    rois = Rois(arrays=f"{tmp_path}/{{subject}}_{{roi}}.npy", names=("front",)).model_dump_json()
    brain = json.dumps(made.brain(tmp_path, kind))
    given = flags(subject="S", options=rois, brain=brain, output=tmp_path / "regions.npz")
    regions_main(["voxels", *given])
    assert np.load(tmp_path / "regions.npz")["inside"].tolist() == [[place < 9 for place in range(made.N)]]
    np.save(tmp_path / "S_front.npy", np.arange(made.N + 1) < 9)
    with pytest.raises(InputError, match=r"S_front\.npy: expected a boolean array of shape \(40,\)"):
        regions_main(["voxels", *given])


STORY = {"layout": "table", "download": None, "words": "words.tsv", "tr": 2.0, "trs": [30, 40]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_needs_the_files_of_its_kind_and_its_check_reads_them(tmp_path, runs, kind):
    made.write(tmp_path, kind, "S", runs)
    values = {"subjects": ["S", "T"], "story": STORY | {"trim": {"start": 4, "end": 3}}}
    study = load(values | {"brain": made.brain(tmp_path, kind)})
    missing = [line for line in missing_files(study) if line.startswith("brain.images")]
    expected = {"gifti": 4, "hdf5": 1}.get(kind, 2)
    assert len({line.split(" (")[0] for line in missing}) == expected
    assert all("sub-T" in line and "::" not in line for line in missing)
    found = Findings()
    assert _images(study, "S", Inputs(), found) == made.N
    assert found.problems == []


@pytest.mark.parametrize("kind", ["gifti", "cifti"])
def test_the_check_compares_the_mesh_and_says_what_is_drawn(tmp_path, runs, kind):
    made.write(tmp_path, kind, "S", runs)
    values = {"subjects": ["S"], "story": STORY | {"trim": {"start": 4, "end": 3}}}
    brain = made.brain(tmp_path, kind)
    found = Findings()
    _responses(load(values | {"brain": brain}), Inputs(), found)
    assert found.problems == []
    assert "maps are written, not drawn: brain.mesh names no surfaces" in found.screen()
    _responses(load(values | {"brain": brain | {"mesh": "fsaverage5"}}), Inputs(), found := Findings())
    sizes = {"gifti": "23 and 17", "cifti": "20 and 31"}[kind]
    (problem,) = found.problems
    assert f"brain.mesh: fsaverage5 has 10,242 and 10,242 vertices, but {tmp_path}/sub-S_run-1" in problem
    assert f"{sizes} (L, R); give the surfaces of your data, or null" in problem
    assert "not drawn" not in found.screen()
    own = load(values | {"brain": brain | {"mesh": f"{tmp_path}/{{subject}}.{{hemi}}.surf.gii"}})
    meshes = [line for line in missing_files(own) if line.startswith("brain.mesh")]
    assert [line.split(" (")[0][-12:] for line in meshes] == ["S.L.surf.gii", "S.R.surf.gii"]


@pytest.mark.parametrize("kind", ["cifti", "npy"])
def test_recordings_of_each_subjects_own_are_drawn_on_a_mesh(tmp_path, runs, kind):
    """The subject's first run need not be number 1."""
    made.write(tmp_path, kind, "S", runs)
    images = f"{tmp_path}/{made.IMAGES[kind]}".replace("{subject}", "S").replace("{run}", "2")
    (tmp_path / "recordings.tsv").write_text(f"subject\trun\tstory\timages\nS\t2\ta\t{images}\n")
    (tmp_path / "words.tsv").write_text("story\tonset\tword\na\t3\tIt\na\t9\trains.\n")
    story = {"layout": "recordings", "download": None, "words": f"{tmp_path}/words.tsv", "tr": 2.0}
    values = {"subjects": ["S"], "recordings": f"{tmp_path}/recordings.tsv", "brain": {"mesh": "fsaverage5"}}
    study = load(values | {"story": story | {"trim": {"start": 4, "end": 3}}, "model": {"source": "hub/model"}})
    if kind == "npy":
        (problem,) = missing_files(study)
        assert problem == f"brain.mesh: goes with images on surfaces (GIFTI, CIFTI); {study.recordings} names {images}"
        return
    assert missing_files(study) == []
    inputs, found = Inputs(), Findings()
    _recordings(study, inputs, found)
    (problem,) = found.problems
    assert problem.startswith(f"brain.mesh: fsaverage5 has 10,242 and 10,242 vertices, but {images}")
    assert inputs.voxels == {"S": made.N}
    assert len(inputs.own["S"][1]) == len(runs[1])


@pytest.mark.parametrize(
    ("brain", "message"),
    [
        ({"images": "{subject}_{run}.func.gii"}, r"images: '.*': \{hemi\}, .* GIFTI files \(\.gii\): they need it"),
        ({"images": "{subject}_{run}_{hemi}.nii", "mask": "m.nii"}, r"images: .*\{hemi\}, .* no other kind may have"),
        ({"images": "{subject}_{run}.dtseries.nii", "mask": "m.nii"}, r"mask: 'm\.nii' is nifti, but images are cifti"),
        ({"images": "{subject}_{run}.nii", "mask": "m.dscalar.nii"}, r"mask: .* is cifti, but images are nifti"),
        ({"images": "{subject}_{run}_{hemi}.gii", "mask": "m.gii"}, r"mask: 'm\.gii': \{hemi\}, .*: they need it"),
        ({"images": "{subject}_{run}.nii", "mask": "m_{hemi}.gii"}, r"mask: .* is gifti, but images are nifti"),
        ({"images": "{subject}_{run}.nii"}, r"needs brain\.images and, for NIfTI images, brain\.mask"),
        ({"images": "{subject}.h5"}, r"brain\.images: '\{subject\}\.h5' lacks \{run\}"),
        ({"images": "{subject}_{run}.npy", "mesh": "fsaverage5"}, r"mesh: goes with images on surfaces"),
        ({"images": "{subject}_{run}.dtseries.nii", "mesh": "L.gii"}, r"mesh: .* neither 'fsaverage5' nor a path with"),
    ],
)  # fmt: skip
def test_a_study_has_one_kind(brain, message):
    with pytest.raises(InputError, match=message):
        load({"subjects": ["S"], "story": STORY, "brain": brain})


def test_label_images_and_simulations_are_volumes():
    surfaces = {"images": "{subject}_{run}_{hemi}.gii"}
    rois = {"image": "{subject}.nii", "labels": "labels.tsv"}
    with pytest.raises(InputError, match=r"rois\.image: goes with NIfTI images; give rois\.arrays"):
        load({"subjects": ["S"], "story": STORY, "brain": surfaces, "rois": rois})
    simulation = {"text": "a.txt", "shape": [4, 4, 4]}
    brain = surfaces | {"mask": "results/s/{subject}_{hemi}.gii"}
    with pytest.raises(InputError, match=r"simulation: simulates NIfTI volumes; brain\.images is"):
        load({"subjects": ["S"], "study": "s", "story": STORY, "brain": brain, "simulation": simulation})
