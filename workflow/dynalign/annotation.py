"""Parsing the story's sentences, kept as CoNLL-U with one constituency tree per sentence.

The parser is stanza (Qi et al. 2020), on words and sentences as the story gives them (METHOD section 3); a
file of the user's own can stand in for it. The format is CoNLL-U
(https://universaldependencies.org/format.html) with a comment ``# constituency = (ROOT …)``, as in stanza.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

from dynalign.cli import note, options, progress, run
from dynalign.config import Annotation
from dynalign.files import InputError, read_table, write_text

#: Universal part-of-speech tags (https://universaldependencies.org/u/pos/).
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)

#: What properties need from the parser.
REQUIRED_PROCESSORS = ("tokenize", "pos", "depparse", "constituency")

#: Sentences parsed between two notes in the log.
_BATCH = 50

#: Waits between attempts to download, s.
_WAITS = (2, 10, 30)


@dataclass(frozen=True)
class Tree:
    """A constituency tree; a leaf (no children) is a word, any other node a phrase or part of speech."""

    label: str
    children: tuple[Tree, ...] = ()

    def leaves(self) -> list[str]:
        """The words, brackets in them written ``-LRB-`` and ``-RRB-``."""
        words, stack = [], [self]
        while stack:
            node = stack.pop()
            stack.extend(reversed(node.children))
            if not node.children:
                words.append(node.label)
        return words

    def __str__(self) -> str:
        # A stack, because a long right-branching sentence would exceed Python's recursion limit.
        parts: list[str] = []
        stack: list[Tree | str] = [self]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                parts.append(item)
            elif item.children:
                parts.append(f" ({item.label}")
                stack.append(")")
                stack.extend(reversed(item.children))
            else:
                parts.append(f" {item.label}")
        return "".join(parts).lstrip()


@dataclass(frozen=True)
class Token:
    """One syntactic word, a numbered line of CoNLL-U; `head` is the number of its head, 0 for a root."""

    form: str
    lemma: str
    upos: str
    xpos: str
    feats: dict[str, str] = field(hash=False)
    head: int
    deprel: str


@dataclass(frozen=True)
class Word:
    """One word of the story: ``tokens[start:stop]`` of its sentence, several where a contraction is split."""

    form: str
    start: int
    stop: int


@dataclass(frozen=True)
class Sentence:
    """One parsed sentence.

    Attributes
    ----------
    sent_id : str
        The sentence's number in the story.
    words : tuple of Word
        As the story has them.
    tokens : tuple of Token
        As the grammar has them; each belongs to exactly one word.
    tree : Tree
        ``ROOT`` over one clause; its leaves are the tokens.
    """

    sent_id: str
    words: tuple[Word, ...]
    tokens: tuple[Token, ...]
    tree: Tree

    @property
    def forms(self) -> list[str]:
        """The words' text."""
        return [word.form for word in self.words]

    @property
    def depths(self) -> list[int]:
        """Edges from each token to its dependency root (METHOD section 3)."""
        return token_depths([token.head for token in self.tokens])


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Say where bad input stands."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def token_depths(heads: Sequence[int]) -> list[int]:
    """Edges from each token to its dependency root.

    Parameters
    ----------
    heads : sequence of int, length n_tokens
        1-based number of each token's head, 0 for a root (there may be several).

    Returns
    -------
    list of int, length n_tokens

    Raises
    ------
    InputError
        If heads form a circle.
    """
    depths: list[int | None] = [None] * len(heads)
    for first in range(len(heads)):
        path, token = [], first
        while token >= 0 and depths[token] is None:
            if len(path) > len(heads):
                raise InputError(
                    f"the heads from token {first + 1} on form a circle; each token needs a path to a root"
                )
            path.append(token)
            token = heads[token] - 1
        depth = -1 if token < 0 else depths[token]
        for token in reversed(path):
            depth = depths[token] = depth + 1
    return depths


