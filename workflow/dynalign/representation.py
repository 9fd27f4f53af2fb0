"""A checkpoint → the hidden states of every word at every layer, and perplexity (METHOD section 4).

Every window of `context_tokens` tokens goes through the model once. The window that ends at token e gives the
hidden states of the word whose last token is e, and the prediction of token e + 1 given exactly the
`context_tokens` before it.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynalign.cli import note, options, progress, run
from dynalign.config import Model
from dynalign.files import InputError, atomic_path, write_table
from dynalign.tokens import Tokens, read_tokens


class Pass(NamedTuple):
    """What one pass over the story gives.

    Attributes
    ----------
    layers : array of float32, shape (depth + 1, n_represented, hidden)
        Hidden states as ``output_hidden_states`` counts them: 0 = embeddings. The last one is what the output
        layer reads; in GPT-NeoX, Llama and GPT-2 it is taken after the final normalisation, unlike the rest.
    nll : array of float64, shape (n_tokens - context_tokens,)
        Negative log-likelihood, in nats, of each token from number `context_tokens` on, given the
        `context_tokens` before it.
    """

    layers: np.ndarray
    nll: np.ndarray


def load_model(folder: str | Path, device: str = "cpu"):
    """Load a causal language model from a local folder, in float32, for inference.

    Raises
    ------
    InputError
        If the folder, its safetensors weights or some of its parameters are missing.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; it must hold a model's config.json and *.safetensors")
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype="float32", local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: holds no causal language model in safetensors: {error}") from None
    if info["missing_keys"]:
        # transformers would go on with random values in their place.
        missing = sorted(info["missing_keys"])
        raise InputError(
            f"{folder}: the weights lack {len(missing)} parameters of {type(model).__name__} ({missing[0]}, "
            "…); download the checkpoint again, or convert it to this architecture"
        )
    return model.eval().to(device)


def choose_device(gpus: int) -> str:
    """Name the device for a job that was given `gpus` GPUs.

    Raises
    ------
    InputError
        If it was given one and torch finds none.
    """
    import torch

    if gpus and not torch.cuda.is_available():
        raise InputError(
            f"--gpus {gpus}: torch {torch.__version__} finds no GPU here; set model.device: cpu, or install "
            "a torch build for this machine's GPU"
        )
    return "cuda" if gpus else "cpu"


