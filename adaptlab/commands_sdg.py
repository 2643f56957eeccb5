"""Synthesis from the command line: `adaptlab sdg run` and `sdg status`, and the group of verbs in modules beside it.

A further verb is one function that takes `verbs` (the subparsers) and stands in `VERBS`; `options` gives it the options
that all share, and `chosen` what they come to.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import config
from adaptlab import commands_sdg_export, commands_sdg_top_up
from adaptlab.commands import add, show
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

    from adaptlab.artifacts import Lab
    from adaptlab.synthesis import Plan

ROWS = "rows.jsonl"
DOCUMENTS = "documents"
TEMPERATURE = 0.7


@dataclass(frozen=True)
class Chosen:
    """What the options come to: the lab, the flow, its seed data and the folder for results."""

    lab: Lab
    flow: Path
    seeds: pd.DataFrame
    out: Path

    @property
    def records(self) -> list[dict[str, Any]]:
        """The seed data, a dictionary a passage."""
        return list(self.seeds.to_dict("records"))


def register(nouns: Any) -> None:
    """Add the group `sdg` to the command line."""
    group = nouns.add_parser("sdg", help="synthetic data: generate rows from a document, look how far it is")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="verb")
    for verb in VERBS:
        verb(verbs)


def _run_verb(verbs: Any) -> None:
    example = "adaptlab sdg run --document handbook.md --endpoint http://127.0.0.1:8000/v1 --model my-teacher"
    help_text = "run a flow on every passage of a document; a run that was stopped goes on from there"
    options(add(verbs, "run", help_text, sdg_run, example=example))


def _status_verb(verbs: Any) -> None:
    help_text = "say how far a run with these options is; exit code 1 while anything is left to do"
    options(add(verbs, "status", help_text, sdg_status, example="adaptlab sdg status"))


VERBS: tuple[Callable[[Any], None], ...] = (
    _run_verb,
    _status_verb,
    commands_sdg_top_up.top_up_verb,
    commands_sdg_export.configure,
)


def options(parser: argparse.ArgumentParser) -> None:
    """The options that decide what is generated; every one of them that changes an answer is part of its key."""
    parser.add_argument("--document", type=Path, help="a Markdown or text file (LAB_DOCUMENT)")
    parser.add_argument("--part", help="only what stands under this heading, or all (LAB_PART, else the profile's)")
    parser.add_argument("--limit", type=_count, help="only so many passages from the start")
    parser.add_argument("--flow", help="a flow of the lab, a flow.yaml, or an id of SDG Hub (the profile's)")
    parser.add_argument("--rows", type=Path, help=f"a {ROWS} of an earlier run, for the flow that paraphrases")
    parser.add_argument("--passes", type=_count, default=1, help="so often each passage, each time another seed (1)")
    parser.add_argument("--out", type=Path, help="the folder for results (outputs/sdg/PROFILE/DOCUMENT/FLOW)")
    parser.add_argument("--endpoint", metavar="URL", action="append", help="where the teacher answers; may be repeated")
    parser.add_argument("--model", help="the teacher's name there (LAB_TEACHER_MODEL)")
    parser.add_argument(
        "--concurrency", type=_count, help="documents at once at each endpoint (LAB_ENDPOINT_CONCURRENCY)"
    )
    parser.add_argument("--temperature", type=_temperature, default=TEMPERATURE, help=f"({TEMPERATURE})")
    parser.add_argument("--max-tokens", type=_count, help="of a reply (the profile's)")


def chosen(arguments: argparse.Namespace) -> Chosen:
    """The lab, flow, seed data and folder that the options name; asks no endpoint."""
    from adaptlab import synthesis
    from adaptlab.artifacts import Lab

    for value, variable in (
        (arguments.document, "LAB_DOCUMENT"),
        (",".join(arguments.endpoint or []), "LAB_ENDPOINT_URL"),
        (arguments.model, "LAB_TEACHER_MODEL"),
        (arguments.concurrency, "LAB_ENDPOINT_CONCURRENCY"),
    ):
        if value:
            os.environ[variable] = str(value)
    lab = Lab(config.settings(), notebook="adaptlab sdg")
    obstacle = lab.obstacle([lab.settings.teacher], ["sdg_hub"])
    if obstacle:
        raise LabError(f"Nothing can be generated here: {obstacle}: name --endpoint and --model, or put that right.")
    arguments.max_tokens = arguments.max_tokens or lab.profile.reply_tokens
    flow = synthesis.find_flow(arguments.flow or lab.settings.flow)
    name = arguments.flow if arguments.flow and "/" not in arguments.flow else flow.parent.name
    default = lab.settings.outputs_dir / "sdg" / lab.profile.name / lab.settings.slug / config.slugify(name)
    return Chosen(lab, flow, _seeds(lab, flow, arguments), arguments.out or default)


def plan_of(arguments: argparse.Namespace, made: Chosen, teacher: dict[str, Any]) -> Plan:
    """The plan for the teacher that `workbench.teacher_endpoint` yields, or one without an address to look with."""
    from adaptlab import synthesis

    endpoint, first = made.lab.settings.endpoint, made.lab.settings.seeds.synthesis
    return synthesis.plan(
        made.flow,
        **teacher,
        temperature=arguments.temperature,
        max_tokens=arguments.max_tokens,
        seeds=range(first, first + arguments.passes),
        out_dir=made.out / DOCUMENTS,
        max_concurrency=endpoint.concurrency if endpoint.url or arguments.concurrency else 32,
        timeout=endpoint.timeout,
    )


def _seeds(lab: Lab, flow: Path, arguments: argparse.Namespace) -> pd.DataFrame:
    """The flow's seed data: passages of the document, or the rows of an earlier run."""
    import pandas as pd

    from adaptlab import files, synthesis, workbench
    from adaptlab.synthesis.flows import required_columns

    if "original_question" in required_columns(flow):
        if arguments.rows is None:
            raise LabError(f"The flow {flow.parent.name} works on rows: name a {ROWS} of an earlier run with --rows.")
        rows = pd.DataFrame(files.read_jsonl(arguments.rows))
        if "problem" in rows.columns:
            rows = rows[rows["problem"] == ""]
        seeds = synthesis.paraphrase_seeds(rows)
    else:
        text = workbench.document(lab)
        whole = (arguments.part or "").lower() == "all"
        chunks = workbench.chunks(lab, text) if whole else workbench.part(lab, text, arguments.part)
        passages = synthesis.seed_rows(text, chunks, workbench.facts(lab, text), table_rows=lab.profile.table_rows)
        seeds = synthesis.flow_seeds(passages, flow)
    seeds = seeds.head(arguments.limit) if arguments.limit else seeds
    if seeds.empty:
        raise LabError(f"There is nothing to generate from in {lab.settings.document.name}: name another --part.")
    return seeds


