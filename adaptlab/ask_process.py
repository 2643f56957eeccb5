"""The process in which one model answers: `python -m adaptlab.ask_process FOLDER`, started by adaptlab.multimodel.

A fresh process, so that its peak memory is the model's and goes back as a whole. Each answer is kept on disk as it
comes; one that was stopped goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from adaptlab import child, files, memory
from config import LabError, ModelSpec

if TYPE_CHECKING:
    from adaptlab.generation import Completion, LocalGenerator

JOB, PROMPTS, ANSWERS, COST = "job.json", "prompts.jsonl", "answers.jsonl", "cost.json"
Prompt = dict[str, Any]  # `id`, `kind` (no context, retrieved, skill) and `messages`


def ask(folder: Path) -> dict[str, Any]:
    """Answer the prompts in `folder` with the model that the job there names, and return what that took.

    Kinds of prompts are answered one after another, so that the time of each is its own. Bytes are those above what
    the process held before the model was loaded.
    """
    job = files.parse_record(files.read_text(folder / JOB), JOB)
    prompts: list[Prompt] = files.read_jsonl(folder / PROMPTS)
    before = _libraries()
    from adaptlab import generation, models

    started = perf_counter()
    adapter = Path(job["adapter"]) if job["adapter"] else None
    loaded = models.load(ModelSpec(**job["model"]), adapter=adapter)
    cost: dict[str, Any] = {"load_seconds": perf_counter() - started}
    cost["loaded_bytes"] = memory.above(before, memory.in_use())
    model = generation.LocalGenerator(loaded)
    kinds: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        kinds.setdefault(prompt["kind"], []).append(prompt)
    for asked in kinds.values():
        _answer(model, folder, asked, job)
    cost["alone"] = {kind: _alone(model, kinds[kind], count, job) for kind, count in job["alone"].items()}
    cost["peak_bytes"] = memory.above(before, memory.peak())
    models.free(loaded)
    return {**cost, "left_bytes": memory.above(before, memory.in_use())}


def _libraries() -> int:
    """Bytes in use once the libraries are loaded, and before any weight is."""
    import peft  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    return memory.in_use()


def _answer(model: LocalGenerator, folder: Path, prompts: Sequence[Prompt], job: dict[str, Any]) -> None:
    """Answer what has no answer yet, in batches, and keep each as it comes."""
    kept = files.Partial(folder / ANSWERS)
    done = {(line["kind"], line["id"]) for line in kept.read()}
    todo = [prompt for prompt in prompts if (prompt["kind"], prompt["id"]) not in done]

    def keep(at: int, completions: list[Completion]) -> None:
        said = completions[0]
        if said.status == "error" and said.finish_reason != "refused":
            raise LabError(said.error or "A question got no answer.")
        line = {name: todo[at][name] for name in ("id", "kind")}
        line |= {"text": said.text, "read": said.prompt_tokens, "written": said.completion_tokens}
        kept.append({**line, "seconds": said.seconds, "refused": said.finish_reason == "refused"})

    if todo:
        chats = [prompt["messages"] for prompt in todo]
        model.generate(chats, max_tokens=job["max_tokens"], seeds=job["seed"], on_item=keep)


def _alone(model: LocalGenerator, prompts: Sequence[Prompt], count: int, job: dict[str, Any]) -> list[float]:
    """Seconds for each of `count` prompts, spread over all, where one person waits: asked by itself."""
    seconds = []
    for prompt in prompts[:: max(1, len(prompts) // max(1, count))][:count]:
        started = perf_counter()
        model.generate([prompt["messages"]], max_tokens=job["max_tokens"], seeds=job["seed"])
        seconds.append(perf_counter() - started)
    return seconds


if __name__ == "__main__":
    sys.exit(child.main(sys.argv[1:], ask, COST))
