"""The section `statistics`."""

from typing import Literal

from pydantic import Field

from dynalign.config.fields import Positive, Section


class Statistics(Section):
    """Tests and intervals (METHOD section 8)."""

    alpha: float = Field(0.05, gt=0, lt=1, description="level of the tests")
    block: Positive = Field(
        20, description="TRs in a block of the calibrated test; longer than the autocorrelation of the responses"
    )
    paper_test: Literal["paired", "independent"] = Field(
        "paired", description="the paper's t-test over voxels; computed, never the headline"
    )
