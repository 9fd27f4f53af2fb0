"""Hidden states and perplexity, against loops over prefixes with a batch of one."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import flags

from dynalign.config.model import Model
from dynalign.io.arrays import write_record
from dynalign.io.digests import check_digest
from dynalign.io.errors import InputError
from dynalign.models import representation, tokens
from dynalign.models.layers import as_stored, read_layer, write_layers
from dynalign.models.training import train_tokenizer
from dynalign.tables.reader import read_table

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
    neox = {"hidden_size": HIDDEN, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 32}
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


def test_stories_are_read_as_each_by_itself(folder):
    """Vectors, surprisal and perplexity of two stories at once, against those of each."""
    index, cut = np.arange(len(WORDS)), 80
    stories = index < cut
    both = tokens.tokenize(WORDS, index, folder(), CONTEXT, DEPTH, stories=stories)
    parts = [tokens.tokenize(WORDS[k], index[k], folder(), CONTEXT, DEPTH) for k in (slice(cut), slice(cut, None))]
    model = representation.load_model(folder())
    layers, nll = representation.read_story(model, both, 16 * CONTEXT)
    each = [representation.read_story(model, part, 16 * CONTEXT) for part in parts]
    np.testing.assert_allclose(layers, np.concatenate([one for one, _ in each], axis=1), atol=1e-6)
    np.testing.assert_allclose(nll[both.predicted], np.concatenate([one for _, one in each]), atol=1e-6)
    assert np.isnan(nll[~both.predicted]).all()
    assert (~both.predicted).sum() == CONTEXT
    surprisal = [representation.word_surprisal(one, part) for (_, one), part in zip(each, parts, strict=True)]
    word_index, bits = representation.word_surprisal(nll, both)
    assert word_index.tolist() == [k for found, _ in surprisal for k in found]
    np.testing.assert_allclose(bits, np.concatenate([one for _, one in surprisal]), atol=1e-5)
    found = representation.predictability(nll, both)
    assert found["n_tokens"] == sum(len(one) for _, one in each)
    mean = np.concatenate([one for _, one in each]).mean()
    assert found["perplexity"] == pytest.approx(np.exp(mean), rel=1e-6)
    assert found["bits_per_word"] == pytest.approx(bits.mean())


@pytest.mark.parametrize("kind", ["gpt_neox", "llama"])
def test_windows_that_begin_with_bos(kind, folder, tmp_path):
    """Against a loop over words and over tokens, with the special tokens as the tokenizer puts them."""
    import torch
    from tokenizers import processors
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder(kind))
    # Tokens that the text does not hold; the closing one never reaches the model.
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A ~", special_tokens=[(name, tokenizer.vocab[name]) for name in ("<|endoftext|>", "~")]
    )
    (tmp_path / "config.json").write_bytes((folder(kind) / "config.json").read_bytes())
    tokenizer.save_pretrained(tmp_path)
    story = tokens.tokenize(WORDS, 3 * np.arange(len(WORDS)), tmp_path, CONTEXT, DEPTH)
    assert story.bos.tolist() == [tokenizer.vocab["<|endoftext|>"]]
    layers, nll = representation.read_story(representation.load_model(folder(kind)), story, 16 * CONTEXT)

    model = AutoModelForCausalLM.from_pretrained(folder(kind), dtype=torch.float32).eval()

    def run(bos, text):
        with torch.no_grad():
            output = model(torch.tensor([[bos, *text[-CONTEXT:]]]), output_hidden_states=True)
        return [state[0, -1].numpy() for state in output.hidden_states], output.logits[0, -1].log_softmax(-1).numpy()

    vectors, kept = [], []
    for end in range(1, len(WORDS) + 1):
        bos, *text, closing = tokenizer(" ".join(WORDS[:end]))["input_ids"]
        assert closing == tokenizer.vocab["~"]
        if story.first[end - 1] > CONTEXT:
            vectors.append(run(bos, text)[0])
            kept.append(3 * (end - 1))
    assert story.word_index[story.represented].tolist() == kept
    np.testing.assert_allclose(layers, np.swapaxes(vectors, 0, 1), atol=1e-5, rtol=1e-5)
    losses = [-run(bos, text[:target])[1][text[target]] for target in range(CONTEXT, len(text))]
    np.testing.assert_allclose(nll, losses, atol=1e-4)
    # Samples, by which the error of a lower precision is told, are the same windows; and BOS matters.
    model = representation.load_model(folder(kind))
    np.testing.assert_allclose(
        representation.sample_layers(model, story, np.array([0, 7]), 1000), layers[:, [0, 7]], atol=1e-5
    )
    without, _ = representation.read_story(model, replace(story, bos=story.bos[:0]), 1000)
    assert np.abs(without[-1] - layers[-1]).max() > 0.01
    with pytest.raises(InputError, match="token id 300 lies outside"):
        representation.read_story(model, replace(story, bos=np.array([300])), 1000)


def test_batch_size_changes_nothing(folder, story):
    model = representation.load_model(folder())
    # 7 windows leave a remainder; 1 token is less than one window; the last one takes all at once.
    results = [representation.read_story(model, story, size) for size in (7 * CONTEXT, 1, 10**9)]
    for other in results[1:]:
        np.testing.assert_allclose(other[0], results[0][0], atol=1e-5)
        np.testing.assert_allclose(other[1], results[0][1], atol=1e-5)


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
    assert representation.predictability(nll, story)["perplexity"] == pytest.approx(VOCABULARY, rel=1e-5)
    whole = story.first >= CONTEXT
    n_tokens = sum(last - first + 1 for first, last in zip(story.first[whole], story.last[whole], strict=True))
    bits = np.log2(VOCABULARY) * n_tokens / whole.sum()
    assert representation.predictability(nll, story)["bits_per_word"] == pytest.approx(bits, rel=1e-5)


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
    assert representation.predictability(nll, story)["bits_per_word"] == pytest.approx(4 / 3)
    # A word that begins where the predictions begin is whole.
    nll = np.log(2) * np.array([5, 1, 1, 1])
    assert representation.predictability(nll, replace(story, context_tokens=4))["bits_per_word"] == pytest.approx(8 / 3)
    word_index, bits = representation.word_surprisal(nll, replace(story, context_tokens=4))
    assert word_index.tolist() == [2, 3, 4]
    np.testing.assert_allclose(bits, [5, 2, 1])


def run_command(folder, story, tmp_path, **model) -> tuple[Path, Path, Path, Path]:
    """Run the command; its safetensors file, table of layers, perplexity, surprisal."""
    write_record(tmp_path / "tokens.npz", story)
    outputs = [
        tmp_path / f"step-8.{suffix}" for suffix in ("safetensors", "layers.tsv", "perplexity.tsv", "surprisal.tsv")
    ]
    representation.main(
        flags(tokens=tmp_path / "tokens.npz", checkpoint=folder, name="step-8", step=8, threads=1)
        + flags(options=Model(batch_tokens=700, **model).model_dump_json())
        + flags(output=outputs[0], layers=outputs[1], perplexity=outputs[2], surprisal=outputs[3])
    )
    return tuple(outputs)


def test_command(folder, story, tmp_path):
    contents = []
    # A file of the folder stands for it, as in the rule's input.
    for checkpoint in (folder(), folder() / "model.safetensors"):
        outputs = run_command(checkpoint, story, tmp_path)
        contents.append([path.read_bytes() for path in outputs])
    assert contents[0] == contents[1]
    output, about, table, surprisal = outputs
    assert output.stat().st_mode == table.stat().st_mode

    layers, nll = representation.read_story(representation.load_model(folder()), story, 700)
    for layer in range(DEPTH + 1):
        X, word_index = read_layer(output, layer)
        np.testing.assert_array_equal(X, layers[layer])
        assert word_index.tolist() == story.word_index[story.represented].tolist()
    assert (X.dtype, word_index.dtype) == (np.float32, np.int64)
    losses = token_loop(folder(), story.ids)
    # Word by word: the sum over its tokens; where one of them is not predicted, no row.
    bits = {
        word: sum(losses[token - CONTEXT] for token in range(first, last + 1)) / np.log(2)
        for word, first, last in zip(story.word_index, story.first, story.last, strict=True)
        if first >= CONTEXT
    }
    rows = read_table(surprisal, kind="surprisal")
    assert rows["word_index"].tolist() == list(bits)
    np.testing.assert_allclose(rows["surprisal"], list(bits.values()), rtol=1e-4)
    assert set(word_index) <= set(bits), "every represented word has one"
    assert np.ptp(story.last - story.first) > 0, "words of one token and of several"
    row = read_table(table).iloc[0]
    assert row.to_dict() == {
        "checkpoint": "step-8",
        "step": 8,
        "perplexity": pytest.approx(np.exp(losses.mean()), rel=1e-4),
        "bits_per_word": pytest.approx(representation.predictability(nll, story)["bits_per_word"], rel=1e-6),
        "n_tokens": len(story.ids) - CONTEXT,
    }
    rows = read_table(about, ["checkpoint", "step", "layer", "name"])
    assert rows["layer"].tolist() == list(range(DEPTH + 1))
    assert rows["name"].tolist()[:2] == ["embeddings", "output of block 1"]
    assert set(rows["precision"]) == set(rows["storage"]) == {"float32"}
    assert rows[["precision_error", "storage_error"]].isna().all(axis=None), "nothing was lost"


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("gpt_neox", "output of final_layer_norm (LayerNorm), what the output layer reads"),
        ("gpt2", "output of ln_f (LayerNorm), what the output layer reads"),
        ("llama", "output of norm (LlamaRMSNorm), what the output layer reads"),
    ],
)
def test_layers_are_named_for_what_they_are(kind, last, folder, story, tmp_path):
    from safetensors import safe_open

    model = representation.load_model(folder(kind))
    names = representation.layer_names(model, story.ids[:CONTEXT])
    assert names == ["embeddings", "output of block 1", "output of block 2", last]
    hooks = sum(len(module._forward_hooks) for module in model.modules())
    assert representation.layer_names(model, story.ids[:CONTEXT]) == names
    assert hooks == sum(len(module._forward_hooks) for module in model.modules()), "none stays behind"
    output, *_ = run_command(folder(kind), story, tmp_path)
    with safe_open(output, framework="np") as stored:
        assert json.loads(stored.metadata()["dynalign"])["last_layer"] == last


def test_a_model_without_a_final_norm_is_named_by_its_last_block(story):
    """In OPT-350m each block ends in a norm of its own, and none follows."""
    import transformers

    config = transformers.OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=32,
        word_embed_proj_dim=HIDDEN,
        max_position_embeddings=64,
        do_layer_norm_before=False,
    )
    model = transformers.OPTForCausalLM(config).eval()
    last = representation.layer_names(model, story.ids[:CONTEXT])[-1]
    assert last == "output of decoder.layers.1.final_layer_norm (LayerNorm), what the output layer reads"


def test_bfloat16_is_measured_against_float32(folder, story, tmp_path):
    output, about, *_ = run_command(folder(), story, tmp_path, precision="bfloat16")
    exact, _ = representation.read_story(representation.load_model(folder()), story, 700)
    rows = read_table(about)
    assert set(rows["precision"]) == {"bfloat16"}
    for layer, stated in enumerate(rows["precision_error"]):
        X, _ = read_layer(output, layer)
        # The sample's error is that of all words, up to sampling.
        assert stated == pytest.approx(np.linalg.norm(X - exact[layer]) / np.linalg.norm(exact[layer]), rel=0.2)
    # 8 bits of mantissa: rounding once costs up to 2^-9, here about 2^-9.5.
    assert 2**-11 < rows["precision_error"][0] < 2**-9
    assert rows["precision_error"][0] < rows["precision_error"][DEPTH] < 0.1


def test_float16_storage_halves_the_file_and_states_its_error(folder, story, tmp_path):
    full = run_command(folder(), story, tmp_path)[0].stat().st_size
    output, about, *_ = run_command(folder(), story, tmp_path, storage="float16")
    assert output.stat().st_size < 0.55 * full
    exact, _ = representation.read_story(representation.load_model(folder()), story, 700)
    errors = read_table(about)["storage_error"]
    for layer, stated in enumerate(errors):
        X, _ = read_layer(output, layer)
        assert X.dtype == np.float32
        np.testing.assert_allclose(X, exact[layer], rtol=2**-11, atol=1e-7)
        expected = np.linalg.norm(np.float64(X) - exact[layer]) / np.linalg.norm(np.float64(exact[layer]))
        assert stated == pytest.approx(expected, rel=1e-6)
        assert 2**-14 < stated < 2**-11
    with pytest.raises(InputError, match=r"7e\+04 exceeds float16's largest, 65504; set model\.storage: float32"):
        as_stored(np.float32([[[7e4]]]), "float16")


def test_relative_error_by_hand():
    exact = np.array([[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    approximate = np.array([[[3.0, 4.5]], [[1.0, 0.0]], [[0.0, 0.0]]])
    assert representation.relative_error(approximate, exact).tolist() == [0.1, 0, 0]


def test_out_of_memory_halves_the_batch_and_goes_on(folder, story, capsys):
    """A model that can hold 5 windows at most, as a GPU or a CPU would say it."""
    import torch

    expected = representation.read_story(representation.load_model(folder()), story, 5 * CONTEXT)
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9 bytes")):
        model = representation.load_model(folder())
        sizes = []

        def limited(module, args, error=error, sizes=sizes):
            sizes.append(len(args[0]))
            if sizes[-1] > 5:
                raise error

        model.get_input_embeddings().register_forward_pre_hook(limited)
        result = representation.read_story(model, story, 40 * CONTEXT)
        # Refused: 40, 20, 10; from then on 5, and what remains.
        assert sizes[:3] == [40, 20, 10]
        assert set(sizes[3:-1]) == {5}
        assert sum(sizes[3:]) == len(story.ids) - CONTEXT + 1, "no window twice, none left out"
        np.testing.assert_allclose(result[0], expected[0], atol=1e-5)
        np.testing.assert_allclose(result[1], expected[1], atol=1e-5)
        assert "out of memory: going on with batches of 5 windows" in capsys.readouterr().err


def test_memory_for_not_even_one_window(folder, story):
    import torch

    def refuse(error):
        def hook(module, args):
            raise error

        model = representation.load_model(folder())
        model.get_input_embeddings().register_forward_pre_hook(hook)
        return model

    with pytest.raises(InputError, match=r"memory does not suffice for one window.*model\.device: cpu"):
        representation.read_story(refuse(torch.OutOfMemoryError("full")), story, 9 * CONTEXT)
    with pytest.raises(RuntimeError, match="another bug"):
        representation.read_story(refuse(RuntimeError("another bug")), story, 9 * CONTEXT)


@pytest.mark.parametrize(
    ("settings", "device", "size"),
    [(Model(), "cpu", 1500), (Model(), "cuda", 65536), (Model(batch_tokens=700), "cuda", 700)],
)
def test_batch_size_follows_the_device(folder, story, monkeypatch, settings, device, size):
    model = representation.load_model(folder())
    asked, seen = [], []

    def load(checkpoint, on, precision="float32", weights="safetensors"):
        asked.append((on, precision, weights))
        return model

    def read(model, story, batch_tokens, compute=representation.read_story):
        seen.append(batch_tokens)
        return compute(model, story, batch_tokens)

    monkeypatch.setattr(representation, "load_model", load)
    monkeypatch.setattr(representation, "read_story", read)
    representation.compute(folder(), story, settings, device)
    assert asked == [(device, "float32", "safetensors")]
    assert seen == [size]


def test_metadata_has_one_order(story, tmp_path):
    from safetensors import safe_open

    layers = [np.full((story.represented.sum(), 2), layer, np.float32) for layer in range(12)]
    for attempt in range(6):
        write_layers(tmp_path / f"{attempt}.safetensors", layers, story, "step-1", norm="no")
    assert len({path.read_bytes() for path in tmp_path.glob("*.safetensors")}) == 1
    assert check_digest(tmp_path / "0.safetensors") is not None
    with safe_open(tmp_path / "0.safetensors", framework="np") as stored:
        text = stored.metadata()["dynalign"]
        assert text.startswith('{"context_tokens": 50, "name": "step-1", "norm": "no", "sha256": {"layer-0": ')
        assert json.loads(text)["sha256"].keys() == set(stored.keys())
    X, _ = read_layer(tmp_path / "0.safetensors", 11)
    assert (X == 11).all()


def test_reading_imports_no_torch(story, tmp_path):
    """A reader's fixed cost is its imports."""
    path = tmp_path / "x.safetensors"
    write_layers(path, [np.zeros((story.represented.sum(), 2), np.float32)], story, "x")
    code = (
        "import sys; from dynalign.models.layers import read_layer; "
        f"read_layer({str(path)!r}, 0); print('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_layers_that_cannot_be_read(story, tmp_path):
    path = tmp_path / "x.safetensors"
    write_layers(path, [np.zeros((story.represented.sum(), 2), np.float32)] * 3, story, "x")
    with pytest.raises(InputError, match=r"x\.safetensors: lacks layer-3; it has layer-0, layer-1, layer-2, word"):
        read_layer(path, 3)
    with pytest.raises(InputError, match="no such file"):
        read_layer(tmp_path / "y.safetensors", 0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a safetensors file"):
        read_layer(path, 0)


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
