"""Training text of the embedded study: narrative English, expanded from a probabilistic grammar.

The embedded study trains small models until they predict a short story, so they need text in the story's register
that is not the story. ``resources/demo/grammar.yaml`` holds rules and words; its head explains the notation. Features
are passed down only: a clause chooses its subject's person and number and hands them to the predicate, a sentence its
tense, a paragraph its topic and its protagonist. What a model can learn beyond the frequency of words is therefore

* topic: a paragraph favours the words of one semantic field, and nouns come back in it;
* tense: one in a sentence, in all of its clauses and auxiliaries;
* agreement of verbs with subjects, and of possessives with owners;
* selection: verbs take subjects and objects of some kinds (person, animal, thing, force of nature, ...).

The weight of a word falls with its rank in its list, as frequencies of words do (Zipf). The same grammar, length and
seed give the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from dynalign.cli import command, run
from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError
from dynalign.io.shipped import shipped
from dynalign.io.yaml import read_yaml

#: Weight of a word of the topic's own field, of a field beside it, of no field, and of another field.
FIELD_WEIGHTS = {"own": 9.0, "beside": 1.5, "any": 2.0, "other": 0.12}

#: Share of nouns that were in the paragraph before, and how many of a kind are remembered.
REPEATED, REMEMBERED = 0.35, 3

#: Sentences of a paragraph, at least and at most.
SENTENCES = (4, 11)

VOWELS = "aeiou"
_HEAD = re.compile(r"((?:(?:\w+=[\w|]+|[\d.]+) )*(?:\w+=[\w|]+|[\d.]+)): ")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_FEATURE = re.compile(r"\$(\w+)")
_REFERENCE = re.compile(r"<([\w-]+)(?:\.(\w+))?((?: \w+[=~][\w-]+)*)(?: (\d+)%)?>")


class Word(NamedTuple):
    """A word: the fields that it belongs to, its rank in its list, its forms by name."""

    fields: tuple[str, ...]
    rank: int
    forms: dict[str, str]


def doubles(word: str) -> bool:
    """Whether the last letter doubles before a vowel: one vowel between single consonants, in one syllable."""
    return re.fullmatch(rf"(qu|[^{VOWELS}])*[{VOWELS}][^{VOWELS}wxy]", word) is not None


def suffixed(word: str, suffix: str, double: bool) -> str:
    """Add ``-ed``, ``-er`` or ``-est`` to a word by the rules of spelling."""
    if word.endswith("e"):
        return word + suffix[1:]
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "i" + suffix
    return word + (word[-1] if double else "") + suffix


def with_s(word: str) -> str:
    """A noun's regular plural; a verb's third person."""
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "sh", "ch", "x", "z", "do", "go")) else "s")


def verb_forms(base: str, irregular: str = "", doubled: bool = False, state: bool = False) -> dict[str, str]:
    """Forms of a verb: base, third, past, participle and, but of a verb of `state`, ing.

    `irregular` is ``"past participle"``, empty for a regular verb; `doubled` says that the last letter doubles though
    the verb has several syllables.

    Examples
    --------
    >>> verb_forms("stop")["ing"], verb_forms("go", "went gone")["participle"]
    ('stopping', 'gone')
    """
    double = doubled or doubles(base)
    past, participle = irregular.split() if irregular else [suffixed(base, "ed", double)] * 2
    ing = base + (base[-1] if double else "") + "ing"
    if base.endswith("ie"):
        ing = base[:-2] + "ying"
    elif base.endswith("e") and not base.endswith("ee"):
        ing = base[:-1] + "ing"
    forms = {"base": base, "third": "has" if base == "have" else with_s(base), "past": past, "participle": participle}
    return forms if state else forms | {"ing": ing}


def noun_forms(entry: str) -> dict[str, str]:
    """Forms of a noun, written ``singular/plural@preposition``: singular, plural, and ``at`` ("on the hill").

    Left out, the plural is regular and the preposition "in"; ``/-`` has no plural, ``/+`` no singular.
    """
    forms, _, preposition = entry.partition("@")
    singular, _, plural = forms.partition("/")
    at = {"at": f"{preposition or 'in'} the {singular}"}
    if plural == "+":
        return {"plural": singular} | at
    return {"singular": singular} | ({} if plural == "-" else {"plural": plural or with_s(singular)}) | at


def adjective_forms(base: str, irregular: str = "", compared: bool = True) -> dict[str, str]:
    """Forms of an adjective: base and, if it is compared, comparative and superlative."""
    if not compared:
        return {"base": base}
    double = doubles(base)
    better, best = irregular.split() if irregular else (suffixed(base, end, double) for end in ("er", "est"))
    return {"base": base, "comparative": better, "superlative": best}


class Grammar:
    """Rules and words of a grammar, ready to be drawn from; InputError if it lacks a section."""

    def __init__(self, grammar: dict, seed: int) -> None:
        self.random = Random(seed)
        #: Nouns of the paragraph being written, by list.
        self.seen: dict[str, list[Word]] = {}
        self._pools: dict[tuple, tuple[list, list[float]]] = {}

        def verb(entry: str) -> dict[str, str]:
            base, *forms = entry.split("/")
            irregular = " ".join(forms) or grammar["irregular"].get(base, "")
            return verb_forms(base, irregular, base in grammar["doubled"], base in grammar["states"])

        def adjective(base: str) -> dict[str, str]:
            return adjective_forms(base, grammar["comparison"].get(base, ""), base not in grammar["absolute"])

        try:
            self.topics: dict[str, list[str]] = grammar["topics"]
            self.rules = {
                name: [_alternative(line) for line in text.split("\n") if line.strip()]
                for name, text in grammar["rules"].items()
            }
            self.words = {
                **_words(grammar["words"], lambda word: {"base": word}),
                **_words(grammar["nouns"], noun_forms),
                **_words(grammar["verbs"], verb),
                **_words(grammar["adjectives"], adjective),
            }
            self.nouns = set(grammar["nouns"])
        except KeyError as error:
            raise InputError(f"the grammar of the training text has no section {error}") from None
        self._features = {
            name: sorted({feature for _, conditions, _ in alternatives for feature in conditions})
            for name, alternatives in self.rules.items()
        }

    def _draw(self, key: tuple, items: Callable[[], Iterable[tuple[Any, float]]]):
        """Draw one of the weighted items, which are asked for once per key; None if there is none."""
        if key not in self._pools:
            pairs = list(items())
            self._pools[key] = [item for item, _ in pairs], list(accumulate(weight for _, weight in pairs))
        drawn, weights = self._pools[key]
        return self.random.choices(drawn, cum_weights=weights)[0] if drawn else None

    def expand(self, name: str, features: dict[str, str]) -> str:
        """Expand a rule under the features given; InputError if no alternative's conditions are met."""

        def bodies() -> Iterator[tuple[str, float]]:
            for weight, conditions, body in self.rules[name]:
                if all(features.get(feature) in allowed for feature, allowed in conditions.items()):
                    yield body, weight

        body = self._draw((name, *(features.get(feature) for feature in self._features[name])), bodies)
        if body is None:
            raise InputError(f"rule {name} of the training text's grammar has no alternative for {features}")
        return self._fill(body, features)

    def _fill(self, body: str, features: dict[str, str]) -> str:
        """Make a body's choices, then expand its references, from left to right."""
        while "[" in body:
            body = _CHOICE.sub(lambda match: self.random.choice(match[1].split("|")), body)
        try:
            body = _FEATURE.sub(lambda match: features[match[1]], body)
        except KeyError as error:
            raise InputError(f"the training text's grammar uses ${error.args[0]}, which is not set: {body}") from None
        return _REFERENCE.sub(lambda match: self._refer(match, features), body)

    def _refer(self, match: re.Match, features: dict[str, str]) -> str:
        name, form, settings, percent = match.groups()
        if percent and self.random.random() * 100 >= int(percent):
            return ""
        if settings:
            features = dict(features)
            for setting in settings.split():
                key, sign, value = re.split("([=~])", setting)
                features[key] = value if sign == "=" else self.expand(value, features)
        rule = name[0].lower() + name[1:]
        text = self.expand(rule, features) if rule in self.rules else self._word(rule, form or "base", features)
        return text if rule == name else text[:1].upper() + text[1:]

    def _word(self, name: str, form: str, features: dict[str, str]) -> str:
        """Draw a word from a list under the topic, or take up a noun that the paragraph has used."""
        if form == "present":
            form = "base" if features["who"] in ("I", "we", "you", "they") else "third"
        seen = self.seen.setdefault(name, []) if name in self.nouns and name != "body" else None
        if seen and self.random.random() < REPEATED:
            word = self.random.choice(seen)
            if form in word.forms:
                return word.forms[form]
        topic = features["topic"]

        def words() -> Iterator[tuple[Word, float]]:
            for word in self.words.get(name, ()):
                if form in word.forms:
                    yield word, self._weight(word, topic)

        word = self._draw((name, form, topic), words)
        if word is None:
            raise InputError(f"the training text's grammar has neither a rule nor words <{name}.{form}>")
        if seen is not None and len(seen) < REMEMBERED:
            seen.append(word)
        return self._fill(word.forms[form], features)

    def _weight(self, word: Word, topic: str) -> float:
        """Weight of a word under a topic: by field, and falling with rank."""
        near = {topic: "own", "any": "any", **dict.fromkeys(self.topics[topic], "beside")}
        return max(FIELD_WEIGHTS[near.get(field, "other")] for field in word.fields) / (word.rank + 1.5) ** 0.8

    def paragraph(self) -> list[str]:
        """Write the sentences of one paragraph."""
        self.seen = {}
        features = {"topic": self.random.choice(list(self.topics)), "level": "top", "form": "finite", "asks": "no"}
        for key, rule in {"mode": "mode", "hero": "hero", "name": "hero-name"}.items():
            features[key] = self.expand(rule, features)
        features["who"] = features["hero"]
        return [_polished(self.expand("sentence", features)) for _ in range(self.random.randint(*SENTENCES))]


