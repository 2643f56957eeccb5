"""One notebook in one real kernel of this interpreter, watched while it runs and stopped cleanly."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

POLL_SECONDS = 0.2
STOP_SECONDS = 20.0


@dataclass
class Cells:
    """Where a run is: the number of the cell (from 1, text included) and how many code cells are done."""

    total: int
    current: int = 0
    done: int = 0


class CellFailed(Exception):
    """A cell raised; the message is one sentence with the cell's number and the error."""


class ThisPython(KernelSpecManager):
    """The kernel of one interpreter, whatever kernels a user has installed under the same name."""

    python = sys.executable

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """How to start that kernel."""
        argv = [self.python, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv.append("--IPKernelApp.log_level=40")
        return KernelSpec(argv=argv, display_name=kernel_name, language="python")


def code_cells(notebook: NotebookNode) -> int:
    """How many cells will be executed."""
    return sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)


def execute(
    notebook: NotebookNode,
    folder: Path,
    environment: Mapping[str, str],
    watch: Callable[[Cells], None],
    python: str = sys.executable,
) -> NotebookNode:
    """Run every cell in `folder`; outputs are put into `notebook`. `watch` is called several times a second.

    The kernel's event loop lives in a thread of its own, so that Ctrl-C arrives here, whatever the kernel is doing.
    """
    cells = Cells(code_cells(notebook))
    specs = ThisPython()
    specs.python = python
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
    client = _client(notebook, folder, cells, manager)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stopped = threading.Event()
    future = asyncio.run_coroutine_threadsafe(_run(client, manager, {**os.environ, **environment}, stopped), loop)
    try:
        while not future.done():
            wait([future], timeout=POLL_SECONDS)
            watch(cells)
        return _outcome(future, cells)
    finally:
        future.cancel()
        stopped.wait(STOP_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_SECONDS)


def _client(notebook: NotebookNode, folder: Path, cells: Cells, manager: AsyncKernelManager) -> NotebookClient:
    """An nbclient that keeps `cells` up to date."""

    def started(cell: NotebookNode, cell_index: int) -> None:
        cells.current = cell_index + 1

    def executed(cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
        cells.done += 1

    return NotebookClient(
        notebook,
        km=manager,
        resources={"metadata": {"path": str(folder)}},
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=started,
        on_cell_executed=executed,
    )


async def _run(
    client: NotebookClient, kernel: AsyncKernelManager, environment: dict[str, str], stopped: threading.Event
) -> NotebookNode:
    """Execute, and see the kernel off in any case: it is interrupted, may finish what it must, then it is ended.

    What a cell writes to its standard error is among its outputs; only the kernel's own words on its end are dropped.
    """
    try:
        return await client.async_execute(env=environment, stderr=subprocess.DEVNULL)
    except (asyncio.CancelledError, DeadKernelError) as error:
        await _end_watchers()
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # which nbclient takes for a dead kernel
            raise asyncio.CancelledError from error
        raise
    finally:
        if await kernel.is_alive():
            await kernel.shutdown_kernel()
        if client.kc is not None:
            client.kc.stop_channels()
        stopped.set()


async def _end_watchers() -> None:
    """Cancel what nbclient left in the loop when it was interrupted."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _outcome(future: Future[NotebookNode], cells: Cells) -> NotebookNode:
    """The executed notebook, or a sentence about the cell that stopped it."""
    try:
        return future.result()
    except CellExecutionError as error:
        raise CellFailed(f"cell {cells.current}: {sentence(error.ename, error.evalue)}") from error
    except DeadKernelError as error:
        raise CellFailed(
            f"cell {cells.current}: the kernel died, most often for want of memory: close other programs and run again."
        ) from error


def sentence(name: str, text: str) -> str:
    """An error in one line: a sentence of the lab as it is, any other with its name."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "no message")
    whole = first if name == "LabError" else f"{name}: {first}"
    return whole if whole.endswith((".", "?", "!")) else f"{whole}."
