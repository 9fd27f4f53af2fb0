"""The sections `brain` and `rois`: the responses and their regions."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dynalign.config.fields import (
    MaskPath,
    Name,
    Natural,
    Positive,
    RoiPath,
    RunPath,
    Section,
    SubjectPath,
    need_placeholders,
    unique,
)

#: The subjects of the public Harry Potter data (METHOD section 2.1).
HARRY_POTTER_SUBJECTS = ("F", "H", "I", "J", "K", "L", "M", "N")

#: Kinds of recordings, by the end of a file's name; any other file is an image of volumes, `nifti`.
KINDS = {
    ".gii": "gifti",
    ".gii.gz": "gifti",
    **{f".{what}.nii": "cifti" for what in ("dtseries", "dscalar", "dlabel", "ptseries", "pscalar", "plabel")},
    ".npy": "npy",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hf5": "hdf5",
}

#: What a subject's maps are called behind the subject's name, by kind: a file per hemisphere of surfaces.
MAP_ENDS = {
    "nifti": (".nii.gz",),
    "gifti": ("_hemi-L.func.gii", "_hemi-R.func.gii"),
    "cifti": (".dscalar.nii",),
    "npy": (".npy",),
    "hdf5": (".h5",),
}

#: Kinds whose masks may be of each other's.
_ARRAYS = ("npy", "hdf5")


def split_dataset(path: str) -> tuple[str, str]:
    """An HDF5 file and the dataset named behind ``::``, '' for none; other paths as they are."""
    found = re.fullmatch(r"(.+\.(?:h5|hdf5|hf5))::(.*)", path, re.IGNORECASE)
    return (found[1], found[2]) if found else (path, "")


def kind_of(path: str) -> str:
    """Kind of a recording or of a mask, told by the file's name (:data:`KINDS`)."""
    file = split_dataset(path)[0].lower()
    return next((kind for end, kind in KINDS.items() if file.endswith(end)), "nifti")


def hemispheres(path: str) -> list[str]:
    """A path with {hemi} for the left and for the right hemisphere; another as it is."""
    return [path.replace("{hemi}", hemi) for hemi in "LR"] if "{hemi}" in path else [path]


def recording_files(path: str) -> list[str]:
    """The files of a recording or a mask: one for each hemisphere, without the name of a dataset."""
    return [split_dataset(one)[0] for one in hemispheres(path)]


#: Terms of confounds that :func:`nilearn.interfaces.fmriprep.load_confounds` knows.
Terms = Literal["basic", "power2", "derivatives", "full"]


Part = Literal["motion", "high_pass", "wm_csf", "global_signal", "compcor", "scrub"]


class Confounds(Section):
    """Confounds taken out of the responses, run by run, in one step with drift (METHOD section 2.2)."""

    files: RunPath | None = Field(
        None,
        description="a table per run, a row for each volume (fMRIPrep: `…_desc-confounds_timeseries.tsv`), a path with "
        "{subject} and {run}; with a table of recordings, its column `confounds` names them",
    )
    columns: Annotated[tuple[str, ...], AfterValidator(unique)] = Field((), description="columns taken out, or")
    strategy: Annotated[tuple[Part, ...], AfterValidator(unique)] = Field(
        (),
        description="parts of fMRIPrep's confounds taken out: `motion`, `high_pass`, `wm_csf`, `global_signal`, "
        "`compcor`, as in nilearn's load_confounds, whose parameters follow; with a table of recordings also `scrub`: "
        "volumes with excessive motion are left out of the fit, of folds and of scores",
    )
    motion: Terms = Field("full", description="terms of `motion`: with derivatives, squares, both, or neither")
    wm_csf: Terms = Field("basic", description="terms of `wm_csf`")
    global_signal: Terms = Field("basic", description="terms of `global_signal`")
    compcor: Literal[
        "anat_combined", "anat_separated", "temporal", "temporal_anat_combined", "temporal_anat_separated"
    ] = Field("anat_combined", description="kind of `compcor`")
    n_compcor: Literal["all"] | Positive = Field("all", description="components of `compcor`, of each mask")
    scrub: Natural = Field(5, description="`scrub`: stretches of fewer volumes than this between such are left out too")
    fd_threshold: float = Field(
        0.5, gt=0, description="`scrub`: framewise displacement, in mm, above which it is left out"
    )
    std_dvars_threshold: float = Field(1.5, gt=0, description="`scrub`: standardised DVARS above which it is left out")

    @model_validator(mode="after")
    def _one_way(self):
        if bool(self.columns) == bool(self.strategy):
            raise ValueError(f"needs either columns or strategy; got {'both' if self.columns else 'none'}")
        if "compcor" in self.strategy and "high_pass" not in self.strategy:
            raise ValueError("strategy: `compcor` needs `high_pass` beside it: it was computed after that")
        need_placeholders(self, files=("subject",))
        return self