# ----------------------------------------------------------------------------------------------------- the commands


def sdg_run(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Generate; exit code 1 if a document ended in an error, which the next run asks again."""
    from adaptlab import files, workbench

    made = chosen(arguments)
    with files.exclusive(made.out / ".lock", f"rows in {made.out}"):
        with workbench.teacher_endpoint(made.lab) as teacher, _two_step_interrupt():
            plan = plan_of(arguments, made, teacher)
            total = len(made.seeds) * arguments.passes
            asked: Counter[str] = Counter()
            with made.lab.progress(total=total, desc=f"{made.flow.parent.name}") as bar:
                for ended in plan.stream(made.records):
                    asked["cached" if ended["cached"] else "asked"] += 1
                    bar.update()
        _write_rows(plan.rows(made.records), made.out / ROWS)
    value = _value(made, plan.survey(made.records)) | {"asked": asked["asked"], "kept from before": asked["cached"]}
    checked = f"adaptlab sdg export --rows {made.out / ROWS} --out FOLDER checks and exports them"
    show(arguments, value, f"{_told(value)}\nThe rows are in {made.out / ROWS}; {checked}.")
    return 1 if value["error"] else 0


def sdg_status(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """How far a run is; exit code 1 while documents are open or ended in an error."""
    made = chosen(arguments)
    endpoint, name = made.lab.settings.endpoint, made.lab.settings.teacher.name
    model = f"openai/{endpoint.model or name}" if endpoint.url else f"hosted_vllm/{name}"  # as teacher_endpoint has it
    plan = plan_of(arguments, made, {"model": model, "api_base": endpoint.url or "http://localhost"})
    value = _value(made, plan.survey(made.records))
    show(arguments, value, _told(value))
    return 1 if value["error"] or value["open"] else 0


def _value(made: Chosen, counts: Counter[str]) -> dict[str, Any]:
    documents = sum(counts[name] for name in ("ok", "empty", "error", "open"))
    return {"flow": str(made.flow), "folder": str(made.out), "documents": documents, **counts}


def _told(value: dict[str, Any]) -> str:
    """The counts in a sentence or two."""
    said = (
        f"{value['documents']} documents (passages times passes): {value['ok']} gave rows, {value['empty']} gave none, "
        f"{value['error']} ended in an error, {value['open']} are open; {value['rows']} whole rows."
    )
    if value["error"] or value["open"]:
        said += "\nadaptlab sdg run with the same options asks for what is missing, and for nothing else."
    return said


def _write_rows(rows: Iterator[dict[str, Any]], path: Path) -> None:
    """Write rows one at a time beside `path`, then put the file in its place."""
    from adaptlab import files

    part = path.with_name(f".{path.name}.part")
    with files.needing_room(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as stream:
            for row in rows:
                stream.write(files.to_json(row, path.name) + "\n")
        os.replace(part, path)


@contextmanager
def _two_step_interrupt() -> Iterator[None]:
    """The first Ctrl-C lets the documents in flight end and keeps them; the second one ends the process at once."""
    pressed = False

    def handle(_signal: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            os._exit(130)  # every result is written whole or not at all, so nothing can be torn
        pressed = True
        print("\nWaiting for the documents in flight; Ctrl-C again ends at once.", file=sys.stderr, flush=True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _count(text: str) -> int:
    """A number from 1 on, or argparse's own complaint."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _temperature(text: str) -> float:
    """A temperature, or argparse's own complaint."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no temperature: give a number from 0 to 2")
    return value
