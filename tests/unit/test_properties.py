"""Linguistic properties: raw values on hand-made parses, classes, counts, correlations, the command."""

import itertools
import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from dynalign.config.properties import RAW_VALUES, Property, paper_properties
from dynalign.io.errors import InputError
from dynalign.stimulus import conllu, properties, raw_values
from dynalign.stimulus.conllu import Sentence, Token, Word, check_sentence, parse_tree
from dynalign.tables import reader, writer


def sentence(tree, *rows):
    """A sentence from its tree and rows ``form UPOS feats head deprel``; ``&form`` joins the last word."""
    tokens, words = [], []
    for row in rows:
        form, upos, feats, head, deprel = row.split()
        if form.startswith("&"):
            form = form[1:]
            last = words.pop()
            words.append(Word(last.form + form, last.start, len(tokens) + 1))
        else:
            words.append(Word(form, len(tokens), len(tokens) + 1))
        tokens.append(Token(form, form, upos, upos, conllu.parse_feats(feats), int(head), deprel))
    return check_sentence(Sentence("0", tuple(words), tuple(tokens), parse_tree(f"(ROOT {tree})")))


STATEMENT = sentence(
    "(S (NP (DT A) (JJ tall) (NN woman)) (VP (VBD fed) (NP (DT the) (NNS hens))) (. .))",
    "A DET Definite=Ind 3 det",
    "tall ADJ Degree=Pos 3 amod",
    "woman NOUN Number=Sing 4 nsubj",
    "fed VERB Mood=Ind|Tense=Past|VerbForm=Fin 0 root",
    "the DET Definite=Def 6 det",
    "hens NOUN Number=Plur 4 obj",
    ". PUNCT _ 4 punct",
)
QUESTION = sentence(
    "(SQ (VBD Did) (NP (PRP you)) (VP (VB see) (NP (PRP him?))))",
    "Did AUX Mood=Ind|Tense=Past|VerbForm=Fin 3 aux",
    "you PRON Case=Nom|Person=2 3 nsubj",
    "see VERB VerbForm=Inf 0 root",
    "him? PRON Case=Acc|Number=Sing 3 obj",
)
WH_QUESTION = sentence(
    "(SBARQ (WHADVP (WRB When)) (SQ (VBZ does) (NP (PRP it)) (VP (VB rain?))))",
    "When ADV PronType=Int 4 advmod",
    "does AUX Mood=Ind|Number=Sing|Tense=Pres 4 aux",
    "it PRON Number=Sing 4 expl",
    "rain? VERB VerbForm=Inf 0 root",
)
IMPERATIVE = sentence(
    "(S (VP (VB Give) (NP (PRP me)) (NP (NNS nails!))))",
    "Give VERB Mood=Imp|VerbForm=Fin 0 root",
    "me PRON Case=Acc|Number=Sing 1 iobj",
    "nails! NOUN Number=Plur 1 obj",
)
PASSIVE = sentence(
    "(S (NP (DT The) (NNS cups)) (VP (VBP are) (VP (VBN washed))))",
    "The DET Definite=Def 2 det",
    "cups NOUN Number=Plur 4 nsubj:pass",
    "are AUX Mood=Ind|Tense=Pres|VerbForm=Fin 4 aux:pass",
    "washed VERB Tense=Past|VerbForm=Part|Voice=Pass 0 root",
)
EXPLETIVE = sentence(
    "(S (NP (EX There)) (VP (VBP remain) (NP (CD two) (NNS doors))))",
    "There PRON _ 2 expl",
    "remain VERB Mood=Ind|Tense=Pres|VerbForm=Fin 0 root",
    "two NUM NumType=Card 4 nummod",
    "doors NOUN Number=Plur 2 nsubj",
)
COORDINATION = sentence(
    "(S (S (NP (PRP I)) (VP (VBP dig))) (CC and) (S (NP (PRP we)) (VP (VBD planted) (NP (NNS beans)))))",
    "I PRON Number=Sing 2 nsubj",
    "dig VERB Tense=Pres 0 root",
    "and CCONJ _ 5 cc",
    "we PRON Number=Plur 5 nsubj",
    "planted VERB Tense=Past 2 conj",
    "beans NOUN Number=Plur 5 obj",
)
# The subordinate clause comes first, but the main clause is shallower.
SUBORDINATION = sentence(
    "(S (SBAR (IN If) (S (NP (PRP they)) (VP (VBP call,)))) (NP (PRP he)) (VP (VBD left)))",
    "If SCONJ _ 3 mark",
    "they PRON Number=Plur 3 nsubj",
    "call, VERB Tense=Pres 5 advcl",
    "he PRON Number=Sing 5 nsubj",
    "left VERB Tense=Past 0 root",
)
FRAGMENT = sentence(
    "(NP (DT A) (JJ quiet) (NN night.))", "A DET _ 3 det", "quiet ADJ _ 3 amod", "night. NOUN Number=Sing 0 root"
)
QUOTATION = sentence(
    '(SINV (S (VP (VB "Sit) (ADVP (RB down,")))) (VP (VBD said)) (NP (DT the) (NNS aunts.)))',
    '"Sit VERB Mood=Imp 3 ccomp',
    'down," ADV _ 1 advmod',
    "said VERB Tense=Past 0 root",
    "the DET _ 5 det",
    "aunts. NOUN Number=Plur 3 nsubj",
)
ONE_WORD = sentence("(INTJ (UH Oh!))", "Oh! INTJ _ 0 root")
BARE_WORD = sentence("(SYM +)", "+ SYM _ 0 root")
# Two roots and two subjects of the same depth: the leftmost counts.
TWO_ROOTS = sentence(
    "(S (S (NP (PRP They)) (VP (VBP come,))) (S (NP (PRP she)) (VP (VBD went.))))",
    "They PRON Number=Plur 2 nsubj",
    "come, VERB Tense=Pres 0 root",
    "she PRON Number=Sing 4 nsubj",
    "went. VERB Tense=Past 0 root",
)
CONTRACTIONS = sentence(
    "(S (NP (PRP He)) (VP (VBD did) (RB n't) (VP (VB know) (SBAR (WHNP (WDT that)) (S (NP (PRP it)) "
    "(VP (VBZ 's) (NP (PRP me))))))))",
    "He PRON Number=Sing 4 nsubj",
    "did AUX Tense=Past 4 aux",
    "&n't PART Polarity=Neg 4 advmod",
    "know VERB VerbForm=Inf 0 root",
    "that SCONJ _ 8 mark",
    "it PRON Number=Sing 8 nsubj",
    "&'s AUX Tense=Pres 8 cop",
    "me PRON Number=Sing 4 ccomp",
)
# The second half of the word is the shallower one.
TWAS = sentence(
    "(S (NP (PRP 'T)) (VP (VBD was) (NP (NN noon.))))",
    "'T PRON Number=Sing 2 nsubj",
    "&was VERB Tense=Past 0 root",
    "noon. NOUN Number=Sing 2 obl",
)
# A relative pronoun is the shallowest object and has no Number; the subject's clause is deeper.
NO_NUMBER = sentence(
    "(SBARQ (WHNP (WP What)) (SQ (VBD said) (NP (DT the) (NN man) (SBAR (S (NP (NNS dogs)) (VP (VBP like)))))))",
    "What PRON PronType=Int 2 obj",
    "said VERB Tense=Past 0 root",
    "the DET _ 4 det",
    "man NOUN Number=Sing 2 nsubj",
    "dogs NOUN Number=Plur 6 nsubj",
    "like VERB Tense=Pres 4 acl:relcl",
)

