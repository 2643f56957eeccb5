"""Seed rows for a whole book: seconds and peak memory from file to seed rows, beside their budgets.

`python benchmarks/documents.py` takes the real rules if they are there, else the shipped rulebook (and says so);
`python benchmarks/documents.py FILE...` takes your documents. A process of its own is measured, start included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
REAL = ROOT.parent / "shared" / "data" / "basic-fantasy" / "Basic-Fantasy-RPG-Rules-r142.md"
SECONDS, MEGABYTES = 20.0, 1000.0


@dataclass(frozen=True)
class Measured:
    """What one run took and made. `peak_megabytes` counts everything the process held, Python and pandas included."""

    seconds: float
    peak_megabytes: float
    characters: int
    chunks: int
    seed_rows: int
    wrong_offsets: int
    torn_tables: int
    furniture_rows: int

    @property
    def verdict(self) -> str:
        """Whether the budgets hold and nothing is broken."""
        if self.wrong_offsets or self.torn_tables or self.furniture_rows or not self.seed_rows:
            return "broken"
        return "within" if self.seconds <= SECONDS and self.peak_megabytes <= MEGABYTES else "over"


def measure(paths: list[Path], size: int, overlap: int, table_rows: int | None) -> Measured:
    """Read, cut and make seed rows, in this process; what was made is checked after the clock has stopped."""
    started = perf_counter()
    from adaptlab import documents, synthesis

    text = documents.read(paths).text
    made = documents.chunks(text, size, overlap)
    seeds = synthesis.seed_rows(text, made, table_rows=table_rows)
    seconds = perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    from adaptlab.documents.inspection import inspect

    found = inspect(text, size, overlap)
    wrong = sum(chunk.text != text[chunk.start : chunk.end] for chunk in made)
    starts = {chunk.start for chunk in made}
    torn = sum(
        any(table.start < start < table.end for start in starts)
        for table in found.tables
        if table.end - table.start <= size
    )
    furniture = sum(any(a.start < c.end and c.start < a.end for a in found.furniture) for c in made)
    return Measured(seconds, peak, len(text), len(made), len(seeds), wrong, torn, furniture)


def in_a_process(paths: list[Path], size: int, overlap: int, table_rows: int | None) -> tuple[Measured, float]:
    """`measure` in a fresh process, and the seconds with its start."""
    command = [sys.executable, __file__, "--inside", json.dumps([size, overlap, table_rows]), *map(str, paths)]
    started = perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = perf_counter() - started
    if done.returncode:
        raise SystemExit(
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "The measured process failed."
        )
    return Measured(**json.loads(done.stdout)), seconds


def main(argv: list[str] | None = None) -> int:
    """Measure; 0 where the budgets hold and nothing is broken."""
    parser = argparse.ArgumentParser(description="Measure how long a book takes to become seed rows.")
    parser.add_argument("files", nargs="*", type=Path, help="documents (the real rules, else the shipped rulebook)")
    parser.add_argument("--chunk-size", type=int, help="characters (the mini profile's)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.inside:
        size, overlap, table_rows = json.loads(options.inside)
        print(json.dumps(asdict(measure(options.files, size, overlap, table_rows))))
        return 0
    import config

    shipped = config.DOCUMENT_FOLDER / str(config.RULEBOOK)
    paths = [path.resolve() for path in options.files] or [REAL if REAL.is_file() else shipped]
    if not options.files and not REAL.is_file():
        print(f"The real rules are not here ({REAL.name}): the shipped rulebook is measured.", file=sys.stderr)
    size = options.chunk_size or config.MINI.chunk_chars
    found, whole = in_a_process(paths, size, config.MINI.chunk_overlap, config.MINI.table_rows)
    if options.json:
        about = {"files": [path.name for path in paths], "budget_seconds": SECONDS, "budget_megabytes": MEGABYTES}
        print(json.dumps({**about, **asdict(found), "verdict": found.verdict}, indent=2))
        return 0 if found.verdict == "within" else 1
    names = ", ".join(path.name for path in paths)
    print(f"{names}: {found.characters:,} characters, {found.chunks:,} chunks, {found.seed_rows:,} seed rows")
    print(f"seconds                {found.seconds:8.1f}   of {SECONDS:g} (the process with its checks: {whole:.1f})")
    print(f"peak memory (MB)       {found.peak_megabytes:8.0f}   of {MEGABYTES:g}")
    print(f"chunks off their place {found.wrong_offsets:8d}   of 0")
    print(f"small tables torn      {found.torn_tables:8d}   of 0")
    print(f"chunks with furniture  {found.furniture_rows:8d}   of 0")
    print(f"{found.verdict} the budget" if found.verdict != "broken" else "broken: see the counts that should be 0")
    return 0 if found.verdict == "within" else 1


if __name__ == "__main__":
    sys.exit(main())
