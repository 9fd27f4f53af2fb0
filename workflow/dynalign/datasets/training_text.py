"""Write narrative training text from a probabilistic grammar, for the demo's language models.

The demo trains small models until they predict a short story, so they need text in the story's register
that is not the story. The words stand in a lexicon (``resources/demo/lexicon.yaml``), the rules here.

The grammar, from the top (``|`` separates weighted choices, ``(...)`` is optional)::

    text       -> paragraph paragraph ...
    paragraph  -> topic, protagonist, mode (narrative | comment | speech | letter); 4 to 11 sentences
    sentence   -> clause | clause, conjunction clause | subordinate clause, clause
                | clause, clause, and clause | scene | maxim | question | imperative | fragment | speech
    speech     -> "sentence," reporter said | "sentence," he said, "sentence." | "question?" | "imperative!"
    clause     -> (opener) (time,) subject verb-phrase (place) (time) (simile)
    subject    -> pronoun | name | noun-phrase
    noun-phrase-> determiner (adjective) noun (of noun-phrase | with noun-phrase | relative clause)
    verb-phrase-> verb by frame: motion + path, position + place, object, object + place, two objects,
                  that-clause, question-clause, infinitive, -ing form, quality; auxiliaries, negation, passive

What a model can learn from it beyond word frequency:

* a paragraph has one topic, which favours the words of its semantic field, and a few nouns that come back;
* a sentence has one tense (past, present or future); its clauses and their auxiliaries follow it;
* verbs agree with their subjects, and possessives and reflexives with their owners;
* verbs choose subjects and objects by kind (person, animal, thing, force of nature, ...).

Within each list the weight of a word falls with its rank, as word frequencies do (Zipf). Everything is
drawn from one seeded generator: the same lexicon, length and seed give the same text.
"""

from __future__ import annotations

import argparse
import re
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

#: How much the topic's own field, its neighbours, the general field and all other fields weigh.
FIELD_WEIGHTS = {"own": 9.0, "beside": 1.5, "any": 2.0, "other": 0.12}
VOWELS = "aeiou"


class Noun(NamedTuple):
    """A noun; `plural` is empty for nouns without one, and `singular` for nouns that are always plural."""

    singular: str
    plural: str
    kind: str
    preposition: str


class Verb(NamedTuple):
    """The forms of a verb and its frame: what may follow it."""

    base: str
    third: str
    past: str
    participle: str
    ing: str
    frame: str
    preposition: str
    objects: tuple[str, ...]


class Subject(NamedTuple):
    """What a verb, a possessive or a reflexive agrees with."""

    text: str
    person: int
    plural: bool
    kind: str
    object: str
    owner: str
    reflexive: str


I = Subject("I", 1, False, "person", "me", "my", "myself")  # noqa: E741
WE = Subject("we", 1, True, "person", "us", "our", "ourselves")
YOU = Subject("you", 2, True, "person", "you", "your", "yourself")
HE = Subject("he", 3, False, "person", "him", "his", "himself")
SHE = Subject("she", 3, False, "person", "her", "her", "herself")
THEY = Subject("they", 3, True, "person", "them", "their", "themselves")
PLURAL_THINGS = THEY._replace(kind="thing")
IT = Subject("it", 3, False, "thing", "it", "its", "itself")
OWN = {"I": "mine", "we": "ours", "you": "yours", "he": "his", "she": "hers", "they": "theirs"}

#: Verbs of state, which have no progressive.
STATES = {
    *("know", "believe", "have", "want", "need", "seem", "love", "hate", "understand", "mean", "belong", "look"),
    *("sound", "cost", "become", "hope", "suppose", "remember", "forget", "feel", "fear", "taste", "smell", "see"),
    *("hear", "guess", "miss", "forgive"),
}

INDEFINITE = ["nobody", "everybody", "somebody", "nobody", "no one", "everyone"]