U = raw_values.UNDEF


@pytest.mark.parametrize(
    ("parse", "length", "depth", "top", "tense", "subject", "object_"),
    [
        (STATEMENT, 7, 2, "NP VP .", "Past", "Sing", "Plur"),
        (QUESTION, 4, 1, "VBD NP VP", "Past", U, "Sing"),
        (WH_QUESTION, 4, 1, "WHADVP SQ", "Pres", U, U),
        (IMPERATIVE, 3, 1, "VP", U, U, "Plur"),
        (PASSIVE, 4, 2, "NP VP", "Past", U, U),
        (EXPLETIVE, 4, 2, "NP VP", "Pres", "Plur", U),
        (COORDINATION, 6, 2, "S CC S", "Pres", "Sing", "Plur"),
        (SUBORDINATION, 5, 2, "SBAR NP VP", "Past", "Sing", U),
        (FRAGMENT, 3, 1, "DT JJ NN", U, U, U),
        (QUOTATION, 5, 2, "S VP NP", "Past", "Plur", U),
        (ONE_WORD, 1, 0, "UH", U, U, U),
        (BARE_WORD, 1, 0, U, U, U, U),
        (TWO_ROOTS, 4, 1, "S S", "Pres", "Plur", U),
        (CONTRACTIONS, 6, 2, "NP VP", "Past", "Sing", U),
        (TWAS, 2, 1, "NP VP", "Past", "Sing", U),
        (NO_NUMBER, 6, 3, "WHNP SQ", "Past", "Sing", U),
    ],
)
def test_sentence_level_values(parse, length, depth, top, tense, subject, object_):
    assert raw_values.sentence_length(parse) == length
    assert raw_values.tree_depth(parse) == depth
    assert raw_values.top_constituents(parse) == top
    assert raw_values.tense(parse) == tense
    assert raw_values.subject_number(parse) == subject
    assert raw_values.object_number(parse) == object_


