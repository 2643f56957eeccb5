"""The lab's benchmark as a task of EleutherAI's lm-evaluation-harness, asked with the lab's own prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from adaptlab import benchmark, evaluation, lm_eval_task, workbench
from adaptlab.artifacts import Lab
from adaptlab.files import atomic_write_text, sha256_path, write_jsonl
from adaptlab.schemas import Arm, Generation, Question, Split
from config import LabError

Asked = Literal["none", "retrieved"]
FORMATS = ("lm-eval",)
MODULE = "adaptlab_task"
README = """# {title}

A task for lm-evaluation-harness, exported from {benchmark} (sha256 {sha256}) by `adaptlab benchmark export`.
{count} questions, context: {context}. The metric is a normalised exact match, defined in `{module}.py`, which needs
nothing but lm-eval; the same function scores the lab's own answers. The folder may be moved.

    lm_eval run --tasks {name} --include_path THIS_FOLDER --apply_chat_template --log_samples --output_path OUT \\
        --model hf --model_args pretrained=MODEL_FOLDER,dtype=float32
    lm_eval run --tasks {name} --include_path THIS_FOLDER --apply_chat_template --log_samples --output_path OUT \\
        --model local-chat-completions --model_args model=NAME,base_url=http://127.0.0.1:8000/v1/chat/completions
"""


class _Function(str):
    """A function of the task's Python file, as lm-eval's YAML names it."""


class _Dumper(yaml.SafeDumper):
    """A dumper that knows lm-eval's tag."""


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))


def chosen(questions: Sequence[Question], split: str = "all") -> list[Question]:
    """The questions of one split; `all` takes every one."""
    if split not in ("all", *get_args(Split)):
        raise LabError(f"--split {split!r} is not known: choose one of all, {', '.join(get_args(Split))}.")
    found = [question for question in questions if split in ("all", question.split)]
    if not found:
        raise LabError(f"The benchmark has no question of the split {split}: choose another one.")
    return found


def task_name(lab: Lab, context: Asked, split: str = "all") -> str:
    """The task's name in lm-eval."""
    parts = [lab.settings.slug.replace("-", "_"), "closed_book" if context == "none" else context]
    return "_".join(["adaptlab", *parts, *([split] if split != "all" else [])])


def documents_of(lab: Lab, questions: Sequence[Question], context: Asked) -> list[dict[str, Any]]:
    """The task's data: each question's prompt exactly as the lab's arms put it, its gold and its accepted forms."""
    text = workbench.document(lab)
    index = workbench.index(lab, text) if context == "retrieved" else None
    arm = Arm(name="export", model="student", context=context)
    rows = []
    for question in questions:
        hits = evaluation.context_for(arm, question, index, "unseen form", lab.profile.retrieval_k)
        [message] = evaluation.messages_for(question.text(), hits, text)
        rows.append(
            {
                "id": question.id,
                "category": question.category,
                "answer_type": question.answer_type,
                "prompt": message.content,
                "answer": question.answer,
                "accepted": [form for form in question.accepted if form] or [question.answer],
            }
        )
    return rows


def export_lm_eval(lab: Lab, out: Path, context: Asked = "none", split: str = "all") -> Path:
    """Write the task folder: YAML, questions, the Python file with the metric, and how to run it."""
    path = workbench.benchmark_path(lab)
    questions = chosen(benchmark.load_questions(path), split)
    rows = documents_of(lab, questions, context)
    name, sha256 = task_name(lab, context, split), sha256_path(path)
    if out.exists() and not out.is_dir():
        raise LabError(f"--out names {out.name}, which is a file: name a folder.")
    task = {
        "task": name,
        "custom_dataset": _Function(f"{MODULE}.dataset"),
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "answer",
        "process_results": _Function(f"{MODULE}.process_results"),
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "num_fewshot": 0,
        "generation_kwargs": {
            "until": [],
            "do_sample": False,
            "temperature": 0.0,
            "max_gen_toks": lab.profile.sampling.max_new_tokens,
        },
        "metadata": {"version": 1.0, "benchmark": path.name, "benchmark_sha256": sha256, "context": context},
    }
    about = README.format(
        title=name, benchmark=path.name, sha256=sha256[:12], count=len(rows), context=context, module=MODULE, name=name
    )
    write_jsonl(out / lm_eval_task.QUESTIONS, rows)
    atomic_write_text(out / f"{MODULE}.py", Path(lm_eval_task.__file__).read_text("utf-8"))
    atomic_write_text(out / "README.md", about)
    atomic_write_text(out / f"{name}.yaml", yaml.dump(task, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
    return out / f"{name}.yaml"


def exact_match(question: Question, text: str) -> bool:
    """The lab's exact match of one answer: the function that the exported task carries along."""
    return lm_eval_task.exact_match(question.answer, question.accepted, text)


def exact_match_rate(generations: Sequence[Generation], questions: Sequence[Question]) -> float:
    """The mean exact match of one arm's first answers; a question without an answer is an error."""
    texts = evaluation.answers(generations, questions)
    return sum(exact_match(question, texts[question.id]) for question in questions) / len(questions)
