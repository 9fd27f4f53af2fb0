"""Words → tokens, against a loop that tokenises every prefix again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dynalign.io.arrays import read_record, write_record
from dynalign.io.errors import InputError
from dynalign.models import tokens
from dynalign.models.architecture import check_config
from dynalign.models.training import train_tokenizer
from dynalign.tables.writer import write_table

#: Punctuation, quotes and dashes of several bytes, a decomposed accent, a contraction, digits, a cross.
TEXT = """“It’s not — said Ms. Dursley — naïve, in the cafe\u0301!” She'd seen + 1984 “owls” (tawny) and
didn't blink. The old lamp burned, and the keeper counted two hundred and twelve stairs; no letters came. """
WORDS = TEXT.split() * 6


@pytest.fixture(scope="module")
def tokenizer():
    """A byte-level BPE tokenizer with leading-space tokens, as in GPT-NeoX."""
    return train_tokenizer([" ".join(WORDS[:33])], 300)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory) -> Path:
    """A local folder with that tokenizer and a model's config.json."""
    from transformers import GPTNeoXConfig

    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(path)
    GPTNeoXConfig(
        vocab_size=300,
        hidden_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    ).save_pretrained(path)
    return path


def reconfigured(folder: Path, target: Path, **values) -> Path:
    """Copy the folder with other values in its config.json."""
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | values))
    return target


def prefix_loop(tokenizer, words, context_tokens):
    """Tokenise each prefix of the words again: ids up to each word's end, tokens before it, kept or not."""
    before, ids, kept = [], [], []
    for end in range(1, len(words) + 1):
        earlier = tokenizer(" ".join(words[: end - 1]), add_special_tokens=False)["input_ids"] if end > 1 else []
        before.append(len(earlier))
        ids.append(tokenizer(" ".join(words[:end]), add_special_tokens=False)["input_ids"])
        kept.append(len(earlier) > context_tokens)
    return before, ids, kept


@pytest.mark.parametrize("trim_offsets", [True, False])
def test_same_as_tokenising_every_prefix(folder, tmp_path, trim_offsets):
    """Whether or not a token's offsets include the space before it."""
    from transformers import AutoTokenizer

    path = reconfigured(folder, tmp_path / "model")
    content = json.loads((path / "tokenizer.json").read_text())
    content["post_processor"]["trim_offsets"] = trim_offsets
    (path / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = AutoTokenizer.from_pretrained(path)
    offsets = tokenizer(" ".join(WORDS), return_offsets_mapping=True)["offset_mapping"]
    assert any(" ".join(WORDS)[start] == " " for start, _ in offsets) is not trim_offsets

    index = 2 * np.arange(len(WORDS))
    result = tokens.tokenize(WORDS, index, path, context_tokens=50, depth=3)
    before, ids, kept = prefix_loop(tokenizer, WORDS, 50)
    assert result.ids.tolist() == ids[-1]
    assert result.first.tolist() == before
    assert [result.ids[: last + 1].tolist() for last in result.last] == ids
    assert result.represented.tolist() == kept
    assert 0 < sum(kept) < len(WORDS)
    assert result.word_index.tolist() == index.tolist()
    assert (result.depth, result.hidden, result.max_context, result.context_tokens) == (3, 8, 64, 50)


def test_exactly_the_context_before_is_not_enough():
    first = np.array([0, 49, 50, 51])
    last = np.array([48, 49, 50, 60])
    chosen = tokens.represented(list("abcd"), first, last, 50, np.arange(4), np.zeros(1, int))
    assert chosen.tolist() == [False, False, False, True]


def test_no_context_reaches_back_over_a_storys_beginning(folder):
    """Two stories at once are each by itself, one after the other."""
    index, cut = np.arange(len(WORDS)), 90
    stories = np.where(index < cut, "tower", "lamp")
    both = tokens.tokenize(WORDS, index, folder, context_tokens=50, depth=3, stories=stories)
    parts = [tokens.tokenize(WORDS[part], index[part], folder, 50, 3) for part in (slice(cut), slice(cut, None))]
    n = len(parts[0].ids)
    assert both.ids.tolist() == [*parts[0].ids, *parts[1].ids]
    for name, step in (("first", n), ("last", n), ("represented", 0)):
        one, other = (getattr(part, name) for part in parts)
        assert getattr(both, name).tolist() == [*one, *(other if name == "represented" else other + step)]
    assert both.starts.tolist() == [0, n]
    # A token is predicted from 50 of its own story.
    assert both.predicted.tolist() == [k < n or k >= n + 50 for k in range(50, len(both.ids))]
    whole = tokens.tokenize(WORDS, index, folder, context_tokens=50, depth=3)
    assert whole.represented.sum() > both.represented.sum() > 0
    with pytest.raises(InputError, match="all 2 stories are shorter than the context"):
        tokens.tokenize(WORDS[:10], index[:10], folder, 50, 3, stories=["a"] * 5 + ["b"] * 5)


def test_locate_by_hand():
    """In 'ab cd ef': a token that ends in a space, and one that is only a space."""
    offsets = np.array([[0, 1], [1, 3], [3, 5], [5, 6], [6, 8]])
    first, last = tokens.locate(["ab", "cd", "ef"], offsets, np.arange(3))
    assert first.tolist() == [0, 2, 3]
    assert last.tolist() == [1, 2, 4]
    # The same with the space at the front of the second word, and a dummy token of no characters.
    offsets = np.array([[0, 0], [0, 2], [2, 5], [5, 8]])
    first, last = tokens.locate(["ab", "cd", "ef"], offsets, np.arange(3))
    assert first.tolist() == [0, 2, 3]
    assert last.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "offsets", "message"),
    [
        (["ab", "", "c"], [[0, 2]], r"word 11 of the story is empty \(1 such words\).*story\.drop"),
        (["ab", " ", "c"], [[0, 2]], r"word 11 of the story is empty"),
        (["ab", "cd"], [[0, 2]], r"no token ends in word 11 \('cd'; 1 such words\)"),
        (["ab", "cd"], [[0, 1], [1, 5]], r"one token spans word 10 \('ab'\) and word 11 \('cd'\)"),
        (["ab", "cd"], [[3, 5], [0, 2]], r"not in the order of the text"),
    ],
)
def test_words_and_tokens_that_do_not_match(words, offsets, message):
    with pytest.raises(InputError, match=message):
        tokens.locate(words, np.array(offsets), np.arange(10, 10 + len(words)))


