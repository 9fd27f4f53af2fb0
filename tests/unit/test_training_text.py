"""What the demo's story and training text must be, for the study that is built on them."""

import re
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dynalign.datasets import training_text
from dynalign.io.errors import InputError

DEMO = Path(__file__).parents[2] / "resources" / "demo"
N_CHARACTERS = 600_000


def bare(word: str) -> str:
    return word.strip(".,!?\"'").lower()


def sentences(text: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for word in text.split():
        found[-1].append(word)
        if re.search(r"[.!?][\"']*$", word) and word.strip('"') not in {"Mr.", "Mrs.", "Dr."}:
            found.append([])
    return [sentence for sentence in found if sentence]


@pytest.fixture(scope="module")
def grammar() -> dict:
    return training_text.read_grammar(DEMO / "grammar.yaml")


@pytest.fixture(scope="module")
def texts(grammar) -> dict[int, tuple[str, float]]:
    """Two seeds' texts of full length, and the CPU time of each."""
    made = {}
    for seed in (0, 1):
        start = time.process_time()
        text = training_text.generate(grammar, N_CHARACTERS, seed)
        made[seed] = text, time.process_time() - start
    return made


@pytest.fixture(scope="module")
def text(texts) -> str:
    return texts[0][0]


@pytest.fixture(scope="module")
def story() -> str:
    return (DEMO / "story.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def runs(story) -> list[str]:
    return re.split(r"^---$", story, flags=re.MULTILINE)


# The story


def test_story_is_plain_text_in_four_equal_runs(story, runs):
    assert story.isascii()
    counts = np.array([len(run.split()) for run in runs])
    assert len(counts) == 4
    assert 3_000 <= counts.sum() <= 3_300
    assert (np.abs(counts / counts.mean() - 1) < 0.05).all()


def test_story_varies_sentence_length_in_every_run(runs):
    for run in runs:
        lengths = np.array([len(sentence) for sentence in sentences(run)])
        shares = np.array([(lengths <= 7).mean(), ((lengths > 7) & (lengths <= 16)).mean(), (lengths > 16).mean()])
        assert (shares > 0.25).all(), shares


def test_story_has_common_words_and_no_odd_marks(story):
    types = {bare(word) for word in story.split()} - {"---"}
    assert 700 <= len(types) <= 900
    assert set(re.findall(r"[^\w\s]", story)) <= set('.,!?"-')
    assert " - " not in story


# The training text


def test_same_seed_same_text_other_seed_other_text(grammar):
    first = training_text.generate(grammar, 20_000, seed=3)
    assert training_text.generate(grammar, 20_000, seed=3) == first
    assert training_text.generate(grammar, 20_000, seed=4) != first


@pytest.mark.parametrize("n_characters", [20_000, 100_000, N_CHARACTERS])
def test_length_is_within_one_percent(grammar, texts, n_characters):
    whole = n_characters == N_CHARACTERS
    text = texts[1][0] if whole else training_text.generate(grammar, n_characters, seed=1)
    assert len(text) == pytest.approx(n_characters, rel=0.01)


def test_no_text_of_no_length(grammar):
    with pytest.raises(ValueError, match="positive"):
        training_text.generate(grammar, 0, seed=0)


def test_generating_is_fast(texts):
    assert max(seconds for _, seconds in texts.values()) < 5


def test_covers_the_running_words_of_the_story(text, story):
    known = {bare(word) for word in text.split()}
    words = [bare(word) for word in story.split() if word != "---"]
    assert np.mean([word in known for word in words]) >= 0.97


@pytest.mark.parametrize("seed", [0, 1])
def test_shares_no_sentence_and_no_line_with_the_story(texts, story, seed):
    text = texts[seed][0]
    longer = {tuple(map(bare, sentence)) for sentence in sentences(story) if len(sentence) > 6}
    assert longer.isdisjoint(tuple(map(bare, sentence)) for sentence in sentences(text))
    assert {line for line in story.splitlines() if line}.isdisjoint(text.splitlines())


def test_shares_no_ten_words_in_a_row_with_the_story(text, story):
    def grams(words):
        return {tuple(words[i : i + 10]) for i in range(len(words) - 9)}

    assert grams([bare(word) for word in story.split()]).isdisjoint(grams([bare(word) for word in text.split()]))


def test_paragraphs_are_separated_by_blank_lines(text):
    paragraphs = text.rstrip("\n").split("\n\n")
    assert len(paragraphs) > 500
    assert all(paragraph and "\n" not in paragraph for paragraph in paragraphs)
    assert all(paragraph[-1] in '.!?"' for paragraph in paragraphs)
    assert text.endswith("\n")
    assert not re.search(r"[{}]|  | [,.!?]|\bNone\b", text)


def test_sentences_are_as_varied_as_in_the_story(text):
    lengths = np.array([len(sentence) for sentence in sentences(text)])
    assert min((lengths <= 7).mean(), ((lengths > 7) & (lengths <= 16)).mean()) > 0.2
    assert (lengths > 16).mean() > 0.1
    assert '?"' in text
    assert '," said ' in text


def test_word_frequencies_fall_with_rank(text):
    counts = np.sort(list(Counter(bare(word) for word in text.split()).values()))[::-1][:1000]
    slope = np.polyfit(np.log(np.arange(10, 1000)), np.log(counts[10:]), 1)[0]
    assert -1.6 < slope < -0.7


def test_words_of_a_field_meet_within_paragraphs(text, grammar):
    paragraphs = [{bare(word) for word in paragraph.split()} for paragraph in text.split("\n\n")]
    fields: dict[str, list[str]] = {}
    for kind in ("thing", "animal", "mass"):
        for field, entries in grammar["nouns"][kind].items():
            if field != "any":
                fields.setdefault(field, []).extend(entries)
    places = Counter(word for words in fields.values() for word in set(words))
    home = {word: field for field, words in fields.items() for word in words if places[word] == 1}
    held = {word: np.array([word in paragraph for paragraph in paragraphs]) for word in home if word.isalpha()}
    held = {word: present for word, present in held.items() if present.sum() >= 20}
    lift: dict[bool, list[float]] = {True: [], False: []}
    for one, other in combinations(held, 2):
        expected = held[one].mean() * held[other].mean()
        lift[home[one] == home[other]].append((held[one] & held[other]).mean() / expected)
    assert np.mean(lift[True]) > 2
    assert np.mean(lift[True]) > 2 * np.mean(lift[False])


@pytest.mark.parametrize(
    "wrong",
    [
        r"\bI (is|are|were|has|does)\b",
        r"\b(we|they) (is|was|am|has|does)\b",
        r"\bNobody (are|were|have|do)\b",
        r"(?:^|[.] )(He|She|It) (are|were|am|have|do)\b",
        r"\b(two|three|seven) (\w+ )?(lamp|ship|goat|door|letter|child|woman|man)\b",
        r"\ba (apple|egg|island|old|oil|angry|empty|open)\b",
        r"\ban (lamp|ship|goat|door|letter|big|small)\b",
        r"\b(did|does|do) not (was|were|is|came|went|saw|took)\b",
        r"\b(will|must|could) (walked|opened|carried|came|went|saw|took|is|was)\b",
        r"\b(we|We) \w+ (me|us)\b",
    ],
)
def test_agreement(text, wrong):
    hit = re.search(wrong, text)
    assert hit is None, text[hit.start() - 40 : hit.end() + 20]


def test_tense_is_one_within_a_sentence(text):
    statements = [" ".join(s) for s in sentences(text) if '"' not in " ".join(s) and not s[-1].endswith("?")]
    past = [s for s in statements if re.search(r"\b(was|were|had|did)\b", s)]
    mixed = [s for s in past if re.search(r"\b(is|are|am|has|does|will)\b", s)]
    assert len(past) > 1000
    assert len(mixed) < 0.01 * len(past)


@pytest.mark.parametrize(
    ("base", "irregular", "forms"),
    [
        ("walk", "", "walk walks walked walked walking"),
        ("stop", "", "stop stops stopped stopped stopping"),
        ("carry", "", "carry carries carried carried carrying"),
        ("obey", "", "obey obeys obeyed obeyed obeying"),
        ("go", "went gone", "go goes went gone going"),
        ("have", "had had", "have has had had having"),
        ("lie", "", "lie lies lied lied lying"),
        ("see", "saw seen", "see sees saw seen seeing"),
        ("whisper", "", "whisper whispers whispered whispered whispering"),
    ],
)
def test_forms_of_verbs(base, irregular, forms):
    assert " ".join(training_text.verb_forms(base, irregular).values()) == forms


def test_forms_of_special_verbs():
    assert training_text.verb_forms("begin", "began begun", doubled=True)["ing"] == "beginning"
    assert "ing" not in training_text.verb_forms("know", "knew known", state=True)


@pytest.mark.parametrize(
    ("entry", "forms"),
    [
        ("lamp", {"singular": "lamp", "plural": "lamps", "at": "in the lamp"}),
        ("story/stories", {"singular": "story", "plural": "stories", "at": "in the story"}),
        ("box@on", {"singular": "box", "plural": "boxes", "at": "on the box"}),
        ("dark/-", {"singular": "dark", "at": "in the dark"}),
        ("stairs/+@on", {"plural": "stairs", "at": "on the stairs"}),
    ],
)
def test_forms_of_nouns(entry, forms):
    assert training_text.noun_forms(entry) == forms


@pytest.mark.parametrize(
    ("base", "irregular", "forms"),
    [
        ("small", "", "small smaller smallest"),
        ("big", "", "big bigger biggest"),
        ("happy", "", "happy happier happiest"),
        ("strange", "", "strange stranger strangest"),
        ("bad", "worse worst", "bad worse worst"),
    ],
)
def test_forms_of_adjectives(base, irregular, forms):
    assert " ".join(training_text.adjective_forms(base, irregular).values()) == forms
    assert training_text.adjective_forms(base, compared=False) == {"base": base}


SMALL = {
    "topics": {"sea": []},
    "rules": {"mode": "calm", "hero": "she", "hero-name": "Nora", "sentence": "<Clause tense=past>."},
    "words": {"colour": ["red"]},
    **{name: {} for name in ("nouns", "verbs", "irregular", "adjectives", "comparison")},
    **{name: [] for name in ("doubled", "states", "absolute")},
}


def small(**rules: str) -> str:
    return training_text.generate(SMALL | {"rules": SMALL["rules"] | rules}, 40, seed=0)


def test_conditions_choices_and_features_of_rules():
    """Each notation that the grammar's head explains, in grammars of one line."""
    assert small(clause="tense=present: wrong\ntense=past|future 2: right").startswith("Right. Right.")
    assert small(clause="$name [sat|sat] in a <colour> <colour 0%> hat").startswith("Nora sat in a red hat.")
    assert small(clause="<who at~hero kind=cat>", who="$at and a $kind").startswith("She and a cat.")
    assert small(clause="a apple, an other egg , a   use").startswith("An apple, another egg, a use.")
    two = small(clause="1: one\n99999: two").lower()
    assert "two" in two


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"clause": "a <ship.plural>"}, r"neither a rule nor words <ship\.plural>"),
        ({"clause": "tense=present: none"}, "rule clause .* no alternative"),
        ({"clause": "the $beast"}, r"uses \$beast, which is not set"),
    ],
)
def test_a_gap_in_the_grammar_is_told(rules, message):
    with pytest.raises(InputError, match=message):
        small(**rules)


