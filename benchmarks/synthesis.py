"""Speed and memory of the synthesis driver, as ratios that are measured in the same run.

`python benchmarks/synthesis.py` prints every ratio beside its target: documents at once against one call at a time,
at a server that takes 200 ms for a reply and at the miniature teacher (`adaptlab serve`, which batches what arrives
together), and the peak memory of 10,000 documents against that of 1,000.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from adaptlab import synthesis  # noqa: E402
from adaptlab.synthesis.flows import sdg_hub  # noqa: E402
from benchmarks.ratios import Ratio, tell  # noqa: E402

LATENCY = 0.2
CHARACTERS = 4000  # of a passage, where memory is measured: one that stayed in memory would show
CHOICES = ("latency", "teacher", "memory")


def records(count: int, characters: int = 0) -> Iterator[dict[str, str]]:
    """Passages of at least so many characters, made as they are asked for."""
    for number in range(count):
        text = f"Place {number} has {number + 3} gates. Its tower is {number + 40} feet high."
        text = f"{'Nobody knows why. ' * (characters // 18)}{text}"
        yield {"chunk_id": f"c{number}", "title": f"Atlas > Place {number}", "document": text}


def seconds(rows: Sequence[dict[str, str]], workers: int, flow: str, **teacher: Any) -> float:
    """How long the driver takes for some documents in a new folder; a document that failed ends the benchmark."""
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        plan = synthesis.plan(flow, out_dir=folder, max_concurrency=workers, **teacher)
        began = time.perf_counter()
        failed = [done["error"] for done in plan.stream(rows) if done["status"] == "error"]
        took = time.perf_counter() - began
    if failed:
        raise SystemExit(f"{len(failed)} documents failed: {failed[0]}")
    return took


@contextmanager
def apart(latency: float) -> Iterator[str]:
    """The URL of a canned server in a process of its own, as every endpoint is: its work is none of the driver's."""
    command = [sys.executable, __file__, "--serve", str(latency)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate("\n")


def serve(latency: float) -> None:
    """Answer on a free port, whose URL is printed, until a line comes in."""
    from synthesis_helpers import FastServer, scripted

    with FastServer(scripted, latency=latency) as server:
        print(server.url, flush=True)
        sys.stdin.readline()


def latency(documents: int, workers: int) -> Ratio:
    """The speed-up over one call at a time, at a server that takes `LATENCY` seconds for every reply."""
    few = max(8, documents // 8)
    with apart(LATENCY) as url:
        about = {"model": "hosted_vllm/teacher", "api_base": url, "flow": "question_answer_rows"}
        seconds(list(records(workers)), workers, **about)  # warms up both sides alike
        slow = seconds(list(records(few)), 1, **about) / few
        fast = seconds(list(records(documents)), workers, **about) / documents
    note = f"{1000 * slow:.0f} ms against {1000 * fast:.1f} ms a document, {workers} at once"
    return Ratio(f"a server with {1000 * LATENCY:.0f} ms a reply", slow / fast, 8.0, True, note)


def teacher(documents: int, workers: int) -> Ratio:
    """The same at the miniature teacher, on passages of the lab's own rulebook, one call at a time against many."""
    import config
    from adaptlab import serving, workbench
    from adaptlab.artifacts import Lab

    lab = Lab(config.settings({"LAB_PROFILE": "mini"}), notebook="benchmark")
    text = workbench.document(lab)
    seeds = synthesis.seed_rows(text, workbench.part(lab, text), workbench.facts(lab, text), table_rows=1)
    rows = seeds.iloc[:: max(1, len(seeds) // documents)].head(documents).to_dict("records")
    with serving.running(models=[lab.settings.teacher.name]) as url:
        about = {"model": f"hosted_vllm/{lab.settings.teacher.name}", "api_base": url, "flow": lab.profile.flow}
        about |= {"api_key": serving.client_key(), "max_tokens": 256, "temperature": 0.0}
        seconds(rows[:2], 2, **about)  # loads the model
        slow = seconds(rows, 1, **about) / len(rows)
        fast = seconds(rows, workers, **about) / len(rows)
    note = f"{1000 * slow:.0f} ms against {1000 * fast:.0f} ms a document, {len(rows)} passages, {workers} at once"
    return Ratio("the miniature teacher", slow / fast, 2.0, True, note)


def memory(few: int, many: int, characters: int) -> Ratio:
    """Peak memory of `many` documents against that of `few`, each in a process of its own, at a canned server."""
    from synthesis_helpers import FastServer, scripted

    with FastServer(scripted) as server:
        low, high = (_peak(server.url, count, characters) for count in (few, many))
    note = (
        f"{low / 2**20:.0f} MB for {few:,} documents, {high / 2**20:.0f} MB for {many:,} of {characters:,} characters"
    )
    return Ratio(f"peak memory of {many:,} documents against {few:,}", high / low, 1.1, False, note)


def _peak(url: str, count: int, characters: int) -> int:
    """Bytes of memory at the peak of a process that drives `count` documents and writes their rows."""
    command = [sys.executable, __file__, "--drive", url, str(count), str(characters)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr or f"The run over {count} documents ended with {done.returncode}.")
    return int(done.stdout)


def drive(url: str, count: int, characters: int) -> int:
    """Drive documents through the flow; the peak memory of this process in bytes."""
    sdg_hub()
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        flow = synthesis.find_flow("question_answer_rows")
        plan = synthesis.plan(flow, model="hosted_vllm/teacher", api_base=url, out_dir=folder, max_concurrency=4)
        ended = sum(done["status"] == "ok" for done in plan.stream(records(count, characters)))
        rows = sum(1 for _ in plan.rows(records(count, characters)))
    if (ended, rows) != (count, 2 * count):
        raise SystemExit(f"Of {count} documents {ended} ended well, with {rows} rows.")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(argv: list[str] | None = None) -> int:
    """Print the ratios; the exit code is 0 where every target was reached."""
    parser = argparse.ArgumentParser(description="Measure the synthesis driver.")
    parser.add_argument("--only", choices=CHOICES, help="only this part")
    parser.add_argument("--workers", type=int, default=32, help="documents at once (32)")
    parser.add_argument("--documents", type=int, nargs=2, default=[1000, 10000], help="for memory (1000 10000)")
    parser.add_argument("--characters", type=int, default=CHARACTERS, help=f"of each of them ({CHARACTERS})")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--drive", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve is not None:
        serve(options.serve)
        return 0
    if options.drive:
        print(drive(options.drive[0], *map(int, options.drive[1:])))
        return 0
    parts = {
        "latency": lambda: latency(8 * options.workers, options.workers),
        "teacher": lambda: teacher(12, options.workers),
        "memory": lambda: memory(*options.documents, options.characters),
    }
    sdg_hub()
    ratios = [part() for name, part in parts.items() if options.only in (None, name)]
    return tell(ratios, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
