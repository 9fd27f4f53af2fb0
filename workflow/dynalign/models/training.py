"""Text → a byte-level BPE tokenizer and a small GPT-NeoX, saved along its training.

The architecture and the tokenizer are those of the Pythia suite (Biderman et al. 2023, arXiv:2304.01373), at
the size that the configuration's `training` gives; saved steps are spaced as there: 0, 1, 2, 4, ….
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dynalign.cli import command, note, progress, run
from dynalign.config.embedded import Training
from dynalign.io.atomic import atomic_folder
from dynalign.io.errors import InputError, located
from dynalign.io.text import read_text
from dynalign.tables.writer import write_table

#: Separates documents; the only token that no text gives.
END_OF_TEXT = "<|endoftext|>"


def read_texts(paths: Sequence[str | Path]) -> list[str]:
    """Read each file as one document, with all white space as single spaces, as in the story that is tested.

    InputError if a file is missing, not UTF-8 or empty.
    """
    documents = []
    for path in paths:
        with located("training.texts"):
            documents.append(" ".join(read_text(path).split()))
        if not documents[-1]:
            raise InputError(f"{path}: holds no text to train on (training.texts)")
    return documents


def train_tokenizer(documents: Sequence[str], vocabulary: int):
    """Train a byte-level BPE tokenizer as in GPT-NeoX: a token holds the space before its word.

    `vocabulary` tokens are wanted; a small text may give fewer. InputError if it cannot hold all bytes.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if vocabulary < 257:  # bytes and the separator
        raise InputError(f"training.vocabulary is {vocabulary}; a byte-level vocabulary needs at least 257 tokens")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def encode(documents: Sequence[str], tokenizer) -> np.ndarray:
    """Tokenise the documents, each ended by the separator, into one array of int64 ids."""
    encodings = tokenizer(list(documents), add_special_tokens=False, verbose=False)["input_ids"]
    return np.concatenate([[*ids, tokenizer.eos_token_id] for ids in encodings], dtype=np.int64)


def model_config(training: Training, tokenizer):
    """Configure a GPT-NeoX of the given size."""
    from transformers import GPTNeoXConfig

    if training.hidden % training.heads:
        heads = f"training.heads = {training.heads}"
        raise InputError(f"training.hidden is {training.hidden}, which {heads} does not divide")
    return GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=training.hidden,
        num_hidden_layers=training.depth,
        num_attention_heads=training.heads,
        intermediate_size=4 * training.hidden,
        max_position_embeddings=max(2 * training.sequence, 128),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        architectures=["GPTNeoXForCausalLM"],
        use_cache=False,
    )


def learning_rate(step: int, training: Training) -> float:
    """Learning rate of the update that follows `step` updates: linear warm-up, then cosine decay to a tenth.

    Warm-up takes a sixteenth of the steps, so that the first saved steps differ.
    """
    warm_up = training.steps // 16
    if step < warm_up:
        return training.learning_rate * (step + 1) / warm_up
    share = (step - warm_up) / max(1, training.steps - 1 - warm_up)
    return training.learning_rate * (0.55 + 0.45 * math.cos(math.pi * share))


def train(ids: np.ndarray, config, training: Training, seed: int, save) -> np.ndarray:
    """Train a GPT-NeoX to predict the next token; returns each step's loss before its update, float64, (steps,).

    Each step takes `batch` stretches of `sequence` tokens from random places of the text, `ids`, (n_tokens,) int64.
    ``save(step, model)`` is called at each of ``training.saved_steps``. Same arguments (`seed` is that of the initial
    parameters and of the batches) and same number of threads give the same parameters, bit for bit. The loss is the
    batch's mean cross-entropy, in nats per token. InputError: the text is shorter than a sequence, the loss not finite.
    """
    import torch
    from transformers import GPTNeoXForCausalLM

    if len(ids) <= training.sequence:
        raise InputError(
            f"the training text has {len(ids)} tokens, fewer than training.sequence = {training.sequence} "
            "and the one that follows; give more text"
        )
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    model = GPTNeoXForCausalLM(config).train()
    batches = torch.Generator().manual_seed(seed)
    text = torch.from_numpy(ids)
    # Decay only matrices: biases and norms have no scale to shrink (as in GPT-3 and Pythia).
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=training.learning_rate, betas=(0.9, 0.95), fused=True)
    losses = np.empty(training.steps)
    save(0, model)
    for step in progress(range(training.steps), "training steps"):
        starts = torch.randint(len(ids) - training.sequence, (training.batch,), generator=batches)
        stretch = text[starts[:, None] + torch.arange(training.sequence + 1)]
        logits = model(stretch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), stretch[:, 1:].flatten())
        losses[step] = loss.item()
        if not math.isfinite(losses[step]):
            raise InputError(f"the loss is {losses[step]} at step {step}; lower training.learning_rate")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, training)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step + 1 in training.saved_steps:
            note(f"step {step + 1}: loss {losses[step]:.3f}")
            save(step + 1, model)
    return losses


@command
def main(texts: list[str], output_dir: Path, seed: int, options: Training = Training(), threads: int = 1) -> None:
    """Train a tokenizer and a model: text → ``model/tokenizer/``, ``model/step-{step}/``, ``model/training.tsv``.

    Parameters
    ----------
    texts
        UTF-8 text files, one document each.
    output_dir
        Folder of the model's folders.
    seed
        Of the initial parameters and of the batches.
    threads
        CPU threads.
    """
    import pandas as pd
    import torch
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(threads)
    disable_progress_bar()
    documents = read_texts(texts)
    tokenizer = train_tokenizer(documents, options.vocabulary)
    config = model_config(options, tokenizer)
    ids = encode(documents, tokenizer)
    note(f"{len(documents)} documents, {len(ids)} tokens of {len(tokenizer)} kinds")
    with atomic_folder(output_dir / "tokenizer") as folder:
        tokenizer.save_pretrained(folder)
        config.save_pretrained(folder)

    def save(step: int, model) -> None:
        with atomic_folder(output_dir / f"step-{step}") as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    losses = train(ids, config, options, seed, save)
    write_table(pd.DataFrame({"step": np.arange(len(losses)), "loss": losses}), output_dir / "training.tsv")


if __name__ == "__main__":
    run(main)