@pytest.mark.parametrize(
    ("parse", "pos", "phrases"),
    [
        (STATEMENT, "DET ADJ NOUN VERB DET NOUN PUNCT", f"NP NP NP VP NP NP {U}"),
        (QUESTION, "AUX PRON VERB PRON", f"{U} NP VP NP"),
        (WH_QUESTION, "ADV AUX PRON VERB", f"WHADVP {U} NP VP"),
        (IMPERATIVE, "VERB PRON NOUN", "VP NP NP"),
        (COORDINATION, "PRON VERB CCONJ PRON VERB NOUN", f"NP VP {U} NP VP NP"),
        (QUOTATION, "VERB ADV VERB DET NOUN", "VP ADVP VP NP NP"),
        (ONE_WORD, "INTJ", "INTJ"),
        (BARE_WORD, "SYM", U),
        (CONTRACTIONS, "PRON AUX VERB SCONJ PRON PRON", "NP VP VP WHNP NP NP"),
        (TWAS, "VERB NOUN", "VP NP"),
    ],
)
def test_word_level_values(parse, pos, phrases):
    assert raw_values.pos(parse) == pos.split()
    assert raw_values.smallest_constituent(parse) == phrases.split()


def test_clauses_are_no_phrases():
    parse = sentence(
        "(NP (NP (NN hope)) (SBAR (IN that) (S (NP (PRP he)) (VP (VBZ wins)))))",
        "hope NOUN Number=Sing 0 root",
        "that SCONJ _ 4 mark",
        "he PRON Number=Sing 4 nsubj",
        "wins VERB Tense=Pres 1 acl",
    )
    assert raw_values.smallest_constituent(parse) == ["NP", "NP", "NP", "VP"]


# The same sentence with marks on its words and, as treebanks have it, with marks as tokens; by a treebank the
# opening quote is as deep as the word after it, and the closing one deeper than any word.
MARKS_ON_WORDS = sentence(
    '(SINV (S (NP (PRP "I)) (VP (VBP do) (RB n\'t) (VP (VB know,")))) (VP (VBD said)) (NP (NNP Mary.)))',
    '"I PRON Number=Sing 4 nsubj',
    "do AUX Tense=Pres 4 aux",
    "&n't PART Polarity=Neg 4 advmod",
    'know," VERB VerbForm=Inf 5 ccomp',
    "said VERB Tense=Past 0 root",
    "Mary. PROPN Number=Sing 5 nsubj",
)
MARKS_APART = sentence(
    '(SINV (" ") (S-TPC-1 (NP-SBJ (PRP I)) (VP (VBP do) (RB n\'t) (VP (VB know)))) (, ,) (" ") (VP (VBD said)) '
    "(NP-SBJ=2 (NNP Mary)) (. .))",
    '" PUNCT _ 5 punct',
    "&I PRON Number=Sing 5 nsubj",
    "do AUX Tense=Pres 5 aux",
    "&n't PART Polarity=Neg 5 advmod",
    "know VERB VerbForm=Inf 8 ccomp",
    "&, PUNCT _ 4 punct",
    '&" PUNCT _ 6 punct',
    "said VERB Tense=Past 0 root",
    "Mary PROPN Number=Sing 8 nsubj",
    "&. PUNCT _ 8 punct",
)