def _alternative(line: str) -> tuple[float, dict[str, frozenset[str]], str]:
    """One way to expand a rule: its weight, the values that features must have, and what it becomes."""
    head = _HEAD.match(line)
    weight, conditions = 1.0, {}
    for part in head[1].split() if head else ():
        feature, is_condition, values = part.partition("=")
        if is_condition:
            conditions[feature] = frozenset(values.split("|"))
        else:
            weight = float(part)
    return weight, conditions, line[head.end() :] if head else line


def _words(lists: dict, forms) -> dict[str, list[Word]]:
    """Words by the names of their lists; a key may name several lists, and several fields."""
    found: dict[str, list[Word]] = {}
    for names, entries in lists.items():
        for fields, field_entries in (entries if isinstance(entries, dict) else {"any": entries}).items():
            words = [Word(tuple(fields.split()), rank, forms(entry)) for rank, entry in enumerate(field_entries)]
            for name in names.split():
                found.setdefault(name, []).extend(words)
    return found


def _polished(text: str) -> str:
    """A sentence with single spaces, none before a mark, and "an" before vowels."""
    text = re.sub(r" +(?=[,.!?]|$)", "", re.sub("  +", " ", text))
    text = re.sub(r"\b([Aa]) (?=[aeiou]|hour|honest)(?!one|use|uni)", r"\1n ", text)
    return re.sub(r"\b([Aa]n) other\b", r"\1other", text)


