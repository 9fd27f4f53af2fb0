"""Weights → a model: what is refused, and what may be left, before hours are spent on a story."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dynalign.config.model import Model
from dynalign.io.errors import InputError
from dynalign.models import representation
from dynalign.models.tokens import Tokens

CONTEXT = 50
DEPTH = 2
HIDDEN = 16
VOCABULARY = 300

#: Shapes of small models, by the names that architectures give.
COMMON = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": DEPTH, "num_attention_heads": 2}
BERT = COMMON | {"intermediate_size": 32, "max_position_embeddings": 128}
XLM = {"vocab_size": VOCABULARY, "emb_dim": HIDDEN, "n_layers": DEPTH, "n_heads": 2}
XLNET = {"vocab_size": VOCABULARY, "d_model": HIDDEN, "n_layer": DEPTH, "n_head": 2, "d_inner": 32}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": HIDDEN, "n_layer": DEPTH, "n_head": 2, "n_positions": 64}
OPT = COMMON | {"ffn_dim": 32, "word_embed_proj_dim": HIDDEN, "max_position_embeddings": 128}
MAMBA = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": DEPTH, "state_size": 4}
EXPERTS = BERT | {"num_key_value_heads": 2, "head_dim": 8, "moe_intermediate_size": 16, "num_experts": 8}


def save(architecture: str, values: dict, folder: Path) -> Path:
    """Save a model as it is before training, which tells least of what it looks at."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **values)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Function from an architecture to a local folder that holds one."""

    @cache
    def make(architecture: str = "gpt_neox") -> Path:
        values = {"gpt_neox": BERT, "gpt2": GPT2}[architecture]
        return save(architecture, values, tmp_path_factory.mktemp(architecture))

    return make


@pytest.fixture(scope="module")
def story() -> Tokens:
    """Tokens by chance, for a model of two layers."""
    ids = np.random.default_rng(0).integers(5, VOCABULARY, 80)
    each = np.arange(80)
    return Tokens(ids, each, each, each, each > CONTEXT, CONTEXT, DEPTH, HIDDEN, 128)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("architecture", "values"),
    [
        ("bert", BERT),
        ("roberta", BERT),
        ("electra", BERT | {"embedding_size": 8}),
        ("roformer", BERT | {"embedding_size": HIDDEN}),
        ("big_bird", BERT),
        ("xlm", XLM),
        ("xlnet", XLNET),
    ],
)
def test_models_that_look_ahead_are_refused(story, tmp_path, monkeypatch, architecture, values, precision):
    """Before the story is read, whatever the precision asked for."""
    save(architecture, values, tmp_path)
    monkeypatch.setattr(representation, "read_story", None)
    monkeypatch.setattr(representation, "sample_layers", None)
    with pytest.raises(InputError, match=r"looks ahead: .*states of the first half move by .*model\.source"):
        representation.compute(tmp_path, story, Model(precision=precision), "cpu")


