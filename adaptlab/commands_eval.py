"""The commands for people who already have tools: `adaptlab eval`, `adaptlab benchmark` and `adaptlab verify data`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import config
from adaptlab.commands import add, show
from config import LabError

PRINTED = 20  # so many items of a list are printed; --json has them all


def register(nouns: Any) -> None:
    """Add the groups `eval` and `benchmark` to the command line."""
    _register_eval(nouns)
    group = nouns.add_parser("benchmark", help="the benchmark: export it, or make your own")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="verb")
    export = add(
        verbs,
        "export",
        "write the benchmark as a task of lm-evaluation-harness",
        benchmark_export,
        example="adaptlab benchmark export --format lm-eval --out lm-eval-task --context retrieved",
    )
    export.add_argument("--format", default="lm-eval", choices=["lm-eval"], help="the only format so far")
    export.add_argument("--out", required=True, type=Path, help="the folder to write")
    export.add_argument("--context", default="none", choices=["none", "retrieved"], help="what the prompts hold (none)")
    export.add_argument("--split", default="all", help="all, visible or held_out (all)")
    made = add(
        verbs,
        "make",
        "turn a CSV or JSON Lines file of questions and answers about a document into a benchmark",
        benchmark_make,
        example="adaptlab benchmark make faq.csv --document handbook.md --out questions.jsonl",
    )
    made.add_argument("file", type=Path, help="columns or fields: question, answer, and what else you know")
    made.add_argument("--document", required=True, type=Path, help="the Markdown or text file they are about")
    made.add_argument("--out", required=True, type=Path, help="the benchmark to write, for LAB_BENCHMARK")
    made.add_argument("--keep-unproven", action="store_true", help="keep questions whose answer no quote proves")


def _register_eval(nouns: Any) -> None:
    group = nouns.add_parser("eval", help="evaluate an endpoint, keep baselines, gate a deployment")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="verb")
    baseline = add(
        verbs,
        "baseline",
        "store the scores of a run, question by question, to compare with later",
        eval_baseline,
        example="adaptlab eval baseline run.json --out baseline.json",
    )
    baseline.add_argument(
        "source", nargs="?", default="eval_with_context", help="a run file, or a stored result (eval_with_context)"
    )
    baseline.add_argument("--out", required=True, type=Path, help="the file to write")
    asked = add(
        verbs,
        "run",
        "ask an OpenAI-compatible endpoint a sample of the benchmark; the key is read from LAB_ENDPOINT_KEY only",
        eval_run,
        example="adaptlab eval run --endpoint http://127.0.0.1:8000/v1 --model mini-granite --out run.json",
    )
    asked.add_argument(
        "--endpoint",
        required=True,
        action="append",
        metavar="URL",
        help="the base URL, which mostly ends in /v1; repeat it for replicas, which share the questions",
    )
    asked.add_argument("--model", help="the model's name there (else the only one that it offers)")
    asked.add_argument("--sample", type=_sample, default=50, help="so many questions, or all (50)")
    asked.add_argument("--seed", type=int, help="draws another sample (LAB_SEED)")
    asked.add_argument("--context", default="retrieved", choices=["none", "retrieved"], help="(retrieved)")
    asked.add_argument("--out", required=True, type=Path, help="the file to write; a killed run goes on from there")
    report = add(
        verbs,
        "report",
        "show runs as a Markdown table with Wilson intervals",
        eval_report,
        example="adaptlab eval report baseline.json run.json",
    )
    report.add_argument("files", nargs="+", type=Path, help="run or baseline files")
    gated = add(
        verbs,
        "gate",
        "pass or fail a run against a baseline and targets: exit code 0 pass, 1 fail, 2 cannot be judged",
        eval_gate,
        example="adaptlab eval gate run.json --baseline baseline.json --min-accuracy 0.6 --max-latency 2",
    )
    gated.add_argument("file", type=Path, help="the run to judge")
    gated.add_argument("--baseline", required=True, type=Path, help="a baseline or run to compare with, paired")
    gated.add_argument("--min-accuracy", type=float, help="least share of right answers (strict), 0 to 1")
    gated.add_argument("--min-validity", type=float, help="least share of answers that came and can be read, 0 to 1")
    gated.add_argument("--max-latency", type=float, help="most seconds for 95 of 100 answers")
    brought = add(
        verbs,
        "import",
        "put results of an earlier workshop day in the place of the recap's own",
        eval_import,
        example="adaptlab eval import day2_results.json",
    )
    brought.add_argument("file", type=Path, help="our generations, or an older keyword-graded file (docs/commands.md)")
    brought.add_argument("--as", dest="target", help="eval_results or eval_with_context (told from the contexts)")
    brought.add_argument("--check", action="store_true", help="validate and say what is missing, but store nothing")


def _sample(text: str) -> int | None:
    """A number of questions; None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of questions: give one from 1 on, or all")
    return int(text)


