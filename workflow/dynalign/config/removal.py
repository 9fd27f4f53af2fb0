"""The section `removal`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dynalign.config.fields import Grid, Section, powers_of_ten, unique


class Removal(Section):
    """Removing a linguistic property from the representations (METHOD section 5)."""

    methods: Annotated[tuple[Literal["ridge", "leace"], ...], Field(min_length=1), AfterValidator(unique)] = Field(
        ("ridge",), description="`ridge`: the paper's; `leace`: exact linear erasure (concept-erasure package)"
    )
    coding: Literal["ordinal", "onehot"] = Field(
        "ordinal", description="`ridge`: labels as one column of integer codes (paper) or one column per class"
    )
    alphas: Grid = Field(powers_of_ten(-5, 5), description="`ridge`: penalties tried")
    folds: Annotated[int, Field(ge=2)] = Field(4, description="`ridge`: contiguous folds that choose the penalty")