@pytest.mark.parametrize(
    ("architecture", "values"),
    [
        ("bert", BERT | {"is_decoder": True}),
        ("roberta", BERT | {"is_decoder": True}),
        ("xlm", XLM | {"causal": True}),
        ("gpt_neox", BERT),
        ("gpt2", GPT2),
        ("llama", BERT),
        ("opt", OPT),
        ("bloom", {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "n_layer": DEPTH, "n_head": 2}),
        ("mamba", MAMBA),
        ("rwkv", {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": DEPTH}),
        ("qwen3_moe", EXPERTS),
    ],
)
def test_models_that_read_left_to_right_are_not(story, tmp_path, architecture, values):
    save(architecture, values, tmp_path)
    assert representation.look_ahead(representation.load_model(tmp_path), story) < representation.LOOK_AHEAD / 100
    layers, _, _ = representation.compute(tmp_path, story, Model(), "cpu")
    assert layers.shape == (3, 29, HIDDEN)


def test_folders_without_weights(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        representation.load_model(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no causal language model"):
        representation.load_model(tmp_path)


def test_pickled_weights_are_read_only_where_they_are_allowed(folder, story, tmp_path):
    import torch

    (tmp_path / "config.json").write_bytes((folder() / "config.json").read_bytes())
    model = representation.load_model(folder())
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"holds no causal language model .* model\.weights: safetensors: "):
        representation.load_model(tmp_path)
    expected = representation.read_story(model, story, 2000)
    for weights in ("any", "pytorch"):
        result = representation.read_story(representation.load_model(tmp_path, weights=weights), story, 2000)
        np.testing.assert_array_equal(result[0], expected[0])


def test_a_pickle_that_would_run_code_is_not_opened(folder, tmp_path):
    import os
    import pickle

    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was run"),)

    (tmp_path / "config.json").write_bytes((folder() / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Malicious()}))
    with pytest.raises(InputError, match="holds no causal language model"):
        representation.load_model(tmp_path, weights="any")
    assert not (tmp_path / "was run").exists()


def test_missing_parameters_are_not_made_up(folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder() / "model.safetensors")
    del weights["gpt_neox.layers.1.mlp.dense_h_to_4h.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((folder() / "config.json").read_bytes())
    with pytest.raises(InputError, match=r"lack 1 parameters of GPTNeoXForCausalLM \(gpt_neox\.layers\.1\.mlp"):
        representation.load_model(tmp_path)


def spoiled(folder: Path, target: Path, change, pickled: bool = False) -> Path:
    """Copy a model's folder with weights that `change` was at, in a safetensors file or a pickle."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    if pickled:
        torch.save(weights, target / "pytorch_model.bin")
    else:
        save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_bytes((folder / "config.json").read_bytes())
    return target


def test_a_layer_more_than_the_config_says(folder, tmp_path):
    """transformers drops it, and reads another model than was trained."""

    def add(weights):
        for name in [name for name in weights if ".layers.1." in name]:
            weights[name.replace(".layers.1.", ".layers.2.")] = weights[name].clone()

    with pytest.raises(
        InputError,
        match=r"model\.safetensors: 12 weights have no place in GPTNeoXForCausalLM .*"
        r"\(gpt_neox\.layers\.2\.attention\.dense\.bias, .*config\.json",
    ):
        representation.load_model(spoiled(folder(), tmp_path, add))


def test_a_single_surplus_weight(folder, tmp_path):
    with pytest.raises(InputError, match=r"1 weights have no place in GPTNeoXForCausalLM .*score\.weight"):
        representation.load_model(
            spoiled(
                folder(),
                tmp_path,
                lambda weights: weights.update({"score.weight": weights["embed_out.weight"].clone()}),
            )
        )


@pytest.mark.parametrize("pickled", [False, True])
def test_buffers_of_published_pythia_checkpoints_may_be_left(folder, story, tmp_path, pickled):
    """Masks and frequencies, which models now make themselves."""
    import torch

    def add(weights):
        for layer in range(DEPTH):
            place = f"gpt_neox.layers.{layer}.attention"
            weights[f"{place}.bias"] = torch.ones(1, 1, 128, 128).tril().bool()
            weights[f"{place}.masked_bias"] = torch.tensor(-1e9)
            weights[f"{place}.rotary_emb.inv_freq"] = torch.ones(4)

    model = representation.load_model(spoiled(folder(), tmp_path, add, pickled), weights="any")
    expected = representation.read_story(representation.load_model(folder()), story, 2000)
    np.testing.assert_array_equal(representation.read_story(model, story, 2000)[0], expected[0])


def test_buffers_of_published_gpt2_checkpoints_may_be_left(folder, tmp_path):
    """Whose names have no prefix, and whose output weights are those of the input."""
    import torch

    def rename(weights):
        for name in list(weights):
            weights[name.removeprefix("transformer.")] = weights.pop(name)
        assert "lm_head.weight" not in weights
        for layer in range(DEPTH):
            weights[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
            weights[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)

    model = representation.load_model(spoiled(folder("gpt2"), tmp_path, rename))
    assert model.lm_head.weight is model.transformer.wte.weight
    torch.testing.assert_close(model.state_dict(), representation.load_model(folder("gpt2")).state_dict())


def test_weights_of_another_size_are_not_made_up(folder, tmp_path):
    name = "gpt_neox.layers.1.mlp.dense_h_to_4h.bias"

    def cut(weights):
        weights[name] = weights[name][:-1].clone()

    with pytest.raises(
        InputError, match=rf"model\.safetensors: 1 weights .*{name}: \(31,\), not \(32,\).*config\.json"
    ):
        representation.load_model(spoiled(folder(), tmp_path, cut))


def test_quantised_weights_without_their_library(folder, tmp_path):
    config = json.loads((spoiled(folder(), tmp_path, lambda weights: None) / "config.json").read_text())
    quantised = config | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    (tmp_path / "config.json").write_text(json.dumps(quantised))
    with pytest.raises(InputError, match=r"holds no causal language model .*pip install optimum"):
        representation.load_model(tmp_path)