class Brain(Section):
    """The measured responses."""

    images: RunPath | None = Field(
        None,
        description="layout `table`: a file per run, a path with {subject} and {run} (1, 2, …; {run:02d}: 01, …; not "
        "needed for one run), whose name tells the kind: 4-D NIfTI; GIFTI (.gii) for each hemisphere, {hemi} is L and "
        "R; CIFTI (.dtseries.nii); TRs × voxels as .npy or HDF5 (file.h5::dataset)",
    )
    mask: MaskPath | None = Field(
        None,
        description="layout `table`: mask (0 and one other value) of the same kind, a path that may hold {subject} "
        "(GIFTI: {hemi}); NIfTI needs one",
    )
    mesh: MaskPath | None = Field(
        None,
        description="GIFTI, CIFTI: surfaces that maps are drawn on, `fsaverage5` (it comes with nilearn) or .surf.gii, "
        "a path with {hemi} that may hold {subject}; null: maps are written, not drawn",
    )
    detrend: Literal["none", "linear", "cosine"] = Field(
        "none", description="remove per run and voxel: a line, or all slower than `high_pass_s` (discrete cosines)"
    )
    high_pass_s: float = Field(128.0, gt=0, description="longest period in s that `cosine` keeps")
    confounds: Confounds | None = Field(
        None, description="images run by run: confounds taken out together with drift (keys below)"
    )
    standardize: bool = Field(False, description="z-score each voxel within each run after detrending")
    repeats: Literal["average", "keep"] = Field(
        "average",
        description="with a table of recordings: stretches that a subject heard several times (column `repeat`) are "
        "averaged after cleaning, or kept as recordings of their own, which folds never part",
    )
    voxels: SubjectPath | None = Field(
        None, description="layout `arrays`: voxels kept, a boolean .npy, one entry per voxel, a path with {subject}"
    )

    @model_validator(mode="after")
    def _placeholders(self):
        need_placeholders(self, images=("subject",), voxels=("subject",))
        for key in ("images", "mask"):
            path = getattr(self, key)
            if path is not None and (kind_of(path) == "gifti") != ("{hemi}" in path):
                raise ValueError(
                    f"{key}: {path!r}: {{hemi}}, which stands for L and R, goes with GIFTI files (.gii): they need it, "
                    "for a file holds one hemisphere, and no other kind may have it"
                )
        if self.images is not None and self.mask is not None:
            masks = kind_of(self.mask)
            if masks != self.kind and not {masks, self.kind} <= {*_ARRAYS}:
                raise ValueError(f"mask: {self.mask!r} is {masks}, but images are {self.kind}; use one kind")
        if self.mesh is not None:
            # Those of a table of recordings are known with its rows.
            if self.images is not None:
                self.check_mesh()
            if self.mesh != "fsaverage5" and "{hemi}" not in self.mesh:
                raise ValueError(f"mesh: {self.mesh!r} is neither 'fsaverage5' nor a path with {{hemi}} (L, R)")
        return self

    def check_mesh(self) -> None:
        """Refuse a mesh with images of volumes or without coordinates."""
        if self.mesh is not None and self.kind not in ("gifti", "cifti"):
            raise ValueError("mesh: goes with images on surfaces (GIFTI, CIFTI)")

    def surfaces(self, subject: str) -> list[str]:
        """What a subject's maps are drawn on: ``fsaverage5``, files for L and R, or nothing."""
        return hemispheres(self.mesh.replace("{subject}", subject)) if self.mesh else []

    @property
    def kind(self) -> str:
        """Kind of the images: a key of :data:`MAP_ENDS`."""
        return kind_of(self.images)

    def image(self, subject: str, run: int) -> str:
        """The recording of one run, counted from 1; {hemi} stays."""
        return self.images.format(subject=subject, run=run, hemi="{hemi}")

    def first_image(self, subject: str) -> str:
        """The recording of a subject's first run; {hemi} stays."""
        return self.image(subject, 1)

    def confounds_file(self, subject: str, run: int) -> str:
        """Path of the table of one run's confounds, counted from 1."""
        return self.confounds.files.format(subject=subject, run=run)

    def mask_of(self, subject: str) -> str | None:
        """The mask of a subject, if there is one; {hemi} stays."""
        return None if self.mask is None else self.mask.format(subject=subject, hemi="{hemi}")


class Rois(Section):
    """Regions of interest: alignment and effects of removal are also given region by region."""

    arrays: RoiPath | None = Field(
        None,
        description="a boolean .npy per region, one entry per voxel (of the whole array, or of the mask in C "
        "order; vertices of L, then of R), a path with {subject} and {roi}; regions may overlap",
    )
    image: SubjectPath | None = Field(
        None,
        description="NIfTI images: a label image on the mask's grid (whole numbers, 0 = no region), a path "
        "that may hold {subject}",
    )
    labels: SubjectPath | None = Field(
        None, description="names of the labels of `image`: a table (index, name), a path that may hold {subject}"
    )
    names: Annotated[tuple[Name, ...], AfterValidator(unique)] = Field(
        (), description="regions in the order shown; `arrays` needs them, `image` gives all of `labels`"
    )

    @model_validator(mode="after")
    def _one_source(self):
        if (self.arrays is None) == (self.image is None):
            raise ValueError(f"needs exactly one of arrays, image; got {'none' if self.image is None else 'both'}")
        need_placeholders(self, arrays=("subject", "roi"))
        if self.arrays is not None and not self.names:
            raise ValueError("arrays: needs `names`, the regions that {roi} stands for")
        if (self.image is None) != (self.labels is None):
            raise ValueError("image and labels go together: the image holds numbers, the table their names")
        return self

    def files(self, subject: str) -> list[tuple[str, str]]:
        """Key and path of every file that describes a subject's regions."""
        if self.arrays is not None:
            return [("arrays", self.arrays.format(subject=subject, roi=name)) for name in self.names]
        return [(key, getattr(self, key).format(subject=subject)) for key in ("image", "labels")]
