"""The sections `removal` and `probing`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dynalign.config.fields import Grid, Natural, Positive, Section, powers_of_ten, unique

#: The paper's removal, which stands beside every other.
PAPER: Literal["ridge-in-sample"] = "ridge-in-sample"

Method = Literal["leace-crossfit", "ridge-in-sample", "ridge-crossfit", "leace-in-sample", "leace-tr"]


def _beside_the_papers(methods):
    if PAPER not in methods:
        raise ValueError(f"the paper's removal stands beside every other: add {PAPER!r}")
    return unique(methods)


class Removal(Section):
    """Removing a linguistic property from the representations (METHOD section 5)."""

    methods: Annotated[tuple[Method, ...], AfterValidator(_beside_the_papers)] = Field(
        ("leace-crossfit", PAPER),
        description="the first is the headline. `leace`: exact linear erasure; `ridge`: regression from the labels. "
        "`-crossfit`: fitted in each outer fold of the encoding, on words that its test rows never see; `-in-sample`: "
        "on all words, which can invent effects (`ridge-in-sample` is the paper's, always beside the headline); "
        "`leace-tr`: in each fold, on the mean vectors of TRs",
    )
    controls: bool = Field(
        True, description="the headline's removal of the same labels permuted by sentence too: what erasing costs"
    )
    permutations: Natural = Field(
        20, description="label permutations by sentence for the interval of what the encoder reads by chance"
    )
    coding: Literal["ordinal", "onehot"] = Field(
        "ordinal", description="`ridge`: labels as one column of integer codes (paper) or one column per class"
    )
    alphas: Grid = Field(powers_of_ten(-5, 5), description="`ridge`: penalties tried")
    folds: Annotated[int, Field(ge=2)] = Field(4, description="`ridge`: contiguous folds that choose the penalty")

    @property
    def headline(self) -> str:
        """The removal that tables, figures and the page speak of first."""
        return self.methods[0]

    @property
    def families(self) -> tuple[str, ...]:
        """``ridge``, ``leace``: what the methods fit, wherever they fit it."""
        return tuple(dict.fromkeys(method.partition("-")[0] for method in self.methods))

    @property
    def arms(self) -> tuple[str, ...]:
        """Removals of an encoding: the methods, and the headline's control."""
        return (*self.methods, f"{self.headline}-control") if self.controls else self.methods


class Probing(Section):
    """Can a linear probe read the property, before and after removal? (METHOD section 6)"""

    folds: Annotated[int, Field(ge=2)] = Field(4, description="contiguous outer folds (never cut a sentence)")
    inner_folds: Annotated[int, Field(ge=2)] = Field(4, description="contiguous inner folds that choose C")
    C: Grid = Field(powers_of_ten(-3, 1), description="inverse l2 penalties tried")
    permutations: Annotated[int, Field(ge=10)] = Field(
        50, description="label permutations by sentence for the null interval; 10 or more"
    )
    permutation_C: float = Field(0.01, gt=0, description="C of the permutation fits")
    max_iter: Positive = Field(1000, description="iterations before a fit counts as not converged")
