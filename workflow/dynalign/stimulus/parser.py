"""Parsing the story's sentences, kept as CoNLL-U with one constituency tree per sentence.

The parser is stanza (Qi et al. 2020), on words and sentences as the story gives them (METHOD section 3); a
file of the user's own can stand in for it. The format is CoNLL-U
(https://universaldependencies.org/format.html) with a comment ``# constituency = (ROOT …)``, as in stanza.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from dynalign.cli import command, note, progress, run
from dynalign.config.story import Annotation
from dynalign.io.atomic import write_text
from dynalign.io.digests import sha256
from dynalign.io.errors import InputError, located
from dynalign.io.shipped import shipped
from dynalign.stimulus import conllu
from dynalign.stimulus.conllu import Sentence, Token, Word
from dynalign.stimulus.timing import read_words

#: What properties need from the parser.
REQUIRED_PROCESSORS = ("tokenize", "pos", "depparse", "constituency")

#: Sentences parsed between two notes in the log.
_BATCH = 50

#: Waits between attempts to download, s.
_WAITS = (2, 10, 30)


def story_sentences(path: str | Path) -> dict[int, list[str]]:
    """Read the words that are not dropped from ``story/words.tsv``, by the number of their sentence.

    InputError: there are none, one has no sentence or holds white space, or sentence numbers fall.
    """
    table = read_words(path)
    if table["sentence"].dtype.kind not in "if":
        raise InputError(f"{path}: column 'sentence' must hold numbers")
    table = table[table["dropped"] == 0]
    sentences, last = {}, -1
    for row, word, number in zip(table.index, table["word"], table["sentence"], strict=True):
        if math.isnan(number) or number < last:
            raise InputError(f"{path}: row {row}: sentence {number:g} after {last}; numbers must rise, none be missing")
        if word.split() != [word]:
            raise InputError(f"{path}: row {row}: word {word!r} is empty or holds white space")
        last = int(number)
        sentences.setdefault(last, []).append(word)
    if not sentences:
        raise InputError(f"{path}: no words to parse")
    return sentences


def join_words(parsed: Sequence[Word], words: Sequence[str]) -> tuple[Word, ...]:
    """Join parsed words that the story writes as one, as far as they spell a word of its sentence, `words`.

    A treebank has punctuation (and some clitics) as words of their own, the story has them on the word that they are
    written with: ``see``, ``them``, ``.`` become ``see``, ``them.``.
    """
    joined: list[Word] = []
    for word in parsed:
        wanted = words[len(joined) - 1] if 0 < len(joined) <= len(words) else ""
        if joined and joined[-1].form != wanted and wanted.startswith(joined[-1].form + word.form):
            joined[-1] = Word(joined[-1].form + word.form, joined[-1].start, word.stop)
        else:
            joined.append(word)
    return tuple(joined)


def match_story(sentences: Sequence[Sentence], story: dict[int, list[str]], source: str) -> list[Sentence]:
    """The sentences of `source`, numbered and cut into words as in the story; InputError at the first difference."""
    matched = []
    for parsed, (number, words) in zip(sentences, story.items(), strict=False):
        parsed = replace(parsed, sent_id=str(number), words=join_words(parsed.words, words))
        for position, (got, expected) in enumerate(zip_longest(parsed.forms, words)):
            if got != expected:
                raise InputError(
                    f"{source}: sentence {number}: word {position} is {got!r}, in the story {expected!r} "
                    f"({len(parsed.words)} words, in the story {len(words)}); both must have the same words"
                )
        matched.append(parsed)
    if len(sentences) != len(story):
        raise InputError(f"{source}: {len(sentences)} sentences, in the story {len(story)}")
    return matched


def load_pipeline(models: str | Path, package: str, processors: Sequence[str]):
    """Load stanza's English pipeline for given words and sentences, from a local folder, on the CPU.

    InputError: a needed processor is not asked for, or the folder lacks the models or holds broken ones.
    """
    fetch = f"python -m dynalign.stimulus.parser --download-only --models {models} --output {models}/fetched.json"
    way_out = f"set annotation.models to a folder that has them, or fetch them with `{fetch}`"
    if missing := [name for name in REQUIRED_PROCESSORS if name not in processors]:
        raise InputError(f"annotation.processors: lacks {missing[0]!r}; needed are {', '.join(REQUIRED_PROCESSORS)}")
    if not (Path(models) / "resources.json").is_file():
        raise InputError(f"{models}: no stanza models (no resources.json) there; {way_out}")
    import stanza

    try:
        return stanza.Pipeline(
            lang="en",
            dir=str(models),
            package=package,
            processors=",".join(processors),
            tokenize_pretokenized=True,
            download_method=None,
            use_gpu=False,
            logging_level="WARN",
        )
    except Exception as error:  # whatever a missing or broken model file makes stanza, torch or zipfile raise
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{models}: cannot load stanza package {package!r} with processors {','.join(processors)}: "
            f"{reason}; leave out a processor that these models do not have, or {way_out}"
        ) from error


def parse(story: dict[int, list[str]], pipeline) -> list[Sentence]:
    """Parse the story's sentences with a stanza pipeline, and check that they kept their words."""
    numbers = list(story)
    batches = [numbers[start : start + _BATCH] for start in range(0, len(numbers), _BATCH)]
    sentences: list[Sentence] = []
    for batch in progress(batches, f"parsing, {_BATCH} sentences each"):
        for parsed in pipeline([story[number] for number in batch]).sentences:
            with located(f"stanza: sentence {len(sentences)}"):
                sentences.append(_from_stanza(parsed))
    return match_story(sentences, story, "stanza")