def inflect(entry: str) -> tuple[str, str, str, str, str]:
    """Give base, third person, past, participle and -ing form of a verb.

    Parameters
    ----------
    entry : str
        ``base`` for a regular verb, else ``base/past/participle``.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> inflect("stop")
    ('stop', 'stops', 'stopped', 'stopped', 'stopping')
    """
    base, *irregular = entry.split("/")
    # One vowel between single consonants in a word of one syllable: the last letter doubles (stop, stopped).
    doubles = re.fullmatch(rf"(qu|[^{VOWELS}])*[{VOWELS}][^{VOWELS}wxy]", base) or base in {"begin", "forget", "admit"}
    after_consonant_y = base.endswith("y") and base[-2] not in VOWELS
    if base == "have":
        third = "has"
    elif after_consonant_y:
        third = base[:-1] + "ies"
    else:
        third = base + ("es" if base.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")
    if base.endswith("ie"):
        ing = base[:-2] + "ying"
    elif base.endswith("e") and not base.endswith("ee"):
        ing = base[:-1] + "ing"
    else:
        ing = base + (base[-1] if doubles else "") + "ing"
    if irregular:
        past, participle = irregular
    elif base.endswith("e"):
        past = participle = base + "d"
    elif after_consonant_y:
        past = participle = base[:-1] + "ied"
    else:
        past = participle = base + (base[-1] if doubles else "") + "ed"
    return base, third, past, participle, ing


def pluralise(noun: str) -> str:
    """Give the regular plural of a noun."""
    if noun.endswith("y") and noun[-2] not in VOWELS:
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x", "z")) else "s")


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase."""
    if phrase.startswith("other "):
        return "an" + phrase
    silent = phrase.startswith(("hour", "honest"))
    consonant = phrase.startswith(("one", "use", "uni"))
    return ("an " if silent or (phrase[0] in VOWELS and not consonant) else "a ") + phrase


def compare(adjective: str, irregular: dict[str, str]) -> tuple[str, str]:
    """Give comparative and superlative of a short adjective."""
    if adjective in irregular:
        better, best = irregular[adjective].split("/")
        return better, best
    stem = adjective
    if adjective.endswith("y"):
        stem = adjective[:-1] + "i"
    elif adjective.endswith("e"):
        stem = adjective[:-1]
    elif re.fullmatch(rf"[^{VOWELS}]*[{VOWELS}][^{VOWELS}wxy]", adjective):
        stem = adjective + adjective[-1]
    return stem + "er", stem + "est"


class Grammar:
    """The rules, with the lexicon prepared for drawing and the state of the paragraph being written.

    Parameters
    ----------
    lexicon : dict
        The parsed lexicon file.
    seed : int
        Of the one random generator behind all choices.

    Raises
    ------
    KeyError
        If the lexicon lacks a section.
    """

    def __init__(self, lexicon: dict, seed: int) -> None:
        self.lexicon = lexicon
        self.random = Random(seed)
        self.pools: dict[object, tuple[list, list[float]]] = {}
        self.nouns = [
            (field, rank, self._noun(entry, kind))
            for field, kinds in lexicon["nouns"].items()
            for kind, entries in kinds.items()
            for rank, entry in enumerate(entries)
        ]
        self.nouns += [("any", rank, self._noun(entry, "body")) for rank, entry in enumerate(lexicon["body"])]
        self.verbs = [
            (
                fields,
                rank,
                kinds,
                Verb(*inflect(entry), group["frame"], group.get("preposition", ""), tuple(group.get("object", ()))),
            )
            for group in lexicon["verbs"]
            for fields, kinds in [(group["fields"], group["subject"])]
            for rank, entry in enumerate(group["forms"])
        ]
        self.adjectives = [
            (kind, field, rank, adjective)
            for kind, fields in lexicon["adjectives"].items()
            for field, entries in fields.items()
            for rank, adjective in enumerate(entries)
        ]
        self.topics = list(lexicon["topics"])
        self.names = {name for group in lexicon["names"].values() for name in group}
        self.fixed = {
            name: [lexicon[name]] if isinstance(lexicon[name], str) else list(lexicon[name])
            for name in (
                *("months", "seasons", "numbers", "tags", "vocatives"),
                *("exclamations", "similes", "fragments", "maxims", "scenes"),
            )
        }
        self._start_paragraph()

    @staticmethod
    def _noun(entry: str, kind: str) -> Noun:
        forms, _, preposition = entry.partition("@")
        singular, _, plural = forms.partition("/")
        if plural == "+":
            singular, plural = "", singular
        elif plural == "-" or kind == "mass":
            plural = ""
        else:
            plural = plural or pluralise(singular)
        return Noun(singular, plural, kind, preposition or "in")

    # ------------------------------------------------------------------ choices

    def chance(self, probability: float) -> bool:
        """Toss a coin that comes up heads with `probability`."""
        return self.random.random() < probability

    def pick(self, items: Sequence):
        """Draw one of `items`, all equally likely."""
        return items[int(self.random.random() * len(items))]

    def choose(self, **weights: float) -> str:
        """Draw a keyword in proportion to its weight."""
        point = self.random.random() * sum(weights.values())
        for name, weight in weights.items():
            point -= weight
            if point < 0:
                return name
        return name

    def draw(self, key: object, entries: Callable[[], list[tuple[float, object]]]):
        """Draw from the weighted `entries` under the topic (computed once for each `key`); None if empty."""
        pool = self.pools.get((self.topic, key))
        if pool is None:
            weighted = entries()
            pool = [item for _, item in weighted], list(accumulate(weight for weight, _ in weighted))
            self.pools[self.topic, key] = pool
        items, sums = pool
        return items[bisect(sums, self.random.random() * sums[-1])] if items else None

    def weight(self, fields: str | Sequence[str], rank: int) -> float:
        """Give the weight of a word under the topic: by field, and falling with rank."""
        names = (fields,) if isinstance(fields, str) else fields
        beside = self.lexicon["topics"][self.topic]
        best = max(
            FIELD_WEIGHTS[
                "own" if name == self.topic else "any" if name == "any" else "beside" if name in beside else "other"
            ]
            for name in names
        )
        return best / (rank + 1.5) ** 0.8

    def word(self, name: str) -> str:
        """Draw from a list of the lexicon; the first entries are the most frequent."""
        return self.draw(name, lambda: [(1 / (rank + 4), item) for rank, item in enumerate(self.fixed[name])])

    def noun(self, kind: str) -> Noun:
        """Draw a noun of a kind, or take up one that the paragraph has used."""
        seen = self.seen.setdefault(kind, [])
        if seen and self.chance(0.35):
            return self.pick(seen)
        noun = self.draw(
            ("noun", kind),
            lambda: [(self.weight(field, rank), noun) for field, rank, noun in self.nouns if noun.kind == kind],
        )
        if len(seen) < 3 and kind != "body":
            seen.append(noun)
        return noun

    def verb(self, frame: str, subject: str, object_kind: str = "") -> Verb | None:
        """Draw a verb of a frame for a kind of subject (and of object)."""
        return self.draw(
            ("verb", frame, subject, object_kind),
            lambda: [
                (self.weight(fields, rank), verb)
                for fields, rank, kinds, verb in self.verbs
                if verb.frame == frame and subject in kinds and (not object_kind or object_kind in verb.objects)
            ],
        )

    def adjective(self, kind: str) -> str:
        """Draw an adjective for a kind of noun."""
        return self.draw(
            ("adjective", kind),
            lambda: [
                (self.weight(field, rank), adjective) for of, field, rank, adjective in self.adjectives if of == kind
            ],
        )

    # ------------------------------------------------------------------ noun phrases

    def determine(self, noun: Noun, plural: bool, owner: str, definite: bool | None = None) -> str:
        """Give determiner, adjective and noun."""
        head = noun.plural if plural else noun.singular
        if self.chance(0.28):
            adjective = self.adjective(noun.kind)
            if self.chance(0.07) and adjective not in self.lexicon["no_comparison"]:
                superlative = compare(adjective, self.lexicon["irregular_comparison"])[1]
                return f"the {superlative} {head}"
            if adjective in ("only", "last", "first", "same"):
                return f"the {adjective} {head}"
            if adjective == "own":
                return f"{owner or self.anyone()} own {head}"
            head = f"{adjective} {head}"
        if noun.kind == "body":
            return f"{'both ' if plural and self.chance(0.1) else ''}{owner or self.anyone()} {head}"
        if definite is None:
            definite = noun in self.seen.get(noun.kind, ()) and self.chance(0.6)
        if definite:
            return f"the {head}"
        possessive = owner if owner and self.chance(0.7) else self.anyone()
        if noun.kind == "mass" or not noun.plural:
            choice = self.choose(
                bare=4 if noun.kind == "mass" else 0, the=5, possessive=1.5, some=0.6, this=0.4, no=0.4
            )
            if choice == "bare":
                return head
            named = {"the": "the", "possessive": possessive, "some": "some", "no": "no"}
            return f"{named.get(choice) or self.pick(['this', 'that', 'all the', 'such', 'enough'])} {head}"
        if plural:
            choice = self.choose(the=5, bare=2, possessive=2.2, number=1.2, other=1.6)
            if choice == "bare":
                return head
            if choice == "number":
                return f"{self.number()} {head}"
            if choice == "other":
                which = ["these", "those", "all the", "some", "few", "no", "both", "other", "such", "all my"]
                return f"{self.pick(which)} {head}"
            return f"{'the' if choice == 'the' else possessive} {head}"
        choice = self.choose(the=5, article=4, possessive=2.2, other=1.7)
        if choice == "article":
            return with_article(head)
        if choice == "other":
            which = self.pick(["this", "that", "every", "each", "one", "no", "another", "the other", "every", "such a"])
            return f"such {with_article(head)}" if which == "such a" else f"{which} {head}"
        return f"{'the' if choice == 'the' else possessive} {head}"

    def anyone(self) -> str:
        """Draw a possessive, most often the protagonist's."""
        return self.pick([self.focus.owner, self.focus.owner, "my", "my", "our", "their", "his", "her", "your"])

    def number(self) -> str:
        """Draw a number word that goes before a plural noun."""
        number = self.word("numbers")
        return "two" if number in ("both", "nine times") else number

    def phrase(self, kind: str, owner: str = "", depth: int = 0, tense: str = "past") -> Subject:
        """Write a noun phrase of a kind, as a subject that the rest can agree with."""
        if kind == "person" and self.chance(0.18):
            return self.named()
        noun = self.noun(kind)
        plural = bool(noun.plural) and (not noun.singular or self.chance(0.6 if kind == "body" else 0.36))
        text = self.determine(noun, plural, owner)
        if depth < 2 and kind != "body" and self.chance(0.17):
            text += " " + self.modifier(kind, plural, depth + 1, tense)
        reference = THEY if plural else self.pick([HE, SHE]) if kind == "person" else IT
        return reference._replace(text=text, person=3, kind=kind)

    def named(self) -> Subject:
        """Draw a name."""
        group = self.choose(she=5, he=4)
        reference = SHE if group == "she" else HE
        return reference._replace(text=self.pick(self.lexicon["names"][group]))

    def modifier(self, kind: str, plural: bool, depth: int, tense: str) -> str:
        """Write what follows a noun: a prepositional phrase or a relative clause that agrees with it."""
        choice = self.choose(
            of=3 if kind in ("thing", "text", "place", "idea") else 0.5, with_=3.5, relative=4, place=1.5, for_=1
        )
        if choice == "of":
            return "of " + self.phrase(self.pick(["mass", "thing", "person", "place"]), depth=depth).text
        if choice == "with_":
            body = kind in ("person", "animal")
            return "with " + (
                f"{self.adjective('body')} {self.noun('body').plural or 'hair'}"
                if body and self.chance(0.6)
                else self.phrase("thing", depth=depth).text
            )
        if choice == "for_":
            return "for " + self.phrase(self.pick(["person", "thing", "animal"]), depth=2).text
        if choice == "place":
            return self.place()
        relative = "who" if kind == "person" else self.pick(["that", "that", "which"])
        if kind == "place" and self.chance(0.5):
            return "where " + self.clause(tense, depth=depth + 1)
        if self.chance(0.5):
            reference = (THEY if plural else IT)._replace(kind=kind)
            return f"{relative} {self.verb_phrase(reference, tense, depth + 1)}"
        subject = self.pick([I, WE, HE, SHE, THEY, I, SHE])
        verb = self.verb("object", "person", kind)
        if verb is None:
            return self.place()
        return f"that {subject.text} {self.conjugate(verb, subject, tense)}"

    def subject(self, depth: int, tense: str) -> Subject:
        """Draw the subject of a clause: pronoun, name or noun phrase."""
        choice = self.choose(
            I=2.0 if self.mode != "speech" else 1.6,
            we=1.5,
            you=0.9 if tense != "past" and self.mode in ("speech", "comment", "letter") else 0.1,
            focus=2.6,
            they=1.1,
            it=0.8,
            person=1.5,
            animal=0.7 if self.topic in ("animals", "sea", "house") else 0.25,
            thing=1.2,
            force=1.6 if self.topic in ("sea", "weather") else 0.3,
            body=0.9,
            mass=0.25,
            place=0.25,
            text=0.6 if self.topic == "letters" else 0.1,
            idea=0.5 if self.topic in ("feelings", "letters") else 0.15,
            indefinite=0.4,
        )
        if choice in ("I", "we", "you", "they"):
            return {"I": I, "we": WE, "you": YOU, "they": self.pick([THEY, THEY, PLURAL_THINGS])}[choice]
        if choice == "it":
            return IT
        if choice == "focus":
            if self.chance(0.55):
                return self.focus._replace(text=SHE.text if self.focus.owner == "her" else HE.text)
            return self.focus
        if choice == "indefinite":
            return THEY._replace(text=self.pick(INDEFINITE), plural=False)
        if choice == "animal" and self.chance(0.25):
            return SHE._replace(text=self.pick(self.lexicon["names"]["animal"]), kind="animal")
        return self.phrase(choice, depth=depth, tense=tense)

    # ------------------------------------------------------------------ verbs

    @staticmethod
    def be(subject: Subject, past: bool) -> str:
        """Give the form of "be" that agrees."""
        if subject.person == 1 and not subject.plural:
            return "was" if past else "am"
        if subject.plural:
            return "were" if past else "are"
        return "was" if past else "is"

    @staticmethod
    def present(verb: Verb, subject: Subject) -> str:
        """Give the present form that agrees."""
        return verb.third if subject.person == 3 and not subject.plural else verb.base

    def conjugate(self, verb: Verb, subject: Subject, tense: str, negate: bool = True) -> str:
        """Give the finite verb group: tense, aspect or modal, and now and then a negation or an adverb."""
        negative = " not" if negate and self.chance(0.07) else ""
        adverb = f"{self.pick(self.lexicon['adverbs']['frequency'])} " if not negative and self.chance(0.08) else ""
        third = subject.person == 3 and not subject.plural
        if tense == "future":
            modal = "will" if self.chance(0.85) else self.pick(["shall", "must", "can", "may"])
            return f"{modal}{negative} {adverb}{verb.base}"
        if tense == "past":
            choice = self.choose(simple=8, progressive=0 if verb.base in STATES else 0.9, perfect=0.6, modal=0.8)
            if choice == "simple":
                return f"did not {verb.base}" if negative else adverb + verb.past
            if choice == "progressive":
                return f"{self.be(subject, True)}{negative} {adverb}{verb.ing}"
            if choice == "perfect":
                return f"had{negative} {adverb}{verb.participle}"
            modal = self.pick(["could", "could", "could", "would", "had to", "used to", "might"])
            if modal in ("had to", "used to"):
                return f"{modal} {verb.base}"
            return f"{modal}{negative} {adverb}{verb.base}"
        choice = self.choose(simple=8, progressive=0 if verb.base in STATES else 1.1, perfect=0.8, modal=1.2)
        if choice == "simple":
            if negative:
                return f"{'does' if third else 'do'} not {verb.base}"
            return adverb + self.present(verb, subject)
        if choice == "progressive":
            return f"{self.be(subject, False)}{negative} {adverb}{verb.ing}"
        if choice == "perfect":
            return f"{'has' if third else 'have'}{negative} {adverb}{verb.participle}"
        modal = self.pick(["can", "can", "can", "must", "must", "might", "should"])
        if negative:
            modal, negative = ("cannot", "") if modal == "can" else (modal, negative)
        return f"{modal}{negative} {adverb}{verb.base}"

    def object(self, kinds: Sequence[str], subject: Subject, depth: int, tense: str) -> str:
        """Write an object: a pronoun or a noun phrase."""
        kind = self.pick(kinds)
        if self.chance(0.22):
            if kind == "person":
                return subject.reflexive if self.chance(0.05) else self.other(subject)
            if kind != "body":
                return self.choose(it=4, them=2.5, everything=0.5, nothing=0.8, something=0.6, one=0.4)
        return self.phrase(kind, subject.owner, depth + 1, tense).text

    def other(self, subject: Subject) -> str:
        """Draw an object pronoun for somebody else: "we" does not see "me"."""
        focus = SHE if self.focus.owner == "her" else HE
        people = (I, WE, YOU, HE, SHE, THEY, I, focus)
        return self.pick([one for one in people if one.person == 3 or one.person != subject.person]).object

    def place(self, motion: bool = False) -> str:
        """Write where something is, or where it goes."""
        noun = self.noun("place")
        plural = not noun.singular or (bool(noun.plural) and self.chance(0.25))
        prepositions = self.lexicon["prepositions"]
        if motion and self.chance(0.8):
            preposition = self.pick(prepositions["motion"])
        elif plural and noun.singular and self.chance(0.5):
            preposition = self.pick(prepositions["plural"])
        elif self.chance(0.75):
            preposition = noun.preposition
        else:
            preposition = self.pick(prepositions["static"])
        if noun.singular == "home" and self.chance(0.8):
            return "at home"
        return f"{preposition} {self.determine(noun, plural, '', definite=True if self.chance(0.75) else None)}"

    def when(self, tense: str) -> str:
        """Write when something happens."""
        return self.fill(
            self.draw(
                ("time", tense),
                lambda: [(1 / (rank + 6), item) for rank, item in enumerate(self.lexicon["time"][tense])],
            )
        )

    def frame_for(self, kind: str) -> str:
        """Draw a verb frame for a kind of subject, among those for which the lexicon has verbs."""
        weights = {"go": 3.2, "rest": 2.0, "act": 1.6, "object": 5.5, "put": 1.0, "about": 2.2, "give": 0.9, "say": 1.2}
        weights |= {"tell": 0.5, "know": 0.7, "try": 0.9, "keep": 0.3, "become": 0.6, "be": 2.8}
        return self.draw(
            ("frame", kind),
            lambda: [
                (weight, frame)
                for frame, weight in weights.items()
                if frame == "be" or any(verb.frame == frame and kind in kinds for _, _, kinds, verb in self.verbs)
            ],
        )

    def verb_phrase(self, subject: Subject, tense: str, depth: int = 0) -> str:
        """Write the predicate of a clause."""
        frame = self.frame_for(subject.kind)
        if depth >= 3 and frame in ("say", "tell", "know"):
            frame = "be"
        if frame == "be":
            return self.quality(subject, tense, depth)
        verb = self.verb(frame, subject.kind)
        group = self.conjugate(verb, subject, tense)
        return f"{group} {self.complement(verb, subject, tense, depth)}".rstrip()

    def complement(self, verb: Verb, subject: Subject, tense: str, depth: int) -> str:
        """Write what follows a verb in its frame."""
        frame = verb.frame
        if frame == "go":
            if self.chance(0.3):
                return self.pick(self.lexicon["adverbs"]["direction"])
            return self.place(motion=True)
        if frame == "rest":
            down = "down " if verb.base in ("sit", "lie") and self.chance(0.3) else ""
            return down + (self.place() if self.chance(0.75) else self.manner())
        if frame == "act":
            return self.manner() if self.chance(0.35) else ""
        if frame in ("object", "put"):
            what = self.object(verb.objects, subject, depth, tense)
            if frame == "put":
                return f"{what} {self.place(motion=True)}"
            if verb.base in ("take", "bring", "pull", "throw", "push", "carry", "send", "drag") and self.chance(0.25):
                return f"{what} {self.pick(['away', 'out', 'down', 'up', 'back', 'home', 'in'])}"
            return f"{what} {self.place()}" if self.chance(0.16) else what
        if frame == "about":
            return f"{verb.preposition} {self.object(verb.objects, subject, depth, tense)}"
        if frame == "give":
            who = self.other(subject)
            if self.chance(0.3):
                who = self.phrase("person", subject.owner, 2, tense).text
            what = self.phrase(self.pick(verb.objects), subject.owner, depth + 1, tense).text
            return f"{what} to {who}" if self.chance(0.2) else f"{who} {what}"
        if frame in ("say", "tell"):
            listener = self.object(("person",), subject, 2, tense) + " " if frame == "tell" else ""
            if verb.base == "ask":
                return f"{listener}{self.indirect_question(tense, depth)}"
            return f"{listener}that {self.clause(tense, depth=depth + 1)}"
        if frame == "know":
            return self.indirect_question(tense, depth)
        if frame == "try":
            inner = self.frame_for(subject.kind)
            if inner == "be":
                return f"to be {self.comparison(subject.kind)}"
            if inner in ("say", "tell", "know", "try", "keep"):
                inner = "act"
            if self.verb(inner, subject.kind) is None:
                return f"to be {self.adjective(subject.kind)}"
            next_verb = self.verb(inner, subject.kind)
            return f"to {next_verb.base} {self.complement(next_verb, subject, tense, depth + 1)}".rstrip()
        if frame == "keep":
            next_verb = self.verb("act", subject.kind) or self.verb("rest", subject.kind)
            return next_verb.ing
        return self.comparison(subject.kind)

    def indirect_question(self, tense: str, depth: int) -> str:
        """Write "how ...", "why ...", "what ..." after a verb of knowing."""
        choice = self.choose(clause=5, what=3, who=1)
        if choice == "clause":
            return f"{self.pick(['how', 'why', 'where', 'when', 'if'])} {self.clause(tense, depth=depth + 1)}"
        if choice == "who":
            return f"who {self.verb_phrase(IT._replace(kind='person'), tense, depth + 1)}"
        subject = self.pick([I, WE, HE, SHE, THEY])
        return f"what {subject.text} {self.conjugate(self.verb('object', 'person', 'thing'), subject, tense)}"

    def manner(self) -> str:
        """Draw an adverb of manner."""
        return self.pick(self.lexicon["adverbs"]["manner"])

    def comparison(self, kind: str) -> str:
        """Write an adjective phrase: plain, graded, compared or likened."""
        adjective = self.adjective("state" if kind == "person" and self.chance(0.6) else kind)
        while adjective in ("only", "last", "first", "same", "own", "other", "little", "whole"):
            adjective = self.adjective(kind)
        gradable = adjective not in self.lexicon["no_comparison"]
        choice = self.choose(plain=6, very=1.6, than=0.8 if gradable else 0, as_=0.9, more=0.4 if gradable else 0)
        if choice == "very":
            return f"{self.pick(['very', 'so', 'too'])} {adjective}"
        if choice in ("than", "more"):
            better = compare(adjective, self.lexicon["irregular_comparison"])[0]
            return (
                f"{better} than {self.fill('{N}')}"
                if choice == "than"
                else f"{better} {self.pick(['every day', 'again', 'now'])}"
            )
        if choice == "as_":
            return f"as {adjective} as {self.fill('{N}')}"
        return adjective

    def quality(self, subject: Subject, tense: str, depth: int) -> str:
        """Write "be" with a quality, an identity, a place, or a passive."""
        past = tense == "past"
        if tense == "future":
            copula = "will be"
        elif self.chance(0.05):
            copula = "had been" if past else ("has been" if subject.person == 3 and not subject.plural else "have been")
        elif self.chance(0.05):
            copula = self.pick(["could be", "might be", "must be", "should be"])
        else:
            copula = self.be(subject, past)
        if self.chance(0.1):
            auxiliary, _, rest = copula.partition(" ")
            adverb = self.pick(["not", "not", "never", "already", "always", "still"])
            copula = f"{auxiliary} {adverb} {rest}".rstrip()
        choice = self.choose(quality=6, place=1.5, identity=1.6, passive=1.1, owned=0.25)
        if choice == "place" and subject.kind in ("person", "animal", "thing", "food", "mass"):
            return f"{copula} {self.place()}"
        if choice == "identity" and subject.kind in ("person", "animal", "thing"):
            noun = self.noun(subject.kind)
            if subject.plural and noun.plural and subject.text != "you":
                return f"{copula} {self.fill('{number2}') + ' ' if self.chance(0.3) else ''}{noun.plural}"
            if noun.singular:
                which = f"{self.adjective(subject.kind)} " if self.chance(0.4) else ""
                return f"{copula} {with_article(which + noun.singular)}"
        if choice == "passive":
            verb = self.verb("object", "person", subject.kind)
            if verb is not None:
                agent = " by " + self.phrase("person", depth=2).text if self.chance(0.35) else ""
                return f"{copula} {verb.participle}{agent}"
        if choice == "owned" and subject.kind == "thing":
            return f"{copula} {self.pick(list(OWN.values()))}"
        phrase = self.comparison(subject.kind)
        if depth < 2 and self.chance(0.1):
            return f"{copula} so {phrase.split()[-1]} that {self.clause(tense, depth=depth + 1)}"
        if subject.kind == "person" and self.chance(0.08):
            return f"{copula} {self.pick(['afraid', 'ashamed', 'glad'])} of {self.phrase('thing', depth=2).text}"
        return f"{copula} {phrase}"

    # ------------------------------------------------------------------ clauses and sentences

    def fill(self, pattern: str) -> str:
        """Fill the slots of a set phrase."""

        def slot(match: re.Match) -> str:
            name = match[1]
            if name == "N":
                noun = self.countable()
                return with_article(f"{self.plain_adjective()} {noun.singular}" if self.chance(0.35) else noun.singular)
            if name == "N0":
                return self.countable().singular
            if name == "NS":
                return self.countable().plural
            if name == "M":
                return self.noun("mass").singular
            if name == "A":
                return self.plain_adjective()
            if name == "B":
                return self.noun("body").singular
            if name == "P":
                return self.place()
            if name == "P1":
                return "the " + (self.noun("place").singular or "dark")
            if name == "V":
                return self.verb(self.pick(["act", "rest"]), "person").base
            if name == "number2":
                return self.number()
            if name == "name":
                return self.named().text
            return self.word({"number": "numbers", "month": "months", "season": "seasons"}[name])

        if "{" not in pattern:
            return pattern
        text = re.sub(r"\{(\w+)\}", slot, pattern).replace("nine times years", "nine years")
        text = re.sub(r"\bboth (?=years|weeks|days)", "two ", text).replace("nine times weeks", "nine weeks")
        text = re.sub(r"\ba (?=[aeiou])(?!one|use)", "an ", text.replace("nine times days", "nine days"))
        return text

    def countable(self) -> Noun:
        """Draw a noun that has both numbers."""
        while True:
            noun = self.noun(self.pick(["thing", "thing", "animal", "person", "text"]))
            if noun.singular and noun.plural:
                return noun

    def plain_adjective(self) -> str:
        """Draw an adjective that needs no definite article."""
        while True:
            adjective = self.adjective(self.pick(["thing", "mass", "animal", "force"]))
            if adjective not in ("only", "last", "first", "same", "own", "other", "whole"):
                return adjective

    def clause(self, tense: str, depth: int = 0, plain: bool = False) -> str:
        """Write subject and predicate, with a time, a place or a simile around them at times."""
        subject = self.subject(depth, tense)
        text = f"{subject.text} {self.verb_phrase(subject, tense, depth)}"
        if depth == 0 and not plain:
            if self.chance(0.16):
                text += " " + self.when(tense)
            elif self.chance(0.08):
                text += " " + self.fill(self.word("similes"))
        return text

    def short_clause(self, tense: str) -> str:
        """Write a clause of a few words."""
        subject = self.subject(2, tense)
        if subject.kind == "person" and self.chance(0.4):
            return f"{subject.text} {self.quality(subject, tense, 2)}"
        frame = self.pick(["act", "act", "object", "go", "be"])
        verb = self.verb(frame, subject.kind)
        if verb is None:
            return f"{subject.text} {self.quality(subject, tense, 2)}"
        group = self.conjugate(verb, subject, tense)
        return f"{subject.text} {group} {self.complement(verb, subject, tense, 2)}".rstrip()

    def declarative(self, tense: str) -> str:
        """Write a statement, simple or complex, without its final stop."""
        kind = self.choose(
            short=2.4, simple=2.6, coordinate=2.8, subordinate=2.0, fronted=0.9, chain=1.3, scene=0.8, when=0.7
        )
        join = self.lexicon["conjunctions"]
        if kind == "short":
            return self.short_clause(tense)
        if kind == "simple":
            text = self.clause(tense)
            if self.chance(0.12):
                text = f"{self.pick(self.lexicon['openers']['past' if tense == 'past' else 'present'])} {text}"
            return text
        if kind == "coordinate":
            word = self.choose(**{"and": 6, "but": 2, "so": 1, "and then": 1.0, "or": 0.2})
            return f"{self.clause(tense)}, {word} {self.clause(tense)}"
        if kind == "chain":
            middle = self.pick([", ", ", and "])
            return (
                f"{self.clause(tense, plain=True)}{middle}{self.clause(tense, plain=True)}, "
                f"and {self.clause(tense, plain=True)}"
            )
        if kind == "when":
            return f"{self.when(tense)} {self.clause(tense, plain=True)}"
        if kind == "scene":
            return self.scene(tense)
        reason = self.pick(["reason", "time", "reason", "time", "reason", "condition"])
        # A condition or a time in the future stands in the present.
        inner = "present" if tense == "future" and reason != "reason" else tense
        word = self.pick(join[reason])
        if kind == "fronted" and word not in ("so", "but"):
            return f"{word} {self.clause(inner, plain=True)}, {self.clause(tense, plain=True)}"
        if self.chance(0.08):
            return f"{self.clause(tense)}, as if {self.clause('past', plain=True)}"
        comma = "," if reason == "reason" or self.chance(0.4) else ""
        return f"{self.clause(tense)}{comma} {word} {self.clause(inner, plain=True)}"

    def scene(self, tense: str) -> str:
        """Write "there was ..." and its like."""
        pattern = self.word("scenes")
        if tense == "past":
            forms = ("was", "were")
        elif tense == "present":
            forms = ("is", "are")
        else:
            forms = ("will be", "will be")
        return self.fill(pattern.replace("{was}", forms[0]).replace("{were}", forms[1]))

    def question(self, tense: str) -> str:
        """Write a question without its mark."""
        subject = self.subject(2, tense) if self.chance(0.5) else self.pick([YOU, YOU, HE, SHE, THEY, WE])
        if self.chance(0.3):
            adjective = self.adjective("state" if subject.kind == "person" else subject.kind)
            if tense == "future":
                return f"will {subject.text} be {adjective}"
            return f"{self.be(subject, tense == 'past')} {subject.text} {adjective}"
        auxiliary = {"past": "did", "future": "will"}.get(tense) or self.pick(
            ["does" if subject.person == 3 and not subject.plural else "do", "can", "must", "should"]
        )
        if tense == "past" and self.chance(0.2):
            auxiliary = "could"
        perfect = tense == "present" and self.chance(0.2)
        choice = self.choose(yes=4, adverbial=3.5, what=3, who=1)
        if choice == "who":
            return f"who {self.verb_phrase(IT._replace(kind='person'), tense, 2)}"
        if choice == "what" and subject.kind == "person":
            verb = self.verb("object", "person", "thing")
            what = self.pick(
                [
                    "what",
                    "what",
                    f"what {self.countable().singular}",
                    f"which {self.countable().singular}",
                    f"how many {self.countable().plural}",
                ]
            )
            return f"{what} {auxiliary} {subject.text} {verb.base}"
        frame = self.frame_for(subject.kind)
        if frame in ("say", "tell", "be", "become"):
            frame = "act"
        verb = self.verb(frame, subject.kind)
        if verb is None:
            return f"{self.be(subject, tense == 'past')} {subject.text} {self.adjective(subject.kind)}"
        if perfect:
            auxiliary = "has" if subject.person == 3 and not subject.plural else "have"
        ever = "ever " if self.chance(0.15) else ""
        form = verb.participle if perfect else verb.base
        body = f"{auxiliary} {subject.text} {ever}{form} {self.complement(verb, subject, tense, 2)}".rstrip()
        if choice == "adverbial" and not perfect:
            return f"{self.pick(['why', 'how', 'where', 'when', 'why', 'how'])} {body}"
        return body

    def imperative(self) -> str:
        """Write an order without its stop."""
        frame = self.pick(["object", "object", "object", "go", "rest", "act", "put", "give", "about", "be"])
        if frame == "be":
            text = f"be {self.pick(['quiet', 'kind', 'good', 'quick', 'sure', 'brave'])}"
        else:
            verb = self.verb(frame, "person")
            text = f"{verb.base} {self.complement(verb, YOU, 'present', 2)}".rstrip()
        if self.chance(0.12):
            text = "do not " + text
        elif self.chance(0.1):
            text = self.pick(["please ", "now ", "let us ", "let me ", "go and "]) + text
        if self.chance(0.14):
            text += f", and {self.verb('act', 'person').base}"
        elif self.chance(0.12):
            text += f", {self.word('vocatives')}"
        elif self.chance(0.12):
            text += f", and {self.clause('future', plain=True)}"
        elif self.chance(0.12):
            text += f", because {self.clause('present', plain=True)}"
        return text

    def reporter(self, kind: str) -> tuple[str, str]:
        """Draw who speaks and the verb of speech in the past."""
        forms = self.lexicon["reports"][kind]
        speaker = self.choose(I=2.2, name=3, he=3, noun=1)
        if speaker == "I":
            who = "I"
        elif speaker == "name":
            who = self.focus.text if self.chance(0.5) else self.named().text
        elif speaker == "he":
            who = self.pick(["he", "she", "she", "they", "we"])
        else:
            who = "the " + (self.noun("person").singular or "people")
        return who, self.pick(forms).split("/")[1]

    def attribution(self, kind: str) -> str:
        """Write "said Sam" or "she asked"."""
        who, verb = self.reporter(kind)
        inverted = who not in ("I", "he", "she", "they", "we") and self.chance(0.8)
        adverb = f" {self.pick(['softly', 'again', 'quietly', 'slowly', 'loudly'])}" if self.chance(0.07) else ""
        return (f"{verb} {who}" if inverted else f"{who} {verb}") + adverb

    def said(self) -> str:
        """Write a sentence or two of speech."""
        kind = self.choose(statement=6, split=2.2, question=1.7, asked=1.2, order=1.6, exclamation=0.7, bare=1.6)
        tense = self.choose(present=5, past=1.8, future=2.2)
        if kind in ("statement", "bare"):
            text = self.statement(tense)
            if self.chance(0.12):
                text += f", {self.pick([self.word('tags'), self.word('vocatives')])}"
            elif self.chance(0.1):
                text = f"{self.word('exclamations')}, {text}"
            if kind == "bare":
                return f'"{capital(text)}{self.pick([".", ".", ".", "!"])}"'
            return f'"{capital(text)}," {self.attribution("statement")}.'
        if kind == "split":
            first, second = self.short_clause(tense), self.clause(tense, plain=True)
            if self.chance(0.2):
                first = self.word("exclamations")
            join = self.pick(["and", "but", "because", "and", "so", "and then"])
            return f'"{capital(first)}," {self.attribution("statement")}, "{join} {second}."'
        if kind == "question":
            return f'"{capital(self.question(tense))}?"'
        if kind == "asked":
            who, verb = self.reporter("question")
            order = f"{who} {verb}" if who in ("I", "he", "she", "they", "we") or self.chance(0.6) else f"{verb} {who}"
            return f'"{capital(self.question(tense))}?" {order}.'
        if kind == "order":
            text = capital(self.imperative())
            return self.pick([f'"{text}."', f'"{text}," {self.attribution("statement")}.', f'"{text}!"'])
        text = self.word("exclamations")
        return (
            f'"{text}, {self.word("vocatives")}!"'
            if self.chance(0.5)
            else f'"{text}," {self.attribution("exclamation")}.'
        )

    def statement(self, tense: str) -> str:
        """Write what somebody may say: a statement or, in the present, a general truth."""
        if tense == "present" and self.chance(0.15):
            return self.fill(self.word("maxims"))
        return self.declarative(tense)

    def sentence(self) -> str:
        """Write one sentence in the paragraph's mode."""
        mode = self.mode
        if mode == "speech" and self.chance(0.72):
            return self.said()
        if mode == "letter":
            kind = self.choose(present=4, future=2.4, past=1.6, order=1.4, question=0.8)
        elif mode == "comment":
            kind = self.choose(present=6, maxim=1.6, past=1, future=0.8, question=0.9, order=0.5, fragment=0.3)
        else:
            kind = self.choose(past=9, present=0.5, maxim=0.2, question=0.25, fragment=0.35)
        if kind == "question":
            return capital(self.question(self.choose(present=3, past=2, future=1))) + "?"
        if kind == "order":
            return capital(self.imperative()) + self.pick([".", ".", "!"])
        if kind == "fragment":
            return capital(self.fill(self.word("fragments"))) + self.pick([".", ".", "!"])
        if kind == "maxim":
            return capital(self.fill(self.word("maxims"))) + "."
        return capital(self.declarative(kind)) + "."

    def _start_paragraph(self) -> None:
        self.topic = self.pick(self.topics)
        letter = 0.22 if self.topic in ("letters", "family") else 0.05
        self.mode = self.choose(narrative=4.6, speech=3.2, comment=1.3, letter=10 * letter)
        self.focus = self.named()
        self.seen: dict[str, list[Noun]] = {}

    def paragraph(self) -> list[str]:
        """Write the sentences of one paragraph."""
        self._start_paragraph()
        return [self.sentence() for _ in range(4 + int(self.random.random() * 8))]


def capital(text: str) -> str:
    """Give `text` a capital first letter, for the start of a sentence."""
    return text[0].upper() + text[1:]


def generate(lexicon: dict, n_characters: int, seed: int) -> str:
    """Write training text.

    Parameters
    ----------
    lexicon : dict
        The parsed lexicon, see ``resources/demo/lexicon.yaml``.
    n_characters : int
        Length to aim at; the text ends with the sentence that comes nearest to it.
    seed : int
        The same lexicon, length and seed give the same text.

    Returns
    -------
    str
        Paragraphs separated by blank lines, and a final line end.

    Raises
    ------
    ValueError
        If `n_characters` is not positive.
    KeyError
        If the lexicon lacks a section.
    """
    if n_characters < 1:
        raise ValueError(f"n_characters must be positive, got {n_characters}")
    grammar = Grammar(lexicon, seed)
    paragraphs: list[str] = []
    length = 0
    while length < n_characters:
        sentences = grammar.paragraph()
        text = " ".join(sentences)
        if length + len(text) + 2 > n_characters:
            ends = list(accumulate(len(sentence) + 1 for sentence in sentences))
            keep = min(range(len(ends)), key=lambda i: abs(length + ends[i] - n_characters)) + 1
            paragraphs.append(" ".join(sentences[:keep]))
            break
        paragraphs.append(text)
        length += len(text) + 2
    return "\n\n".join(paragraphs) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the training text to a file, whole or not at all.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, by default those of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m dynalign.datasets.training_text", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--lexicon", type=Path, required=True, help="words by meaning and grammar (YAML)")
    parser.add_argument("--characters", type=int, default=600_000, help="length of the text (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random choices (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="text file to write")
    arguments = parser.parse_args(argv)

    import yaml

    from dynalign.io.atomic import write_text
    from dynalign.io.errors import InputError
    from dynalign.io.shipped import shipped

    try:
        lexicon = yaml.safe_load(shipped(arguments.lexicon).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{arguments.lexicon}: not a YAML file: {' '.join(str(error).split())}") from None
    write_text(arguments.output, generate(lexicon, arguments.characters, arguments.seed))


if __name__ == "__main__":
    from dynalign.cli import run

    run(main)
