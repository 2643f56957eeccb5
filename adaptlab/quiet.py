"""The libraries' own bars and notes, kept out of a notebook while they work."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def quiet_loading() -> Iterator[None]:
    """No bar for the fraction of a second in which weights are loaded, and no note on faster kernels to download."""
    from transformers.utils import logging as hf_logging

    drawn = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        with no_logs_below(logging.ERROR, ["bitsandbytes"]):
            yield
    finally:
        if drawn:
            hf_logging.enable_progress_bar()


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no notes of the libraries; errors still come through as exceptions."""
    import datasets
    from transformers.utils import logging as hf_logging

    bars, level = datasets.are_progress_bars_disabled(), hf_logging.get_verbosity()
    datasets.disable_progress_bars()
    hf_logging.set_verbosity_error()
    try:
        with quiet_loading(), no_logs_below(logging.ERROR, ["trl", "accelerate"]):
            yield
    finally:
        hf_logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()


@contextmanager
def no_logs_below(level: int, names: Sequence[str]) -> Iterator[None]:
    """These loggers tell only what is at `level` or above, then what they told before."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.setLevel(was)
