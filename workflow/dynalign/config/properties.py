"""The section `properties`: linguistic properties and their classes."""

from typing import Literal

from pydantic import Field, model_validator

from dynalign.config.fields import FilePath, Section, unique

#: Raw values that `dynalign.stimulus.properties` computes from a parsed sentence (METHOD section 3).
RAW_VALUES = (
    "sentence_length", "tree_depth", "top_constituents", "tense", "subject_number", "object_number", "pos",
    "smallest_constituent",
)  # fmt: skip

#: A class that holds less than this share of its sentences or words is reported, in the log and in figures 2 and 3.
RARE = 0.05


class Property(Section):
    """One linguistic property and how its raw values become classes (exactly one of the three ways)."""

    raw: Literal[RAW_VALUES] | None = Field(  # type: ignore[valid-type]
        None, description="raw value; default: the property's own name"
    )
    table: FilePath | None = Field(None, description="a table (word_index, label) instead of a raw value")
    thresholds: tuple[float, ...] | None = Field(
        None, description="numeric values: class 0 up to and including the first threshold, and so on"
    )
    classes: tuple[str, ...] | None = Field(
        None, description="class k is the k-th value named here; every other value is one more class, 'other'"
    )
    random: int | None = Field(None, ge=2, description="a seeded random class per word, this many classes")
    codes: tuple[int, ...] | None = Field(None, description="integer codes of the classes; default 0, 1, 2, …")

    @model_validator(mode="after")
    def _one_way(self):
        ways = [key for key in ("thresholds", "classes", "random") if getattr(self, key) is not None]
        if len(ways) != 1:
            raise ValueError(f"needs exactly one of thresholds, classes, random; got {', '.join(ways) or 'none'}")
        if self.thresholds is not None and list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError(f"thresholds must rise, got {list(self.thresholds)}")
        if self.classes is not None:
            unique(self.classes)
        if self.random is not None and (self.raw or self.table):
            raise ValueError("random takes neither raw nor table")
        if self.codes is not None and len(set(self.codes)) != self.n_classes:
            raise ValueError(f"codes must name {self.n_classes} different integers, got {list(self.codes)}")
        return self

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.random or len(self.classes if self.thresholds is None else self.thresholds) + 1


def paper_properties() -> dict[str, Property]:
    """The nine properties of the paper with its classes (METHOD section 3)."""
    return {
        "sentence_length": Property(thresholds=(7, 16)),
        "tree_depth": Property(thresholds=(3,)),
        "top_constituents": Property(classes=("NP VP",)),
        "tense": Property(classes=("Past",)),
        "subject_number": Property(classes=("Sing",)),
        "object_number": Property(classes=("UNDEF",)),
        "pos": Property(classes=("VERB", "NOUN", "PRON", "ADP")),
        "smallest_constituent": Property(classes=("NP",)),
        "random_label": Property(random=2),
    }
