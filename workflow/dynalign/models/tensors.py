"""Equal tensors in different files: with other metadata, or divided over other shards."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

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


def _outline(held: Mapping[str, tuple[Any, np.ndarray]]) -> str:
    """Digest of names, types and shapes, and of the sample."""
    names = sorted(held)
    digest = hashlib.sha256(json.dumps([(name, held[name][0]) for name in names]).encode())
    for name in (names[0], names[-1], max(names, key=lambda part: held[part][1].size)):
        digest.update(held[name][1][:SAMPLE].tobytes())
    return digest.hexdigest()
