"""The sections `statistics` and `noise_ceiling`."""

from typing import Literal

from pydantic import Field

from dynalign.config.fields import Positive, Section


class Statistics(Section):
    """Tests and intervals (METHOD section 8)."""

    alpha: float = Field(0.05, gt=0, lt=1, description="level of the tests")
    block: Positive = Field(
        20,
        description="TRs in a block of the calibrated test; longer than the autocorrelation of the responses. "
        "A new length encodes again, where each voxel's sums over blocks are formed",
    )
    paper_test: Literal["paired", "independent"] = Field(
        "paired", description="the paper's t-test over voxels; computed, never the headline"
    )


class NoiseCeiling(Section):
    """How well each subject can be predicted from the other subjects' responses (two or more)."""

    compute: bool = Field(False, description="compute it, and set alignment against it (r/ceiling)")
    threshold: float = Field(
        0.1, ge=0, lt=1, description="r/ceiling is over voxels whose ceiling (mean r) exceeds this"
    )
