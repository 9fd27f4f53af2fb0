"""The section `shares`: how the variance explained is shared with linguistic properties and with nuisance."""

from typing import Annotated

import numpy as np
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
        description="ratios of two bands' penalties that are tried in joint models, in steps of `encoding.alphas`; "
        "word types mix with the vectors, less what tells types, at all but the outermost",
    )


def check_ratios(ratios: tuple[float, ...], alphas: tuple[float, ...]) -> None:
    """Refuse (ValueError) ratios between the steps of the penalties.

    The joint model would have a finer grid of penalties than its parts, and gain by that alone (METHOD section 5).
    """
    if len(alphas) < 2:
        raise ValueError("encoding.alphas: shares of variance need two penalties or more, or shares.compute: false")
    step = min(np.diff(np.log(alphas)))
    for ratio in ratios:
        steps = np.log(ratio) / step
        if abs(steps - round(steps)) > 1e-6:
            powers = [float(f"{np.exp(k * step):.4g}") for k in (-1, 0, 1)]
            raise ValueError(
                f"shares.ratios: {ratio:g} lies between the steps of encoding.alphas, whose smallest is a factor of "
                f"{powers[-1]:g}; give powers of that, e.g. {powers}"
            )
