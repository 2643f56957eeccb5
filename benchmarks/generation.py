"""Speed of the lab's decoding on the miniature student, as ratios against one `generate` call a question.

Same model, dtype, threads, cache and inference mode on both sides, and in float32 the same answers, which is checked.
`python benchmarks/generation.py` prints every ratio beside its target.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import config  # noqa: E402
from adaptlab import benchmark, decoding, evaluation, models, workbench  # noqa: E402
from adaptlab.artifacts import Lab  # noqa: E402
from adaptlab.generation import LocalGenerator, Request  # noqa: E402
from benchmarks.ratios import Ratio, tell  # noqa: E402

MAX_TOKENS = 48
SAMPLES = 16
TEMPERATURE = 0.8
PHASES = {
    "_prefill": "prefill, the rest",
    "_forward": "model",
    "_forward, prompt": "model, prompts",
    "_forward, next token": "model, next tokens",
    "_choose": "choosing tokens",
    "_with_noise": "noise of sampling",
    "_alone": "ties scored again",
    "_ended": "ends and texts",
    "_compact": "dropping rows",
    "run": "the rest",
}
Chats = list[list[Any]]


def seconds(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median seconds of a call after one that warms up, and what it returned last."""
    result = call()
    taken = []
    for _ in range(repeats):
        began = perf_counter()
        result = call()
        taken.append(perf_counter() - began)
    return median(taken), result


def one_by_one(generator: LocalGenerator, chats: Chats) -> list[str]:
    """The baseline: transformers' own greedy `generate`, one question at a time."""
    loaded = generator.loaded
    said = []
    with torch.inference_mode():
        for chat in chats:
            ids = torch.tensor([generator.prompt_ids(Request(chat, max_tokens=MAX_TOKENS))])
            made = loaded.model.generate(
                input_ids=ids.to(loaded.model.device),
                attention_mask=torch.ones_like(ids).to(loaded.model.device),
                do_sample=False,
                max_new_tokens=MAX_TOKENS,
                use_cache=True,
                pad_token_id=loaded.tokenizer.pad_token_id,
            )
            said.append(loaded.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))
    return said


def batched(generator: LocalGenerator, chats: Chats, n: int = 1, temperature: float = 0.0) -> list[list[str]]:
    """The lab's own decoding of the same chats."""
    done = generator.generate(chats, n=n, temperature=temperature, max_tokens=MAX_TOKENS, seeds=0)
    return [[item.text for item in row] for row in done]


def lookups() -> tuple[Chats, Chats]:
    """The benchmark's visible lookup questions, closed-book and over what the profile retrieves."""
    lab = Lab(config.settings({"LAB_PROFILE": "mini"}), notebook="benchmark")
    text = workbench.document(lab)
    index = workbench.index(lab, text)
    asked = benchmark.lookup(workbench.questions(lab), split="visible")
    closed: Chats = [evaluation.messages_for(q.text(), []) for q in asked]
    hits = [index.search(q.text(), lab.profile.retrieval_k) for q in asked]
    return closed, [evaluation.messages_for(q.text(), found, text) for q, found in zip(asked, hits, strict=True)]


def lengths(generator: LocalGenerator, chats: Chats) -> str:
    """How many tokens the prompts have."""
    counts = sorted(len(generator.prompt_ids(Request(chat, max_tokens=MAX_TOKENS))) for chat in chats)
    return f"{len(chats)} prompts of {counts[0]} to {counts[-1]} tokens, median {counts[len(counts) // 2]}"


def against_one_by_one(name: str, generator: LocalGenerator, chats: Chats, target: float, repeats: int) -> Ratio:
    """The speed-up over the baseline; in float32 a different answer ends the benchmark."""
    slow, baseline = seconds(lambda: one_by_one(generator, chats), repeats)
    fast, ours = seconds(lambda: batched(generator, chats), repeats)
    changed = sum(a.strip() != b[0].strip() for a, b in zip(baseline, ours, strict=True))
    if changed and generator.loaded.model.dtype == torch.float32:
        raise SystemExit(f"{name}: {changed} of {len(chats)} answers differ from the baseline's.")
    note = f"{1000 * slow / len(chats):.0f} ms against {1000 * fast / len(chats):.1f} ms a question"
    return Ratio(name, slow / fast, target, True, f"{note}; {lengths(generator, chats)}; {changed} answers differ")


def sampling(generator: LocalGenerator, chats: Chats, repeats: int) -> list[Ratio]:
    """What sixteen samples cost against one, for a single question and for the whole grid."""
    rows = []
    for name, asked, target in (
        ("16 samples of one question against 1", chats[:1], 2.5),
        ("16 samples of the closed-book grid against 1", chats, 8.0),
    ):
        one, _ = seconds(lambda asked=asked: batched(generator, asked, 1, TEMPERATURE), repeats)
        many, _ = seconds(lambda asked=asked: batched(generator, asked, SAMPLES, TEMPERATURE), repeats)
        rows.append(Ratio(name, many / one, target, False, f"{one:.2f} s against {many:.2f} s"))
    return rows


def half_precision(exact: LocalGenerator, half: LocalGenerator, chats: Chats, name: str, repeats: int) -> Ratio:
    """float32 against bfloat16 on the same grid, and how many answers change."""
    slow, texts = seconds(lambda: batched(exact, chats), repeats)
    fast, others = seconds(lambda: batched(half, chats), repeats)
    changed = sum(a != b for a, b in zip(texts, others, strict=True))
    note = f"{changed} of {len(chats)} answers change"
    return Ratio(f"bfloat16 against float32, {name}", slow / fast, 1.0, True, note)


