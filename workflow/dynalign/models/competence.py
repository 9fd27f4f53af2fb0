"""How well checkpoints do on tasks: a table of the user's, and published evaluations as such a table.

``python -m dynalign.models.competence --folder evals/pythia-v1 --output competence.tsv`` reads what Pythia's repository
publishes (Biderman et al. 2023): ``<model>/zero-shot/<size>_step<step>.json``, written by lm-evaluation-harness.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dynalign.cli import command, note, run
from dynalign.config.study import Study
from dynalign.io.errors import InputError, located
from dynalign.tables.reader import finite_numbers, read_table
from dynalign.tables.writer import write_table

#: Columns of the table; `model` may be left out where it is of one model.
COLUMNS = ("step", "task", "score")


def names_of(study: Study) -> list[str]:
    """What a table may call a study's model: its name in `models`, `model.source`, or its last part (pythia-160m)."""
    source = study.model.source
    return list(dict.fromkeys((*study.models, source, source.rstrip("/").rpartition("/")[2])))


def read_competence(path: str | Path, names: Sequence[str], steps: Sequence[int]):
    """The scores of a model, by any of its `names`, at some of these `steps`: a data frame ``step task score``.

    InputError if the file lacks a column, a step or score is no number, a task has two scores at a step, or nothing
    is there of the model or of its checkpoints.
    """
    table = read_table(path, COLUMNS)
    if "model" in table:
        known = list(dict.fromkeys(table["model"].astype(str)))
        table = table[table["model"].astype(str).isin(names)]
        if table.empty:
            raise InputError(
                f"{path}: no row of model {' or '.join(map(repr, names))}; column `model` has {', '.join(known[:9])}: "
                "call it by one of these names there, or leave the column out of a table of one model"
            )
    with located(str(path)):
        at, scores = finite_numbers(table, "step"), finite_numbers(table, "score")
    if len(wrong := np.flatnonzero((at % 1 != 0) | (at < 0))):
        raise InputError(
            f"{path}: row {table.index[wrong[0]]}: step is {at[wrong[0]]:g}; training steps are 0, 1, 2, …"
        )
    table = table.assign(step=at.astype(int), task=table["task"].astype(str), score=scores)[list(COLUMNS)]
    if len(twice := table[table.duplicated(["step", "task"])]):
        one = twice.iloc[0]
        raise InputError(f"{path}: two scores of task {one['task']!r} at step {one['step']}; there must be one")
    found = table[table["step"].isin(list(steps))]
    if found.empty:
        there = sorted(set(table["step"]))
        some = f"{', '.join(map(str, there[:5]))}{' …' if len(there) > 5 else ''}"
        raise InputError(f"{path}: no score at any step of model.steps; it has steps {some}")
    return found.reset_index(drop=True)


def evaluations(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """Model, step and file of each published evaluation without examples in the prompt, in order.

    `folder` is that of all models (``evals/pythia-v1``), of one (``pythia-160m``), or its ``zero-shot``.
    """
    inside = sorted(folder.rglob("*.json"))
    zero = [path for path in inside if path.resolve().parent.name == "zero-shot"]
    for path in zero:
        if not (match := re.search(r"step(\d+)\.json$", path.name)):
            raise InputError(f"{path}: no step in the file's name; published names end in _step<number>.json")
        yield path.resolve().parents[1].name, int(match[1]), path


def scores(path: Path, metric: str) -> dict[str, float]:
    """The score of each task that has this metric in a file of lm-evaluation-harness; InputError if it is none."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        return {task: float(found[metric]) for task, found in results.items() if metric in found}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path}: no file of evaluations (JSON with `results`: a task's {metric!r} and others); get it again"
        ) from None


@command
def main(folder: Path, output: str, metric: str = "acc", tasks: tuple[str, ...] = ()) -> None:
    """Published evaluations of checkpoints → a table ``model step task score`` for `competence` of the configuration.

    Parameters
    ----------
    folder
        A local copy of ``evals/pythia-v1``, or of a model's folder in it; zero-shot evaluations are read.
    metric, tasks
        What a score is, and which tasks are taken (default: all that have it).
    """
    import pandas as pd

    rows = []
    for model, step, path in sorted(evaluations(folder)):
        rows += [
            {"model": model, "step": step, "task": task, "score": score}
            for task, score in scores(path, metric).items()
            if math.isfinite(score) and (not tasks or task in tasks)
        ]
    if not rows:
        asked = f" of {', '.join(tasks)}" if tasks else ""
        raise InputError(f"{folder}: holds no {metric!r}{asked} in files zero-shot/*_step<number>.json")
    if missing := [task for task in tasks if task not in {row["task"] for row in rows}]:
        raise InputError(f"{folder}: no file has {metric!r} of task {missing[0]!r}")
    table = pd.DataFrame(rows).sort_values(["model", "step", "task"], kind="stable")
    write_table(table, output)
    note(f"{table['model'].nunique()} models, {table['step'].nunique()} steps, {table['task'].nunique()} tasks")


if __name__ == "__main__":
    run(main)
