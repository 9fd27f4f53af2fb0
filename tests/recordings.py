"""The same responses, TRs × 40 voxels, as each kind of recording; and maps of each kind read without the package."""

from pathlib import Path

import h5py
import nibabel
import numpy as np
from nibabel import cifti2
from nibabel.gifti import GiftiDataArray

#: Voxels of the responses, and where each kind puts them: inside a mask, on the left and right, on cortex and below.
N = 40
MASK = np.random.default_rng(5).permutation(np.arange(60) < N).reshape(4, 5, 3)
AFFINE = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
LEFT = 23
VERTICES = {"left": (np.arange(2, 14), 20), "right": (np.arange(0, 20, 2), 31)}
MODELS = (
    cifti2.BrainModelAxis.from_surface(*VERTICES["left"], "cortex_left")
    + cifti2.BrainModelAxis.from_surface(*VERTICES["right"], "cortex_right")
    + cifti2.BrainModelAxis.from_mask(np.arange(24).reshape(2, 3, 4) < 18, "thalamus_left", AFFINE)
)

#: Names of recordings, by kind.
IMAGES = {
    "nifti": "sub-{subject}_run-{run}.nii.gz",
    "gifti": "sub-{subject}_run-{run}_hemi-{hemi}.func.gii",
    "cifti": "sub-{subject}_run-{run}.dtseries.nii",
    "npy": "sub-{subject}_run-{run}.npy",
    "hdf5": "sub-{subject}.h5::bold/run-{run}",
}


def gifti(path, values, along_time: bool = False) -> None:
    """Values of shape (n_trs, n_vertices), an array per TR or, along time, one of vertices × TRs."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    arrays = [np.ascontiguousarray(values.T)] if along_time else values
    image = nibabel.GiftiImage(darrays=[GiftiDataArray(one, intent="NIFTI_INTENT_TIME_SERIES") for one in arrays])
    image.to_filename(path)


def cifti(path, values, tr: float = 2.0, models=MODELS) -> None:
    series = cifti2.SeriesAxis(0, tr, len(values))
    cifti2.Cifti2Image(np.asarray(values, dtype=np.float32), (series, models)).to_filename(path)


def scalars(path, values, models=MODELS) -> None:
    names = cifti2.ScalarAxis([str(k) for k in range(len(values))])
    cifti2.Cifti2Image(np.asarray(values, dtype=np.float32), (names, models)).to_filename(path)


def hdf5(path, values) -> None:
    """Into a file and the dataset behind ``::``."""
    file, name = str(path).split("::")
    with h5py.File(file, "a") as stored:
        if name in stored:
            del stored[name]
        stored[name] = values


def nifti(path, values, tr: float = 2.0, mask=MASK) -> None:
    volumes = np.zeros((*mask.shape, len(values)), dtype=np.float32)
    volumes[mask] = np.asarray(values).T
    image = nibabel.Nifti1Image(volumes, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((*image.header.get_zooms()[:3], tr))
    image.to_filename(path)


def textgrid(path, tiers: dict[str, list[tuple[float, float, str]]]) -> None:
    """A TextGrid, long; intervals (start and end in s, text) of each tier follow each other without gaps."""
    end = max(intervals[-1][1] for intervals in tiers.values())
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for item, (name, intervals) in enumerate(tiers.items(), 1):
        lines += [f"item [{item}]:", 'class = "IntervalTier"', f'name = "{name}"', "xmin = 0", f"xmax = {end}"]
        lines += [f"intervals: size = {len(intervals)}"]
        for number, (start, stop, text) in enumerate(intervals, 1):
            quoted = text.replace('"', '""')
            lines += [f"intervals [{number}]:", f"xmin = {start}", f"xmax = {stop}", f'text = "{quoted}"']
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def write(folder: Path, kind: str, subject: str, runs) -> None:
    """Runs of a subject, arrays of TRs × 40."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, values in enumerate(runs, 1):
        path = f"{folder}/{IMAGES[kind]}".replace("{subject}", subject).replace("{run}", str(number))
        if kind == "gifti":
            for hemi, part in (("L", values[:, :LEFT]), ("R", values[:, LEFT:])):
                gifti(path.replace("{hemi}", hemi), part, along_time=number == 2)
        else:
            {"nifti": nifti, "cifti": cifti, "npy": np.save, "hdf5": hdf5}[kind](path, values)
    if kind == "nifti":
        nibabel.Nifti1Image(MASK.astype(np.uint8), AFFINE).to_filename(folder / "mask.nii.gz")


def brain(folder: Path, kind: str) -> dict:
    """Section `brain` of what :func:`write` wrote."""
    return {"images": f"{folder}/{IMAGES[kind]}"} | ({"mask": f"{folder}/mask.nii.gz"} if kind == "nifti" else {})


def read_maps(paths) -> np.ndarray:
    """Maps as maps × places, in the order of the responses; places outside a NIfTI mask are left out."""
    path = str(paths[0])
    if path.endswith(".gii"):
        hemispheres = [[array.data for array in nibabel.load(one).darrays] for one in paths]
        return np.concatenate([np.stack(one) for one in hemispheres], axis=1)
    if path.endswith(".nii.gz"):
        return np.asarray(nibabel.load(path).dataobj)[MASK].T
    if path.endswith(".npy"):
        return np.load(path)
    if path.endswith(".h5"):
        with h5py.File(path) as stored:
            return stored["maps"][:]
    return np.asarray(nibabel.load(path).dataobj)
