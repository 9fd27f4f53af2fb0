"""A checkpoint → the hidden states of every word at every layer, and perplexity (METHOD section 4)."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dynalign.cli import choose_device, command, note, run
from dynalign.config.model import Model
from dynalign.io.arrays import read_record
from dynalign.io.errors import InputError, located
from dynalign.models import checkpoints
from dynalign.models.architecture import one_line
from dynalign.models.layers import as_stored, write_layers
from dynalign.models.tokens import Tokens
from dynalign.tables.writer import write_table

#: Tokens per forward pass where `model.batch_tokens` is null: a CPU's caches hold the largest activations of
#: 30 windows (92 % of the matrix-product peak; 57 % with ten times as many), a GPU wants many.
BATCH_TOKENS = {"cpu": 1_500, "cuda": 65_536}

#: Above this, a model's attention looks ahead (:func:`look_ahead`): causal models give 1e-8 to 1e-6 in float32, those
#: that look ahead 1e-3 or more, even untrained.
LOOK_AHEAD = 1e-4

#: Windows on which the error of a lower precision is measured.
SAMPLE = 64


#: Weights that a model may leave: masks and tables of positions, which early versions of transformers saved and models
#: now make themselves, and heads that read the hidden states beside the language model's.
LEFT = re.compile(
    r"(^|\.)(attn|attention)\.bias$|(^|\.)(masked_bias|causal_mask|position_ids|inv_freq|(cos|sin)_cached|version)$"
    r"|(^|\.)(pooler|seq_relationship)\."
)


def load_model(
    folder: str | Path, device: str = "cpu", precision: str = "float32", weights: checkpoints.Weights = "safetensors"
):
    """Load a causal language model from a local folder for inference; `precision` and `weights` as in section `model`.

    Pickles are read by torch's weights-only loader alone, which runs no code from the file. InputError if the folder,
    its weights or some parameters are missing, of another size, or more than the model has a place for.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if not Path(folder).is_dir():
        raise InputError("no such folder; it must hold a model's config.json and its weights")
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=precision,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors={"safetensors": True, "any": None, "pytorch": False}[weights],
            weights_only=True,
            # They are refused below, by name.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    # Which kind of error it is depends on what is wrong: config.json, files, pickles, a library that is missing.
    except Exception as error:
        raise InputError(
            "holds no causal language model that transformers can load with model.weights: "
            f"{weights}: {one_line(error)}"
        ) from None
    files = ", ".join(checkpoints.weight_files(os.listdir(folder), weights)[:2])
    if missing := sorted(info["missing_keys"]):
        # transformers would go on with random values in their place.
        raise InputError(
            f"{files}: the weights lack {len(missing)} parameters of {type(model).__name__} ({missing[0]}, "
            "…); download the checkpoint again, or convert it to this architecture"
        )
    if mismatched := sorted(info["mismatched_keys"]):
        name, there, wanted = mismatched[0]
        raise InputError(
            f"{files}: {len(mismatched)} weights have another size than {type(model).__name__} by its config.json "
            f"({name}: {tuple(there)}, not {tuple(wanted)}, …); give the config.json that belongs to them"
        )
    if surplus := sorted(name for name in info["unexpected_keys"] if not LEFT.search(name)):
        # transformers would drop them: what is left is not the model that was trained.
        raise InputError(
            f"{files}: {len(surplus)} weights have no place in {type(model).__name__} as config.json has it "
            f"({', '.join(surplus[:3])}, …); give the config.json that belongs to them, or convert the checkpoint to "
            "this architecture"
        )
    return model.eval().to(device)