def parse_tree(text: str) -> Tree:
    """Read one bracketed tree such as ``(ROOT (S (NP (PRP I)) (VP (VBD ran))))``.

    Raises
    ------
    InputError
        If brackets do not match, a bracket has no label or no content, a word stands beside something else,
        or anything follows the tree; the message gives the column.
    """
    stack: list[tuple[str, list[Tree]]] = []
    root: Tree | None = None
    label_expected = False
    for match in re.finditer(r"[()]|[^\s()]+", text):
        mark, column = match.group(), match.start() + 1
        if root is not None:
            raise InputError(f"tree, column {column}: {mark!r} after the last closing bracket")
        if label_expected:
            if mark in "()":
                raise InputError(f"tree, column {column}: a bracket has no label")
            stack.append((mark, []))
            label_expected = False
        elif mark == "(":
            label_expected = True
        elif not stack:
            raise InputError(f"tree, column {column}: {mark!r} outside the brackets")
        elif mark == ")":
            label, children = stack.pop()
            if not children:
                raise InputError(f"tree, column {column}: nothing stands under {label!r}")
            if len(children) > 1 and not all(child.children for child in children):
                raise InputError(f"tree, column {column}: a word under {label!r} is not alone there")
            node = Tree(label, tuple(children))
            if stack:
                stack[-1][1].append(node)
            else:
                root = node
        else:
            stack[-1][1].append(Tree(mark))
    if root is None:
        raise InputError(
            f"tree: {len(stack) + label_expected} brackets are not closed" if text.strip() else "tree: empty"
        )
    return root


def parse_feats(text: str) -> dict[str, str]:
    """Read CoNLL-U features such as ``Number=Sing|Person=3``; ``_`` is none.

    Raises
    ------
    InputError
        If an entry is not ``Name=Value`` or a name stands twice.
    """
    feats: dict[str, str] = {}
    for entry in () if text == "_" else text.split("|"):
        name, _, value = entry.partition("=")
        if not name or not value:
            raise InputError(f"feature {entry!r} is not Name=Value")
        if name in feats:
            raise InputError(f"feature {name!r} stands twice")
        feats[name] = value
    return feats


def _token(columns: Sequence[str]) -> Token:
    _, form, lemma, upos, xpos, feats, head, deprel, *_ = columns
    if upos not in UPOS:
        raise InputError(f"{form!r} has the part of speech {upos!r}; allowed are {' '.join(UPOS)}")
    if not re.fullmatch("[0-9]+", head):
        raise InputError(f"{form!r} has the head {head!r}, not a number")
    return Token(form, lemma, upos, xpos, parse_feats(feats), int(head), deprel)


def check_sentence(sentence: Sentence) -> Sentence:
    """Return the sentence if its parts fit each other.

    Raises
    ------
    InputError
        If a head does not exist, heads form a circle, or the tree is not ``ROOT`` over one clause with the
        sentence's tokens as leaves.
    """
    for token in sentence.tokens:
        if token.head > len(sentence.tokens):
            raise InputError(
                f"{token.form!r} has the head {token.head}, but there are {len(sentence.tokens)} tokens"
            )
    token_depths([token.head for token in sentence.tokens])
    if sentence.tree.label != "ROOT" or len(sentence.tree.children) != 1:
        raise InputError(
            f"the tree must be (ROOT …) with one clause, got {sentence.tree.label!r} "
            f"with {len(sentence.tree.children)}"
        )
    forms = [token.form.replace("(", "-LRB-").replace(")", "-RRB-") for token in sentence.tokens]
    for number, (form, leaf) in enumerate(zip_longest(forms, sentence.tree.leaves()), start=1):
        if form != leaf:
            raise InputError(f"token {number} is {form!r}, but {leaf!r} in the tree")
    return sentence


def _parse_block(lines: Sequence[str], position: int) -> Sentence:
    comments: dict[str, str] = {}
    words: list[Word] = []
    tokens: list[Token] = []
    for line in lines:
        if line.startswith("#"):
            key, _, value = line[1:].partition("=")
            comments[key.strip()] = value.strip()
            continue
        columns = line.split("\t")
        if len(columns) != 10 or not all(columns):
            raise InputError(f"{line!r} does not have 10 tab-separated columns ('_' for empty)")
        number, form = columns[:2]
        if re.fullmatch(r"[0-9]+\.[0-9]+", number):
            continue  # an empty node of the enhanced graph is no word
        span = re.fullmatch("([0-9]+)(?:-([0-9]+))?", number)
        if not span or int(span[1]) != len(tokens) + 1:
            raise InputError(f"{line!r}: expected number {len(tokens) + 1}, got {number!r}")
        covered = words[-1].stop if words else 0
        if span[2]:
            if covered > len(tokens) or int(span[2]) <= int(span[1]):
                raise InputError(
                    f"{form!r}: the range {number} overlaps another or covers fewer than two tokens"
                )
            words.append(Word(form, len(tokens), int(span[2])))
            continue
        if covered <= len(tokens):
            words.append(Word(form, len(tokens), len(tokens) + 1))
        tokens.append(_token(columns))
    if not tokens:
        raise InputError("no tokens")
    if words[-1].stop > len(tokens):
        raise InputError(
            f"the range of {words[-1].form!r} ends at {words[-1].stop}, after the last token {len(tokens)}"
        )
    if "constituency" not in comments:
        raise InputError(
            "lacks the comment '# constituency = (ROOT …)'; parse with stanza's constituency processor"
        )
    tree = parse_tree(comments["constituency"])
    return check_sentence(Sentence(comments.get("sent_id", str(position)), tuple(words), tuple(tokens), tree))


