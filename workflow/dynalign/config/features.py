"""The section `features`: nuisance features of a study's own, and the names of those that every study has."""

from collections.abc import Collection, Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

from dynalign.config.fields import FilePath, Section, unique

#: What a response may follow without any language model (METHOD section 8): the baseline `controls`, and nuisance.
CONTROLS = ("word_rate", "length", "log_frequency", "position_in_sentence", "position_in_run")

#: Baselines that need no table of the study's own.
BASELINES = ("random", "random_types", "controls")

#: Nuisance features that need none: the controls, one column per word type, the checkpoint's surprisal of each word.
BUILT_IN = (*CONTROLS, "word_types", "surprisal")


class Feature(Section):
    """A nuisance feature of your own: a table of values per word, or of values in time."""

    table: FilePath = Field(
        description="tab-separated or .csv, with `word_index`, or with `onset` (s from its run's start) and `run`, "
        "with a table of recordings `onset` (s from its story's start) and `story`, and columns of numbers"
    )
    columns: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(unique)] | None = Field(
        None, description="columns used; default: all other columns of numbers"
    )
    delays: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(unique)] | None = Field(
        None, description="delays in TRs, e.g. [0] for motion; default: those of `encoding`"
    )


def columns_of(name: str, columns: Iterable[str]) -> list[str]:
    """The columns of ``story/features.tsv`` that hold the feature `name`: a control's one, or those of a table."""
    return [column for column in columns if column == name or column.startswith(f"{name}_")]


def check_names(features: Collection[str], properties: Collection[str]) -> None:
    """Refuse names of features that name something else, or whose columns another feature's could be taken for."""
    taken = {*BASELINES, *BUILT_IN, *properties, "original", "nuisance", "tr", "run"}
    for name in features:
        if name in taken or name.startswith("step-"):
            raise ValueError(
                f"features: {name!r} names a checkpoint, baseline, property or column; choose another name"
            )
        if other := columns_of(name, [one for one in (*features, *CONTROLS) if one != name]):
            raise ValueError(
                f"features: columns of {name!r} are called {name}_<column>, as {other[0]!r} is; choose another name"
            )


def check_known(key: str, names: Iterable[str], built_in: Iterable[str], features: Collection[str]) -> None:
    """Refuse a name that is neither built in nor one of the study's own features."""
    allowed = (*built_in, *features)
    if unknown := [name for name in names if name not in allowed]:
        own = "" if features else " and names of the section `features`, which is empty"
        raise ValueError(f"{key}: unknown {unknown[0]!r}; allowed: {', '.join(allowed)}{own}")
