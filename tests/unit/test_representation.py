"""Hidden states and perplexity, against loops over prefixes with a batch of one."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dynalign import representation, tokens
from dynalign.config import Model
from dynalign.files import InputError, read_table
from dynalign.training import train_tokenizer

CONTEXT = 50
DEPTH = 3
HIDDEN = 16
VOCABULARY = 300
TEXT = (
    "The old lamp burned “all night”, and the keeper counted two hundred and twelve stairs; nobody's letters "
    "came. It’s not — said Ms. Dursley — naïve to wait + write. The sea was grey, and she laughed at it! "
)
WORDS = (TEXT * 3).split()


def build(kind: str):
    """A small model with random weights, large enough that a word's vector depends on all its context."""
    import torch
    import transformers

    torch.manual_seed(0)
    common = {"vocab_size": VOCABULARY, "initializer_range": 0.4}
    neox = {
        "hidden_size": HIDDEN,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    if kind == "gpt_neox":
        config = transformers.GPTNeoXConfig(**common, **neox, max_position_embeddings=128)
        return transformers.GPTNeoXForCausalLM(config)
    if kind == "llama":
        config = transformers.LlamaConfig(**common, **neox, max_position_embeddings=128)
        return transformers.LlamaForCausalLM(config)
    config = transformers.GPT2Config(**common, n_embd=HIDDEN, n_layer=DEPTH, n_head=2, n_positions=64)
    return transformers.GPT2LMHeadModel(config)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([TEXT], VOCABULARY)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """Function from a model's kind to a local folder that holds one."""
    folders = {}

    def make(kind: str = "gpt_neox") -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind)
            tokenizer.save_pretrained(folders[kind])
            build(kind).save_pretrained(folders[kind])
        return folders[kind]

    return make


@pytest.fixture(scope="module")
def story(folder) -> tokens.Tokens:
    return tokens.tokenize(WORDS, 3 * np.arange(len(WORDS)), folder(), CONTEXT, DEPTH)


def prefix_loop(folder, tokenizer):
    """As the paper's code does it: tokenise each prefix, keep its last 50 tokens, one window at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    vectors, kept = [], []
    for end in range(1, len(WORDS) + 1):
        before = tokenizer(" ".join(WORDS[: end - 1]))["input_ids"] if end > 1 else []
        if len(before) <= CONTEXT:
            continue
        window = tokenizer(" ".join(WORDS[:end]))["input_ids"][-CONTEXT:]
        with torch.no_grad():
            states = model(torch.tensor([window]), output_hidden_states=True).hidden_states
        vectors.append([state[0, -1].numpy() for state in states])
        kept.append(3 * (end - 1))
    return np.swapaxes(vectors, 0, 1), kept


def token_loop(folder, ids):
    """−log p of each token given the 50 before it, one at a time, in float64."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    values = []
    for target in range(CONTEXT, len(ids)):
        with torch.no_grad():
            logits = model(torch.tensor(ids[None, target - CONTEXT : target])).logits[0, -1].numpy()
        p = np.exp(logits - logits.max())
        values.append(-np.log(p[ids[target]] / p.sum()))
    return np.array(values)


@pytest.mark.parametrize("kind", ["gpt_neox", "gpt2", "llama"])
def test_same_as_a_loop_over_prefixes(kind, folder, story, tokenizer):
    layers, nll = representation.read_story(representation.load_model(folder(kind)), story, 16 * CONTEXT)
    expected, kept = prefix_loop(folder(kind), tokenizer)
    assert story.word_index[story.represented].tolist() == kept
    assert layers.shape == (DEPTH + 1, len(kept), HIDDEN)
    assert layers.dtype == np.float32
    np.testing.assert_allclose(layers, expected, atol=1e-5, rtol=1e-5)
    # The tolerance can fail: the vectors of two occurrences of a word differ with their contexts.
    words = np.array(WORDS)[story.represented]
    one, other = np.flatnonzero(words == "and")[:2]
    assert np.abs(layers[-1, one] - layers[-1, other]).max() > 1e-3

    np.testing.assert_allclose(nll, token_loop(folder(kind), story.ids), atol=1e-4)
    assert len(nll) == len(story.ids) - CONTEXT


def test_batch_size_changes_nothing(folder, story):
    model = representation.load_model(folder())
    # 7 windows leave a remainder; 1 token is less than one window; the last one takes all at once.
    results = [representation.read_story(model, story, size) for size in (7 * CONTEXT, 1, 10**9)]
    for other in results[1:]:
        np.testing.assert_allclose(other.layers, results[0].layers, atol=1e-5)
        np.testing.assert_allclose(other.nll, results[0].nll, atol=1e-5)


def test_each_window_is_computed_once(folder, story):
    model = representation.load_model(folder())
    seen = []
    model.get_input_embeddings().register_forward_pre_hook(lambda module, args: seen.extend(args[0].tolist()))
    representation.read_story(model, story, 20 * CONTEXT)
    ids = story.ids.tolist()
    assert seen == [ids[end - CONTEXT : end] for end in range(CONTEXT, len(ids) + 1)]


