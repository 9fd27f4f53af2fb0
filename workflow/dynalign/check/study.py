"""The check of a whole study."""

from collections.abc import Sequence
from dataclasses import replace

from dynalign.check.cost import say_cost
from dynalign.check.design import check_design
from dynalign.check.findings import Findings
from dynalign.check.inputs import read_inputs, read_labels, read_model
from dynalign.config.preflight import missing_files
from dynalign.config.study import Study
from dynalign.io.atomic import check_writable


def check(
    study: Study, words: str | None = None, trs: str | None = None, tokens: str | None = None, labels: str | None = None
) -> Findings:
    """Check a study in the working directory, with what the workflow has made of it (`tokens`: of one model)."""
    found = Findings()
    n = len(study.subjects)
    found.say("study", f"{study.study}, results in {study.results}/; {n} subject{'s' if n > 1 else ''}")
    found.problems += missing_files(study)
    with found.trying():
        check_writable(study.results)
    inputs = read_inputs(study, found, words, trs)
    read = [(one, *read_model(one, inputs, tokens)) for one in study.by_model]
    _tell([(one, own) for one, _, own in read], found)
    read_labels(study, inputs, found, labels)
    models = [(one, replace(of_model, labels=inputs.labels)) for one, of_model, _ in read]
    _tell([(one, check_design(one, of_model)) for one, of_model in models], found, headed=True)
    say_cost(models, found)
    return found


def _tell(checked: Sequence[tuple[Study, Findings]], found: Findings, headed: bool = False) -> None:
    """What was found of each model; what holds for all is told once, and a problem of one says of which."""
    several = [own for _, own in checked]
    if all(own.lines == several[0].lines for own in several):
        found.lines += several[0].lines
    else:
        for one, own in checked:
            found.lines += [one.model_key] * headed + own.lines
    for one, own in checked:
        for problem in own.problems:
            common = all(problem in other.problems for other in several) or one.model_key in problem
            found.note(problem if common else f"{one.model_key}: {problem}")
