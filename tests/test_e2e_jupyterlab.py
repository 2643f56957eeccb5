"""Run All Cells, clicked in a real JupyterLab for each notebook, ends without an error (`make e2e`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from conftest import ROOT, clean_environ
from e2e_helpers import ASKED, browser, missing, resize, shoot
from fault_helpers import answers, free_port, until

from adaptlab.sections import NOTEBOOKS, SERIES

SECONDS = {"prebuilt": 900, "live": 5400}  # a notebook may take, on a busy machine
TOKEN = "e2e"
SETTINGS = {
    "docmanager-extension/plugin": '{"autosave": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # or cells out of sight are not on the page
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}
LEFT_OUT = (".git", ".venv*", "outputs", "__pycache__", ".*_cache")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ASKED, reason="takes minutes: make e2e runs this"),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, so that what JupyterLab saves does not touch this one."""
    folder = tmp_path_factory.mktemp("jupyterlab") / "lab"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return folder


@pytest.fixture(scope="module")
def server(checkout: Path) -> Iterator[str]:
    """The address of a JupyterLab with the copy as its root."""
    for name, text in SETTINGS.items():
        place = checkout.parent / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
    address = f"http://127.0.0.1:{free_port()}"
    variables = {
        "LAB_PROFILE": "mini",
        "LAB_MODE": ASKED,
        "PYTHONPATH": str(checkout),
        "JUPYTERLAB_SETTINGS_DIR": str(checkout.parent / "settings"),
        "JUPYTER_CONFIG_DIR": str(checkout.parent / "config"),
        "JUPYTER_RUNTIME_DIR": str(checkout.parent / "runtime"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={address.rpartition(':')[2]}"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={checkout}", "--ServerApp.port_retries=0"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    with (checkout.parent / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=checkout, env=clean_environ(variables), stdout=log, stderr=log)
        try:
            until(lambda: answers(f"{address}/api?token={TOKEN}"), process)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=120)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        resize(started, 1400, 1600)
        yield started


@pytest.mark.parametrize("name", NOTEBOOKS if ASKED == "live" else SERIES)  # the long ones only as replays
def test_run_all_ends_without_an_error(driver, server: str, checkout: Path, tmp_path, name: str):
    path = checkout / name
    _without_outputs(path)
    driver.get(f"{server}/lab/tree/{name}?token={TOKEN}&reset")
    until(lambda: _count(driver, '.jp-NotebookPanel [data-status="idle"]') > 0, seconds=300)
    until(lambda: _settled(server), seconds=300)
    _click(driver, "Run", "Run All Cells")
    started = time.monotonic()
    until(lambda: not _waiting(driver, path), seconds=SECONDS[ASKED])
    print(f"{name}: {time.monotonic() - started:.0f} s")
    shoot(driver, f"jupyterlab-{Path(name).stem}", tmp_path)
    before = path.stat().st_mtime_ns
    _click(driver, "File", "Save Notebook")
    until(lambda: path.stat().st_mtime_ns != before, seconds=60)
    assert _faults(path) == []
    _click(driver, "Kernel", "Shut Down Kernel")


def _settled(server: str) -> bool:
    """Whether one kernel, the same for a while, is idle and connected: JupyterLab may start two and end one of them."""

    def kernels() -> list[tuple[str, str]]:
        found = httpx.get(f"{server}/api/kernels", params={"token": TOKEN}, timeout=30, trust_env=False).json()
        return [(kernel["id"], kernel["execution_state"]) for kernel in found if kernel["connections"]]

    before = kernels()
    time.sleep(3)
    return len(before) == 1 and before[0][1] == "idle" and kernels() == before


def _without_outputs(path: Path) -> None:
    """A notebook as somebody opens it who has not run it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)


def _faults(path: Path) -> list[str]:
    """Cells of the saved notebook that failed, complained, or did not run."""
    found = []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        if cell.execution_count is None:
            found.append(f"cell {number} did not run")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"cell {number}: {output.ename}: {output.evalue[:300]}")
            if output.output_type == "stream" and output.name == "stderr":
                found.append(f"cell {number}, stderr: {output.text[:300]}")
    return found


def _waiting(driver: Any, path: Path) -> bool:
    """Whether a cell still runs or waits to be run; a cell that failed ends the wait."""
    prompts = driver.execute_script(
        "return [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.textContent)"
    )
    wanted = sum(c.cell_type == "code" and bool(c.source.strip()) for c in nbformat.read(path, as_version=4).cells)
    done = sum(any(letter.isdigit() for letter in prompt) for prompt in prompts)
    failed = _count(driver, '[data-mime-type="application/vnd.jupyter.error"]') > 0
    return done < wanted and not (failed and not any("*" in prompt for prompt in prompts))


def _count(driver: Any, selector: str) -> int:
    """How many elements a selector finds."""
    return int(driver.execute_script("return document.querySelectorAll(arguments[0]).length", selector))


def _click(driver: Any, menu: str, item: str) -> None:
    """Choose an item of a menu with the mouse; a dialog that asks back is accepted."""
    driver.find_element("xpath", f"//div[contains(@class, 'lm-MenuBar-itemLabel') and text()='{menu}']").click()
    label = f"//div[contains(@class, 'lm-Menu-itemLabel') and text()='{item}']"
    until(lambda: bool(driver.find_elements("xpath", label)), seconds=60)
    driver.find_element("xpath", label).click()
    time.sleep(1)
    for button in driver.find_elements("css selector", ".jp-Dialog .jp-mod-accept"):
        button.click()
