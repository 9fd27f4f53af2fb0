"""The section `brain`: the responses."""

from typing import Literal

from pydantic import Field, model_validator

from dynalign.config.fields import ImagePath, Section, need_placeholders

#: The subjects of the public Harry Potter data (METHOD section 2.1).
HARRY_POTTER_SUBJECTS = ("F", "H", "I", "J", "K", "L", "M", "N")


class Brain(Section):
    """The measured responses."""

    images: ImagePath | None = Field(
        None, description="layout `table`: 4-D NIfTI per run, a path with {subject} and {run} (1, 2, …)"
    )
    mask: ImagePath | None = Field(None, description="layout `table`: brain mask, a path with {subject}")
    detrend: Literal["none", "linear", "cosine"] = Field(
        "none", description="remove per run and voxel: a line, or all slower than `high_pass_s` (discrete cosines)"
    )
    high_pass_s: float = Field(128.0, gt=0, description="longest period in s that `cosine` keeps")
    standardize: bool = Field(False, description="z-score each voxel within each run after detrending")
    voxels: str | None = Field(
        None,
        description="layout `arrays`: keep only these voxels, a boolean .npy with one entry per voxel, a path "
        "with {subject} (images are cut by their mask)",
    )

    @model_validator(mode="after")
    def _placeholders(self):
        need_placeholders(self, images=("{subject}", "{run}"), mask=("{subject}",), voxels=("{subject}",))
        return self