@pytest.mark.parametrize("name", raw_values.RAW)
def test_marks_that_a_treebank_cuts_off_change_nothing(name):
    function = raw_values.RAW[name][1]
    assert MARKS_APART.forms == MARKS_ON_WORDS.forms == ['"I', "don't", 'know,"', "said", "Mary."]
    assert max(MARKS_APART.depths) > max(MARKS_ON_WORDS.depths)
    assert function(MARKS_APART) == function(MARKS_ON_WORDS)
    expected = {
        "top_constituents": "S VP NP",
        "pos": ["PRON", "AUX", "VERB", "VERB", "PROPN"],
        "smallest_constituent": ["NP", "VP", "VP", "VP", "NP"],
        "tree_depth": 2,
    }
    assert function(MARKS_APART) == expected.get(name, function(MARKS_APART))


def test_a_mark_that_is_a_word_counts():
    parse = sentence(
        "(NP (NP (NN tea)) (: –) (NP (NN milk)))", "tea NOUN _ 0 root", "– PUNCT _ 3 punct", "milk NOUN _ 1 list"
    )
    assert raw_values.top_constituents(parse) == "NP : NP"
    assert raw_values.tree_depth(parse) == 2
    assert raw_values.category("-LRB-") == "-LRB-"


def test_raw_values_are_those_of_the_configuration():
    assert tuple(raw_values.RAW) == RAW_VALUES
    for name, (level, function) in raw_values.RAW.items():
        value = function(COORDINATION)
        assert (level == "word") == (isinstance(value, list) and len(value) == 6), name


# Classes


def test_thresholds_are_inclusive():
    values = list(range(1, 25)) * 2
    naive = [0 if value <= 7 else 1 if value <= 16 else 2 for value in values]
    assert properties.classify("length", Property(thresholds=(7, 16)), values).tolist() == naive
    assert properties.classify("x", Property(table="t", thresholds=(0.5,)), ["0.5", "0.51", "-3"]).tolist() == [0, 1, 0]


def test_named_classes_and_other():
    prop = Property(classes=("VERB", "NOUN"))
    assert properties.classify("pos", prop, ["NOUN", "ADJ", "VERB", "UNDEF", "NOUN"]).tolist() == [1, 2, 0, 2, 1]
    assert properties.classify("sentence_length", Property(classes=("3",)), [3, 30]).tolist() == [0, 1]


def test_thresholds_need_numbers():
    with pytest.raises(InputError, match=r"properties.tense: thresholds need numbers, but word 1 is 'Past'"):
        properties.classify("tense", Property(thresholds=(1,)), [3, "Past"])
    with pytest.raises(InputError, match="word 0 is 'nan'"):
        properties.classify("tense", Property(thresholds=(1,)), ["nan"])


@pytest.mark.parametrize(
    ("name", "prop", "names"),
    [
        ("sentence_length", Property(thresholds=(7, 16)), ["1–7", "8–16", ">16"]),
        ("sentence_length", Property(thresholds=(1, 2, 9)), ["1", "2", "3–9", ">9"]),
        ("size", Property(raw="sentence_length", thresholds=(7,)), ["1–7", ">7"]),
        ("tree_depth", Property(thresholds=(3,)), ["≤3", ">3"]),
        ("tree_depth", Property(thresholds=(2, 4)), ["≤2", "3–4", ">4"]),
        ("surprise", Property(table="t", thresholds=(2, 4)), ["≤2", "(2, 4]", ">4"]),
        ("tree_depth", Property(thresholds=(0.5, 1.5)), ["≤0.5", "(0.5, 1.5]", ">1.5"]),
        ("tense", Property(classes=("Past", "Pres")), ["Past", "Pres", "other"]),
        ("coin", Property(random=3), ["0", "1", "2"]),
    ],
)
def test_class_names(name, prop, names):
    assert [properties.class_name(name, prop, k) for k in range(prop.n_classes)] == names


def test_random_classes_depend_on_seed_and_name_only():
    first = properties.random_classes(5000, 2, 0, "a")
    assert np.array_equal(first, properties.random_classes(5000, 2, 0, "a"))
    for other in (properties.random_classes(5000, 2, 1, "a"), properties.random_classes(5000, 2, 0, "b")):
        assert abs(pearsonr(first, other).statistic) < 4 / np.sqrt(5000)
    assert set(first) == {0, 1}
    assert abs(first.mean() - 0.5) < 4 * 0.5 / np.sqrt(5000)


