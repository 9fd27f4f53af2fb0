"""How fast representations are computed, for a GPT-NeoX of 160M-parameter shape with random weights.

Three numbers, from one run on this machine, float32:

- `naive_ratio`: windows per second of the workflow against those of the paper's loop (each prefix tokenised again,
  one window at a time, logits of all positions), measured in turns;
- `peak_share`: floating-point operations per second of the workflow against those of square float32 matrix
  products, measured in the same turns;
- `minutes_160m`: a whole checkpoint at the size of the Harry Potter text (7,201 tokens, 5,143 represented words):
  loading, all layers, perplexity, writing.

    python tests/benchmarks/representation.py [--threads 2] [--skip-whole]

On a machine that others use too, `--cpu-seconds` with one thread measures CPU time instead of the clock's.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

N_TOKENS, N_WORDS, CONTEXT = 7_201, 5_176, 50
#: Pythia-160m (Biderman et al. 2023, table 1).
DEPTH, HIDDEN, HEADS, VOCABULARY = 12, 768, 12, 50_304
TURNS = 5

#: Seconds so far: the clock's, or with `--cpu-seconds` those of the process.
clock = time.perf_counter


def story(ids):
    """A story of the real text's size: 5,176 words, of which the last 5,143 are represented."""
    import numpy as np

    from dynalign.models.tokens import Tokens

    # The first represented word is number 33 and begins at token 51; words beyond one token each share the rest.
    early = np.linspace(0, 51, 34).round().astype(int)[:-1]
    late = np.linspace(51, N_TOKENS, N_WORDS - 33 + 1).round().astype(int)
    first = np.concatenate([early, late[:-1]])
    last = np.append(first[1:], N_TOKENS) - 1
    return Tokens(ids, np.arange(N_WORDS), first, last, first > CONTEXT, CONTEXT, DEPTH, HIDDEN, 2048)


def operations(n_windows: int) -> float:
    """Floating-point operations that `n_windows` need: products with weights, attention, one row of logits.

    2 per weight and token: 12 · hidden² weights per block. Attention: queries × keys and weights × values.
    """
    blocks = DEPTH * (2 * 12 * HIDDEN**2 * CONTEXT + 4 * CONTEXT**2 * HIDDEN)
    return n_windows * float(blocks + 2 * HIDDEN * VOCABULARY)


def matrix_product_rate(seconds: float = 1.0) -> float:
    """Best operations per second of a float32 product of 2048 × 2048 matrices."""
    import torch

    a, b = torch.randn(2, 2048, 2048)
    best, start = 0.0, clock()
    while clock() - start < seconds:
        before = clock()
        torch.mm(a, b)
        best = max(best, 2 * 2048**3 / (clock() - before))
    return best


def naive(model, tokenizer, words, n: int) -> float:
    """Windows per second of the paper's loop, over the last `n` prefixes."""
    import torch

    start = clock()
    for end in range(len(words) - n, len(words)):
        window = tokenizer(" ".join(words[: end + 1]))["input_ids"][-CONTEXT:]
        with torch.no_grad():
            output = model(torch.tensor([window]), output_hidden_states=True)
        for state in output.hidden_states:
            state[0, -1].numpy()
    return n / (clock() - start)


def ours(model, tokens, n: int) -> float:
    """Windows per second of the workflow, over a text of `n` windows."""
    from dataclasses import replace

    from dynalign.models.representation import BATCH_TOKENS, read_story

    inside = tokens.last < n + CONTEXT - 1
    short = replace(
        tokens,
        ids=tokens.ids[: n + CONTEXT - 1],
        **{name: vars(tokens)[name][inside] for name in ("word_index", "first", "last", "represented")},
    )
    start = clock()
    read_story(model, short, BATCH_TOKENS["cpu"])
    return n / (clock() - start)


def build(folder: Path):
    """A model of that shape, saved in `folder`, and a tokenizer; returns the tokenizer."""
    import torch
    import transformers

    from dynalign.models.training import train_tokenizer

    torch.manual_seed(0)
    config = transformers.GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=4 * HIDDEN,
        max_position_embeddings=2048,
    )
    transformers.GPTNeoXForCausalLM(config).save_pretrained(folder)
    return train_tokenizer([Path("resources/demo/story.txt").read_text(encoding="utf-8")], 2048)


def main() -> None:
    """Print the measurements, the last line as ``naive_ratio=… peak_share=… minutes_160m=…``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="CPU threads")
    parser.add_argument("--skip-whole", action="store_true", help="leave the whole checkpoint (about 6 minutes)")
    parser.add_argument("--cpu-seconds", action="store_true", help="measure CPU time instead of the clock's")
    args = parser.parse_args()
    if args.cpu_seconds:
        global clock
        clock = time.process_time
    # Read when the libraries start: as the workflow's rule sets them.
    os.environ |= {"OMP_NUM_THREADS": str(args.threads), "TOKENIZERS_PARALLELISM": "false"}
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "4294967296"
    os.environ["MALLOC_TRIM_THRESHOLD_"] = "8589934592"
    os.environ["MALLOC_TOP_PAD_"] = "268435456"
    if "DYNALIGN_BENCHMARK" not in os.environ:
        os.execvpe(sys.executable, [sys.executable, *sys.argv], os.environ | {"DYNALIGN_BENCHMARK": "1"})

    import numpy as np
    import torch

    from dynalign.io.arrays import write_record
    from dynalign.models import representation

    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = build(folder / "model")
        text = (Path("resources/demo/story.txt").read_text(encoding="utf-8") * 9).split()[:N_WORDS]
        tokens = story(np.random.default_rng(0).integers(0, VOCABULARY, N_TOKENS))
        assert (tokens.represented.sum(), len(tokens.ids)) == (5_143, 7_201)
        model = representation.load_model(folder / "model")
        ours(model, tokens, 60)

        ratios, shares = [], []
        for turn in range(TURNS):
            before = matrix_product_rate()
            batched = ours(model, tokens, 120)
            peak = max(before, matrix_product_rate())
            single = naive(model, tokenizer, text, 30)
            ratios.append(batched / single)
            shares.append(operations(1) * batched / peak)
            print(
                f"turn {turn + 1}: {batched:.1f} windows/s, one by one {single:.1f}; "
                f"{operations(1) * batched / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s",
                flush=True,
            )
        minutes = float("nan")
        if not args.skip_whole:
            write_record(folder / "tokens.npz", tokens)
            start, cpu = clock(), time.process_time()
            representation.main(
                [
                    *("--tokens", str(folder / "tokens.npz"), "--checkpoint", str(folder / "model")),
                    *("--name", "step-0", "--step", "0", "--threads", str(args.threads)),
                    *("--output", str(folder / "x.safetensors"), "--layers", str(folder / "layers.tsv")),
                    *("--perplexity", str(folder / "perplexity.tsv"), "--surprisal", str(folder / "surprisal.tsv")),
                ]
            )
            minutes = (clock() - start) / 60
            print(f"whole checkpoint: {minutes:.2f} min, {time.process_time() - cpu:.0f} CPU-s, {args.threads} threads")
    print(f"naive_ratio={np.median(ratios):.2f} peak_share={np.median(shares):.2f} minutes_160m={minutes:.2f}")


if __name__ == "__main__":
    main()
