"""The sections `rois` and `noise_ceiling`."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from dynalign.config.fields import ImagePath, Name, Section, need_placeholders, unique


class Rois(Section):
    """Regions of interest: alignment and effects of removal are also given region by region."""

    arrays: ImagePath | None = Field(
        None,
        description="a boolean .npy per region, one entry per voxel (of the whole array, or of the mask in C "
        "order), a path with {subject} and {roi}; regions may overlap",
    )
    image: ImagePath | None = Field(
        None,
        description="layout `table`: a label image on the mask's grid (whole numbers, 0 = no region), a path "
        "that may hold {subject}",
    )
    labels: ImagePath | None = Field(
        None, description="names of the labels of `image`: a table (index, name), a path that may hold {subject}"
    )
    names: Annotated[tuple[Name, ...], AfterValidator(unique)] = Field(
        (), description="regions in the order shown; `arrays` needs them, `image` gives all of `labels`"
    )

    @model_validator(mode="after")
    def _one_source(self):
        if (self.arrays is None) == (self.image is None):
            raise ValueError(f"needs exactly one of arrays, image; got {'none' if self.image is None else 'both'}")
        need_placeholders(self, arrays=("{subject}", "{roi}"))
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


class NoiseCeiling(Section):
    """How well each subject can be predicted from the other subjects' responses (two or more)."""

    compute: bool = Field(False, description="compute it, and set alignment against it (r/ceiling)")
    threshold: float = Field(
        0.1, ge=0, lt=1, description="r/ceiling is taken over voxels whose ceiling (mean r) exceeds this"
    )
