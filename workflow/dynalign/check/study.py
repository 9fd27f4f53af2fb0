"""The check of a whole study."""

from dynalign.check.cost import say_cost
from dynalign.check.design import check_design
from dynalign.check.findings import Findings
from dynalign.check.inputs import read_inputs
from dynalign.config.preflight import missing_files
from dynalign.config.study import Study
from dynalign.io.atomic import check_writable


def check(study: Study, **made: str | None) -> Findings:
    """Check a study in the working directory; `made` as for :func:`dynalign.check.inputs.read_inputs`."""
    found = Findings()
    found.say("study", f"{study.study}, results in {study.results}/; {len(study.subjects)} subjects")
    found.problems += missing_files(study)
    with found.trying():
        check_writable(study.results)
    inputs = read_inputs(study, found, **made)
    check_design(study, inputs, found)
    say_cost(study, inputs, found)
    return found
