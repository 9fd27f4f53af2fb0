"""Scores on tasks and alignment: `competence.tsv`, `competence_alignment.tsv` in ``tables/`` (METHOD section 8)."""

from dynalign.cli import command, note, run
from dynalign.models.competence import read_competence
from dynalign.statistics import summaries
from dynalign.statistics.emergence import correlations
from dynalign.tables.writer import write_table


def competence_rows(alignment, scores, level: float, seed: int) -> list[dict]:
    """Rows of ``tables/competence_alignment.tsv``: as those of perplexity, for each task.

    `scores` are ``tables/competence.tsv``. Of a task with less than two checkpoints there are none.
    """
    rows = []
    for task, cell in scores.groupby("task", sort=False):
        if len(cell) > 1:
            known = cell.set_index("checkpoint")["score"]
            rows += [{"task": task} | row for row in correlations(alignment, known, known, level, seed)]
    return rows


@command
def main(
    alignment: str, competence: str, models: list[str], scores: str, output: str, level: float = 0.05, seed: int = 0
) -> None:
    """Relate the scores that a model's checkpoints have on tasks to their alignment.

    Parameters
    ----------
    alignment, competence
        ``tables/alignment.tsv``; the user's table, `competence` of the configuration.
    models
        Names that the table may have for the model.
    scores, output
        Tables to write: the scores of the study's checkpoints, and the correlations, whose intervals cover 1 - `level`.
    """
    import pandas as pd

    table = summaries.read(alignment, "alignment")
    steps = summaries.trained(table).drop_duplicates("step").set_index("step")["checkpoint"]
    found = read_competence(competence, models, [int(step) for step in steps.index])
    found = found.assign(checkpoint=found["step"].map(steps)).sort_values(["task", "step"], kind="stable")
    columns = ["task", "subject", "layer", "n_checkpoints", "rho", "ci_low", "ci_high"]
    rows = competence_rows(table, found, level, seed)
    write_table(found, scores)
    write_table(pd.DataFrame(rows, columns=[*columns, "rho_given_step", "rho_of_changes"]), output)
    note(f"{found['task'].nunique()} tasks at {found['step'].nunique()} of {len(steps)} checkpoints")


if __name__ == "__main__":
    run(main)
