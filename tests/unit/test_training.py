"""Training a tokenizer and a small GPT-NeoX on a tiny text."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from dynalign.config.embedded import Training
from dynalign.io.errors import InputError
from dynalign.models import representation, tokens, training
from dynalign.tables.reader import read_table

TINY = Training(
    texts=(), steps=24, vocabulary=300, depth=2, hidden=32, heads=2, batch=8, sequence=24, learning_rate=1e-2
)
STEPS = (0, 1, 2, 4, 8, 16, 24)


def sentences(n: int, seed: int) -> str:
    """Text that a model can learn: who does what where, with a verb that follows from who."""
    random = np.random.default_rng(seed)
    does = {"The keeper": "lights", "Grandmother": "reads", "A boy": "counts", "The sea": "takes"}
    lines = []
    for who, what, where in zip(
        random.choice(list(does), n),
        random.choice(["letters", "lamps", "boats", "stairs"], n),
        random.choice(["by the sea", "at night", "in the tower"], n),
        strict=True,
    ):
        lines.append(f"{who} {does[who]} the {what} {where}.")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(sentences(400, seed=1))
    return path


def command(corpus: Path, output: Path, seed: int = 3) -> None:
    flags = ["--texts", str(corpus), "--options", TINY.model_dump_json(), "--seed", str(seed), "--threads", "1"]
    training.main([*flags, "--output-dir", str(output)])


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("model")
    command(corpus, output)
    return output


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_stands_there(trained):
    assert {path.name for path in trained.iterdir()} == {
        "tokenizer",
        "training.tsv",
        *(f"step-{step}" for step in STEPS),
    }
    names = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    for step in STEPS:
        assert {path.name for path in (trained / f"step-{step}").iterdir()} == names
    assert {path.name for path in (trained / "tokenizer").iterdir()} == {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    modes = {path.stat().st_mode for path in trained.rglob("*") if path.is_file()}
    assert len(modes) == 1, "all files are readable to the same people"


def test_checkpoints_differ(trained):
    weights = {hashlib.sha256((trained / f"step-{step}/model.safetensors").read_bytes()).digest() for step in STEPS}
    assert len(weights) == len(STEPS)


def test_same_seed_same_bytes(trained, corpus, tmp_path):
    command(corpus, tmp_path / "again")
    assert digests(tmp_path / "again") == digests(trained)
    command(corpus, tmp_path / "other", seed=4)
    other = digests(tmp_path / "other")
    assert other["step-0/model.safetensors"] != digests(trained)["step-0/model.safetensors"]
    assert other["tokenizer/tokenizer.json"] == digests(trained)["tokenizer/tokenizer.json"]


def test_training_learns(trained, corpus):
    """From even odds to better than a model that knows how frequent each token is."""
    table = read_table(trained / "training.tsv", ["step", "loss"])
    assert table["step"].tolist() == list(range(TINY.steps))
    documents = training.read_texts([corpus])
    tokenizer = training.train_tokenizer(documents, TINY.vocabulary)
    counts = np.unique(training.encode(documents, tokenizer), return_counts=True)[1]
    unigram_entropy = -(counts / counts.sum() * np.log(counts / counts.sum())).sum()
    assert table["loss"][0] == pytest.approx(math.log(len(tokenizer)), abs=0.15)
    assert table["loss"][-4:].mean() < 0.75 * unigram_entropy


def test_checkpoints_go_through_the_next_stages(trained):
    """Perplexity on text that was not trained on falls with the steps."""
    words = sentences(30, seed=2).split()
    story = tokens.tokenize(words, np.arange(len(words)), trained / "tokenizer", 50, TINY.depth)
    assert (story.depth, story.hidden) == (TINY.depth, TINY.hidden)
    assert story.max_context >= 2 * TINY.sequence
    values = []
    for step in STEPS:
        layers, nll = representation.read_story(representation.load_model(trained / f"step-{step}"), story, 100 * 50)
        assert layers.shape == (TINY.depth + 1, story.represented.sum(), TINY.hidden)
        values.append(representation.predictability(nll, story)["perplexity"])
    assert values[0] == pytest.approx(300, rel=0.15)
    assert values[-1] < values[4] / 2 < values[0] / 4


def test_tokenizer_is_that_of_gpt_neox(trained):
    """Any text comes back, a space belongs to the word after it, all saved folders hold one tokenizer."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained / "step-24")
    text = "The keeper lights the lamps — naïve “owls”, \u4f60\u597d 🦉 at night."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert ids == Tokenizer.from_file(str(trained / "tokenizer/tokenizer.json")).encode(text).ids
    larger = training.train_tokenizer([sentences(400, seed=1)], 400)
    pieces = larger.convert_ids_to_tokens(larger("The keeper lights the lamps")["input_ids"])
    assert pieces == ["The", "Ġkeeper", "Ġlights", "Ġthe", "Ġlamps"]
    config = json.loads((trained / "tokenizer/config.json").read_text())
    assert config["vocab_size"] == len(tokenizer) == 300
    assert config["model_type"] == "gpt_neox"


def test_documents_are_separated(corpus):
    tokenizer = training.train_tokenizer(["one two", "three"], 257)
    assert len(tokenizer) == 257
    ids = training.encode(["one two", "three"], tokenizer)
    assert np.flatnonzero(ids == tokenizer.eos_token_id).tolist() == [7, 13]
    assert tokenizer.decode(ids[:7]) == "one two"


def test_learning_rate():
    """Rises to the peak in a sixteenth of the steps, falls to a tenth at the last."""
    options = Training(steps=160, learning_rate=2.0)
    rates = [training.learning_rate(step, options) for step in range(160)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(2.0)
    assert all(np.diff(rates[:10]) > 0)
    assert all(np.diff(rates[10:]) < 0)
    assert rates[85] == pytest.approx(1.1, abs=0.02)
    assert rates[-1] == pytest.approx(0.2)


def test_bad_input(tmp_path):
    from transformers import GPTNeoXConfig

    with pytest.raises(InputError, match=r"none\.txt: no such file"):
        training.read_texts([tmp_path / "none.txt"])
    (tmp_path / "latin.txt").write_bytes(b"na\xefve")
    with pytest.raises(InputError, match=r"latin\.txt: not UTF-8"):
        training.read_texts([tmp_path / "latin.txt"])
    for coding in ("utf-8-sig", "utf-16"):
        (tmp_path / "marked.txt").write_bytes("One\r\ntwo.".encode(coding))
        assert training.read_texts([tmp_path / "marked.txt"]) == ["One two."]
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(InputError, match=r"empty\.txt: holds no text"):
        training.read_texts([tmp_path / "empty.txt"])
    with pytest.raises(InputError, match=r"training\.vocabulary is 256.*at least 257"):
        training.train_tokenizer(["text"], 256)
    tokenizer = training.train_tokenizer(["text"], 257)
    with pytest.raises(InputError, match=r"training\.hidden is 30, which training\.heads = 4"):
        training.model_config(Training(hidden=30, heads=4), tokenizer)
    with pytest.raises(InputError, match=r"24 tokens, fewer than training\.sequence = 24"):
        training.train(np.zeros(24, int), GPTNeoXConfig(), TINY, 0, lambda step, model: None)


def test_loss_that_explodes(corpus):
    documents = training.read_texts([corpus])
    tokenizer = training.train_tokenizer(documents, 257)
    options = TINY.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"the loss is (nan|inf) at step \d+; lower training\.learning_rate"):
        training.train(
            training.encode(documents, tokenizer),
            training.model_config(options, tokenizer),
            options,
            0,
            lambda step, model: None,
        )