def test_a_missing_section_is_told():
    with pytest.raises(InputError, match="no section 'topics'"):
        training_text.generate({}, 10, seed=0)


def test_a_file_that_is_no_grammar_is_told(tmp_path):
    (tmp_path / "grammar.yaml").write_text("- a list\n")
    with pytest.raises(InputError, match=r"grammar\.yaml: has no sections"):
        training_text.read_grammar(tmp_path / "grammar.yaml")


def test_every_reference_of_the_grammar_is_met(grammar):
    """Whatever a rule names stands there: a rule, or words."""
    known = {
        name
        for key in ("rules", "words", "nouns", "verbs", "adjectives")
        for keys in grammar[key]
        for name in keys.split()
    }
    written = "\n".join(
        [*grammar["rules"].values(), *(entry for words in grammar["words"].values() for entry in words)]
    )
    named = set(re.findall(r"<([\w-]+)[ .>]", written)) | set(re.findall(r"~([\w-]+)", written))
    named |= set(re.findall(r"verb=([\w-]+)[ >]", written))
    assert {name[0].lower() + name[1:] for name in named if not name.endswith("-")} <= known


def test_command_writes_the_same_text(grammar, tmp_path):
    output = tmp_path / "corpus.txt"
    training_text.main(["--grammar", str(DEMO / "grammar.yaml"), "--characters", "5000", "--output", str(output)])
    assert output.read_text(encoding="utf-8") == training_text.generate(grammar, 5000, seed=0)
    assert list(tmp_path.iterdir()) == [output]
