"""Can folds be cut, and does each have words and classes to learn from? What inputs alone decide (METHOD 6 and 7)."""

from contextlib import nullcontext

import numpy as np

from dynalign import folds
from dynalign.check.findings import Findings
from dynalign.check.inputs import Inputs
from dynalign.config.shares import NUISANCE
from dynalign.config.study import Study
from dynalign.encoding import arms, crossfit, joint, ridge
from dynalign.io.errors import InputError, located
from dynalign.removal import probing
from dynalign.stimulus.timing import rows_of_words


def check_design(study: Study, inputs: Inputs) -> Findings:
    """Check the folds of encoding and probing, and the words and classes in each; what is found, and their sizes.

    Before there are tokens, each word that the model sees counts as one token, as it does for the shortest text.
    """
    found = Findings()
    series = inputs.own or {"": (inputs.words, inputs.trs, inputs.features)}
    splits = {}
    for subject, (_, trs, _) in series.items():
        if trs is not None:
            with found.trying(), _of(subject):
                design = arms.design_of(trs, [], study.encoding.delays)
                cut = (study.encoding.folds, study.encoding.gap, design.stories, design.moments)
                splits[subject] = arms.outer_splits(design.runs, *cut)
                line = _encoding(study, design, splits[subject])
                if subject == next(iter(series)):
                    found.say("encoding", f"{subject}: {line}" if subject else line)
    if inputs.words is None:
        return found
    words = inputs.words[inputs.words["dropped"] == 0]
    # A word has a token at least, so what is left out here has no representation.
    seen = inputs.represented if inputs.tokens else words["word_index"].to_numpy()[study.model.context_tokens :]
    if not len(seen):
        found.problems.append(
            f"model.context_tokens: {study.model.context_tokens} tokens stand before the first word that has a "
            f"representation, but the story has {len(words)} words; lower it"
        )
        return found
    words = rows_of_words(words, seen, "the story")
    codes = _codes(study, inputs, seen, found)
    for subject, cut in splits.items():
        _of_subject(study, series[subject], subject, cut, words, codes, inputs, found)
    with found.trying():
        _probing(study, words, codes, found)
    return found


def _of(subject: str):
    """Says of which subject a problem is."""
    return located(f"subject {subject!r}") if subject else nullcontext()


def _of_subject(study: Study, series, subject: str, splits, words, codes, inputs: Inputs, found: Findings) -> None:
    """Words, features and classes in every fold of one subject, or of all."""
    heard, trs, features = series
    heard = heard[heard["word_index"].isin(words["word_index"])]
    rows = np.searchsorted(words["word_index"], heard["word_index"])
    runs = trs["run"].to_numpy()
    design = arms.design_of(trs, heard["tr"].to_numpy(dtype=int), study.encoding.delays)
    with found.trying(), _of(subject):
        _words_of_folds(study, inputs, features, runs, design, splits, heard)
    for name, values in codes.items():
        with found.trying(), _of(subject):
            _classes_of_folds(name, values[rows], design, splits)


def _codes(study: Study, inputs: Inputs, seen, found: Findings) -> dict[str, np.ndarray]:
    """Class codes of the represented words, of each property that has two classes there."""
    codes = {}
    if inputs.labels is None:
        return codes
    rows = rows_of_words(inputs.labels, seen, "labels")
    for name in (name for name in study.properties if name in rows):
        values = rows[name].to_numpy(dtype=float)
        if len(inputs.labels[name].unique()) > 1 and len(np.unique(values)) < 2:
            found.problems.append(
                f"properties.{name}: all {len(values)} words that have a representation are in one class (the first "
                f"has word_index {seen[0]}, after {study.model.context_tokens} tokens); change its classes, or leave "
                "it out"
            )
        elif len(np.unique(values)) > 1:
            codes[name] = values
    return codes


def _encoding(study: Study, design: arms.Design, splits) -> str:
    choices, n_rows = study.encoding, len(design.trs)
    sizes = []
    for train, _ in splits:
        with located("encoding.inner_folds"):
            inner = ridge.inner_splits(n_rows, train, choices.inner_folds, choices.gap, design.moments)
            sizes += [len(held) for _, held in inner]
    tests, trains = ([len(part[k]) for part in splits] for k in (1, 0))
    return (
        f"{len(splits)} folds of {_span(tests)} TRs, {_span(trains)} to train on (gap {choices.gap}); "
        f"{choices.inner_folds} inner folds of {_span(sizes)}"
    )


def _span(values) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)}–{max(values)}"


def _words_of_folds(study: Study, inputs: Inputs, features, runs, design: arms.Design, splits, words) -> None:
    """Words, and values of nuisance features, in the TRs of every fold."""
    present = np.isin(np.arange(design.n_trs), design.word_trs)
    bands = [joint.Band(np.zeros((design.n_trs, 1)), present, design.source)]
    if NUISANCE in study.shared_with and features is not None:
        names = [name for name in study.shares.nuisance if name not in ("word_types", "surprisal")]
        delays = {name: one.delays for name, one in study.features.items() if one.delays is not None}
        bands += joint.nuisance_space(names, features, runs, design, delays, words["word"]).bands
    for number, (train, test) in enumerate(splits, 1):
        with located(f"outer fold {number} of encoding"):
            for band in bands:
                arms.scaling(band.features, band.present, design.trs[train])
            if study.encoding.test_scaling == "own":
                arms.scaling(bands[0].features, present, design.trs[test])
            n, components = int(np.isin(design.word_trs, design.trs[train]).sum()), study.encoding.pca_components
            size = inputs.tokens.hidden if inputs.tokens else n
            if components is not None and components > min(n, size):
                raise InputError(
                    f"encoding.pca_components: {components} components of {n} words to train on with {size} dimensions"
                    "; ask for fewer"
                )


def _classes_of_folds(name: str, codes: np.ndarray, design: arms.Design, splits) -> None:
    for number, (train, test) in enumerate(splits, 1):
        inside = crossfit.training_trs(design, train, test)[design.word_trs]
        if len(left := np.unique(codes[inside])) < 2:
            only = f"class {left[0]:g} only" if len(left) else "no class"
            raise InputError(
                f"properties.{name}: {only} among the {int(inside.sum())} words that outer fold {number} of encoding "
                "can learn from; the others stand in its test TRs. Join classes, or change encoding.folds"
            )


def _probing(study: Study, words, codes, found: Findings) -> None:
    options, sentence = study.probing, words["sentence"].to_numpy(dtype=int)
    for name, values in codes.items():
        with found.trying(), located(f"properties.{name}"):
            probing.check_classes(name, values, options)
    with located("removal.folds"):
        folds.contiguous(len(sentence), study.removal.folds)
    with located("probing.folds"):
        blocks = folds.contiguous(len(sentence), options.folds, sentence)
    for number, block in enumerate(blocks, 1):
        train = folds.training_rows(len(sentence), block)
        with located(f"probing.inner_folds, outer fold {number}"):
            folds.contiguous(len(train), options.inner_folds, sentence[train])
    found.say("probing", f"{options.folds} folds of {_span([len(block) for block in blocks])} words, whole sentences")