def test_first_layer_is_the_embedding_and_last_is_after_the_final_norm(folder, story):
    import torch

    model = representation.load_model(folder())
    blocks = []
    model.gpt_neox.layers[-1].register_forward_hook(lambda module, args, output: blocks.append(output[:, -1]))
    layers, _ = representation.read_story(model, story, 20 * CONTEXT)
    last = story.last[story.represented]
    with torch.no_grad():
        embedded = model.gpt_neox.embed_in(torch.tensor(story.ids[last])).numpy()
        normed = model.gpt_neox.final_layer_norm(torch.cat(blocks))[last - CONTEXT + 1].numpy()
    np.testing.assert_array_equal(layers[0], embedded)
    np.testing.assert_allclose(layers[DEPTH], normed, atol=1e-6)
    np.testing.assert_allclose(layers[DEPTH].mean(axis=1), 0, atol=1e-5)
    assert np.abs(layers[DEPTH - 1].mean(axis=1)).max() > 0.1


def test_perplexity_of_a_uniform_model(folder, story):
    """Zero output weights make every token equally likely: perplexity is the vocabulary's size."""
    import torch

    model = representation.load_model(folder())
    torch.nn.init.zeros_(model.lm_head.weight)
    _, nll = representation.read_story(model, story, 20 * CONTEXT)
    assert representation.perplexity(nll) == pytest.approx(VOCABULARY, rel=1e-5)
    whole = story.first >= CONTEXT
    n_tokens = sum(
        last - first + 1 for first, last in zip(story.first[whole], story.last[whole], strict=True)
    )
    bits = np.log2(VOCABULARY) * n_tokens / whole.sum()
    assert representation.bits_per_word(nll, story) == pytest.approx(bits, rel=1e-5)


def test_bits_per_word_counts_only_whole_words():
    """The word that the first prediction falls into is left out; words of 1, 2 and 1 tokens at 1 bit stay."""
    story = tokens.Tokens(
        ids=np.zeros(8, int),
        word_index=np.arange(5),
        first=np.array([0, 1, 4, 5, 7]),
        last=np.array([0, 3, 4, 6, 7]),
        represented=np.array([False, False, True, True, True]),
        context_tokens=3,
        depth=1,
        hidden=1,
        max_context=0,
    )
    nll = np.log(2) * np.array([100, 1, 1, 1, 1])
    assert representation.bits_per_word(nll, story) == pytest.approx(4 / 3)
    # A word that begins where the predictions begin is whole.
    nll = np.log(2) * np.array([5, 1, 1, 1])
    assert representation.bits_per_word(nll, replace(story, context_tokens=4)) == pytest.approx(8 / 3)


def test_command(folder, story, tmp_path):
    tokens.write_tokens(tmp_path / "tokens.npz", story)
    flags = [
        "model",
        "--tokens",
        str(tmp_path / "tokens.npz"),
        "--checkpoint",
        str(folder()),
        "--name",
        "step-8",
    ]
    flags += ["--step", "8", "--options", Model(batch_tokens=700).model_dump_json(), "--threads", "1"]
    output, table = tmp_path / "step-8.safetensors", tmp_path / "step-8.perplexity.tsv"
    contents = []
    for _ in range(2):
        representation.main([*flags, "--output", str(output), "--perplexity", str(table)])
        contents.append(output.read_bytes() + table.read_bytes())
    assert contents[0] == contents[1]
    assert output.stat().st_mode == table.stat().st_mode

    layers, nll = representation.read_story(representation.load_model(folder()), story, 700)
    for layer in range(DEPTH + 1):
        X, word_index = representation.read_layer(output, layer)
        np.testing.assert_array_equal(X, layers[layer])
        assert word_index.tolist() == story.word_index[story.represented].tolist()
    assert (X.dtype, word_index.dtype) == (np.float32, np.int64)
    row = read_table(table).iloc[0]
    assert row.to_dict() == {
        "checkpoint": "step-8",
        "step": 8,
        "perplexity": pytest.approx(np.exp(token_loop(folder(), story.ids).mean()), rel=1e-4),
        "bits_per_word": pytest.approx(representation.bits_per_word(nll, story), rel=1e-6),
        "n_tokens": len(story.ids) - CONTEXT,
    }


def test_metadata_has_one_order(story, tmp_path):
    from safetensors import safe_open

    layers = [np.full((story.represented.sum(), 2), layer, np.float32) for layer in range(12)]
    for attempt in range(6):
        representation.write_layers(tmp_path / f"{attempt}.safetensors", layers, story, "step-1")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "0.safetensors", framework="np") as stored:
        assert stored.metadata() == {"dynalign": '{"context_tokens": 50, "name": "step-1"}'}
    X, _ = representation.read_layer(tmp_path / "0.safetensors", 11)
    assert (X == 11).all()