def read_sentences(path: str | Path) -> list[Sentence]:
    """Read a CoNLL-U file with ``# constituency`` comments.

    Raises
    ------
    InputError
        If the file is missing or a sentence breaks the format; the message gives the sentence and its line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error}") from None
    sentences: list[Sentence] = []
    start = 0
    for end, line in enumerate([*lines, ""]):
        if line.strip():
            continue
        if end > start:
            with _located(f"{path}: sentence {len(sentences)} (line {start + 1})"):
                sentences.append(_parse_block(lines[start:end], len(sentences)))
        start = end + 1
    if not sentences:
        raise InputError(f"{path}: no sentences")
    return sentences


def _format_sentence(sentence: Sentence) -> str:
    lines = [
        f"# sent_id = {sentence.sent_id}",
        f"# text = {' '.join(sentence.forms)}",
        f"# constituency = {sentence.tree}",
    ]
    ranges = {word.start: word for word in sentence.words if word.stop > word.start + 1}
    for index, token in enumerate(sentence.tokens):
        if index in ranges:
            word = ranges[index]
            lines.append("\t".join([f"{word.start + 1}-{word.stop}", word.form, *["_"] * 8]))
        feats = "|".join(f"{name}={value}" for name, value in token.feats.items()) or "_"
        columns = [
            index + 1,
            token.form,
            token.lemma,
            token.upos,
            token.xpos,
            feats,
            token.head,
            token.deprel,
            "_",
            "_",
        ]
        lines.append("\t".join(map(str, columns)))
    return "\n".join(lines) + "\n\n"


def write_sentences(path: str | Path, sentences: Iterable[Sentence]) -> None:
    """Write sentences as CoNLL-U."""
    write_text(path, "".join(_format_sentence(sentence) for sentence in sentences))


def story_sentences(path: str | Path) -> dict[int, list[str]]:
    """Read the words of each sentence from ``story/words.tsv``; dropped words are left out.

    Returns
    -------
    dict
        Number of the sentence → its words, in order.

    Raises
    ------
    InputError
        If no words are left, a word has no sentence or holds white space, or sentence numbers fall.
    """
    table = read_table(path, ["word", "sentence", "dropped"])
    for name in ("sentence", "dropped"):
        if table[name].dtype.kind not in "if":
            raise InputError(f"{path}: column {name!r} must hold numbers")
    table = table[table["dropped"] == 0]
    sentences: dict[int, list[str]] = {}
    last = -1
    for row, word, number in zip(table.index, table["word"], table["sentence"], strict=True):
        if math.isnan(number) or number < last:
            raise InputError(
                f"{path}: row {row}: sentence {number:g} after {last}; numbers must rise and not be missing"
            )
        if word.split() != [word]:
            raise InputError(f"{path}: row {row}: word {word!r} is empty or holds white space")
        last = int(number)
        sentences.setdefault(last, []).append(word)
    if not sentences:
        raise InputError(f"{path}: no words to parse")
    return sentences


def join_words(parsed: Sequence[Word], words: Sequence[str]) -> tuple[Word, ...]:
    """Join parsed words that the story writes as one, as far as they spell it.

    A treebank has punctuation (and some clitics) as words of their own, the story has them on the word that
    they are written with: ``see``, ``them``, ``.`` become ``see``, ``them.``.

    Parameters
    ----------
    parsed : sequence of Word
    words : sequence of str
        The sentence's words in the story.

    Returns
    -------
    tuple of Word
        A word of the story that `parsed` does not spell is left as it is, for the caller to find.
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
    """Return the sentences, numbered and cut into words as in the story, if they are the story's.

    Parameters
    ----------
    sentences : sequence of Sentence
    story : dict
        Number of the sentence → its words.
    source : str
        Where `sentences` come from, for the message.

    Raises
    ------
    InputError
        At the first difference.
    """
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
    """Load stanza's English pipeline for words and sentences that are given, from a local folder, on the CPU.

    Returns
    -------
    stanza.Pipeline

    Raises
    ------
    InputError
        If a needed processor is not asked for, or the folder lacks the models or holds broken ones.
    """
    missing = [name for name in REQUIRED_PROCESSORS if name not in processors]
    if missing:
        raise InputError(
            f"annotation.processors: lacks {missing[0]!r}; needed are {', '.join(REQUIRED_PROCESSORS)}"
        )
    if not (Path(models) / "resources.json").is_file():
        raise InputError(f"{models}: no stanza models (no resources.json) there; {_way_out(models)}")
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
            f"{reason}; leave out a processor that these models do not have, or {_way_out(models)}"
        ) from error