# Labels of a story


STORY = [STATEMENT, QUESTION, SUBORDINATION, CONTRACTIONS, PASSIVE, COORDINATION]


def story_words(sentences, dropped_first=True):
    """The words table of a story, with a dropped word before each sentence."""
    rows = []
    for number, parse in enumerate(sentences):
        if dropped_first:
            rows.append(("+", np.nan, 1))
        rows += [(form, number, 0) for form in parse.forms]
    words = pd.DataFrame(rows, columns=["word", "sentence", "dropped"])
    words.insert(0, "word_index", range(len(words)))
    return words.assign(run=1, onset=np.arange(len(words)) / 2, tr=np.arange(len(words)) // 4)


def test_labels_have_one_row_per_word_that_is_not_dropped():
    words = story_words(STORY)
    props = {"length": Property(raw="sentence_length", thresholds=(4, 6)), "pos": Property(classes=("VERB", "NOUN"))}
    labels = properties.label_table(words, STORY, props, seed=0)
    assert list(labels) == [*properties._COLUMNS[:5], "length", "length_raw", "pos", "pos_raw"]
    kept = words[words["dropped"] == 0]
    for column in ("word_index", "word", "sentence", "tr", "run"):
        assert labels[column].tolist() == kept[column].tolist()
    assert labels["length_raw"].tolist() == [7] * 7 + [4] * 4 + [5] * 5 + [6] * 6 + [4] * 4 + [6] * 6
    assert labels["length"].tolist() == [2] * 7 + [0] * 4 + [1] * 5 + [1] * 6 + [0] * 4 + [1] * 6
    assert labels["pos"].tolist()[:7] == [2, 2, 1, 0, 2, 1, 2]
    assert labels["pos_raw"].tolist()[7:11] == ["AUX", "PRON", "VERB", "PRON"]


def test_codes_stand_for_classes():
    prop = Property(raw="sentence_length", thresholds=(4, 6), codes=(0, 1, 3))
    labels = properties.label_table(story_words(STORY), STORY, {"length": prop}, seed=0)
    assert sorted(set(labels["length"])) == [0, 1, 3]
    used = properties.count_classes(labels, {"length": prop}).query("distribution == 'used'")
    assert used["value"].tolist() == ["1–4", "5–6", ">6"]
    assert used["count"].tolist() == [2, 3, 1]


def test_properties_do_not_depend_on_each_other():
    words = story_words(STORY)
    props = paper_properties()
    every = properties.label_table(words, STORY, props, seed=3)
    for name in reversed(props):
        alone = properties.label_table(words, STORY, {name: props[name]}, seed=3)
        pd.testing.assert_frame_equal(alone[[name, f"{name}_raw"]], every[[name, f"{name}_raw"]])


@pytest.mark.parametrize(
    ("name", "prop", "message"),
    [
        ("tense_raw", Property(raw="tense", classes=("Past",)), "name is taken"),
        ("word", Property(raw="tense", classes=("Past",)), "name is taken"),
        ("original", Property(raw="tense", classes=("Past",)), "name is taken"),
        ("mood", Property(classes=("Ind",)), "no raw value 'mood'; give raw .one of sentence_length, "),
    ],
)
def test_bad_names_are_refused(name, prop, message):
    with pytest.raises(InputError, match=rf"properties\.{name}: .*{message}"):
        properties.label_table(story_words(STORY), STORY, {name: prop}, seed=0)


# A user's own table


def user_table(tmp_path, rows):
    path = tmp_path / "mine.tsv"
    path.write_text("word_index\tlabel\n" + "".join(f"{index}\t{label}\n" for index, label in rows))
    return Property(table=str(path), classes=("01",))


def test_a_table_adds_a_property(tmp_path):
    words = story_words([QUESTION])  # word 0 is dropped: it may have a label or not
    prop = user_table(tmp_path, [(4, "01"), (2, "null"), (3, "1"), (1, "01"), (0, "01")])
    labels = properties.label_table(words, [QUESTION], {"mine": prop}, seed=0)
    assert labels["mine_raw"].tolist() == ["01", "null", "1", "01"]
    assert labels["mine"].tolist() == [0, 1, 1, 0]
    counts = properties.count_classes(labels, {"mine": prop})
    assert set(counts["level"]) == {"word"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, "a"), (2, "a"), (4, "a")], r"no label for word_index 3 \('see'\)"),
        ([(1, "a"), (2, "a"), (3, "a"), (4, "a"), (5, "a")], "row 4: unknown word_index 5; the story has 0 to 4"),
        ([(1, "a"), (2, "a"), (1, "b")], "row 2: word_index 1 stands twice"),
        ([(1, "a"), (2, "")], "row 1: word_index 2 has the label ''"),
        ([(1, "a"), (2, "n/a")], "row 1: word_index 2 has the label 'n/a'; name a class"),
        ([("one", "a")], "row 0: unknown word_index 'one'"),
    ],
)
def test_bad_tables_are_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=rf"mine\.tsv: {message}"):
        properties.label_table(story_words([QUESTION]), [QUESTION], {"mine": user_table(tmp_path, rows)}, seed=0)


