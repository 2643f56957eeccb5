"""How much memory a run takes: the GPU's, as PyTorch's allocator counts it, else this process's."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

# mallopt(3): blocks up to 2 GB come from the heap, which is never trimmed and grows by 256 MB.
GLIBC = {-3: 2**31 - 1, -1: 2**31 - 1, -2: 2**28}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD


@cache
def keep_freed_blocks() -> bool:
    """Let this process use its freed memory again instead of handing it back after every tensor, where glibc can.

    On a virtual machine a fresh page costs a good part of a training step. The process then stays as large as its
    peak. Left as it is where a MALLOC_ variable says what is wanted. Returns whether it was set.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # another C library has none
    return mallopt is not None and all(mallopt(option, value) for option, value in GLIBC.items())


def reset_peak() -> None:
    """Start the GPU's peak again; a process's own cannot be started again."""
    if on_gpu():
        import torch

        torch.cuda.reset_peak_memory_stats()


def peak() -> int:
    """Peak bytes on the GPU since `reset_peak`, else of this process so far."""
    if on_gpu():
        import torch

        return int(torch.cuda.max_memory_allocated())
    import resource

    kilo = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo


def in_use() -> int:
    """Bytes in use now: on the GPU, else resident in this process (0 where the system does not tell)."""
    if on_gpu():
        import torch

        return int(torch.cuda.memory_allocated())
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return 0
    import resource

    return int(pages.read_text().split()[1]) * resource.getpagesize()


def above(before: int, now: int) -> int:
    """`now` above what the process held `before` a model came; what a GPU counts began with that model, at 0."""
    return now if on_gpu() else max(0, now - before)


def on_gpu() -> bool:
    """Whether this process has used a GPU."""
    torch = sys.modules.get("torch")
    return bool(torch and torch.cuda.is_available() and torch.cuda.max_memory_allocated())