def read_story(model, tokens: Tokens, batch_tokens: int) -> Pass:
    """Pass all windows of the story through the model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model in evaluation mode.
    tokens : Tokens
    batch_tokens : int
        Tokens per forward pass; changes memory and speed, not results.

    Returns
    -------
    Pass

    Raises
    ------
    InputError
        If the model does not fit the tokens, or gives values that are not finite.
    """
    import torch

    context = tokens.context_tokens
    # Row k holds tokens k … k + context − 1.
    windows = np.lib.stride_tricks.sliding_window_view(tokens.ids, context)
    vocabulary = model.get_input_embeddings().num_embeddings
    if tokens.ids.max() >= vocabulary:
        raise InputError(
            f"token id {tokens.ids.max()} lies outside the model's vocabulary of {vocabulary}; the tokens "
            "were made with another model's tokenizer"
        )
    word_of = np.full(len(windows), -1)
    word_of[tokens.last[tokens.represented] - context + 1] = np.arange(tokens.represented.sum())
    layers = np.empty((tokens.depth + 1, tokens.represented.sum(), tokens.hidden), dtype=np.float32)
    nll = np.empty(len(windows) - 1)
    size = max(1, batch_tokens // context)
    with torch.inference_mode():
        for start in progress(range(0, len(windows), size), "batches of windows"):
            rows = slice(start, start + size)
            batch = torch.tensor(windows[rows], device=model.device)
            # Logits of all positions would be by far the largest array.
            output = model(batch, output_hidden_states=True, use_cache=False, logits_to_keep=1)
            states = [state[:, -1] for state in output.hidden_states]
            found = (len(states) - 1, {state.shape[-1] for state in states})
            if found != (tokens.depth, {tokens.hidden}):
                widths = ", ".join(map(str, sorted(found[1])))
                raise InputError(
                    f"the model has {found[0]} layers of hidden size {widths}, but the tokens were made for "
                    f"{tokens.depth} of {tokens.hidden}; checkpoints must have one shape"
                )
            words = word_of[rows]
            layers[:, words[words >= 0]] = torch.stack(states).cpu().numpy()[:, words >= 0]
            following = torch.tensor(
                tokens.ids[start + context : start + context + size], device=model.device
            )
            log_p = output.logits[: len(following), -1].float().log_softmax(-1)
            nll[rows] = -log_p.gather(1, following[:, None])[:, 0].cpu().numpy()
    for name, values in (*((f"layer {layer}", x) for layer, x in enumerate(layers)), ("the prediction", nll)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds values that are not finite; the checkpoint's weights are broken")
    return Pass(layers, nll)


def perplexity(nll: np.ndarray) -> float:
    """exp of the mean negative log-likelihood per token (METHOD section 4)."""
    return float(np.exp(np.mean(nll)))


def bits_per_word(nll: np.ndarray, tokens: Tokens) -> float:
    """Mean over the words whose tokens are all predicted of −log₂ p of the word.

    Unlike perplexity, it can be compared between models with different tokenizers.
    """
    whole = tokens.first >= tokens.context_tokens
    nats = nll[tokens.first[whole][0] - tokens.context_tokens :].sum()
    return float(nats / np.log(2) / whole.sum())


def random_layer(tokens: Tokens, layer: int, seed: int) -> np.ndarray:
    """One layer of the `random` baseline: standard normal, independent of the text (METHOD section 1).

    Each layer has its own generator, so that it does not depend on the number of layers.

    Returns
    -------
    array of float32, shape (n_represented, hidden)
    """
    shape = (int(tokens.represented.sum()), tokens.hidden)
    return np.random.default_rng([seed, layer]).standard_normal(shape, dtype=np.float32)


def write_layers(path: str | Path, layers, tokens: Tokens, name: str) -> None:
    """Write ``representation/{ckpt}.safetensors``.

    Parameters
    ----------
    path : path-like
    layers : sequence of arrays of float32, shape (n_represented, hidden)
        Layers 0 … depth.
    tokens : Tokens
    name : str
        Name of the checkpoint or baseline.
    """
    from safetensors.numpy import save_file

    arrays = {f"layer-{layer}": np.ascontiguousarray(values) for layer, values in enumerate(layers)}
    arrays["word_index"] = tokens.word_index[tokens.represented]
    # safetensors writes several metadata keys in an order that differs from run to run: one key, one order.
    about = json.dumps({"context_tokens": tokens.context_tokens, "name": name}, sort_keys=True)
    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(arrays, temporary, metadata={"dynalign": about})
        # safetensors writes files that only their owner can read.
        temporary.chmod(mode)


def read_layer(path: str | Path, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Read one layer of ``representation/{ckpt}.safetensors``, and only that.

    Returns
    -------
    X : array of float32, shape (n_represented, hidden)
    word_index : array of int64, shape (n_represented,)
        Position of each row's word in the stimulus.

    Raises
    ------
    InputError
        If the file is missing or broken, or has no such layer.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="np") as stored:
            names = set(stored.keys())
            wanted = {"word_index", f"layer-{layer}"}
            if not wanted <= names:
                there = sorted(names, key=lambda name: (len(name), name))
                raise InputError(
                    f"{path}: lacks {', '.join(sorted(wanted - names))}; it has {', '.join(there)}"
                )
            return stored.get_tensor(f"layer-{layer}"), stored.get_tensor("word_index")
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file: {error}") from None


def _from_checkpoint(args: argparse.Namespace) -> None:
    import pandas as pd
    import torch

    torch.set_num_threads(args.threads)
    tokens = read_tokens(args.tokens)
    model = load_model(args.checkpoint, choose_device(args.gpus))
    try:
        layers, nll = read_story(model, tokens, args.options.batch_tokens)
    except InputError as error:
        raise InputError(f"{args.checkpoint}, {args.tokens}: {error}") from None
    row = {
        "checkpoint": args.name,
        "step": args.step,
        "perplexity": perplexity(nll),
        "bits_per_word": bits_per_word(nll, tokens),
        "n_tokens": len(nll),
    }
    note(f"{args.name}: perplexity {row['perplexity']:.4g} over {len(nll)} tokens")
    write_table(pd.DataFrame([row]), args.perplexity)
    write_layers(args.output, layers, tokens, args.name)


def _from_chance(args: argparse.Namespace) -> None:
    tokens = read_tokens(args.tokens)
    layers = [random_layer(tokens, layer, args.seed) for layer in range(tokens.depth + 1)]
    write_layers(args.output, layers, tokens, "random")


def main(argv: list[str] | None = None) -> None:
    """Command: checkpoint (or baseline) → ``representation/{ckpt}.safetensors`` and its perplexity."""
    parser = argparse.ArgumentParser(prog="dynalign.representation", description=main.__doc__)
    commands = parser.add_subparsers(required=True)

    model = commands.add_parser("model", help="hidden states and perplexity of a checkpoint")
    model.add_argument("--checkpoint", required=True, help="local folder: config.json and *.safetensors")
    model.add_argument("--name", required=True, help="name of the checkpoint, e.g. step-0")
    model.add_argument("--step", type=int, required=True, help="its training step")
    model.add_argument(
        "--options", type=options(Model), default=Model(), help="JSON of the configuration's `model`"
    )
    model.add_argument("--threads", type=int, default=1, help="CPU threads")
    model.add_argument("--gpus", type=int, default=0, help="GPUs given to the job; 0: run on the CPU")
    model.add_argument("--perplexity", required=True, help="one-row table to write")
    model.set_defaults(step_function=_from_checkpoint)

    random = commands.add_parser("random", help="the baseline: standard normal, independent of the text")
    random.add_argument("--seed", type=int, required=True)
    random.set_defaults(step_function=_from_chance)

    for command in (model, random):
        command.add_argument("--tokens", required=True, help="tokens.npz (dynalign.tokens)")
        command.add_argument("--output", required=True, help="safetensors file to write")
    args = parser.parse_args(argv)
    args.step_function(args)


if __name__ == "__main__":
    run(main)