def generate(grammar: dict, n_characters: int, seed: int) -> str:
    """Write training text from a parsed grammar: paragraphs separated by blank lines, and a final line end.

    It ends with the sentence that reaches `n_characters`; ValueError if that is not positive, InputError if the grammar
    lacks a section, a rule or words.
    """
    if n_characters < 1:
        raise ValueError(f"n_characters must be positive, got {n_characters}")
    writer = Grammar(grammar, seed)
    paragraphs: list[str] = []
    left = n_characters
    while left > 0:
        sentences = []
        for sentence in writer.paragraph():
            if left > 0:
                sentences.append(sentence)
                left -= len(sentence) + 1
        paragraphs.append(" ".join(sentences))
        left -= 1
    return "\n\n".join(paragraphs) + "\n"


def read_grammar(path: str | Path) -> dict:
    """Read a grammar; InputError if the file is missing, or not YAML with sections, or a key stands twice."""
    grammar = read_yaml(shipped(path))
    if not isinstance(grammar, dict):
        raise InputError(f"{path}: has no sections; resources/demo/grammar.yaml shows what a grammar holds")
    return grammar


@command
def main(grammar: str, output: str, characters: int = 600_000, seed: int = 0) -> None:
    """Write training text of so many characters to a file; a grammar (YAML) holds its rules and words."""
    write_text(output, generate(read_grammar(grammar), characters, seed))


if __name__ == "__main__":
    run(main)