def test_random_baseline(folder, tmp_path):
    from scipy import stats

    n = 4000
    story = tokens.Tokens(
        ids=np.zeros(n + 60, int),
        word_index=np.arange(n + 60),
        first=np.arange(n + 60),
        last=np.arange(n + 60),
        represented=np.arange(n + 60) >= 60,
        context_tokens=CONTEXT,
        depth=2,
        hidden=8,
        max_context=0,
    )
    tokens.write_tokens(tmp_path / "tokens.npz", story)
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        flags = ["random", "--tokens", str(tmp_path / "tokens.npz"), "--seed", seed]
        representation.main([*flags, "--output", str(tmp_path / f"{name}.safetensors")])
    first, again, other = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert first == again
    assert first != other

    layers = [representation.read_layer(tmp_path / "a.safetensors", layer) for layer in range(3)]
    for X, word_index in layers:
        assert X.shape == (n, 8)
        assert X.dtype == np.float32
        assert word_index.tolist() == list(range(60, n + 60))
        assert stats.kstest(X.ravel(), "norm").pvalue > 0.001
    X = np.hstack([X for X, _ in layers])
    correlations = np.corrcoef(X, rowvar=False)[np.triu_indices(24, 1)]
    # Of 276 independent correlations of 4000 rows, the largest stays under 5 standard errors.
    assert np.abs(correlations).max() < 5 / np.sqrt(n)
    assert np.abs(np.corrcoef(X[:-1, 0], X[1:, 0])[0, 1]) < 5 / np.sqrt(n)


def test_reading_imports_no_torch(story, tmp_path):
    """A reader's fixed cost is its imports."""
    path = tmp_path / "x.safetensors"
    representation.write_layers(path, [np.zeros((story.represented.sum(), 2), np.float32)], story, "x")
    code = (
        "import sys; from dynalign.representation import read_layer; "
        f"read_layer({str(path)!r}, 0); print('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_layers_that_cannot_be_read(story, tmp_path):
    path = tmp_path / "x.safetensors"
    representation.write_layers(path, [np.zeros((story.represented.sum(), 2), np.float32)] * 3, story, "x")
    with pytest.raises(
        InputError, match=r"x\.safetensors: lacks layer-3; it has layer-0, layer-1, layer-2, word"
    ):
        representation.read_layer(path, 3)
    with pytest.raises(InputError, match="no such file"):
        representation.read_layer(tmp_path / "y.safetensors", 0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a safetensors file"):
        representation.read_layer(path, 0)


def test_folders_without_safetensors(folder, tmp_path):
    import torch

    with pytest.raises(InputError, match="no such folder"):
        representation.load_model(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no causal language model in safetensors"):
        representation.load_model(tmp_path)
    # A pickle is not opened, whatever it holds.
    (tmp_path / "config.json").write_bytes((folder() / "config.json").read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="holds no causal language model in safetensors"):
        representation.load_model(tmp_path)


def test_missing_parameters_are_not_made_up(folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder() / "model.safetensors")
    del weights["gpt_neox.layers.1.mlp.dense_h_to_4h.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((folder() / "config.json").read_bytes())
    with pytest.raises(
        InputError, match=r"lack 1 parameters of GPTNeoXForCausalLM \(gpt_neox\.layers\.1\.mlp"
    ):
        representation.load_model(tmp_path)


def test_model_that_does_not_fit_the_tokens(folder, story):
    model = representation.load_model(folder())
    with pytest.raises(InputError, match=r"3 layers of hidden size 16, but the tokens were made for 4 of 16"):
        representation.read_story(model, replace(story, depth=4), 1000)
    with pytest.raises(InputError, match=r"3 layers of hidden size 16, but the tokens were made for 3 of 32"):
        representation.read_story(model, replace(story, hidden=32), 1000)
    with pytest.raises(InputError, match=r"token id 300 lies outside the model's vocabulary of 300"):
        representation.read_story(model, replace(story, ids=np.append(story.ids[1:], 300)), 1000)


def test_broken_weights(folder, story):
    import torch

    model = representation.load_model(folder())
    with torch.no_grad():
        model.gpt_neox.layers[1].mlp.dense_4h_to_h.bias[0] = torch.nan
    with pytest.raises(InputError, match="layer 2 holds values that are not finite"):
        representation.read_story(model, story, 10**6)


def test_device(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert representation.choose_device(0) == "cpu"
    with pytest.raises(InputError, match=r"--gpus 1: torch .* finds no GPU"):
        representation.choose_device(1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert representation.choose_device(1) == "cuda"


def test_broken_output_weights(folder, story):
    import torch

    model = representation.load_model(folder())
    torch.nn.init.constant_(model.lm_head.weight, torch.inf)
    with pytest.raises(InputError, match="the prediction holds values that are not finite"):
        representation.read_story(model, story, 10**6)
