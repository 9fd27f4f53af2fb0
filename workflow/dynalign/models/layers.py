"""Vectors of words, layer by layer, on disk."""

import hashlib
import json
from pathlib import Path

import numpy as np

from dynalign.io.atomic import atomic_path
from dynalign.io.digests import write_digest
from dynalign.io.errors import InputError, existing
from dynalign.models.tokens import Tokens


def as_stored(layers: np.ndarray, storage: str) -> np.ndarray:
    """The layers in the numbers that they are kept in; it is an error if a value is too large for them."""
    if storage == "float32":
        return layers
    largest, limit = float(np.abs(layers).max()), float(np.finfo(storage).max)
    if largest > limit:
        at_most = f"{storage}'s largest, {limit:.5g}"
        raise InputError(f"a hidden state of {largest:.3g} exceeds {at_most}; set model.storage: float32")
    return layers.astype(storage)


def _digest(values: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and bytes: safetensors itself has no checksums."""
    about = hashlib.sha256(f"{values.dtype} {values.shape} ".encode())
    about.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return about.hexdigest()


def write_layers(path: str | Path, layers, tokens: Tokens, name: str, **about: str) -> None:
    """Write ``representation/{ckpt}.safetensors`` and its digest.

    Layers 0 … depth are float32 or float16, (n_represented, hidden). The metadata say the `name` of the checkpoint or
    baseline, and what else is given in `about`.
    """
    from safetensors.numpy import save_file

    arrays = {f"layer-{layer}": np.ascontiguousarray(values) for layer, values in enumerate(layers)}
    arrays["word_index"] = tokens.word_index[tokens.represented]
    # safetensors writes several metadata keys in an order that differs from run to run: one key, one order.
    about = about | {"sha256": {name: _digest(values) for name, values in arrays.items()}}
    text = json.dumps({"context_tokens": tokens.context_tokens, "name": name} | about, sort_keys=True)
    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(arrays, temporary, metadata={"dynalign": text})
        # safetensors writes files that only their owner can read.
        temporary.chmod(mode)
    write_digest(path)


def read_layer(path: str | Path, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Read one layer of ``representation/{ckpt}.safetensors``, and only that.

    Returns vectors, (n_represented, hidden), float32 also where the file keeps float16, and each row's `word_index`,
    int64. It is an InputError if the file is missing or broken, has no such layer, or differs from its checksum.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(existing(path), framework="np") as stored:
            names = set(stored.keys())
            wanted = {"word_index", f"layer-{layer}"}
            if not wanted <= names:
                there = sorted(names, key=lambda name: (len(name), name))
                raise InputError(f"{path}: lacks {', '.join(sorted(wanted - names))}; it has {', '.join(there)}")
            found = {name: stored.get_tensor(name) for name in wanted}
            # Another program's file has none.
            written = json.loads((stored.metadata() or {}).get("dynalign", "{}")).get("sha256", {})
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path}: not a safetensors file: {error}; delete it and run again") from None
    for name, values in found.items():
        if name in written and _digest(values) != written[name]:
            raise InputError(f"{path}: {name} differs from its checksum: damaged; delete it and run again")
    return found[f"layer-{layer}"].astype(np.float32, copy=False), found["word_index"]
