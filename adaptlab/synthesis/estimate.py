"""A trial on a few passages, and what the whole run will take: calls, tokens, minutes and, with a price, money."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import LabError

if TYPE_CHECKING:
    import pandas as pd

PATIENCE = 5.0  # seconds to wait for the counts of calls that have ended: LiteLLM hands them over in a thread
SETTLED = 0.3  # seconds without a further count, after which none is on its way any more


@dataclass
class Usage:
    """Calls that ended well and the tokens that the endpoint reported for them; `reported` counts those that did."""

    calls: int = 0
    reported: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, response: Any) -> None:
        """Count one reply of LiteLLM."""
        usage = getattr(response, "usage", None)
        with self.lock:
            self.calls += 1
            if usage is not None and usage.total_tokens:
                self.reported += 1
                self.prompt_tokens += int(usage.prompt_tokens or 0)
                self.completion_tokens += int(usage.completion_tokens or 0)


@contextmanager
def counting() -> Iterator[Usage]:
    """Count every call that SDG Hub's blocks make through LiteLLM meanwhile, by LiteLLM's own call-back."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no price list is fetched
    import litellm
    from litellm.integrations.custom_logger import CustomLogger

    usage = Usage()

    class Counter(CustomLogger):
        """Hands each reply to `usage`."""

        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            usage.add(response_obj)

        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            usage.add(response_obj)

    counter = Counter()
    litellm.callbacks.append(counter)
    try:
        yield usage
    finally:
        for listed in (litellm.callbacks, litellm.success_callback, litellm.failure_callback):
            if counter in listed:
                listed.remove(counter)


def trial(flow_path: str | Path, seed_df: pd.DataFrame, *, sample: int = 8, **how: Any) -> dict[str, Any]:
    """Run the flow on `sample` passages spread evenly over `seed_df`; `how` goes to `generate`, with one seed.

    Returns plain figures for `estimate`. What it finishes lies in `out_dir`, so that the run itself need not ask again.
    `seconds` is None where nothing was asked because everything lay there already: then there is no pace to measure.
    """
    from adaptlab.synthesis.driver import generate

    if not len(seed_df) or sample < 1:
        raise LabError("A dry run needs at least one seed passage: build them with seed_rows.")
    step = max(1, len(seed_df) // sample)
    few = seed_df.iloc[::step].head(sample)
    with counting() as usage:
        started = time.perf_counter()
        made = generate(flow_path, few, **how)
        seconds = time.perf_counter() - started
        asked = int((~made.documents["cached"].astype(bool)).sum())
        _wait_for(usage, asked)
    reported = usage.reported > 0
    return {
        "passages": len(few),
        "asked": asked,
        "calls": usage.calls,
        "seconds": round(seconds, 3) if asked else None,
        "prompt_tokens": usage.prompt_tokens if reported else None,
        "completion_tokens": usage.completion_tokens if reported else None,
        "rows": len(made.rows),
        "whole_pairs": int((made.rows["problem"] == "").sum()),
        "statuses": {str(name): int(count) for name, count in made.documents["status"].value_counts().items()},
    }


def _wait_for(usage: Usage, calls: int) -> None:
    """Give the counts of the last calls time to arrive: at least `calls`, and more where a flow asks several times."""
    began = moved = time.monotonic()
    counted = usage.calls
    while (now := time.monotonic()) - began < PATIENCE and (counted < calls or now - moved < SETTLED):
        time.sleep(0.02)
        if usage.calls != counted:
            counted, moved = usage.calls, time.monotonic()


def estimate(
    tried: dict[str, Any], passages: int, passes: int = 1, prices: tuple[float, float] | None = None
) -> pd.DataFrame:
    """What `passes` over `passages` will take at the trial's pace, as a table `what, value`.

    `prices` are money for a million prompt and completion tokens. What the trial could not measure is left out.
    """
    import pandas as pd

    documents, asked = passages * passes, tried["asked"]
    lines: list[tuple[str, str]] = [("passages", f"{passages:,}"), ("passes", str(passes))]
    lines.append(("documents to run", f"{documents:,}"))
    if asked:
        times = documents / asked
        lines.append(("calls", f"{tried['calls'] * times:,.0f}"))
        if tried["prompt_tokens"] is not None:
            read, written = tried["prompt_tokens"] * times, tried["completion_tokens"] * times
            lines.append(("tokens read", f"{read:,.0f}"))
            lines.append(("tokens written", f"{written:,.0f}"))
            if prices:
                lines.append(("money", f"{(read * prices[0] + written * prices[1]) / 1e6:,.2f}"))
        lines.append(("minutes at the dry run's pace", f"{tried['seconds'] * times / 60:.1f}"))
    lines.append(("rows, if the rest is like these", f"{tried['rows'] / tried['passages'] * documents:,.0f}"))
    return pd.DataFrame(lines, columns=["what", "value"])
