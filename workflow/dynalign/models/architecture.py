"""What a model is, by its ``config.json`` alone: told before any weights are fetched.

Libraries raise errors of many kinds over a broken file (tokenizers a bare ``Exception``, transformers whatever an
attribute led to), so all are taken: each becomes one message that names the file.
"""

import textwrap
from pathlib import Path
from typing import NamedTuple

from dynalign.io.errors import InputError, existing


class Shape(NamedTuple):
    """The shape of a model, as fields of ``dynalign.models.tokens.Tokens``."""

    depth: int  #: transformer layers; hidden states are numbered 0, embeddings, to `depth`
    hidden: int  #: hidden size
    max_context: int  #: longest context in tokens; 0 if the configuration states none


def one_line(error: BaseException) -> str:
    """What an error says, shortened and without line breaks; with its type where it says but a name."""
    said = textwrap.shorten(str(error), 400, placeholder=" …").rstrip(".")
    return said if " " in said else f"{type(error).__name__}: {said}"


def check_config(folder: str | Path) -> Shape:
    """Check that transformers can load a causal language model by a folder's config.json; its shape.

    InputError: no or a broken config.json, an architecture that is no causal language model or that transformers does
    not know, hidden states of several widths, a library that is missing (of quantised weights, say).
    """
    file = existing(Path(folder) / "config.json")
    config, model = _built(file)
    _check_quantisation(config, file)
    try:
        text = config.get_text_config(decoder=True)
        depth, hidden = int(text.num_hidden_layers), int(text.hidden_size)
    except Exception as error:
        raise InputError(f"{file}: states no number of layers or no hidden size ({one_line(error)})") from None
    if widths := _widths(model):
        depth, hidden = len(widths) - 1, widths[0]
        if len(set(widths)) > 1:
            raise InputError(
                f"{file}: the hidden states of {type(model).__name__} have several sizes "
                f"({', '.join(map(str, sorted(set(widths))))}), and layers could not be compared; choose another "
                "model (model.source)"
            )
    # Not every architecture states a longest context (ALiBi, recurrent models); XLNet's is −1.
    return Shape(depth, hidden, max(0, getattr(text, "max_position_embeddings", None) or 0))


def _built(file: Path):
    """A folder's configuration and its model without any values (torch's meta device)."""
    import torch
    import transformers

    settings = {"trust_remote_code": False}
    known = f"transformers {transformers.__version__}"
    way_out = "correct it, or choose another model (model.source); code that comes with a model is never run"
    try:
        config = transformers.AutoConfig.from_pretrained(file.parent, local_files_only=True, **settings)
    except Exception as error:
        raise InputError(
            f"{file}: no model configuration that {known} can read: {one_line(error)}; {way_out}"
        ) from None
    try:
        with torch.device("meta"):
            # Eager attention asks nothing of the values of a mask.
            eager = settings | {"attn_implementation": "eager", "dtype": torch.bfloat16}
            model = transformers.AutoModelForCausalLM.from_config(config, **eager)
    except ImportError as error:
        raise InputError(f"{file}: the model needs a library that is missing: {one_line(error)}") from None
    except Exception as error:
        raise InputError(f"{file}: no causal language model of {known}: {one_line(error)}; {way_out}") from None
    return config, model.eval()


def _widths(model) -> list[int]:
    """Widths of a model's hidden states, found by running it without values; empty where it asks for some."""
    import torch

    ids = torch.zeros((1, 8), dtype=torch.long, device="meta")
    asked = {"output_hidden_states": True, "use_cache": False}
    try:
        with torch.inference_mode():
            states = model(ids, attention_mask=torch.ones_like(ids), **asked).hidden_states
        return [state.shape[-1] for state in states]
    except Exception:
        # The file's own numbers stand, and are compared when weights are loaded.
        return []


def _check_quantisation(config, file: Path) -> None:
    """Check that the library which a quantised model needs is installed."""
    from transformers.quantizers.auto import AutoHfQuantizer

    text = config.get_text_config(decoder=True)
    stated = getattr(config, "quantization_config", None) or getattr(text, "quantization_config", None)
    if stated is None:
        return
    method = stated.get("quant_method")
    try:
        if not AutoHfQuantizer.supports_quant_method(stated):
            raise ValueError("no such method")
        quantizer = AutoHfQuantizer.from_config(dict(stated), pre_quantized=True)
        quantizer.validate_environment(device_map=None, weights_only=True)
    except Exception as error:
        # The job may have a GPU where this has none.
        if "GPU" not in str(error):
            raise InputError(
                f"{file}: the weights are quantised (quant_method: {method}), which cannot be read here: "
                f"{one_line(error)}; install that, or choose a model that is not quantised (model.source)"
            ) from None
