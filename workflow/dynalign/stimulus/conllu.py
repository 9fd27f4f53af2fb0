"""Parsed sentences as CoNLL-U, with the constituency tree as a comment.

Two libraries read these and are not used, because a file of the user's own must be checked. `conllu` takes lines of 9
and of 11 columns, features that stand twice and gaps in the numbering, all without a word. `nltk` takes 2 CPU-seconds
to import, refuses trees deeper than 500, and lets a word stand beside a phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from pathlib import Path

from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError, located
from dynalign.io.text import read_text

#: Universal part-of-speech tags (https://universaldependencies.org/u/pos/).
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)


@dataclass(frozen=True)
class Tree:
    """A constituency tree; a leaf (no children) is a word, any other node a phrase or part of speech."""

    label: str
    children: tuple[Tree, ...] = ()

    def leaves(self) -> list[str]:
        """The words, brackets in them written ``-LRB-`` and ``-RRB-``."""
        return re.findall(r" ([^\s()]+)", f" {self}")

    def __str__(self) -> str:
        # A stack, because a long right-branching sentence would exceed Python's recursion limit.
        text = ""
        stack: list[Tree | str] = [self]
        while stack:
            item = stack.pop()
            if isinstance(item, Tree) and item.children:
                text += f" ({item.label}"
                stack += [")", *reversed(item.children)]
            else:
                text += item if isinstance(item, str) else f" {item.label}"
        return text.lstrip()


@dataclass(frozen=True)
class Token:
    """One numbered line of CoNLL-U; `head` is the number of its head, 0 for a root."""

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
    """One parsed sentence: `words` as the story has them, `tokens` as the grammar does, each in exactly one word.

    The tree is ``ROOT`` over one clause; its leaves are the tokens. `sent_id` is the sentence's number in the story.
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


def token_depths(heads: Sequence[int]) -> list[int]:
    """Edges from each token to its root; `heads` are tokens' numbers from 1, 0 for a root. InputError for a circle."""
    depths = [-1] * len(heads)
    for first in range(len(heads)):
        path: list[int] = []
        token = first
        while token >= 0 and depths[token] < 0:
            if len(path) > len(heads):
                raise InputError(f"the heads from token {first + 1} on form a circle; each needs a path to a root")
            path.append(token)
            token = heads[token] - 1
        depth = -1 if token < 0 else depths[token]
        for token in reversed(path):
            depth = depths[token] = depth + 1
    return depths


def parse_tree(text: str) -> Tree:
    """Read one bracketed tree such as ``(ROOT (S (NP (PRP I)) (VP (VBD ran))))``.

    InputError, with its column, where brackets do not match, one has no label or content, a word stands beside
    something else, or anything follows the tree.
    """
    stack: list[tuple[str, list[Tree]]] = []
    root: Tree | None = None
    label_expected = False
    for match in re.finditer(r"[()]|[^\s()]+", text):
        mark, wrong = match.group(), ""
        if root is not None:
            wrong = f"{mark!r} after the last closing bracket"
        elif label_expected:
            wrong = "a bracket has no label" if mark in "()" else ""
            stack.append((mark, []))
            label_expected = False
        elif mark == "(":
            label_expected = True
        elif not stack:
            wrong = f"{mark!r} outside the brackets"
        elif mark == ")":
            label, children = stack.pop()
            if not children:
                wrong = f"nothing stands under {label!r}"
            elif len(children) > 1 and not all(child.children for child in children):
                wrong = f"a word under {label!r} is not alone there"
            node = Tree(label, tuple(children))
            if stack:
                stack[-1][1].append(node)
            else:
                root = node
        else:
            stack[-1][1].append(Tree(mark))
        if wrong:
            raise InputError(f"tree, column {match.start() + 1}: {wrong}")
    if root is None:
        unclosed = len(stack) + label_expected
        raise InputError(f"tree: {unclosed} brackets are not closed" if unclosed else "tree: empty")
    return root


