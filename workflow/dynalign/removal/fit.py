"""Fitting every removal of one layer."""

from dynalign.cli import command, note, progress, run
from dynalign.config.removal import Removal
from dynalign.removal.data import read_words
from dynalign.removal.erasers import Eraser, RidgeEraser, write_erasers
from dynalign.removal.leace import fit_leace, whiten
from dynalign.removal.ridge import fit_ridge


def fit(method: str, X, codes, removal: Removal, whiten=whiten) -> Eraser:
    """Fit the eraser of a method, ``ridge`` or ``leace``, with a configuration's options.

    `X` of shape (n_words, hidden), `codes` of shape (n_words,); `whiten` as for :func:`fit_leace`.
    """
    if method == "leace":
        return fit_leace(X, codes, whiten)
    return fit_ridge(X, codes, removal.alphas, removal.folds, removal.coding)


@command
def main(
    representation: str, layer: int, labels: str, properties: list[str], output: str, options: Removal = Removal()
) -> None:
    """Fit every removal of one layer on all words.

    Parameters
    ----------
    representation, layer
        Vectors of words: ``representation/{ckpt}.safetensors`` and the layer in it, 0 = embeddings.
    labels, properties
        ``tables/labels.tsv`` and the columns of it to remove.
    output
        ``removal/{ckpt}/layer-{layer}.npz``.
    """
    X, codes, _ = read_words(representation, layer, labels, properties)
    fitted = {}
    for method, name in progress([(method, name) for method in options.families for name in properties], "removal"):
        eraser = fitted[method, name] = fit(method, X, codes[name], options)
        if isinstance(eraser, RidgeEraser):
            note(f"{name}: alpha {eraser.alpha:g}, cross-validated R² {eraser.cv_r2.max():.4f}")
    write_erasers(output, fitted)


if __name__ == "__main__":
    run(main)