def _from_stanza(parsed) -> Sentence:
    tokens = tuple(
        Token(w.text, w.lemma or "_", w.upos, w.xpos or "_", conllu.parse_feats(w.feats or "_"), w.head, w.deprel)
        for w in parsed.words
    )
    words = tuple(Word(token.text, token.id[0] - 1, token.id[-1]) for token in parsed.tokens)
    tree = conllu.parse_tree(str(parsed.constituency))
    return conllu.check_sentence(Sentence(str(parsed.index), words, tokens, tree))


def download(models: str | Path, package: str, processors: Sequence[str]) -> dict:
    """Fetch stanza's English models into a folder; what is there and whole is not fetched again.

    Returns what was fetched: `resources` (version of stanza's models), `package`, `processors` and `files` (path in the
    folder → SHA-256). InputError if several attempts fail.
    """
    import stanza

    for attempt, wait in enumerate((*_WAITS, None), start=1):
        try:
            wanted = {"model_dir": str(models), "package": package, "processors": ",".join(processors)}
            fetched = stanza.download("en", **wanted, logging_level="WARN")
            break
        except Exception as error:  # network, hub and checksum errors share no class
            reason = " ".join(str(error).split())[:300]
            if wait is None:
                raise InputError(
                    f"{models}: cannot fetch stanza package {package!r} after {attempt} attempts: {reason}; "
                    "try again, or copy the folder from another machine and set annotation.download to false"
                ) from error
            note(f"attempt {attempt} failed ({reason}), the next one in {wait} s")
            time.sleep(wait)
    names = sorted(f"en/{processor}/{model}.pt" for processor, model in fetched)
    about = {"resources": stanza.__resources_version__, "package": package, "processors": list(processors)}
    return about | {"files": {name: sha256(Path(models) / name) for name in names}}


@command
def main(
    output: str,
    words: str | None = None,
    models: str | None = None,
    options: Annotation = Annotation(),
    download_only: bool = False,
) -> None:
    """Parse the story's words, or fetch the parser's models.

    Parameters
    ----------
    words, output
        ``story/words.tsv``, and ``annotation/story.conllu`` to write; with `download-only` a JSON of what was fetched.
    models
        Folder of stanza models; `models` of the options by default.
    download_only
        Fetch the models, parse nothing.
    """
    models = models or options.models
    if download_only:
        fetched = download(models, options.package, options.processors)
        write_text(output, json.dumps(fetched, indent=1, sort_keys=True) + "\n")
        return
    if not words:
        raise InputError("--words: missing; give the table of words, or --download-only")
    story = story_sentences(words)
    if options.file:
        sentences = match_story(conllu.read_sentences(options.file), story, options.file)
    else:
        sentences = parse(story, load_pipeline(shipped(models), options.package, options.processors))
    conllu.write_sentences(output, sentences)


if __name__ == "__main__":
    run(main)