def test_text_shorter_than_the_context(folder):
    with pytest.raises(InputError, match=r"shorter than the context: of \d+ tokens.*model\.context_tokens"):
        tokens.tokenize(WORDS[:10], np.arange(10), folder, context_tokens=60, depth=3)


def test_no_words(folder):
    with pytest.raises(InputError, match="no words"):
        tokens.tokenize([], np.arange(0), folder, context_tokens=50, depth=3)


def test_word_longer_than_the_window(folder):
    words = [*WORDS[:40], "zq" * 30, *WORDS[:5]]
    with pytest.raises(InputError, match=r"word 40 \('zqzq.*tokens, more than the window's 10"):
        tokens.tokenize(words, np.arange(len(words)), folder, context_tokens=10, depth=3)
    # Where it has no representation, its length does no harm.
    early = tokens.tokenize(["zq" * 30, *WORDS], np.arange(len(WORDS) + 1), folder, context_tokens=10, depth=3)
    assert not early.represented[0]
    assert early.represented[1]


def test_depth_of_another_model(folder):
    with pytest.raises(InputError, match=r"config\.json: the model has 3 .* model\.depth is 12; .*depth: 3"):
        tokens.tokenize(WORDS, np.arange(len(WORDS)), folder, context_tokens=50, depth=12)


def test_context_of_the_model_shorter_than_the_window(folder, tmp_path):
    short = reconfigured(folder, tmp_path / "short", max_position_embeddings=32)
    with pytest.raises(InputError, match="context is 32 tokens, shorter than the window of 50"):
        tokens.tokenize(WORDS, np.arange(len(WORDS)), short, context_tokens=50, depth=3)


def test_gpt2_names_of_the_shape(folder, tmp_path):
    """Other architectures call depth, width and context differently."""
    gpt2 = reconfigured(folder, tmp_path / "gpt2")
    shape = {"model_type": "gpt2", "n_layer": 5, "n_embd": 24, "n_head": 2, "n_positions": 77}
    (gpt2 / "config.json").write_text(json.dumps(shape))
    assert tokens.model_shape(gpt2, 5)._asdict() == {"depth": 5, "hidden": 24, "max_context": 77}


def test_shape_of_a_decoder_with_an_encoder_of_its_own(tmp_path):
    """Bart's own number of layers is that of its encoder, which a causal language model leaves."""
    from transformers import BartConfig

    BartConfig(
        vocab_size=300, d_model=16, encoder_layers=2, decoder_layers=5, decoder_attention_heads=2, decoder_ffn_dim=8
    ).save_pretrained(tmp_path)
    assert check_config(tmp_path) == (5, 16, 1024)


def test_shape_of_a_model_that_cannot_run_without_values(tmp_path):
    """The file's own numbers stand."""
    from transformers import Mamba2Config

    config = Mamba2Config(vocab_size=300, hidden_size=16, num_hidden_layers=4, num_heads=4, head_dim=8, n_groups=1)
    config.save_pretrained(tmp_path)
    assert check_config(tmp_path) == (4, 16, 0)


