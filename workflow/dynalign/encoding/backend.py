"""Where float32 products run: numpy on a CPU, torch on a GPU, behind one small face.

On a CPU numpy's OpenBLAS multiplied 1.15 times faster than torch here, without 2 s of import per job. Voxels are
independent problems, so threads share them out in tiles of fixed width, and each thread calls a BLAS that is told
to stay on one thread: small matrices and elementwise work then use all threads too. A column of a product is rounded
differently in products of different widths: fixed ones make results equal in every byte for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dynalign.cli import choose_device


def spread(function: Callable, items: Iterable, threads: int, initializer: Callable | None = None) -> list:
    """Apply a function to all items on this many threads, results in order."""
    with ThreadPoolExecutor(threads, initializer=initializer) as pool:
        return list(pool.map(function, items))


class Numpy:
    """Arrays on the CPU: `threads` at work, `width` voxels at a time on each; equal widths give equal bytes."""

    xp = np  #: numpy or torch: what is called through it exists with the same name and meaning in both

    def __init__(self, threads: int = 1, width: int = 1024):
        self.threads, self.width = threads, width

    def put(self, array) -> np.ndarray:
        """A float32 copy on the device."""
        return np.ascontiguousarray(array, dtype=np.float32)

    def get(self, array) -> np.ndarray:
        """The values as a numpy array."""
        return array

    def empty(self, shape):
        """A float32 array to write into."""
        return np.empty(shape, dtype=np.float32)

    def zeros(self, shape):
        """A float64 array to add to."""
        return np.zeros(shape)

    def columns(self, array, positions) -> np.ndarray:
        """A copy of some columns of an array on the device."""
        return np.take(array, positions, axis=1)

    def map(self, function: Callable, items: Iterable) -> list:
        """Apply a function that works on the device to all items, several in flight."""
        return spread(function, items, self.threads)


class Torch:
    """As :class:`Numpy`, with tensors on a torch device: "cuda", or "cpu" (to test the same code without a GPU).

    `threads` of the CPU do what stays in float64. `width` voxels at a time are on each stream, of which `in_flight`
    are at work. With `tf32` products round their factors to 10 bits of mantissa.
    """

    def __init__(self, device: str, threads: int = 1, width: int = 4096, tf32: bool = False, in_flight: int = 3):
        import torch

        self.xp, self.device = torch, torch.device(device)
        self.threads, self.width, self.tf32, self.in_flight = threads, width, tf32, in_flight

    def exact(self) -> Torch:
        """The same without TF32."""
        return Torch(str(self.device), self.threads, self.width, False, self.in_flight)

    def put(self, array):
        return self.xp.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device)

    def get(self, tensor) -> np.ndarray:
        return tensor.cpu().numpy()

    def empty(self, shape):
        return self.xp.empty(shape, dtype=self.xp.float32, device=self.device)

    def zeros(self, shape):
        return self.xp.zeros(shape, dtype=self.xp.float64, device=self.device)

    def columns(self, tensor, positions):
        return tensor.index_select(1, self.xp.from_numpy(positions).to(self.device))

    def map(self, function: Callable, items: Iterable) -> list:
        torch = self.xp
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        if self.device.type == "cpu":
            torch.set_num_threads(1)
            return spread(function, items, self.threads)
        # What was put on the device on this thread's stream must be there before other streams read it.
        torch.cuda.synchronize(self.device)

        def own_stream():
            torch.cuda.set_stream(torch.cuda.Stream(self.device))

        return spread(function, items, self.in_flight, own_stream)


def choose(gpus: int, threads: int, block_voxels: int, tf32: bool) -> Numpy | Torch:
    """The backend of a job that was given `gpus` GPUs; an `InputError` if torch finds none."""
    device = choose_device(gpus, "encoding")
    return Numpy(threads) if device == "cpu" else Torch(device, threads, block_voxels, tf32)
