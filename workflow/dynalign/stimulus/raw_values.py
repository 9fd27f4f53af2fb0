"""Raw values of linguistic properties, computed from one parsed sentence (METHOD section 3)."""

import re
from collections.abc import Callable

from dynalign.stimulus.conllu import Sentence, Token

#: The raw value where a property does not apply.
UNDEF = "UNDEF"

#: Phrase labels (METHOD section 3).
PHRASES = (
    *("ADJP", "ADVP", "CONJP", "FRAG", "INTJ", "LST", "NAC", "NP", "NX", "PP", "PRN", "PRT", "QP", "RRC"),
    *("UCP", "VP", "WHADJP", "WHAVP", "WHADVP", "WHNP", "WHPP", "X"),
)


def sentence_length(sentence: Sentence) -> int:
    """Words of the sentence, as the story counts them."""
    return len(sentence.words)


def category(label: str) -> str:
    """A node's label without a treebank's function tags and indices: ``NP`` of ``NP-SBJ-1``."""
    return re.split("[-=]", label, maxsplit=1)[0] or label  # -LRB- is a label too


def attached_marks(sentence: Sentence) -> set[int]:
    """Indices of punctuation tokens that are written on a word, as treebanks have them; no property sees them.

    The words of the Harry Potter data, as stanza parses them, carry their punctuation and have none.
    """
    heads = set(word_heads(sentence))
    return {i for i, token in enumerate(sentence.tokens) if token.upos == "PUNCT" and i not in heads}


def tree_depth(sentence: Sentence) -> int:
    """Greatest depth of a word in the dependency tree, in edges to the root."""
    marks = attached_marks(sentence)
    return max(depth for index, depth in enumerate(sentence.depths) if index not in marks)


def top_constituents(sentence: Sentence) -> str:
    """Labels of all children of the clause under ``ROOT``, e.g. ``NP VP``; UNDEF if it is a bare word.

    Parts of speech count too (``CC NP VP``, ``NP VP .``), as in the paper. Punctuation that is part of a word makes no
    label, a mark that is a word of its own (the ``+`` of the Harry Potter data) does.
    """
    marks, labels, last = attached_marks(sentence), [], 0
    for child in sentence.tree.children[0].children:
        first, last = last, last + len(child.leaves())
        if child.children and not marks.issuperset(range(first, last)):
            labels.append(category(child.label))
    return " ".join(labels) or UNDEF


def _shallowest(sentence: Sentence, wanted: Callable[[Token], bool]) -> Token | None:
    """The wanted token nearest to the root, the leftmost of equals."""
    found = [(depth, token) for depth, token in zip(sentence.depths, sentence.tokens, strict=True) if wanted(token)]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def tense(sentence: Sentence) -> str:
    """``Tense`` of the shallowest word that has one, else UNDEF."""
    verb = _shallowest(sentence, lambda token: "Tense" in token.feats)
    return verb.feats["Tense"] if verb else UNDEF


def subject_number(sentence: Sentence, relation: str = "nsubj") -> str:
    """``Number`` of the shallowest ``nsubj``, else UNDEF; ``nsubj:pass`` and ``expl`` are other relations."""
    argument = _shallowest(sentence, lambda token: token.deprel == relation)
    return argument.feats.get("Number", UNDEF) if argument else UNDEF


def object_number(sentence: Sentence) -> str:
    """``Number`` of the shallowest ``obj``, else UNDEF."""
    return subject_number(sentence, "obj")


def word_heads(sentence: Sentence) -> list[int]:
    """Index of the token that stands for each word: the shallowest, leftmost of those it covers.

    Punctuation written on a word does not stand for it.
    """
    rank = [(token.upos == "PUNCT", depth) for token, depth in zip(sentence.tokens, sentence.depths, strict=True)]
    return [min(range(word.start, word.stop), key=rank.__getitem__) for word in sentence.words]


def pos(sentence: Sentence) -> list[str]:
    """Universal part of speech of each word."""
    return [sentence.tokens[index].upos for index in word_heads(sentence)]


def smallest_constituent(sentence: Sentence) -> list[str]:
    """Label of the lowest phrase above each word, UNDEF where there is none."""
    labels: list[str] = []
    stack = [(sentence.tree, UNDEF)]
    while stack:
        node, phrase = stack.pop()
        if not node.children:
            labels.append(phrase)
        label = category(node.label)
        inner = label if label in PHRASES else phrase
        stack.extend((child, inner) for child in reversed(node.children))
    return [labels[index] for index in word_heads(sentence)]


#: Raw value → level ("sentence" or "word"), function of one sentence.
RAW: dict[str, tuple[str, Callable]] = {
    "sentence_length": ("sentence", sentence_length),
    "tree_depth": ("sentence", tree_depth),
    "top_constituents": ("sentence", top_constituents),
    "tense": ("sentence", tense),
    "subject_number": ("sentence", subject_number),
    "object_number": ("sentence", object_number),
    "pos": ("word", pos),
    "smallest_constituent": ("word", smallest_constituent),
}
