"""The section `figures`."""

from typing import Literal

from pydantic import Field

from dynalign.config.fields import Natural, Section


class Figures(Section):
    """How figures look."""

    properties: tuple[str, ...] = Field(
        ("random_label", "tree_depth", "tense", "smallest_constituent"),
        description="properties shown in figures 6, 7 and 8; name them where `properties` lacks one of these",
    )
    steps: tuple[Natural, ...] = Field((1000, 43000, 143000), description="steps shown in figures 6, 7 and 8")
    step_axis: Literal["categorical", "log"] = Field("categorical", description="axis of training steps")
    reference: bool = Field(False, description="draw the paper's published values as a faint reference")
