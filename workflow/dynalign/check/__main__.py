"""``python -m dynalign.check --configfile config/mine.yaml``: what a study holds, and every problem, on one screen."""

from pathlib import Path

from dynalign.check.findings import Findings
from dynalign.check.study import check
from dynalign.cli import command, run
from dynalign.config.study import Study, load
from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError
from dynalign.io.yaml import read_yaml


@command
def main(
    configfile: str | None = None,
    study: Study | None = None,
    words: tuple[str, ...] = (),
    trs: tuple[str, ...] = (),
    tokens: str | None = None,
    labels: str | None = None,
    output: str | None = None,
) -> None:
    """Check a study: what it holds, whether folds can be cut, what it costs; and every problem at once.

    It reads tables and texts, the headers of images, the tokenizer and config.json of models, and no weights. The
    status is 1 if there is a problem.

    Parameters
    ----------
    configfile, study
        A file of the configuration, or a configuration as JSON; without any, the paper's study.
    words, trs, tokens, labels
        What the workflow has made of them: ``story/words.tsv``, ``story/trs.tsv``, ``representation/tokens.npz``,
        ``tables/labels.tsv``.
    output
        A text file to write what is found to, if there is no problem.
    """
    found = Findings()
    with found.trying():
        chosen = study or load((read_yaml(configfile) or {}) if configfile else {})
        # Of subjects with runs of their own they are made anew, in no time.
        same = {"words": words[0], "trs": trs[0]} if words and trs and not chosen.recordings else {}
        found = check(chosen, **same, tokens=tokens, labels=labels)
    print(found.screen(), end="")
    if found.problems:
        n = len(found.problems)
        raise InputError(f"{n} problem{'s' if n > 1 else ''}; the study is not run with them")
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        write_text(output, found.screen())


if __name__ == "__main__":
    run(main)