@contextmanager
def timed_phases(spent: dict[str, list[float]]) -> Iterator[None]:
    """Add up calls, seconds and CPU seconds of each phase of decoding in `spent`; a phase excludes those inside it."""
    kept = {name: getattr(decoding._Batch, name) for name in PHASES if hasattr(decoding._Batch, name)}
    running: list[list[float]] = []

    def watched(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *arguments: Any) -> Any:
            began, inside = (perf_counter(), process_time()), [0.0, 0.0]
            running.append(inside)
            try:
                return inner(self, *arguments)
            finally:
                running.pop()
                took = [perf_counter() - began[0], process_time() - began[1]]
                phase = name
                if name == "_forward":
                    phase = "_forward, prompt" if arguments[0].shape[1] > 1 else "_forward, next token"
                row = spent.setdefault(phase, [0.0, 0.0, 0.0])
                row[0] += 1
                for clock in (0, 1):
                    row[1 + clock] += took[clock] - inside[clock]
                    if running:
                        running[-1][clock] += took[clock]

        return call

    for name, inner in kept.items():
        setattr(decoding._Batch, name, watched(name, inner))
    try:
        yield
    finally:
        for name, inner in kept.items():
            setattr(decoding._Batch, name, inner)


def profile(generator: LocalGenerator, chats: Chats, n: int, temperature: float) -> str:
    """Where the time of one grid goes, by phase of decoding, then the costliest operations of the same grid."""
    batched(generator, chats[:4], n, temperature)  # warms up
    spent: dict[str, list[float]] = {}
    with timed_phases(spent):
        batched(generator, chats, n, temperature)
    total = sum(row[2] for row in spent.values()) or 1.0
    lines = [f"{'phase':<22} {'calls':>7} {'seconds':>8} {'CPU s':>7} {'share':>6}"]
    for name, (calls, wall, used) in sorted(spent.items(), key=lambda item: -item[1][2]):
        lines.append(f"{PHASES.get(name, name):<22} {calls:7.0f} {wall:8.2f} {used:7.2f} {used / total:6.0%}")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as record:
        batched(generator, chats, n, temperature)
    found = sorted(record.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in found) or 1
    lines += [f"  {event.key:<52.52} {event.self_cpu_time_total / whole:6.0%}" for event in found[:6]]
    return "\n".join(lines)


def one_prefill_each(generator: LocalGenerator, chats: Chats) -> float:
    """CPU seconds that reading every prompt once takes without a mask: no batching makes the grid cheaper than this."""
    prompts = [torch.tensor([generator.prompt_ids(Request(chat, max_tokens=MAX_TOKENS))]) for chat in chats]
    model = generator.loaded.model
    with torch.inference_mode():
        began = process_time()
        for ids in prompts:
            model(input_ids=ids.to(model.device), use_cache=True, logits_to_keep=1)
        return process_time() - began


def profiles(generator: LocalGenerator, closed: Chats, retrieved: Chats) -> str:
    """The profiles of the grids whose targets are hard, and what bounds the one with context."""
    parts = []
    for name, chats, n, heat in (
        ("grid with retrieved context", retrieved, 1, 0.0),
        ("closed-book grid", closed, 1, TEMPERATURE),
        (f"closed-book grid, {SAMPLES} samples", closed, SAMPLES, TEMPERATURE),
    ):
        parts.append(f"{name}\n{profile(generator, chats, n, heat)}")
    began = process_time()
    one_by_one(generator, retrieved)
    baseline, least = process_time() - began, one_prefill_each(generator, retrieved)
    parts.append(
        f"With context one generate call a question takes {baseline:.1f} CPU seconds, reading the prompts alone "
        f"{least:.1f}: whoever reads each prompt once cannot be more than {baseline / least:.1f} times as fast."
    )
    return "\n\n".join(parts)


def generators() -> tuple[LocalGenerator, LocalGenerator]:
    """The student in float32 and in bfloat16."""
    half = models.load("mini-granite")
    half.model.to(torch.bfloat16)
    return LocalGenerator(models.load("mini-granite")), LocalGenerator(half)


def main(argv: list[str] | None = None) -> int:
    """Print the ratios; the exit code is 0 where every target was reached."""
    parser = argparse.ArgumentParser(description="Measure the lab's decoding against one generate call a question.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads for both sides")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each side; the median counts")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead of the ratios")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    closed, retrieved = lookups()
    exact, half = generators()
    if options.profile:
        print(f"mini-granite, {options.threads} threads\n\n{profiles(exact, closed, retrieved)}")
        return 0
    gpu = torch.cuda.is_available()
    ratios = [
        against_one_by_one("closed-book grid", exact, closed, 10.0 if gpu else 4.0, options.repeats),
        against_one_by_one("grid with retrieved context", exact, retrieved, 10.0 if gpu else 2.0, options.repeats),
        *sampling(exact, closed, options.repeats),
        half_precision(exact, half, closed, "closed-book", options.repeats),
        half_precision(exact, half, retrieved, "with context", options.repeats),
    ]
    about = f"mini-granite, {options.threads} threads, {'GPU' if gpu else 'CPU'}"
    return tell(ratios, about, options.json)


if __name__ == "__main__":
    sys.exit(main())