def _lab() -> Any:
    """The lab as the command line resolves it."""
    from adaptlab.artifacts import Lab

    return Lab(config.settings(), notebook="adaptlab eval")


def _listed(title: str, items: list[str]) -> list[str]:
    """A heading with the first items of a list; nothing for an empty one."""
    rest = [f"  and {len(items) - PRINTED} more (--json has them all)"] if len(items) > PRINTED else []
    return [f"{title} ({len(items)}):", *(f"  {item}" for item in items[:PRINTED]), *rest] if items else []


# ------------------------------------------------------------------------------------------------------- eval


def eval_baseline(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Store a baseline."""
    from adaptlab import eval_runs
    from adaptlab.files import atomic_write_json

    baseline = eval_runs.baseline_of(_lab(), arguments.source)
    atomic_write_json(arguments.out, baseline)
    rows = eval_runs.report_rows([baseline])
    value = {"file": str(arguments.out), "questions": len(baseline.scores), "rows": rows}
    show(arguments, value, f"{eval_runs.markdown(rows[:1])}\n\n{eval_runs.origins([baseline])}")
    return 0


def eval_run(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Ask an endpoint."""
    from adaptlab import eval_runs

    run = eval_runs.run_endpoint(
        _lab(),
        arguments.endpoint,
        arguments.out,
        model=arguments.model,
        size=arguments.sample,
        context=arguments.context,
        seed=arguments.seed,
    )
    rows = eval_runs.report_rows([run])
    text = f"{eval_runs.markdown(rows[:1])}\n\n{eval_runs.origins([run])}"
    show(arguments, {"file": str(arguments.out), "model": run.model, "rows": rows}, text)
    return 0


def eval_report(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Show runs."""
    from adaptlab import eval_runs

    runs = [eval_runs.load(path) for path in arguments.files]
    rows = eval_runs.report_rows(runs)
    show(arguments, rows, f"{eval_runs.markdown(rows)}\n\n{eval_runs.origins(runs)}")
    return 0


def eval_gate(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Judge a run."""
    from adaptlab import eval_runs, gate

    targets = gate.Targets(arguments.min_accuracy, arguments.min_validity, arguments.max_latency).checked()
    checks = gate.gate(eval_runs.load(arguments.file), eval_runs.load(arguments.baseline), targets)
    lines = [f"{check.outcome}: {check.name}: {check.said}" for check in checks]
    found = gate.outcome(checks)
    show(arguments, gate.as_json(checks), "\n".join([*lines, f"The gate's outcome: {found}."]))
    return gate.EXIT[found]


def eval_import(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Take over earlier results."""
    from adaptlab import imports, workbench

    lab = _lab()
    imported = imports.read(lab, arguments.file, arguments.target)
    asked = workbench.questions(lab)
    scores = [imports.accuracy_note(items, asked) for items in imported.generations.values()]
    written = [] if arguments.check else imports.store(lab, arguments.file, imported)
    lines = [*imported.notes, *scores, *(f"Stored as {path}." for path in written)]
    lines.append("Delete it to let the recap compute its own." if written else "Nothing was stored (--check).")
    value = {"notes": imported.notes, "scores": scores, "stored": [str(path) for path in written]}
    show(arguments, value, "\n".join(lines))
    return 0


# -------------------------------------------------------------------------------------------------- benchmark


def benchmark_export(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Write an lm-eval task."""
    from adaptlab import exports

    path = exports.export_lm_eval(_lab(), arguments.out, arguments.context, arguments.split)
    value = {"task": path.stem, "folder": str(path.parent), "file": str(path)}
    show(arguments, value, f"Wrote the task {path.stem} into {path.parent}; its README.md says how to run it.")
    return 0


def benchmark_make(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Make a benchmark."""
    from adaptlab import own_benchmark

    if arguments.out.is_dir():
        raise LabError(f"--out names {arguments.out.name}, which is a folder: name a .jsonl file.")
    made = own_benchmark.make(arguments.file, arguments.document, arguments.keep_unproven)
    own_benchmark.write(made, arguments.out)
    lines = [
        *_listed("Faults", made.faults),
        *_listed("Guessed", made.guessed),
        *_listed("Quotes proposed; read them", made.proposed),
        *_listed("Unproven", made.unproven),
        *made.notes,
        f"Wrote {len(made.questions)} questions to {arguments.out}. To run the lab on them:",
        f"  make lab LAB_DOCUMENT={arguments.document} LAB_BENCHMARK={arguments.out}",
    ]
    value = {**vars(made), "questions": len(made.questions), "file": str(arguments.out)}
    show(arguments, value, "\n".join(lines))
    return 0


# ------------------------------------------------------------------------------------------------ verify data


def register_verify_data(verbs: Any) -> None:
    """Add `verify data` to the command line."""
    data = add(
        verbs,
        "data",
        "check training rows: line and field of every fault; exit code 1 on faults, 2 on an unreadable file",
        verify_data,
        example="adaptlab verify data train.jsonl",
    )
    data.add_argument("files", nargs="+", metavar="FILE", help="JSON, JSON Lines, CSV, Parquet; or prebuilt, live, all")


def data_files(names: list[str]) -> list[Path]:
    """The files that are named; `prebuilt`, `live` and `all` stand for the lab's own training rows."""
    settings = config.settings()
    folders = {"prebuilt": [settings.prebuilt_dir], "live": [settings.live_dir]}
    folders["all"] = [*folders["prebuilt"], *folders["live"]]
    found: list[Path] = []
    for name in names:
        if name not in folders or Path(name).is_file():
            found.append(Path(name))
            continue
        rows = [folder / "training_data.jsonl" for folder in folders[name]]
        present = [path for path in rows if path.is_file()]
        if not present:
            raise LabError(f"There are no training rows for {name}: run 02SyntheticDataGen/01SDGHub.ipynb first.")
        found += present
    return found


def verify_data(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Check training rows."""
    from adaptlab import verify_data as checks

    files = data_files(arguments.files)
    settings = config.settings(need_document=False)
    student, longest = settings.student, settings.profile.training.max_length
    tokenizer = None if student.remote else checks.tokenizer_at_hand(student.location)
    found = [checks.check_file(path, tokenizer, longest) for path in files]
    lines: list[str] = []
    for file in found:
        lines += [fault.sentence(file.file) for fault in file.faults]
        lines += [f"{file.file}: {note}" for note in file.notes]
        kinds = ", ".join(f"{count} in {kind}" for kind, count in file.formats.items())
        lines.append(f"{file.file}: {file.rows} rows ({kinds or 'none sound'}), {len(file.faults)} faults.")
    if tokenizer is None:
        lines.append("Lengths were not checked: the student's tokenizer is not on this machine.")
    value = [
        {**vars(file), "faults": [vars(fault) for fault in file.faults], "lengths_checked": tokenizer is not None}
        for file in found
    ]
    show(arguments, value, "\n".join(lines))
    return 1 if any(file.faults for file in found) else 0


def verify_all(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Check the prebuilt results, this machine's run if there is one, and the training rows of both."""
    from adaptlab import capture, verify_data as checks

    settings = config.settings()
    problems = capture.verify_prebuilt(settings)
    folders = [settings.prebuilt_dir]
    if settings.live_dir.is_dir():
        problems += capture.verify_live(settings)
        folders.append(settings.live_dir)
    for folder in folders:
        path = folder / "training_data.jsonl"
        if path.is_file():
            problems += [fault.sentence(str(path)) for fault in checks.check_file(path).faults]
    show(arguments, {"problems": problems}, "\n".join(problems) or "Everything that is stored is whole.")
    return 1 if problems else 0
