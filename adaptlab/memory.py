"""How much memory a run takes: the GPU's, as PyTorch's allocator counts it, else this process's."""

from __future__ import annotations

import sys
from pathlib import Path


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


def on_gpu() -> bool:
    """Whether this process has used a GPU."""
    torch = sys.modules.get("torch")
    return bool(torch and torch.cuda.is_available() and torch.cuda.max_memory_allocated())