def parse_feats(text: str) -> dict[str, str]:
    """Read CoNLL-U features such as ``Number=Sing|Person=3``; ``_`` is none. InputError for any other form."""
    feats: dict[str, str] = {}
    for entry in () if text == "_" else text.split("|"):
        name, _, value = entry.partition("=")
        if not name or not value:
            raise InputError(f"feature {entry!r} is not Name=Value")
        if name in feats:
            raise InputError(f"feature {name!r} stands twice")
        feats[name] = value
    return feats


def check_sentence(sentence: Sentence) -> Sentence:
    """Return the sentence if its parts fit each other, else an InputError.

    Its heads exist and lead to a root; its tree is ``ROOT`` over one clause, with its tokens as leaves.
    """
    for token in sentence.tokens:
        if token.head > len(sentence.tokens):
            raise InputError(f"{token.form!r} has the head {token.head}, but there are {len(sentence.tokens)} tokens")
    token_depths([token.head for token in sentence.tokens])
    if sentence.tree.label != "ROOT" or len(sentence.tree.children) != 1:
        got = f"{sentence.tree.label!r} with {len(sentence.tree.children)}"
        raise InputError(f"the tree must be (ROOT …) with one clause, got {got}")
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
                raise InputError(f"{form!r}: the range {number} overlaps another or covers fewer than two tokens")
            words.append(Word(form, len(tokens), int(span[2])))
            continue
        if covered <= len(tokens):
            words.append(Word(form, len(tokens), len(tokens) + 1))
        lemma, upos, xpos, feats, head, deprel = columns[2:8]
        if upos not in UPOS:
            raise InputError(f"{form!r} has the part of speech {upos!r}; allowed are {' '.join(UPOS)}")
        if not re.fullmatch("[0-9]+", head):
            raise InputError(f"{form!r} has the head {head!r}, not a number")
        tokens.append(Token(form, lemma, upos, xpos, parse_feats(feats), int(head), deprel))
    if not tokens:
        raise InputError("no tokens")
    if words[-1].stop > len(tokens):
        raise InputError(
            f"the range of {words[-1].form!r} ends at {words[-1].stop}, after the last token {len(tokens)}"
        )
    if "constituency" not in comments:
        raise InputError("lacks the comment '# constituency = (ROOT …)'; parse with stanza's constituency processor")
    tree = parse_tree(comments["constituency"])
    return check_sentence(Sentence(comments.get("sent_id", str(position)), tuple(words), tuple(tokens), tree))


def read_sentences(path: str | Path) -> list[Sentence]:
    """Read a CoNLL-U file with ``# constituency`` comments; an InputError names the sentence and line that break it."""
    lines = read_text(path).split("\n")
    sentences: list[Sentence] = []
    for text, block in groupby(enumerate(lines, start=1), key=lambda line: bool(line[1].strip())):
        if text:
            numbers, texts = zip(*block, strict=True)
            with located(f"{path}: sentence {len(sentences)} (line {numbers[0]})"):
                sentences.append(_parse_block(texts, len(sentences)))
    if not sentences:
        raise InputError(f"{path}: no sentences")
    return sentences


def write_sentences(path: str | Path, sentences: Iterable[Sentence]) -> None:
    """Write sentences as CoNLL-U."""
    lines = []
    for sentence in sentences:
        lines += [f"# sent_id = {sentence.sent_id}", f"# text = {' '.join(sentence.forms)}"]
        lines.append(f"# constituency = {sentence.tree}")
        split = {word.start: word for word in sentence.words if word.stop > word.start + 1}
        for index, token in enumerate(sentence.tokens):
            if word := split.get(index):
                lines.append("\t".join([f"{word.start + 1}-{word.stop}", word.form, *"________"]))
            feats = "|".join(f"{name}={value}" for name, value in token.feats.items()) or "_"
            about = (token.form, token.lemma, token.upos, token.xpos, feats, str(token.head), token.deprel)
            lines.append("\t".join([str(index + 1), *about, "_", "_"]))
        lines.append("")
    write_text(path, "\n".join([*lines, ""]))