def test_hidden_states_of_several_widths(tmp_path):
    """OPT-350m's first and last are narrower than those between."""
    from transformers import OPTConfig

    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32}
    OPTConfig(vocab_size=300, **shape, word_embed_proj_dim=8, do_layer_norm_before=False).save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"config\.json: the hidden states of OPTForCausalLM have several sizes \(8, 16"
    ):
        check_config(tmp_path)
    OPTConfig(vocab_size=300, **shape, word_embed_proj_dim=16).save_pretrained(tmp_path)
    assert check_config(tmp_path) == (2, 16, 2048)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": "six"}, r"can read: .*'num_hidden_layers' expected int, got str"),
        ({"hidden_size": 7}, r"can read: .*not divisible by the number of attention heads"),
        ({"model_type": "nothing"}, r"can read: .*model type `nothing`"),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}, r"code that comes with a model is never run"),
        ({"hidden_act": "nope"}, r"no causal language model of transformers \S+: KeyError: 'nope'"),
        ({"model_type": "t5"}, r"no causal language model of transformers \S+: Unrecognized configuration class"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"\(quant_method: gptq\).*pip install optimum"),
        ({"quantization_config": {"load_in_8bit": True, "quant_method": "bitsandbytes"}}, r"pip install 'accelerate"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, r"pip install gptqmodel"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, r"pip install compressed-tensors"),
        ({"quantization_config": {"quant_method": "nope"}}, r"\(quant_method: nope\).*no such method"),
        ({"quantization_config": {"bits": 4}}, r"has no `quant_method`"),
        ({"quantization_config": "4 bits"}, r"config\.json: no model configuration"),
    ],
)
def test_models_that_cannot_be_loaded_are_told_by_their_config(folder, tmp_path, values, message):
    """One line, which names the file, before any weights are there."""
    broken = reconfigured(folder, tmp_path / "model", **values)
    with pytest.raises(InputError, match=message) as told:
        tokens.tokenize(WORDS, np.arange(len(WORDS)), broken, context_tokens=50, depth=3)
    assert str(told.value).startswith(f"{broken}/config.json: ")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 800


