"""What a column and a table are: the words of a tabular data package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    type : {"string", "integer", "number", "boolean"}
        As in Table Schema; a boolean is written 1 or 0.
    text : str
        What it says, in one or two sentences.
    unit : str
        Empty where the values have none.
    values : tuple of str
        The values that can occur, where they are few.
    """

    type: str
    text: str
    unit: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table.

    Parameters
    ----------
    title : str
    row : str
        What one row stands for.
    key : str
        Columns that tell the rows apart, separated by spaces.
    columns : str
        All columns in order, separated by spaces.
    own : mapping of str to Column
        Columns that mean something else here than in :data:`COLUMNS`, or stand in no other table.
    per_property : mapping of str to Column
        Columns that the table has for each property of the study, by what follows the property's name.
    """

    title: str
    row: str
    key: str
    columns: str
    own: Mapping[str, Column] = field(default_factory=dict)
    per_property: Mapping[str, Column] = field(default_factory=dict)

    def described(self, properties: Iterable[str] = ()) -> dict[str, Column]:
        """Every column by name, in order; those per property last."""
        named = {name: self.own.get(name) or COLUMNS[name] for name in self.columns.split()}
        return named | {
            name + ending: Column(column.type, column.text.format(property=name), column.unit, column.values)
            for name in properties
            for ending, column in self.per_property.items()
        }


def _share(text: str) -> Column:
    return Column("number", text, "share of words")


def _count(text: str, unit: str) -> Column:
    return Column("integer", text, unit)


def _flag(text: str) -> Column:
    return Column("boolean", text)


def _r(text: str) -> Column:
    return Column("number", text, "Pearson r")


#: Columns that mean the same in every table that has them.
COLUMNS = {
    "checkpoint": Column("string", "Checkpoint (`step-<n>`), or the name of a baseline."),
    "step": Column("integer", "Training step of the checkpoint; empty for a baseline.", "training steps"),
    "layer": Column("integer", "Layer of the model: 0 is the embeddings."),
    "removal": Column("string", "How the property was removed; `none` for the original representation."),
    "property": Column("string", "Property that was removed; `original` where none was."),
    "subject": Column("string", "fMRI subject."),
    "mean_r": _r("Alignment: correlation of predicted and measured responses, mean over folds and voxels."),
    "ci_low": _r("Lower end of the interval, from means over blocks of TRs."),
    "ci_high": _r("Upper end of the interval, from means over blocks of TRs."),
    "effect_size": Column(
        "number", "mean_difference over the standard deviation of its block means.", "standard deviations"
    ),
    "effect_low": Column("number", "Lower end of effect_size's interval.", "standard deviations"),
    "effect_high": Column("number", "Upper end of effect_size's interval.", "standard deviations"),
    "p_fdr": Column("number", "p adjusted over the whole table (Benjamini and Hochberg)."),
    "significant": _flag("p_fdr is below the level of the tests. The headline."),
    "n_checkpoints": _count("Checkpoints compared.", "checkpoints"),
    "roi": Column("string", "Region of interest."),
    "n_invalid": _count("Voxels without a score (constant or not finite).", "voxels"),
    "inner_score": Column(
        "number",
        "Score in the inner validation folds of the training data, mean over voxels: chooses a layer without a "
        "look at the reported alignment.",
        "R²",
    ),
    "mean_difference": _r("Residual's alignment minus the original's: negative where removing the property hurts."),
    "n_voxels": _count("Voxels.", "voxels"),
    "n_subjects": _count("Subjects in the mean.", "subjects"),
    "perplexity": Column("number", "exp of the mean negative log-likelihood of each token given the tokens before it."),
    "n_tokens": _count("Tokens that were predicted.", "tokens"),
    "level": Column("string", "Whether the property belongs to words or to sentences.", "", ("sentence", "word")),
    "distribution": Column(
        "string",
        "`used`: classes of the study; `original`: raw values before they were put into classes.",
        "",
        ("used", "original"),
    ),
    "value": Column("string", "Class or raw value; UNDEF where it is unclear or does not apply."),
    "count": _count("How often the value occurs.", "sentences or words"),
    "property_a": Column("string", "One property."),
    "property_b": Column("string", "The other property."),
    "r": _r("Correlation of the two properties' class codes over all words."),
    "p": Column("number", "p-value, two-tailed."),
    "accuracy_before": _share("Accuracy of a probe for the property before its removal."),
    "accuracy_after": _share(
        "Accuracy after removal fitted on all words, the paper's way: falls below chance even for a label unrelated "
        "to the vectors."
    ),
    "accuracy_after_crossfit": _share(
        "Accuracy after removal fitted on the training words of each fold: the one to trust."
    ),
    "balanced_before": Column("number", "As accuracy_before, mean over classes of each class's accuracy.", "share"),
    "balanced_after": Column("number", "As accuracy_after, mean over classes of each class's accuracy.", "share"),
    "balanced_after_crossfit": Column(
        "number", "As accuracy_after_crossfit, mean over classes of each class's accuracy.", "share"
    ),
    "chance": _share("Share of the largest class."),
    "null_low": _share("Lower end of the null interval: 95 % of accuracies with labels permuted by sentence."),
    "null_high": _share("Upper end of the null interval, at least chance."),
    "selectivity": _share("accuracy_before minus the accuracy of the same probe on a control label."),
    "removed_paper": _flag("The paper's rule: before above chance and after below chance. Easily fooled."),
    "removed": _flag("Calibrated rule: accuracy_after_crossfit lies inside the null interval."),
    "crossfit_position": Column(
        "string",
        "Where accuracy_after_crossfit lies against the null interval; only `above` means that the property can "
        "still be read.",
        "",
        ("below", "inside", "above"),
    ),
}
