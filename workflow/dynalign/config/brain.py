"""The sections `brain` and `rois`: the responses and their regions."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dynalign.config.fields import Name, RoiPath, RunPath, Section, SubjectPath, need_placeholders, unique

#: The subjects of the public Harry Potter data (METHOD section 2.1).
HARRY_POTTER_SUBJECTS = ("F", "H", "I", "J", "K", "L", "M", "N")


class Brain(Section):
    """The measured responses."""

    images: RunPath | None = Field(
        None,
        description="layout `table`: 4-D NIfTI per run, a path with {subject} and {run} (1, 2, …; {run:02d}: 01, …; "
        "not needed for one run)",
    )
    mask: SubjectPath | None = Field(
        None, description="layout `table`: brain mask (0 and one other value), a path that may hold {subject}"
    )
    detrend: Literal["none", "linear", "cosine"] = Field(
        "none", description="remove per run and voxel: a line, or all slower than `high_pass_s` (discrete cosines)"
    )
    high_pass_s: float = Field(128.0, gt=0, description="longest period in s that `cosine` keeps")
    standardize: bool = Field(False, description="z-score each voxel within each run after detrending")
    voxels: SubjectPath | None = Field(
        None, description="layout `arrays`: voxels kept, a boolean .npy, one entry per voxel, a path with {subject}"
    )

    @model_validator(mode="after")
    def _placeholders(self):
        need_placeholders(self, images=("subject",), voxels=("subject",))
        return self

    def image(self, subject: str, run: int) -> str:
        """Path of the image of one run, counted from 1."""
        return self.images.format(subject=subject, run=run)


class Rois(Section):
    """Regions of interest: alignment and effects of removal are also given region by region."""

    arrays: RoiPath | None = Field(
        None,
        description="a boolean .npy per region, one entry per voxel (of the whole array, or of the mask in C "
        "order), a path with {subject} and {roi}; regions may overlap",
    )
    image: SubjectPath | None = Field(
        None,
        description="layout `table`: a label image on the mask's grid (whole numbers, 0 = no region), a path "
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