@pytest.mark.parametrize("content", ["{", "[]", "3", ""])
def test_config_that_is_no_configuration(folder, tmp_path, content):
    broken = reconfigured(folder, tmp_path / "model")
    (broken / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json: no model configuration that transformers \S+ can read: "):
        check_config(broken)


def test_quantised_weights_that_only_lack_a_gpu_here(folder, tmp_path):
    """The job that reads them may have one."""
    model = reconfigured(folder, tmp_path / "model", quantization_config={"quant_method": "fbgemm_fp8"})
    assert check_config(model) == (3, 8, 64)


def _unknown_splitting(content):
    content["pre_tokenizer"] = {"type": "Unheard-of"}


def _unknown_merge(content):
    content["model"]["merges"] = [["qqq", "zzz"]]


def _no_model(content):
    del content["model"]


@pytest.mark.parametrize("spoil", [_unknown_splitting, _unknown_merge, _no_model, None])
def test_broken_tokenizers(folder, tmp_path, spoil):
    """The library raises what any Exception is."""
    broken = reconfigured(folder, tmp_path / "model")
    content = json.loads((broken / "tokenizer.json").read_text())
    if spoil:
        spoil(content)
    (broken / "tokenizer.json").write_text(json.dumps(content) if spoil else "[]")
    with pytest.raises(
        InputError, match=r"model/tokenizer\.json: holds no tokenizer .*get the model's tokenizer\.json"
    ):
        tokens.load_tokenizer(broken)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("XLMTokenizer", r"You need to install sacremoses"),
        ("LlamaTokenizer", r"holds no tokenizer .*`tiktoken` is required"),
        ("ByT5Tokenizer", r"ByT5Tokenizer gives no character offsets"),
    ],
)
def test_tokenizers_that_need_a_library_or_give_no_offsets(folder, tmp_path, named, message):
    model = reconfigured(folder, tmp_path / "model")
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.model").write_bytes(b"\x0a\x0b")
    (model / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": named}))
    with pytest.raises(InputError, match=message):
        tokens.load_tokenizer(model)


def test_tokenizer_without_a_token_for_unknown_words(folder, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    model = reconfigured(folder, tmp_path / "model")
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(model / "tokenizer.json"))
    with pytest.raises(InputError, match=r"the tokenizer cannot read the story: .*UNK.*; choose another model"):
        tokens.tokenize(WORDS, np.arange(len(WORDS)), model, context_tokens=50, depth=3)


def surrounded(folder: Path, target: Path, template: str, **values) -> Path:
    """Copy the folder with a tokenizer that adds special tokens around a text, ``<s> $A </s>`` say."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    reconfigured(folder, target, **values)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    added = [part for part in template.split() if part != "$A"]
    tokenizer.add_special_tokens({"additional_special_tokens": added})
    processor = processors.TemplateProcessing(
        single=template, special_tokens=[(name, tokenizer.convert_tokens_to_ids(name)) for name in added]
    )
    tokenizer.backend_tokenizer.post_processor = processor
    tokenizer.save_pretrained(target)
    return target


@pytest.mark.parametrize(
    ("template", "bos", "expected"),
    [
        ("<s> $A", "auto", ["<s>"]),
        ("<s> $A </s>", "auto", ["<s>"]),
        ("[gMASK] <sop> $A", "auto", ["[gMASK]", "<sop>"]),
        ("$A </s>", "auto", []),
        ("<s> $A </s>", "always", ["<s>"]),
        ("<s> $A </s>", "never", []),
        ("$A </s>", "always", ["<|endoftext|>"]),
    ],
)
def test_special_tokens_that_a_tokenizer_puts_first(folder, tmp_path, template, bos, expected):
    """At the head of windows, and nowhere in the text, which is the same with and without them."""
    model = surrounded(folder, tmp_path / "model", template)
    arguments = WORDS, np.arange(len(WORDS)), model, 50, 3
    result = tokens.tokenize(*arguments, bos)
    names = tokens.load_tokenizer(model)
    assert names.convert_ids_to_tokens(result.bos) == expected
    plain = tokens.tokenize(WORDS, np.arange(len(WORDS)), folder, 50, 3)
    assert plain.bos.tolist() == []
    for field in ("ids", "first", "last", "represented"):
        np.testing.assert_array_equal(getattr(result, field), getattr(plain, field))
    write_record(tmp_path / "tokens.npz", result)
    assert read_record(tmp_path / "tokens.npz", tokens.Tokens).bos.tolist() == result.bos.tolist()


def test_the_context_must_hold_bos_too(folder, tmp_path):
    arguments = WORDS, np.arange(len(WORDS))
    tokens.tokenize(*arguments, folder, 64, 3)
    model = surrounded(folder, tmp_path / "model", "<s> $A")
    with pytest.raises(InputError, match=r"context is 64 tokens, shorter than the window of 65 with BOS"):
        tokens.tokenize(*arguments, model, 64, 3)
    assert tokens.tokenize(*arguments, model, 64, 3, "never").context_tokens == 64


def test_a_tokenizer_that_names_no_bos(folder, tmp_path):
    model = reconfigured(folder, tmp_path / "model")
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (model / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"model\.bos: always, but the tokenizer names no BOS token"):
        tokens.tokenize(WORDS, np.arange(len(WORDS)), model, 50, 3, "always")


def test_tokenizer_without_offsets(tmp_path):
    """A tokenizer that is plain Python (ByT5's)."""
    from transformers import ByT5Tokenizer

    ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"ByT5Tokenizer gives no character offsets.*tokenizer\.json"):
        tokens.load_tokenizer(tmp_path)


def test_folders_without_a_tokenizer_or_a_model(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        tokens.load_tokenizer(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no tokenizer"):
        tokens.load_tokenizer(tmp_path)
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        tokens.model_shape(tmp_path, 3)


def test_command(folder, tokenizer, tmp_path):
    """Dropped words are not seen, the others keep their place in the stimulus; same input, same bytes."""
    dropped = np.arange(len(WORDS)) % 9 == 4
    table = pd.DataFrame(
        {
            "word_index": np.arange(len(WORDS)),
            "word": WORDS,
            "sentence": np.where(dropped, np.nan, 0),
            "run": 1,
            "onset": np.arange(len(WORDS)) * 0.5,
            "tr": 0,
            "dropped": dropped.astype(int),
        }
    )
    write_table(table, tmp_path / "words.tsv")
    flags = ["--words", str(tmp_path / "words.tsv"), "--tokenizer", str(folder), "--context-tokens", "50"]
    tokens.main([*flags, "--depth", "3", "--output", str(tmp_path / "tokens.npz")])
    tokens.main([*flags, "--depth", "3", "--output", str(tmp_path / "again.npz")])
    assert (tmp_path / "tokens.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()

    result = read_record(tmp_path / "tokens.npz", tokens.Tokens)
    seen = [word for word, drop in zip(WORDS, dropped, strict=True) if not drop]
    assert result.ids.tolist() == tokenizer(" ".join(seen), add_special_tokens=False)["input_ids"]
    assert result.word_index.tolist() == np.flatnonzero(~dropped).tolist()
    assert (result.context_tokens, result.depth, result.hidden, result.max_context) == (50, 3, 8, 64)
    assert result.represented.dtype == bool

    with pytest.raises(InputError, match=r"words\.tsv.*model\.depth is 4"):
        tokens.main([*flags, "--depth", "4", "--output", str(tmp_path / "never.npz")])
    assert not (tmp_path / "never.npz").exists()
