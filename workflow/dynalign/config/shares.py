"""The section `shares`: how the variance explained is shared with linguistic properties and with nuisance."""

from typing import Annotated

from pydantic import AfterValidator, Field

from dynalign.config.features import CONTROLS
from dynalign.config.fields import Grid, Name, Section, powers_of_ten, unique

#: Names nuisance features where a property could stand.
NUISANCE = "nuisance"


class Shares(Section):
    """Shares of variance of the model, of each property and of nuisance features (METHOD section 5)."""

    compute: bool = Field(True, description="false leaves them out; saves about half the core-hours")
    nuisance: Annotated[tuple[Name, ...], AfterValidator(unique)] = Field(
        (*CONTROLS, "word_types"),
        description="what the model is compared with: controls, `word_types` (which word it is), `surprisal` (of the "
        "checkpoint), names of `features`; [] leaves nuisance out",
    )
    ratios: Grid = Field(
        powers_of_ten(-2, 2),
        description="ratios of two bands' penalties that are tried in joint models; in steps of `encoding.alphas`, or "
        "the joint model has a finer grid than its parts; word types mix with the vectors at all but the outermost",
    )
