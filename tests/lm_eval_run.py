"""Runs the real lm-eval on an exported task, in a process of its own: TASK_FOLDER MODEL MODEL_ARGS LIMIT OUT."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(folder: str, model: str, model_args: str, limit: str, out: str) -> None:
    """Write lm-eval's metric and its logged samples to `out`."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    name = next(Path(folder).glob("*.yaml")).stem
    manager = TaskManager(include_path=folder, include_defaults=False)
    options = {} if limit == "all" else {"limit": int(limit)}
    found = lm_eval.simple_evaluate(
        model=model,
        model_args=model_args,
        tasks=[name],
        task_manager=manager,
        apply_chat_template=True,
        log_samples=True,
        bootstrap_iters=0,
        batch_size=1,
        **options,
    )
    samples = [
        {"id": sample["doc"]["id"], "text": sample["filtered_resps"][0], "exact_match": sample["exact_match"]}
        for sample in found["samples"][name]
    ]
    value = {"exact_match": found["results"][name]["exact_match,none"], "samples": samples}
    Path(out).write_text(json.dumps(value), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