# Counts


def test_counts_are_of_sentences_or_words():
    props = paper_properties()
    labels = properties.label_table(story_words(STORY), STORY, props, seed=0)
    counts = properties.count_classes(labels, props)
    assert list(counts) == ["property", "level", "distribution", "value", "count"]
    n_words = sum(len(parse.words) for parse in STORY)
    for (name, level, _), rows in counts.groupby(["property", "level", "distribution"]):
        assert rows["count"].sum() == (len(STORY) if level == "sentence" else n_words), name
        assert level == ("word" if name in ("pos", "smallest_constituent", "random_label") else "sentence")

    def of(name, distribution):
        rows = counts[(counts["property"] == name) & (counts["distribution"] == distribution)]
        return list(zip(rows["value"], rows["count"], strict=True))

    assert of("sentence_length", "used") == [("1–7", 6), ("8–16", 0), (">16", 0)]
    assert of("sentence_length", "original") == [("4", 2), ("6", 2), ("5", 1), ("7", 1)]
    assert of("tense", "used") == [("Past", 5), ("other", 1)]
    assert of("subject_number", "original") == [("Sing", 4), ("UNDEF", 2)]
    tags = Counter(itertools.chain.from_iterable(raw_values.pos(parse) for parse in STORY))
    assert dict(of("pos", "original")) == dict(tags)
    assert [count for _, count in of("pos", "original")] == sorted(tags.values(), reverse=True)


def test_numeric_values_tie_in_numeric_order():
    labels = pd.DataFrame(
        {"sentence": range(4), "sentence_length": [0, 0, 1, 1], "sentence_length_raw": [10, 9, 30, 30]}
    )
    counts = properties.count_classes(labels, {"sentence_length": Property(thresholds=(10,))})
    assert counts.query("distribution == 'original'")["value"].tolist() == ["30", "9", "10"]


def test_rare_and_lonely_classes_are_reported(capsys):
    def counts(first, second):
        rows = [("tense", "sentence", "used", "Past", first), ("tense", "sentence", "used", "other", second)]
        rows.append(("tense", "sentence", "original", "Past", first + second))
        return pd.DataFrame(rows, columns=["property", "level", "distribution", "value", "count"])

    properties.check_classes(counts(5, 95))
    assert capsys.readouterr().err == ""
    properties.check_classes(counts(4, 96))
    assert "tense: class 'Past' holds 4 of 100 sentences, under 5%" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"properties.tense: all 9 sentences are in class 'Past' .*change its"):
        properties.check_classes(counts(9, 0))


# Correlations


