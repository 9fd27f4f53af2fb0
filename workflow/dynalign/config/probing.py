"""The section `probing`."""

from typing import Annotated

from pydantic import Field

from dynalign.config.fields import Grid, Positive, Section, powers_of_ten


class Probing(Section):
    """Can a linear probe read the property, before and after removal? (METHOD section 6)"""

    folds: Annotated[int, Field(ge=2)] = Field(4, description="contiguous outer folds (never cut a sentence)")
    inner_folds: Annotated[int, Field(ge=2)] = Field(4, description="contiguous inner folds that choose C")
    C: Grid = Field(powers_of_ten(-3, 1), description="inverse l2 penalties tried")
    permutations: Annotated[int, Field(ge=10)] = Field(
        50, description="label permutations by sentence for the null interval"
    )
    permutation_C: float = Field(0.01, gt=0, description="C of the permutation fits")
    max_iter: Positive = Field(1000, description="iterations before a fit counts as not converged")
