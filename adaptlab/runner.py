"""Runs the notebooks in order, each in its own kernel, with bars and times, and ends with a table and a report.

    adaptlab run [--from 02] [--to 04] [--only NAME] [--full] [--check] [--write-outputs]

Long notebooks are replayed from the prebuilt results, and only `--full` runs them live.

Steps keep what they finished, so a run that was stopped or failed goes on from there when it is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

import config
from adaptlab import committed, environment, kernel, report
from adaptlab.capture import has_results, record_timing
from adaptlab.files import atomic_write_text
from adaptlab.inert import inert
from adaptlab.run_bars import Bars
from adaptlab.sections import LONG, SERIES
from config import LabError, Settings

SIDE_BY_SIDE = 2  # replays at a time: most of each is one core's work


class Terminated(KeyboardInterrupt):
    """The process was asked to end."""


# ------------------------------------------------------------------------------------------------ running


@dataclass(frozen=True)
class Run:
    """What a run was asked for."""

    settings: Settings
    root: Path
    notebooks: list[str]
    folder: Path
    cwd: Path | None = None
    check: bool = False
    write_outputs: bool = False
    full: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)  # ends the notebooks that still run

    def replays(self, name: str) -> bool:
        """Whether a notebook is shown as a replay within a run that computes the others."""
        return name in LONG and not self.full and self.settings.mode != "prebuilt"


def run_all(run: Run) -> list[report.Page]:
    """Execute the notebooks in order; stops at the first that fails, and always leaves a whole report behind."""
    pages = [report.Page(name, "", "not run", None) for name in run.notebooks]
    problem = ""
    with closing(_executed(run)) as executed:
        for number, (page, problem) in enumerate(executed):
            pages[number] = page
            report.write_index(run.folder, heading(run.settings), pages, report.ladder(run.settings))
            if problem:
                break
    if problem:
        raise NotebookFailed(problem)
    return pages


def _executed(run: Run) -> Generator[tuple[report.Page, str], None, None]:
    """The page of each notebook and what is wrong with it, in order; replays need nothing of each other."""

    def one(number: int, name: str) -> tuple[report.Page, str]:
        return _long(run, number, name) if name in LONG else _run_one(run, number, name)

    numbered = range(len(run.notebooks))
    if run.settings.mode != "prebuilt" or len(numbered) == 1:
        yield from map(one, numbered, run.notebooks)
        return
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    try:
        yield from pool.map(one, numbered, run.notebooks)
    finally:
        run.stopped.set()  # Ctrl-C and a failure reach this thread only
        pool.shutdown(cancel_futures=True)


class NotebookFailed(Exception):
    """A notebook stopped, or a replay differs; the message is one sentence."""


def _long(run: Run, number: int, name: str) -> tuple[report.Page, str]:
    """A long notebook: computed, replayed, or left out with a sentence where there is nothing to replay.

    Within a live run a replay that does not belong to this machine's settings is left out too: it stops nothing.
    """
    if not (run.replays(name) or run.settings.mode == "prebuilt"):
        return _run_one(run, number, name)
    shown = run.settings if run.settings.mode == "prebuilt" else replay_settings(run.settings)
    if not has_results(shown, name.removesuffix(".ipynb")):
        print(f"{name}: no results of it are in prebuilt/ yet; `make lab-full` computes them.", file=sys.stderr)
        return report.Page(name, "", "left out: no prebuilt results yet", None), ""
    if not run.replays(name):
        return _run_one(run, number, name)
    page, problem = _run_one(replace(run, settings=shown), number, name)
    if problem:
        print(f"  {problem} `make lab-full` computes it here.", file=sys.stderr, flush=True)
        return replace(page, state="left out: the prebuilt results are of other settings", failed=False), ""
    return replace(page, state="replayed from the prebuilt results"), ""


def replay_settings(settings: Settings) -> Settings:
    """The same settings in a replay, as the kernel of a replayed notebook will resolve them."""
    told = {"LAB_MODE": "prebuilt", "LAB_PROFILE": settings.shown_for or settings.profile.name}
    return config.settings({**environment.read_env_file(config.ROOT / ".env"), **os.environ, **told})


def _run_one(run: Run, number: int, name: str) -> tuple[report.Page, str]:
    """Execute one notebook and write its page, also if a cell failed; returns the page and what is wrong."""
    original = _read(run.root / name)
    notebook = nbformat.from_dict(original)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    title = f"{number + 1}/{len(run.notebooks)} {Path(name).stem}"
    tqdm.write(f"{title}: {kernel.code_cells(notebook)} code cells", file=sys.stderr)
    started = time.monotonic()
    problem = ""
    try:
        _execute(run, notebook, title)
    except kernel.CellFailed as error:
        problem = f"{name}, {error}"
    seconds = time.monotonic() - started
    if not problem:
        tqdm.write(f"  done in {seconds:.0f} s: {Path(name).stem}", file=sys.stderr)
        problem = _finished(run, name, original, notebook, seconds)
    page = _write_pages(run.folder, name, notebook)
    return report.Page(name, page, "failed" if problem else "done", seconds / 60, failed=bool(problem)), problem


def _execute(run: Run, notebook: NotebookNode, title: str) -> None:
    """Run the cells in a scratch folder, with this run's profile and mode, and bars."""
    with _scratch(run.root) as scratch:
        feed = scratch / "progress.jsonl"
        variables = {
            "LAB_PROFILE": run.settings.shown_for or run.settings.profile.name,
            "LAB_MODE": run.settings.mode,
            "LAB_PROGRESS": str(feed),
            "IPYTHONDIR": str(scratch / "ipython"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        variables |= _paths(run.settings)
        folder = run.cwd or scratch / "work"
        folder.mkdir(parents=True, exist_ok=True)
        with Bars(title, kernel.code_cells(notebook), feed) as bars:

            def watch(cells: kernel.Cells) -> None:
                if run.stopped.is_set():
                    raise Terminated
                bars(cells)

            kernel.execute(notebook, folder, variables, watch)


def _paths(settings: Settings) -> dict[str, str]:
    """The variables that name paths, made absolute: the kernels work in another folder than the one who set them."""
    known = {
        "LAB_DOCUMENT": settings.document_variable,
        "LAB_BENCHMARK": str(settings.benchmark),
        "LAB_TRAINING_ROWS": settings.training_rows,
        "LAB_OUTPUTS": str(settings.outputs_dir),
        "LAB_PREBUILT": str(settings.prebuilt_root),
    }
    return {name: value for name, value in known.items() if os.environ.get(name)}


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """A folder for one notebook's working files, inside the ignored outputs, gone afterwards."""
    parent = root / "outputs"
    parent.mkdir(exist_ok=True)
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=f".scratch-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove the scratch folders of runs that were killed."""
    for folder in parent.glob(".scratch-*-*"):
        number = folder.name.split("-")[1]
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, OSError):
            continue


def _finished(run: Run, name: str, original: NotebookNode, notebook: NotebookNode, seconds: float) -> str:
    """What follows a notebook that ran through: its time is noted, its outputs stored or compared."""
    if run.settings.mode != "prebuilt":
        record_timing(run.settings, name.removesuffix(".ipynb"), seconds)
    if run.write_outputs:
        committed.store(notebook, run.root / name)
    if run.check:
        found = committed.differences(original, notebook)
        return f"{name}, {found[0]}" if found else ""
    return ""


def _write_pages(folder: Path, name: str, notebook: NotebookNode) -> str:
    """The executed notebook and its HTML page in the report; returns the page's file name."""
    stem = name.removesuffix(".ipynb").replace("/", "_")
    atomic_write_text(folder / f"{stem}.ipynb", nbformat.writes(notebook) + "\n")
    atomic_write_text(folder / f"{stem}.html", report.notebook_page(notebook, Path(name).stem))
    return f"{stem}.html"


def _read(path: Path) -> NotebookNode:
    """The notebook at `path`, or a sentence."""
    if not path.is_file():
        raise LabError(f"{path} is missing: restore it with git checkout.")
    try:
        return committed.read(path)
    except (ValueError, AttributeError, KeyError) as error:  # not JSON, or JSON that is no notebook
        raise LabError(f"{path} is no readable notebook: restore it with git checkout.") from error


def heading(settings: Settings) -> str:
    """What a report is of, in one line."""
    words = {"prebuilt": "replay of the prebuilt results", "live": "live run", "auto": "run"}
    return f"{words[settings.mode]}, profile {settings.profile.name}, document {settings.document_name}"


def selected(first: str | None, last: str | None, notebooks: Sequence[str] = SERIES) -> list[str]:
    """The notebooks from one section number to another, both included."""
    sections = sorted({name[:2] for name in notebooks})
    for option, value in (("--from", first), ("--to", last)):
        if value is not None and value.zfill(2) not in sections:
            raise LabError(f"{option} is {value!r}: choose one of {', '.join(sections)}.")
    low = sections.index(first.zfill(2)) if first else 0
    high = sections.index(last.zfill(2)) if last else len(sections) - 1
    if low > high:
        raise LabError(f"--from {first} comes after --to {last}: swap them.")
    return [name for name in notebooks if sections[low] <= name[:2] <= sections[high]]


def named(part: str, notebooks: Sequence[str] = SERIES) -> list[str]:
    """The one notebook whose path holds `part`."""
    found = [name for name in notebooks if part.casefold() in name.casefold()]
    if len(found) != 1:
        raise LabError(f"--only {part} fits {len(found)} notebooks: give a part of one name of {', '.join(notebooks)}.")
    return found


# ------------------------------------------------------------------------------------------------ command


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of `adaptlab run`."""
    parser = argparse.ArgumentParser(prog="adaptlab run", description="Run the notebooks in order.")
    parser.add_argument("--profile", help=f"one of {', '.join(config.PROFILES)}; else LAB_PROFILE, else the hardware")
    parser.add_argument("--mode", help=f"one of {', '.join(config.MODES)}; else LAB_MODE, else auto")
    parser.add_argument("--json", action="store_true", help="print the closing table as JSON")
    parser.add_argument("--from", dest="first", metavar="NN", help="the first section, such as 02")
    parser.add_argument("--to", dest="last", metavar="NN", help="the last section, such as 04")
    parser.add_argument("--only", metavar="NAME", help="one notebook, by a part of its name")
    parser.add_argument("--full", action="store_true", help="compute the long notebooks too, for many minutes more")
    parser.add_argument("--check", action="store_true", help="fail where a replay's outputs are not the committed ones")
    parser.add_argument("--write-outputs", action="store_true", help="store a replay's outputs in the repository")
    parser.add_argument("--cwd", type=Path, help="the working directory of the kernels; else a scratch folder")
    parser.add_argument("--root", type=Path, default=config.ROOT, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the notebooks; 0 when all are done, 1 when one failed, 2 for a wrong option, 130 after Ctrl-C."""
    options = parse(argv)
    for value, variable in ((options.profile, "LAB_PROFILE"), (options.mode, "LAB_MODE")):
        if value is not None:
            os.environ[variable] = value
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return _main(options)
    except LabError as error:
        return _stop(2, str(error))
    except NotebookFailed as error:
        return _stop(1, f"{error} What was finished is kept; run again to go on from there.")
    except Terminated:
        return _stop(143, "ended; what was finished is kept, and the next run goes on from there.")
    except KeyboardInterrupt:
        return _stop(130, "stopped; what was finished is kept, and the next run goes on from there.")
    finally:
        signal.signal(signal.SIGTERM, before)


def _main(options: argparse.Namespace) -> int:
    """Run, then print the table and the report's path."""
    run = _run_of(options)
    started = time.monotonic()
    pages = run_all(run)
    found = report.ladder(run.settings)
    index = run.folder / "index.html"
    if options.json:
        print(json.dumps(_as_json(found, pages, index), ensure_ascii=False, indent=2))
        return 0
    print(f"\n{report.closing_table(found, pages)}")
    print(f"this run took {(time.monotonic() - started) / 60:.1f} minutes")
    print(f"report: {index}")
    return 0


def _run_of(options: argparse.Namespace) -> Run:
    """The checked options as a run."""
    settings = config.settings()
    if (options.write_outputs or options.check) and settings.mode != "prebuilt":
        raise LabError("--write-outputs and --check compare replays: add --mode prebuilt.")
    root = options.root.resolve()
    if options.only and (options.first or options.last):
        raise LabError("--only names one notebook: leave --from and --to away.")
    notebooks = named(options.only) if options.only else selected(options.first, options.last)
    for name in notebooks:
        _read(root / name)
    folder = settings.live_dir / ("replay" if settings.mode == "prebuilt" else "report")
    kept = (options.cwd, options.check, options.write_outputs, options.full)
    return Run(settings, root, notebooks, folder, *kept)


def _as_json(found: report.Ladder | None, pages: list[report.Page], index: Path) -> dict[str, Any]:
    """The closing table for a program."""
    return {
        "label": found.label if found else None,
        "ladder": [rung.model_dump() for rung in found.rungs] if found else [],
        "notebooks": [{"name": page.name, "state": page.state, "minutes": page.minutes} for page in pages],
        "report": str(index),
    }


def _terminate(_number: int, _frame: FrameType | None) -> None:
    """Turn the signal into an exception, so that the kernel is stopped on the way out."""
    raise Terminated


def _stop(code: int, text: str) -> int:
    """Say why the run ends."""
    print(f"adaptlab run: {inert(text)}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
