"""`make bench`: measures installation, lab, demo and tests in fresh folders, and prints them beside their budgets.

Everything is measured from the outside, by running make as a person does; nothing of this clone's results is used.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Part:
    """One thing to measure. `quick` parts are measured with --quick too."""

    name: str
    target: str
    budget: float
    quick: bool


PARTS = (
    Part("installation", "env", 180, False),
    Part("make lab, after installation", "lab", 720, False),
    Part("make demo, after installation", "demo", 60, True),
    Part("make test, after installation", "test", 1500, False),
    Part("seed rows of a whole book", "documents", 20, True),
)

RATIOS = ("generation", "synthesis", "training_speed")  # scripts in this folder that print ratios beside their targets


@dataclass(frozen=True)
class Measured:
    """Seconds of a part, and its exit code."""

    part: Part
    seconds: float
    code: int

    @property
    def verdict(self) -> str:
        """Whether it worked, and within its budget."""
        if self.code:
            return f"failed with exit code {self.code}"
        return "within" if self.seconds <= self.part.budget else "over"


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def machine() -> str:
    """The machine in a line: processor, cores that this process may use, memory, Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{processor()}, {cores} cores, {memory:.0f} GB, Python {platform.python_version()}, load before {load:.1f}"


def make(target: str, scratch: Path, *variables: str) -> tuple[float, int]:
    """Seconds and exit code of one make with its own outputs; what it prints goes to a log beside them."""
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    environment = {**clean, "LAB_OUTPUTS": str(scratch / "outputs")}
    log = scratch / f"{target}.log"
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        command = ["make", "-C", str(ROOT), target, *variables]
        done = subprocess.run(command, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=False)
    seconds = time.monotonic() - started
    if done.returncode:
        tail = "\n  ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
        print(f"make {target} failed:\n  {tail}", file=sys.stderr)
    return seconds, done.returncode


def measure(part: Part, scratch: Path) -> Measured:
    """Measure one part; only the installation makes an environment of its own."""
    if part.target == "env":
        return Measured(part, *make("env", scratch, f"VENV={scratch / 'venv'}"))
    if part.target == "documents":
        return Measured(part, *_documents())
    if part.target == "demo":
        make("env-demo", scratch)
    return Measured(part, *make(part.target, scratch))


def _documents() -> tuple[float, int]:
    """Seconds and exit code of benchmarks/documents.py, which checks its memory and what it made too."""
    command = [sys.executable, str(ROOT / "benchmarks" / "documents.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        print(f"{done.stderr.strip()[-300:]}", file=sys.stderr)
        return 0.0, done.returncode or 1
    told = json.loads(done.stdout)
    print(f"  {', '.join(told['files'])}: {told['peak_megabytes']:.0f} MB, {told['verdict']}", file=sys.stderr)
    return told["seconds"], 0 if told["verdict"] in ("within", "over") else 1


def ratios(name: str) -> int:
    """Run a benchmark of ratios, which prints its own table; its exit code is 0 where every target was reached."""
    print(f"\nMeasuring {name}.", file=sys.stderr, flush=True)
    return subprocess.run([sys.executable, str(ROOT / "benchmarks" / f"{name}.py")], check=False).returncode


def table(found: list[Measured]) -> str:
    """Measured seconds beside their budgets."""
    rows = [(item.part.name, f"{item.seconds:.0f} s", f"{item.part.budget:.0f} s", item.verdict) for item in found]
    rows.insert(0, ("part", "measured", "budget", ""))
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(f"{a:<{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}  {d}".rstrip() for a, b, c, d in rows)


def main(argv: list[str] | None = None) -> int:
    """Measure; 0 when everything worked within its budget, else 1."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the lab against its budgets.")
    parser.add_argument("--quick", action="store_true", help="only what takes a minute or two: the replay")
    parser.add_argument("--only", choices=[*(part.target for part in PARTS), *RATIOS], help="only this part")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(argv)
    if options.only in RATIOS:
        return ratios(options.only)
    chosen = [part for part in PARTS if options.only in (None, part.target) and (part.quick or not options.quick)]
    about = machine()
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        for part in chosen:
            print(f"Measuring {part.name}.", file=sys.stderr, flush=True)
            found.append(measure(part, Path(folder)))
    if options.json:
        parts = {item.part.target: {"seconds": item.seconds, "budget": item.part.budget} for item in found}
        print(json.dumps({"machine": about, "parts": parts}, indent=2))
    else:
        print(f"{about}\n{table(found)}")
    missed = [] if options.quick or options.only or options.json else [name for name in RATIOS if ratios(name)]
    return 0 if all(item.verdict == "within" for item in found) and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
