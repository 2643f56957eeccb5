"""`make gpu-check`: QLoRA and sampling at the true sizes of the students, on the NVIDIA GPU of this machine.

Every finished measurement is written at once to benchmarks/results/gpu-CARD-DATE.json, and the report beside it; the
same command goes on where it was stopped. `--device cpu --tiny` goes the same ways on the miniature student, in
seconds; what it finds is no result of a card and is never written there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from adaptlab import files  # noqa: E402
from benchmarks import gpu_cases, gpu_report  # noqa: E402
from benchmarks.gpu_cases import SECONDS, Case, Record  # noqa: E402
from config import LabError, slugify  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
CODE = (  # what was measured depends on these: a record is not gone on with after one of them has changed
    *(f"adaptlab/{name}.py" for name in ("attention", "decoding", "engines", "generation", "precision", "training")),
    "adaptlab/training_batches.py",
    *(f"benchmarks/{name}.py" for name in ("flops", "gpu_cases", "random_weights", "recipes")),
    "config.py",
)
LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "unsloth")
SAME = ("card", "versions", "code", "cases", "tiny")
FINISHED = ("measured", "out of memory", "not possible")  # what failed otherwise is tried again


def versions() -> dict[str, str]:
    """Python and the libraries that decide about speed, by what is installed; none is imported for it."""
    found = {"Python": ".".join(map(str, sys.version_info[:3])), "CUDA": str(torch.version.cuda or "none")}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def new_record(device: str, tiny: bool, arguments: Sequence[str], plan: Sequence[Case]) -> dict[str, Any]:
    """A record without measurements: when, where and with what."""
    card, memory = "a processor", float(_memory_of_machine())
    if device != "cpu":
        properties = torch.cuda.get_device_properties(0)
        card, memory = properties.name, float(properties.total_memory)
    return {
        "date": date.today().isoformat(),
        "card": card,
        "memory": memory,
        "command": " ".join(["python benchmarks/gpu_check.py", *arguments]),
        "tiny": tiny,
        "versions": versions(),
        "code": files.sha256_bytes(b"".join((ROOT / name).read_bytes() for name in CODE))[:16],
        "cases": [asdict(case) for case in plan],
        "measurements": {},
    }


def _memory_of_machine() -> int:
    from adaptlab.fit_plans import this_machine

    machine = this_machine()
    return int(machine.memory) if machine else 0


# ------------------------------------------------------------------------------------------------------------ resuming


def file_for(folder: Path, fresh: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Where to write, and what is there to go on from.

    An unfinished record of the same card, versions, code and cases is gone on with; else there is a new file.
    """
    kind = "tiny" if fresh["tiny"] else "gpu"
    stem = f"{kind}-{slugify(fresh['card'])}"
    for path in sorted(folder.glob(f"{stem}-*.json"), reverse=True):
        found = json.loads(files.read_text(path))
        same = all(found.get(key) == fresh[key] for key in SAME)
        if same and unfinished(found):
            return path, found
    path, number = folder / f"{stem}-{fresh['date']}.json", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{fresh['date']}-{number}.json"
    return path, fresh


def unfinished(record: dict[str, Any]) -> list[str]:
    """The names of the cases that have no result yet."""
    names = [Case(**case).name for case in record["cases"]]
    return [name for name in names if record["measurements"].get(name, {}).get("status") not in FINISHED]


def store(path: Path, record: dict[str, Any], plan: Sequence[Case]) -> None:
    """Write the record and its report."""
    files.atomic_write_json(path, record)
    files.atomic_write_text(path.with_suffix(".md"), gpu_report.report(record, plan))


# ----------------------------------------------------------------------------------------------------------- measuring


def apart(case: Case, device: str) -> Record:
    """Measure a case in a process of its own: a cap and what unsloth rewrites are for one process."""
    with tempfile.TemporaryDirectory(prefix="lab-gpu-") as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--device", device]
        command += ["--case", json.dumps(asdict(case)), "--answer", str(answer)]
        try:
            done = subprocess.run(command, cwd=ROOT, env=one_card(), capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return {"status": "failed", "why": f"it took longer than {SECONDS / 60:.0f} minutes"}
        if done.returncode == 0 and answer.is_file():
            return dict(json.loads(answer.read_text("utf-8")))
    last = (done.stderr.strip().splitlines() or [f"it ended with exit code {done.returncode}"])[-1]
    return {"status": "failed", "why": without_folders(last)}


def one_card() -> dict[str, str]:
    """The environment for a process that sees the first card only: the trainer would spread over several."""
    return {**os.environ, "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]}


def here(case: Case, device: str) -> Record:
    """Measure a case in this process."""
    try:
        return gpu_cases.measure(case, device)
    except (LabError, RuntimeError, ValueError) as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        return {"status": "failed", "why": without_folders(last)}


def without_folders(line: str) -> str:
    """A library's last words without this machine's folders, and not too long."""
    return line.replace(str(ROOT), ".").replace(str(Path.home()), "~")[:200]


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Measure all cases that are not finished; 0 where every target that can be judged was met."""
    plan = gpu_cases.cases(options.tiny)
    if not any(options.only in case.name for case in plan):
        raise LabError(f"No case has {options.only!r} in its name: leave --only out to see them all.")
    device = "cpu" if options.device == "cpu" else "cuda:0"
    path, record = file_for(options.out, new_record(device, options.tiny, arguments, plan))
    waiting = set(unfinished(record))
    for case in plan:
        if case.name not in waiting or options.only not in case.name:
            continue
        print(f"Measuring {case.name}.", file=sys.stderr, flush=True)
        why = gpu_cases.obstacle(case, None if device == "cpu" else record["memory"])
        if why is not None:
            outcome: Record = {"status": "not possible", "why": why}
        else:
            outcome = here(case, device) if options.tiny else apart(case, device)
        if outcome["status"] != "measured":
            print(f"  {outcome['status']}: {outcome['why']}", file=sys.stderr, flush=True)
        record["measurements"][case.name] = outcome
        store(path, record, plan)
    print(gpu_report.report(record, plan))
    missed = [target for target in gpu_report.targets(record, plan) if target.met is False]
    return 1 if missed or unfinished(record) else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options, or a LabError for those that do not go together."""
    parser = argparse.ArgumentParser(prog="make gpu-check", description="Measure the lab on this machine's NVIDIA GPU.")
    parser.add_argument("--device", choices=["cuda", "cuda:0", "cpu"], default="cuda", help="(cuda)")
    parser.add_argument("--tiny", action="store_true", help="the miniature student, to see that all ways work")
    parser.add_argument("--only", default="", help="only cases with this in their name")
    parser.add_argument("--out", type=Path, help="the folder for what --tiny finds")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(list(arguments))
    if options.device == "cpu" and not (options.tiny or options.case):
        raise LabError("A processor cannot train the students at their true sizes: add --tiny.")
    if bool(options.out) != options.tiny and not options.case:
        raise LabError("--tiny needs --out with a folder for what it finds, and nothing else takes it.")
    if options.tiny and options.out.resolve() == RESULTS:
        raise LabError("benchmarks/results is for what a card did: name another folder with --out.")
    if options.device != "cpu" and not torch.cuda.is_available():
        raise LabError("There is no NVIDIA GPU that PyTorch can use here, so nothing was measured.")
    options.out = options.out or RESULTS
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every target was met, 1 when one was missed or a case failed, 2 with a sentence when nothing is done."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = parse(arguments)
        if options.case:
            outcome = gpu_cases.measure(Case(**json.loads(options.case)), options.device)
            files.atomic_write_json(options.answer, outcome)
            return 0
        return run(options, arguments)
    except LabError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
