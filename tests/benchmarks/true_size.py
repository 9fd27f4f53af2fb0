"""One cell of the paper's study at its true size, through the workflow's own rules: times, memory, planted truth.

``python tests/benchmarks/true_size.py`` makes data of the Harry Potter data's exact shape with a planted signal
(:mod:`dynalign.datasets.rehearsal`) and a GPT-NeoX with random weights and Pythia-160m's width (768, 12 heads; 2
layers of its 12, because every layer costs the same) as a local folder of checkpoints; then it runs snakemake step
by step with the default configuration: story, parse, labels, tokens, representations, removal of nine properties,
probing, encoding of the original and nine removals, statistics. For each step it prints wall time (snakemake's two
seconds included), CPU time and the peak memory of the largest process.

What was planted must be found: the last line tells the mean r over the voxels with a signal (`alignment`), over the
others (`alignment_unplanted`), and over the former when the responses are shifted by one TR against the words
(`alignment_shifted`). The script fails if they are not in that order.

    python tests/benchmarks/true_size.py [--threads 2] [--depth 2] [--voxels 27905] [--skip-probing]

``--preset config/published-code.yaml --voxels 500 --hidden 64`` runs that preset on a set cut small: its delays pair a
response with later words, so it must miss the signal.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

STUDY, CKPT, SUBJECT = "true-size", "step-0", "F"
R = f"results/{STUDY}"


def make_model(folder: Path, texts: list[str], depth: int, hidden: int) -> None:
    """A GPT-NeoX with random weights, its tokenizer trained on `texts`, as the hub lays out a checkpoint."""
    import torch
    from transformers import GPTNeoXForCausalLM

    from dynalign.config.embedded import Training
    from dynalign.models import training

    tokenizer = training.train_tokenizer(texts, 2048)
    size = Training(depth=depth, hidden=hidden, heads=hidden // 64, sequence=1024)
    torch.manual_seed(0)
    GPTNeoXForCausalLM(training.model_config(size, tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def configuration(depth: int, threads: int, preset: dict) -> dict:
    """What differs from the default configuration, on top of a preset."""
    ours = {
        "study": STUDY,
        "subjects": [SUBJECT],
        "baselines": [],
        "story": {"folder": "data", "download": None},
        "annotation": {
            "models": str(ROOT / "resources/stanza-mini"),
            "download": False,
            "processors": ["tokenize", "pos", "lemma", "depparse", "constituency"],
        },
        "model": {"source": "./model", "steps": [0], "depth": depth, "layers": [depth], "device": "cpu"},
        "encoding": {"device": "cpu"},
        "threads": {"representation": threads, "encoding": threads},
    }
    for key, value in preset.items():
        if key != "study":
            ours[key] = value | ours[key] if key in ours else value
    return ours


#: Steps in order, with a file that each makes.
TARGETS = {
    "story": f"{R}/story/words.tsv",
    "annotation": f"{R}/annotation/story.conllu",
    "properties": f"{R}/tables/labels.tsv",
    "tokens": f"{R}/representation/tokens.npz",
    "representation": f"{R}/representation/{CKPT}.safetensors",
    "removal": f"{R}/removal/{CKPT}/layer-{{layer}}.npz",
    "probing": f"{R}/probing/{CKPT}/layer-{{layer}}.tsv",
    "brain": f"{R}/brain/{SUBJECT}.npy",
    "encoding": f"{R}/encoding/{CKPT}/{SUBJECT}",
    "statistics": f"{R}/tables/removal_effects.tsv",
    "alignment": f"{R}/tables/alignment.tsv",
}


def measured(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a command; wall time and CPU time (s) and peak memory (GiB) of it and its descendants.

    The memory is that of the largest single process.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(output.decode())
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def shifted_scores(folder: Path, layer: int, threads: int, encoding: dict):
    """Scores of the original when each response is taken for the one a TR before it, run by run."""
    import numpy as np

    from dynalign.encoding.scores import read_scores
    from dynalign.io.arrays import read_array, write_array
    from dynalign.tables.reader import read_table

    trs = read_table(folder / R / "story/trs.tsv")
    runs = trs["run"].to_numpy()[trs["kept"].to_numpy() == 1]
    values = read_array(folder / R / f"brain/{SUBJECT}.npy")
    rows = np.concatenate([np.roll(np.flatnonzero(runs == run), -1) for run in np.unique(runs)])
    write_array(folder / "shifted.npy", values[rows])
    flags = {
        "representation": f"{R}/representation/{CKPT}.safetensors",
        "layers": layer,
        "labels": f"{R}/tables/labels.tsv",
        "erasers": f"{R}/removal/{CKPT}/layer-{layer}.npz",
        "words": f"{R}/story/words.tsv",
        "trs": f"{R}/story/trs.tsv",
        "responses": "shifted.npy",
        "properties": "random_label",
        "options": json.dumps(encoding),
        "threads": threads,
        "output-dir": "shifted",
    }
    command = [sys.executable, "-m", "dynalign.encoding.encode"]
    measured(command + [part for name, value in flags.items() for part in (f"--{name}", str(value))], folder)
    return read_scores(folder / f"shifted/layer-{layer}/none.original.npz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--depth", type=int, default=2, help="layers of the model; the last one is studied")
    parser.add_argument("--voxels", type=int, help="default: those of subject F")
    parser.add_argument("--hidden", type=int, default=768, help="width of the model, a multiple of 64")
    parser.add_argument("--preset", type=Path, help="a study's file to start from, as config/published-code.yaml")
    parser.add_argument("--skip-probing", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--only-model", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_model:
        make_model(args.only_model, [sys.stdin.read()], args.depth, args.hidden)
        return
    # What the BLAS of each job would otherwise take for itself.
    os.environ |= {name: str(args.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        run(folder, args)


def run(folder: Path, args: argparse.Namespace) -> None:
    import yaml

    from dynalign.io.arrays import read_array

    grammar = ROOT / "resources/demo/grammar.yaml"
    command = [sys.executable, "-m", "dynalign.datasets.rehearsal", "--folder", "data", "--subjects", SUBJECT]
    voxels = [] if args.voxels is None else ["--voxels", str(args.voxels)]
    rows = {"data": measured([*command, "--grammar", str(grammar), *voxels], folder)}
    words = read_array(folder / "data/words_fmri.npy")
    # In a process of its own: a child's peak memory counts from its parent's.
    command = [sys.executable, __file__, "--depth", str(args.depth), "--only-model", str(folder / "model/step0")]
    subprocess.run(command, input=" ".join(words), text=True, check=True, stderr=subprocess.DEVNULL)
    preset = yaml.safe_load(args.preset.read_text(encoding="utf-8")) if args.preset else {}
    study = configuration(args.depth, args.threads, preset)
    (folder / "study.json").write_text(json.dumps(study))

    for step, target in TARGETS.items():
        if step == "probing" and args.skip_probing:
            continue
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(ROOT / "workflow/Snakefile"),
            "--directory",
            str(folder),
        ]
        command += ["--cores", str(args.threads), "--configfile", str(folder / "study.json"), "--show-failed-logs"]
        rows[step] = measured([*command, target.format(layer=args.depth)], folder)
        print(f"{step:<15}{rows[step][0]:8.1f} s{rows[step][1]:8.1f} CPU-s{rows[step][2]:8.2f} GiB", flush=True)

    import numpy as np

    from dynalign.encoding.scores import read_scores
    from dynalign.statistics.effects import voxel_scores
    from dynalign.tables.reader import read_table

    planted = read_array(folder / f"data/truth_{SUBJECT}.npy")
    cell = folder / R / f"encoding/{CKPT}/{SUBJECT}/layer-{args.depth}"
    r = voxel_scores(read_scores(cell / "none.original.npz"))
    shifted = voxel_scores(shifted_scores(folder, args.depth, args.threads, study["encoding"]))
    alignment = read_table(folder / R / "tables/alignment.tsv")
    whole = alignment.loc[alignment["property"] == "original", "mean_r"].item()
    assert abs(whole - r.mean()) < 1e-6, "the table tells another mean than the scores"
    effects = read_table(folder / R / "tables/removal_effects.tsv")
    print(effects[["property", "mean_difference", "p", "p_paper"]].to_string(index=False))
    found, other, late = r[planted].mean(), r[~planted].mean(), shifted[planted].mean()
    # A preset may look for the signal where it is not.
    if not args.preset:
        assert found > late > other + 0.02, (found, late, other)
    assert abs(other) < 0.02, other
    arms = list(cell.glob("*.npz"))
    size = sum(path.stat().st_size for path in arms)
    minutes = sum(wall for wall, _, _ in rows.values()) / 60
    peak = max(memory for _, _, memory in rows.values())
    print(
        f"words={len(words)} voxels={len(planted)} arms={len(arms)} threads={args.threads} "
        f"cell_mib={size / 2**20:.1f} minutes={minutes:.2f} encoding_minutes={rows['encoding'][0] / 60:.2f} "
        f"peak_gib={peak:.2f} alignment={found:.4f} alignment_unplanted={other:.4f} alignment_shifted={late:.4f} "
        f"planted_above_shifted={np.mean(r[planted] > shifted[planted]):.3f}"
    )


if __name__ == "__main__":
    main()