def test_correlations_are_scipys():
    rng = np.random.default_rng(0)
    a = rng.integers(3, size=200)
    labels = pd.DataFrame(
        {"a": a, "b": (a + rng.integers(3, size=200)) // 2, "c": rng.integers(2, size=200), "d": 3 - a}
    )
    table = properties.label_correlations(labels, list(labels))
    pairs = list(itertools.product("abcd", repeat=2))
    assert list(zip(table["property_a"], table["property_b"], strict=True)) == pairs
    for (first, second), r, p in zip(pairs, table["r"], table["p"], strict=True):
        expected = pearsonr(labels[first], labels[second])
        assert r == pytest.approx(expected.statistic, abs=1e-12)
        if first != second and {first, second} != {"a", "d"}:
            assert p == pytest.approx(expected.pvalue, rel=1e-9)
        else:
            assert p < 1e-100
    assert table["r"].tolist()[0] == 1


def test_constant_labels_correlate_with_nothing(capsys):
    labels = pd.DataFrame({"a": [0, 1, 0, 1, 1], "b": [2, 2, 2, 2, 2], "c": [1, 0, 0, 1, 0]})
    table = properties.label_correlations(labels, list(labels)).set_index(["property_a", "property_b"])
    for pair in itertools.product("abc", repeat=2):
        assert table.loc[pair].isna().all() == ("b" in pair)
    assert "properties.b: labels are constant" in capsys.readouterr().err


# Reading and the command


@pytest.fixture
def command(tmp_path):
    """Run the command on the story; return its three paths."""
    story = [STATEMENT, QUESTION, SUBORDINATION, CONTRACTIONS, PASSIVE, COORDINATION, ONE_WORD] * 3
    words = story_words(story).assign(sentence=lambda table: table["sentence"].astype("Int64"))
    writer.write_table(words, tmp_path / "words.tsv")
    conllu.write_sentences(tmp_path / "story.conllu", story)

    def call(props, seed=0, folder="tables"):
        paths = [tmp_path / folder / name for name in ("labels.tsv", "class_counts.tsv", "label_correlations.tsv")]
        flags = ["--labels", "--class-counts", "--correlations"]
        arguments = ["--words", tmp_path / "words.tsv", "--annotation", tmp_path / "story.conllu", "--seed", seed]
        arguments += ["--properties", json.dumps(props), *itertools.chain(*zip(flags, paths, strict=True))]
        properties.main([str(argument) for argument in arguments])
        return paths

    call.words, call.story = words, story
    return call


PROPS = {
    "tense": {"classes": ["Past"]},
    "size": {"raw": "sentence_length", "thresholds": [4, 5], "codes": [0, 1, 3]},
    "pos": {"classes": ["VERB", "NOUN"]},
    "coin": {"random": 2},
}


def test_command_writes_what_is_read_back(command):
    labels_path, counts_path, correlations_path = command(PROPS, seed=5)
    labels = reader.read_table(labels_path)
    kept = command.words[command.words["dropped"] == 0]
    assert labels["word"].tolist() == kept["word"].tolist()
    assert labels["word_index"].tolist() == kept["word_index"].tolist()
    tenses = [raw_values.tense(parse) for parse in command.story for _ in parse.words]
    assert labels["tense_raw"].tolist() == tenses
    codes = labels["tense"]
    assert codes.dtype.kind == "i"
    assert codes.tolist() == [0 if value == "Past" else 1 for value in tenses]
    assert set(labels["size"]) == {0, 1, 3}
    counts = reader.read_table(counts_path)
    assert counts.query("property == 'tense' and distribution == 'used'")["value"].tolist() == ["Past", "other"]
    correlations = reader.read_table(correlations_path)
    assert len(correlations) == len(PROPS) ** 2
    row = correlations.query("property_a == 'tense' and property_b == 'pos'").iloc[0]
    expected = pearsonr(codes, labels["pos"])
    assert (row["r"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-6)


def test_same_inputs_same_bytes(command):
    first = [path.read_bytes() for path in command(PROPS, folder="a")]
    assert first == [path.read_bytes() for path in command(PROPS, folder="b")]
    assert first[0] != command(PROPS, seed=1, folder="c")[0].read_bytes()


def test_command_refuses_a_property_with_one_class(command, tmp_path):
    with pytest.raises(InputError, match=r"properties.tree_depth: all 21 sentences are in class '≤9'"):
        command({"tree_depth": {"thresholds": [9]}})
    assert not (tmp_path / "tables").exists()


def test_command_refuses_unknown_keys(command, capsys):
    with pytest.raises(SystemExit):
        command({"tense": {"clases": ["Past"]}})
    assert "tense.clases" in capsys.readouterr().err


def test_command_refuses_a_parse_of_other_words(command, tmp_path):
    path = tmp_path / "story.conllu"
    path.write_text(path.read_text().replace("hens", "cows"))
    with pytest.raises(InputError, match=r"story\.conllu: sentence 0: word 5 is 'cows', in the story 'hens'"):
        command(PROPS)