def batches(n: int, size: int, compute: Callable[[slice], None]) -> None:
    """Call `compute`, in torch's inference mode, on slices of `size` that cover ``range(n)`` in order.

    A slice that ran out of memory is computed again, in halves; it is an InputError if one row is too much.
    """
    import torch

    started = last = time.monotonic()
    start = 0
    while start < n:
        rows = slice(start, min(start + size, n))
        exhausted = False
        try:
            with torch.inference_mode():
                compute(rows)
        except (RuntimeError, MemoryError) as error:
            # torch has a class for GPUs only.
            exhausted = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)
            if not exhausted:
                raise
        if exhausted:
            # Outside of the handler: the error's traceback keeps the tensors of the batch alive.
            if size == 1:
                raise InputError(
                    "memory does not suffice for one window; give the job more, or set model.precision: "
                    "bfloat16 or model.device: cpu"
                )
            size = max(1, min(size, n - start) // 2)
            note(f"out of memory: going on with batches of {size} windows")
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        start = rows.stop
        now = time.monotonic()
        if now - last >= 5 or start == n:
            note(f"windows: {start}/{n}, {(now - started) / start * (n - start):.0f} s left")
            last = now


def read_windows(model, windows: np.ndarray, tokens: Tokens):
    """Hidden states of windows of tokens, (n, n_tokens), each behind the BOS of `tokens`, and their last logits.

    Returns a tuple of depth + 1 tensors, (n, n_bos + n_tokens, hidden), and one, (n, vocabulary), on the model's device
    and in its precision. It is an InputError if the model has another shape or vocabulary than the tokens.
    """
    import torch

    windows = np.concatenate([np.tile(tokens.bos, (len(windows), 1)), windows], axis=1)
    vocabulary = model.get_input_embeddings().num_embeddings
    if windows.max() >= vocabulary:
        raise InputError(
            f"token id {windows.max()} lies outside the model's vocabulary of {vocabulary}; the tokens "
            "were made with another model's tokenizer"
        )
    batch = torch.tensor(windows, device=model.device)
    # All windows are full: no padding, no mask. Logits of all positions would be by far the largest array.
    output = model(batch, output_hidden_states=True, use_cache=False, logits_to_keep=1)
    states = output.hidden_states
    found = (len(states) - 1, {state.shape[-1] for state in states})
    if found != (tokens.depth, {tokens.hidden}):
        widths = ", ".join(map(str, sorted(found[1])))
        raise InputError(
            f"the model has {found[0]} layers of hidden size {widths}, but the tokens were made for "
            f"{tokens.depth} of {tokens.hidden}; checkpoints must have one shape"
        )
    return states, output.logits[:, -1]


def last_positions(model, windows: np.ndarray, tokens: Tokens):
    """Hidden states and next-token log-probabilities at the last position of each window, (n, context_tokens).

    Returns tensors `states`, (depth + 1, n, hidden), on the model's device and in its precision, and `log_p`, float32,
    (n, vocabulary). InputError as in :func:`read_windows`.
    """
    import torch

    states, logits = read_windows(model, windows, tokens)
    return torch.stack([state[:, -1] for state in states]), logits.float().log_softmax(-1)


def look_ahead(model, tokens: Tokens) -> float:
    """How far the states of a window's first half move when its second half changes, as a share of their size.

    The median over positions of the layer that moves most: 0 in a causal model but for rounding (a router of experts
    groups other tokens with them), and for one token whose expert was decided by that rounding.
    """
    import torch

    window = tokens.ids[: tokens.context_tokens]
    kinds, half = np.unique(tokens.ids), len(window) // 2
    other = window.copy()
    other[half:] = np.where(window[half:] == kinds[0], kinds[-1], kinds[0])
    halves: list = []

    def compute(rows: slice) -> None:
        states, _ = read_windows(model, np.stack([window, other])[rows], tokens)
        halves.extend(torch.stack([state[:, : len(tokens.bos) + half].float() for state in states], dim=1))

    batches(2, 2, compute)
    one, changed = halves
    moved = (changed - one).norm(dim=-1) / one.norm(dim=-1).clamp_min(1e-30)
    return float(moved.median(dim=-1).values.max())


def read_story(model, tokens: Tokens, batch_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Pass all windows of `context_tokens` tokens of the story, behind BOS, through a model in evaluation mode, once.

    The window that ends at token e gives the vector of the word whose last token is e, and predicts token e + 1.
    `batch_tokens`, the tokens per forward pass, changes memory and speed, not results; it is halved where memory does
    not suffice. InputError: the model does not fit the tokens or the memory, or gives values that are not finite.

    Returns
    -------
    layers : array of float32, shape (depth + 1, n_represented, hidden)
        Hidden states as ``output_hidden_states`` counts them: 0 = embeddings. The last one is what the output layer
        reads; in GPT-NeoX, Llama and GPT-2 it is taken after the final normalisation, unlike the rest.
    nll : array of float64, shape (n_tokens - context_tokens,)
        Negative log-likelihood, in nats, of each token from number `context_tokens` on, given as many before it; NaN
        for a token whose context would reach into another story.
    """
    import torch

    context = tokens.context_tokens
    # Row k holds tokens k … k + context − 1.
    windows = np.lib.stride_tricks.sliding_window_view(tokens.ids, context)
    word_of = np.full(len(windows), -1)
    word_of[tokens.last[tokens.represented] - context + 1] = np.arange(tokens.represented.sum())
    layers = np.empty((tokens.depth + 1, tokens.represented.sum(), tokens.hidden), dtype=np.float32)
    nll = np.empty(len(windows) - 1)

    def compute(rows: slice) -> None:
        states, log_p = last_positions(model, windows[rows], tokens)
        # Only what is kept leaves the device.
        ending = np.flatnonzero(word_of[rows] >= 0)
        chosen = states[:, torch.tensor(ending, device=model.device)]
        layers[:, word_of[rows][ending]] = chosen.float().cpu().numpy()
        following = torch.tensor(tokens.ids[rows.start + context : rows.stop + context], device=model.device)
        log_p = log_p[: len(following)].gather(1, following[:, None])[:, 0]
        nll[rows.start : rows.start + len(following)] = -log_p.cpu().numpy()

    batches(len(windows), max(1, batch_tokens // (len(tokens.bos) + context)), compute)
    for name, values in (*((f"layer {layer}", x) for layer, x in enumerate(layers)), ("the prediction", nll)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds values that are not finite; the checkpoint's weights are broken")
    return layers, np.where(tokens.predicted, nll, np.nan)


def sample_layers(model, tokens: Tokens, sample: np.ndarray, batch_tokens: int) -> np.ndarray:
    """Hidden states of some represented words, `sample`: array of float32, shape (depth + 1, n, hidden)."""
    ends = tokens.last[tokens.represented][sample]
    windows = tokens.ids[ends[:, None] + np.arange(1 - tokens.context_tokens, 1)]
    layers = np.empty((tokens.depth + 1, len(windows), tokens.hidden), dtype=np.float32)

    def compute(rows: slice) -> None:
        layers[:, rows] = last_positions(model, windows[rows], tokens)[0].float().cpu().numpy()

    batches(len(windows), max(1, batch_tokens // (len(tokens.bos) + tokens.context_tokens)), compute)
    return layers


def relative_error(approximate: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Error of each layer as a share of the exact values: ‖a − x‖ / ‖x‖ (Frobenius norms), shape (n_layers,)."""
    errors = np.empty(len(exact))
    # Layer by layer: float64 copies of all would be several times the result's size.
    for k, (a, x) in enumerate(zip(approximate, exact, strict=True)):
        norm = float(np.linalg.norm(x.astype(np.float64)))
        errors[k] = np.linalg.norm(a.astype(np.float64) - x) / max(norm, 1e-300)
    return errors


def layer_names(model, window: np.ndarray) -> list[str]:
    """What each of the depth + 1 layers is, found by watching which module gives the hidden state of a window.

    Architectures differ in whether the last hidden state is taken before or after the final normalisation. Names are
    ``embeddings``, ``output of block 1``, …, ``output of final_layer_norm (LayerNorm), what the output layer reads``.
    """
    import torch

    outputs = []

    def keep(module, _, output):
        value = output[0] if isinstance(output, tuple) else output
        if isinstance(value, torch.Tensor):
            outputs.append((module, value))

    modules = {module: name for name, module in model.base_model.named_modules() if name}
    hooks = [module.register_forward_hook(keep) for module in modules]
    try:
        with torch.inference_mode():
            batch = torch.tensor(window[None], device=model.device)
            states = model(batch, output_hidden_states=True, use_cache=False, logits_to_keep=1).hidden_states
    finally:
        for hook in hooks:
            hook.remove()
    last = states[-1]
    # The first to give it is the innermost: those that contain it only pass it on.
    given = [module for module, value in outputs if value.shape == last.shape and torch.equal(value, last)]
    names = ["embeddings", *(f"output of block {k}" for k in range(1, len(states)))]
    if given:
        names[-1] = f"output of {modules[given[0]]} ({type(given[0]).__name__}), what the output layer reads"
    return names


def word_surprisal(nll: np.ndarray, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """How surprising each word is whose tokens are all predicted, represented words among them.

    `nll` is that of :func:`read_story`. Returns `word_index`, and −log₂ p of the word's tokens in bits, each (n,).
    """
    # Tokens of a word follow each other, and words follow words.
    after = tokens.first >= tokens.context_tokens
    bits = np.add.reduceat(nll, tokens.first[after] - tokens.context_tokens) / np.log(2)
    whole = tokens.before[tokens.first[after]] >= tokens.context_tokens
    return tokens.word_index[after][whole], bits[whole]


def predictability(nll: np.ndarray, tokens: Tokens) -> dict[str, float]:
    """How well a checkpoint predicts the story: the values of ``tables/perplexity.tsv`` (METHOD section 4).

    Perplexity is exp of the mean negative log-likelihood per token. Bits per word, the mean of
    :func:`word_surprisal`, can be compared between models with different tokenizers.
    """
    bits = float(word_surprisal(nll, tokens)[1].mean())
    known = nll[tokens.predicted]
    return {"perplexity": float(np.exp(np.mean(known))), "bits_per_word": bits, "n_tokens": len(known)}


def compute(folder: Path, tokens: Tokens, settings: Model, device: str):
    """Everything about one checkpoint, a folder of config.json and weights.

    Returns
    -------
    layers : array of float32 or float16, shape (depth + 1, n_represented, hidden)
        As they are to be kept.
    nll : array of float64
        As in :func:`read_story`.
    table : pandas.DataFrame
        One row per layer: `layer`, `name`, `precision`, `storage`, `precision_error` (relative, of up to
        :data:`SAMPLE` words, against float32; empty without a lower precision), `storage_error` (relative, of all
        words, against what was computed; empty for float32).
    """
    import pandas as pd

    size = settings.batch_tokens or BATCH_TOKENS[device]
    n_words = int(tokens.represented.sum())
    sample = np.unique(np.linspace(0, n_words - 1, min(SAMPLE, n_words)).round().astype(int))
    lower = settings.precision != "float32"
    model = load_model(folder, device, weights=settings.weights)
    if (moved := look_ahead(model, tokens)) > LOOK_AHEAD:
        raise InputError(
            f"{type(model).__name__} looks ahead: when the second half of a window changes, states of the first half "
            f"move by {moved:.2g} of their size. Neither they nor a perplexity would be those of a model that reads "
            "word by word; choose a causal model (model.source)"
        )
    if lower:
        exact = sample_layers(model, tokens, sample, size)
        # Loaded anew rather than converted: a model's tables of positions stay in float32 that way.
        del model
        model = load_model(folder, device, settings.precision, settings.weights)
    layers, nll = read_story(model, tokens, size)
    names = layer_names(model, tokens.ids[: tokens.context_tokens])
    stored = as_stored(layers, settings.storage)
    table = pd.DataFrame({"layer": np.arange(len(names)), "name": names})
    table = table.assign(precision=settings.precision, storage=settings.storage)
    table["precision_error"] = relative_error(layers[:, sample], exact) if lower else np.nan
    table["storage_error"] = np.nan if stored is layers else relative_error(stored, layers)
    return stored, nll, table


@command
def main(
    checkpoint: Path,
    name: str,
    step: int,
    tokens: str,
    output: str,
    layers: str,
    perplexity: str,
    surprisal: str,
    options: Model = Model(),
    threads: int = 1,
    gpus: int = 0,
) -> None:
    """Compute the vectors of every word at every layer, perplexity and surprisal, of one checkpoint.

    Parameters
    ----------
    checkpoint, name, step
        Local folder, or a file in it, of ``config.json`` and weights; its name, e.g. step-0, and training step.
    tokens
        ``representation/tokens.npz``.
    output, layers, perplexity, surprisal
        To write: the vectors (safetensors), what each layer is (table), the perplexity (table of one row), the
        surprisal of each word (table).
    threads, gpus
        CPU threads; GPUs given to the job (0: the CPU computes).
    """
    import pandas as pd
    import torch

    torch.set_num_threads(threads)
    folder = checkpoint.parent if checkpoint.is_file() else checkpoint
    story, device = read_record(tokens, Tokens), choose_device(gpus)
    checkpoints.check_download(folder)
    with located(f"{folder}, {tokens}"):
        vectors, nll, about = compute(folder, story, options, device)
    key = {"checkpoint": name, "step": step}
    row = key | predictability(nll, story)
    note(f"{name}: perplexity {row['perplexity']:.4g} over {row['n_tokens']} tokens")
    write_table(pd.DataFrame([row]), perplexity)
    word_index, bits = word_surprisal(nll, story)
    write_table(pd.DataFrame({"word_index": word_index, "surprisal": bits}), surprisal)
    write_table(about.assign(**key)[[*key, *about.columns]], layers)
    write_layers(output, vectors, story, name, last_layer=about["name"].iloc[-1], precision=options.precision)


if __name__ == "__main__":
    run(main)
