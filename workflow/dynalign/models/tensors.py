"""Tensors of checkpoints against each other: equal ones in different files, and how alike those of two steps are."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: Bytes of each matrix that tell whether two checkpoints are of one run.
LIKENESS = 262_144

#: How numbers of each kind in safetensors are read; of BF16, the upper half of a float32.
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}

#: Bytes of the first, the last and the largest tensor that tell most checkpoints apart.
SAMPLE = 65_536


def tensors(files: Iterable[Path]) -> dict[str, tuple[Any, np.ndarray]]:
    """Every tensor of a checkpoint's .safetensors: type and shape, and its bytes, mapped and not read.

    Empty for other files, and where one is missing or broken, which is said when weights are read. The format: 8 bytes
    with the size of a header in JSON, the header, then the bytes that it gives the places of.
    """
    held: dict[str, tuple[Any, np.ndarray]] = {}
    try:
        for path in files:
            if path.suffix != ".safetensors":
                return {}
            content = np.memmap(path, np.uint8, "r")
            start = 8 + int.from_bytes(content[:8].tobytes(), "little")
            for name, about in json.loads(content[8:start].tobytes()).items():
                if name != "__metadata__":
                    first, last = (start + offset for offset in about["data_offsets"])
                    held[name] = (about["dtype"], about["shape"]), content[first:last]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return held


def equal_tensors(checkpoints: Mapping[str, Iterable[Path]]) -> dict[str, str]:
    """Checkpoints whose tensors are those of an earlier one, byte by byte: name → the earlier one's name.

    Only those of the same names, types and shapes are compared, and in full only where a sample is equal: what differs
    is told by 200 kB of each.
    """
    earlier: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for name, files in checkpoints.items():
        # Mapped anew for each comparison: every mapping holds a file open.
        if not (held := tensors(files)):
            continue
        for other in earlier.setdefault(_outline(held), []):
            others = tensors(checkpoints[other])
            if all(np.array_equal(others[part][1], content) for part, (_, content) in held.items()):
                found[name] = other
                break
        else:
            earlier[_outline(held)].append(name)
    return found


def likeness(one: Iterable[Path], other: Iterable[Path]) -> float | None:
    """Correlation of the weights of two checkpoints, the median over their matrices; None where none can be compared.

    Of each matrix the first :data:`LIKENESS` bytes. Vectors are left out: in all runs scales begin at 1, biases at 0.
    """
    first, second = tensors(one), tensors(other)
    found = []
    for name, (kind, content) in first.items():
        if name in second and second[name][0] == kind and kind[0] in _FLOATS and sum(n > 1 for n in kind[1]) > 1:
            x, y = (_numbers(kind[0], part[:LIKENESS]) for part in (content, second[name][1]))
            x, y = x - x.mean(), y - y.mean()
            if scale := float(np.sqrt((x @ x) * (y @ y))):
                found.append(float(x @ y) / scale)
    return float(np.median(found)) if found else None


def _numbers(kind: str, content: np.ndarray) -> np.ndarray:
    """Bytes of safetensors as float64."""
    values = content.view(_FLOATS[kind])
    return (values.astype("<u4") << 16).view("<f4").astype(float) if kind == "BF16" else values.astype(float)


def _outline(held: Mapping[str, tuple[Any, np.ndarray]]) -> str:
    """Digest of names, types and shapes, and of the sample."""
    names = sorted(held)
    digest = hashlib.sha256(json.dumps([(name, held[name][0]) for name in names]).encode())
    for name in (names[0], names[-1], max(names, key=lambda part: held[part][1].size)):
        digest.update(held[name][1][:SAMPLE].tobytes())
    return digest.hexdigest()
