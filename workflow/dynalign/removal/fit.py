"""Fitting every removal of one layer."""

from __future__ import annotations

import argparse

from dynalign.cli import note, options, progress, run
from dynalign.config.removal import Removal
from dynalign.removal.data import names, read_vectors, read_words
from dynalign.removal.erasers import Eraser, write_erasers
from dynalign.removal.leace import fit_leace
from dynalign.removal.ridge import fit_ridge


def fit(method: str, X, codes, removal: Removal) -> Eraser:
    """Fit the map of a method, ``ridge`` or ``leace``, with a configuration's options."""
    if method == "leace":
        return fit_leace(X, codes)
    return fit_ridge(X, codes, removal.alphas, removal.folds, removal.coding)


def main(argv: list[str] | None = None) -> None:
    """Command: representation of one layer + labels → ``removal/{ckpt}/layer-{layer}.npz``."""
    parser = argparse.ArgumentParser(prog="dynalign.removal.fit", description=main.__doc__)
    parser.add_argument("--representation", required=True, help="safetensors of one checkpoint")
    parser.add_argument("--layer", type=int, required=True, help="layer, 0 = embeddings")
    parser.add_argument("--labels", required=True, help="tables/labels.tsv")
    parser.add_argument("--properties", type=names, required=True, help="JSON list of label columns")
    parser.add_argument("--options", type=options(Removal), default=Removal(), help="section `removal`, JSON")
    parser.add_argument("--output", required=True, help=".npz to write")
    args = parser.parse_args(argv)
    X, word_index = read_vectors(args.representation, args.layer)
    table = read_words(args.labels, word_index, args.properties)
    arms = [(method, name) for method in args.options.methods for name in args.properties]
    maps = {}
    for method, name in progress(arms, "removal"):
        maps[method, name] = fit(method, X, table[name], args.options)
        if method == "ridge":
            fitted = maps[method, name]
            note(f"{name}: alpha {fitted.alpha:g}, cross-validated R² {fitted.cv_r2.max():.4f}")
    write_erasers(args.output, maps)


if __name__ == "__main__":
    run(main)