def _way_out(models: str | Path) -> str:
    return (
        "set annotation.models to a folder that has them, or fetch them with "
        f"`python -m dynalign.annotation --download-only --models {models} --output {models}/fetched.json`"
    )


def parse(story: dict[int, list[str]], pipeline) -> list[Sentence]:
    """Parse the story's sentences.

    Parameters
    ----------
    story : dict
        Number of the sentence → its words.
    pipeline : stanza.Pipeline

    Returns
    -------
    list of Sentence

    Raises
    ------
    InputError
        If the parser changed the words of a sentence; the message says which.
    """
    numbers = list(story)
    batches = [numbers[start : start + _BATCH] for start in range(0, len(numbers), _BATCH)]
    sentences = []
    for batch in progress(batches, f"parsing, {_BATCH} sentences each"):
        for parsed in pipeline([story[number] for number in batch]).sentences:
            with _located(f"stanza: sentence {len(sentences)}"):
                sentences.append(_from_stanza(parsed))
    return match_story(sentences, story, "stanza")


def _from_stanza(parsed) -> Sentence:
    tokens = tuple(
        Token(
            word.text,
            word.lemma or "_",
            word.upos,
            word.xpos or "_",
            parse_feats(word.feats or "_"),
            word.head,
            word.deprel,
        )
        for word in parsed.words
    )
    words = tuple(Word(token.text, token.id[0] - 1, token.id[-1]) for token in parsed.tokens)
    return check_sentence(Sentence(str(parsed.index), words, tokens, parse_tree(str(parsed.constituency))))


def download(models: str | Path, package: str, processors: Sequence[str]) -> dict:
    """Fetch stanza's English models into a folder; what is there and whole is not fetched again.

    Returns
    -------
    dict
        What was fetched: `resources` (version of stanza's models), `package`, `processors` and `files`
        (path in the folder → SHA-256).

    Raises
    ------
    InputError
        If several attempts fail.
    """
    import hashlib

    import stanza

    for attempt, wait in enumerate((*_WAITS, None), start=1):
        try:
            fetched = stanza.download(
                "en",
                model_dir=str(models),
                package=package,
                processors=",".join(processors),
                logging_level="WARN",
            )
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
    return {
        "resources": stanza.__resources_version__,
        "package": package,
        "processors": list(processors),
        "files": {name: hashlib.sha256((Path(models) / name).read_bytes()).hexdigest() for name in names},
    }


def main(argv: list[str] | None = None) -> None:
    """Command: words → parsed sentences (CoNLL-U); or fetch the parser's models."""
    parser = argparse.ArgumentParser(prog="dynalign.annotation", description=main.__doc__)
    parser.add_argument("--words", help="table of words")
    parser.add_argument("--models", help="folder of stanza models; default: `models` of the options")
    parser.add_argument(
        "--options",
        type=options(Annotation),
        default=Annotation(),
        help="JSON of the configuration's `annotation`",
    )
    parser.add_argument("--download-only", action="store_true", help="fetch the models, parse nothing")
    parser.add_argument(
        "--output", required=True, help="CoNLL-U to write; with --download-only a JSON of what was fetched"
    )
    args = parser.parse_args(argv)
    models = args.models or args.options.models
    if args.download_only:
        import json

        fetched = download(models, args.options.package, args.options.processors)
        write_text(args.output, json.dumps(fetched, indent=1, sort_keys=True) + "\n")
        return
    if not args.words:
        parser.error("the following arguments are required: --words")
    story = story_sentences(args.words)
    if args.options.file:
        sentences = match_story(read_sentences(args.options.file), story, args.options.file)
    else:
        sentences = parse(story, load_pipeline(models, args.options.package, args.options.processors))
    write_sentences(args.output, sentences)


if __name__ == "__main__":
    run(main)
