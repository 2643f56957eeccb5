"""The lab on Colab: badges, a set-up cell that brings the lab along, the image's packages, Drive and secrets."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
from colab_helpers import bare_environment, colab_environ, repository, wheel_of
from conftest import ROOT, clean_environ
from packaging.specifiers import SpecifierSet

import config
from adaptlab import colab, colab_cells, committed, kernel, pins
from adaptlab.notebook import banner
from adaptlab.sections import NOTEBOOKS, SERIES

KEY = "the-key-of-this-test"
NEVER_IN_A_KERNEL = {"ipykernel", "ipywidgets", "jupyterlab", "nbclient", "nbconvert", "nbformat"} | {
    "mypy", "pytest", "ruff", "setuptools"
}  # fmt: skip


# ------------------------------------------------------------------------------------------- badges and set-up cells


def test_every_badge_and_set_up_cell_is_what_the_setting_gives() -> None:
    assert colab_cells.differing(ROOT) == {}, "run adaptlab colab"
    for name in SERIES:
        title = committed.read(ROOT / name).cells[0].source
        place = f"github/{config.REPOSITORY}/blob/{config.REPOSITORY_REF}/{name}"
        assert title.splitlines()[0].endswith(f"(https://colab.research.google.com/{place})")


def test_the_set_up_cell_is_short_and_the_same_in_every_notebook() -> None:
    found = [next(c.source for c in committed.read(ROOT / name).cells if c.cell_type == "code") for name in SERIES]
    alike = {re.sub(r'start\("[^"]+"\)$', "start()", source) for source in found}
    assert len(alike) == 1 and len(set(found)) == len(SERIES)
    assert len([line for line in alike.pop().splitlines() if line.strip()]) <= 17


def test_the_tag_is_that_of_the_projects_version() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version and config.REPOSITORY_REF == f"v{version[1]}"


def test_one_call_rewrites_every_notebook_for_another_repository(tmp_path: Path, monkeypatch) -> None:
    for name in SERIES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    before = config.REPOSITORY
    monkeypatch.setattr(config, "REPOSITORY", "somebody/their-fork")
    monkeypatch.setattr(config, "REPOSITORY_REF", "main")
    assert colab_cells.rewrite(tmp_path) == list(SERIES) and colab_cells.rewrite(tmp_path) == []
    for name in SERIES:
        text = (tmp_path / name).read_text("utf-8")
        assert "github/somebody/their-fork/blob/main/" in text and "https://github.com/somebody/their-fork" in text
        assert before not in text
    monkeypatch.undo()
    colab_cells.rewrite(tmp_path)
    assert [name for name in SERIES if (tmp_path / name).read_bytes() != (ROOT / name).read_bytes()] == []


def test_a_clone_that_fails_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c", colab_cells.setup_cell(NOTEBOOKS[0])]
    environ = clean_environ({"LAB_REPOSITORY": str(tmp_path / "nowhere")})
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: The lab could not be cloned: check the network")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------- packages


def test_the_pins_lie_in_the_tested_ranges_and_no_package_of_a_kernel_is_forgotten() -> None:
    ranges, pinned = colab.read_ranges(), pins.read(ROOT / "requirements.txt")
    direct = pins.read(ROOT / "requirements.in")
    pinned["torch"] = direct["torch"]
    outside = {name: pinned[name] for name, wanted in ranges.items() if pinned[name] not in SpecifierSet(wanted)}
    assert outside == {}
    assert set(ranges) == set(direct) - NEVER_IN_A_KERNEL | {"packaging", "beautifulsoup4"}


def test_where_everything_is_installed_nothing_is_to_be_done(capsys) -> None:
    colab.install(live=True)
    assert capsys.readouterr().out == ""


def test_a_replaced_package_that_is_loaded_asks_for_a_restart() -> None:
    colab.ask_for_restart({})
    with pytest.raises(config.LabError, match=r"had loaded an older packaging: restart it"):
        colab.ask_for_restart({"packaging": "1.0", "torch": pins.version("torch") or "none"})


def test_what_pip_cannot_install_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    for name, value in colab_environ(tmp_path, "").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(config.LabError, match=r"^pip could not install no-such==1 \(.+\): check the network") as caught:
        colab.pip_install(["no-such==1"])
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------- secrets and results


class NotebookAccessError(Exception):
    """As Colab raises it for a secret that exists and is not shared."""


@pytest.fixture
def secrets(monkeypatch):
    """Colab's module for secrets, as far as the lab calls it: it is part of Colab's image and of no package."""
    held: dict[str, str | Exception] = {}
    asked: list[str] = []

    def get(name: str) -> str:
        asked.append(name)
        found = held.get(name, KeyError(name))
        if isinstance(found, Exception):
            raise found
        return found

    module = types.ModuleType("google.colab.userdata")
    module.get, module.held, module.asked = get, held, asked  # type: ignore[attr-defined]
    for name in ("google", "google.colab"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "google.colab.userdata", module)
    for name in colab.SECRETS:  # set and taken away again, so that what the lab sets is undone after the test
        monkeypatch.setenv(name, "")
    return module


def test_the_endpoint_comes_from_colabs_secrets_and_the_key_is_never_shown(secrets, capsys) -> None:
    values = dict(zip(colab.SECRETS, ("http://localhost:1/v1", KEY, "big-model"), strict=True))
    secrets.held.update(values)
    colab.prepare()
    settings = config.settings()
    assert (settings.endpoint.url, settings.endpoint.key, settings.endpoint.model) == tuple(values.values())
    shown = capsys.readouterr().out
    assert "From Colab's secrets: LAB_ENDPOINT_URL, LAB_ENDPOINT_KEY, LAB_TEACHER_MODEL." in shown and KEY not in shown


def test_what_the_environment_says_wins_and_a_secret_that_is_not_shared_is_told(secrets, monkeypatch) -> None:
    monkeypatch.setenv("LAB_ENDPOINT_URL", "http://localhost:2/v1")
    secrets.held["LAB_ENDPOINT_KEY"] = NotebookAccessError()
    [sentence] = colab.read_secrets()
    assert "LAB_ENDPOINT_KEY is not shared with this notebook" in sentence
    assert secrets.asked == ["LAB_ENDPOINT_KEY", "LAB_TEACHER_MODEL"]


def test_without_an_address_or_in_a_replay_no_other_secret_is_asked_for(secrets, monkeypatch) -> None:
    assert colab.read_secrets() == [] and secrets.asked == ["LAB_ENDPOINT_URL"]
    monkeypatch.setenv("LAB_MODE", "prebuilt")
    colab.prepare()
    assert secrets.asked == ["LAB_ENDPOINT_URL"]


def test_a_checkout_of_ones_own_is_left_as_it_is(monkeypatch, capsys) -> None:
    monkeypatch.setenv("LAB_MODE", "auto")
    before = clean_environ()
    colab.prepare()
    assert clean_environ() == before and capsys.readouterr().out == ""
    assert colab.results_words(ROOT / "outputs") == ""


def test_the_banner_says_in_one_sentence_whether_results_outlive_the_session(secrets, make_lab) -> None:
    told = [line for line in banner(make_lab()).splitlines() if line.startswith("  results")]
    assert len(told) == 1 and "mount Google Drive, then run this cell again, to keep them" in told[0]
    kept = banner(make_lab(LAB_OUTPUTS=str(colab.drive() / colab.FOLDER / "outputs")))
    assert "  results   on Google Drive, in model-adaptation-lab/outputs: they outlive this session" in kept
    assert "  results" not in banner(make_lab(LAB_MODE="prebuilt"))


# ------------------------------------------------------------------------------------------- without a key


def test_without_an_endpoint_the_students_base_teaches_on_a_t4_and_everything_says_so(make_lab, tmp_path) -> None:
    lab = make_lab(LAB_PROFILE="t4")
    assert lab.settings.teacher == lab.settings.judge == lab.settings.student and not lab.settings.teacher.remote
    assert "the student's own base, which is judge too, because LAB_ENDPOINT_URL is not set" in banner(lab)
    with_endpoint = make_lab(LAB_PROFILE="t4", LAB_ENDPOINT_URL="http://localhost:1/v1", LAB_TEACHER_MODEL="big")
    assert with_endpoint.settings.teacher.name == "big" and "own base" not in banner(with_endpoint)
    assert "are not both set" in str(make_lab(LAB_PROFILE="l4").obstacle([config.MODELS["endpoint"]]))


def test_rows_that_the_students_base_wrote_are_labelled_so(make_lab) -> None:
    lab = make_lab(LAB_PROFILE="mini")
    itself = config.replace(lab.profile, teacher="endpoint", judge="endpoint", teaches_itself=True)
    lab.settings = config.replace(lab.settings, profile=itself)
    rows = lab.step("rows.json", lambda: [1], models=("teacher",), needs=())
    assert rows.label.startswith("live, the student's own base as teacher and judge; profile mini")
    assert [model.name for model in rows.provenance.models] == ["mini-granite"]
    plain = lab.step("answers.json", lambda: [1], models=("student",), needs=())
    assert plain.label.startswith("live; profile mini")


# ------------------------------------------------------------------------------------------- the whole


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A bare Python without the lab, PyTorch and one small package, with another one outdated; wheels of both."""
    folder = tmp_path_factory.mktemp("colab")
    python = bare_environment(folder / "env", ["rank-bm25"], "tqdm")
    (folder / "wheels").mkdir()
    for package in ("rank-bm25", "tqdm"):
        wheel_of(package, folder / "wheels")
    (folder / "lab").mkdir()
    return python, folder / "wheels", repository(folder / "lab")


@pytest.mark.slow
def test_from_a_bare_environment_the_notebooks_bring_the_lab_and_replay_as_committed(place, tmp_path: Path) -> None:
    """As on Colab: each notebook is opened by itself in a folder like /content, and no repository lies beside it."""
    python, wheels, address = place
    content = tmp_path / "content"
    content.mkdir()
    site = next((python.parent.parent / "lib").glob("python3*/site-packages"))
    before = {path.name for path in site.iterdir()}
    environ = colab_environ(wheels, address, LAB_MODE="prebuilt", IPYTHONDIR=str(tmp_path / "ipython"))
    said = []
    for name in NOTEBOOKS:
        original = committed.read(ROOT / name)
        notebook = nbformat.from_dict(original)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        executed = kernel.execute(notebook, content, environ, lambda cells: None, python=str(python))
        first = next(cell for cell in executed.cells if cell.cell_type == "code")
        text = "".join(output.get("text", "") for output in first.outputs)
        said.append(text.partition("Model Adaptation Lab: ")[0])
        first.outputs = [nbformat.v4.new_output("stream", text=text.removeprefix(said[-1]))]
        assert committed.differences(original, executed) == [], name
    assert said[0].startswith("Installing rank-bm25, tqdm; the image's numpy, pandas, matplotlib stay as they are.")
    assert said[1:] == [""] * 5
    after = {path.name for path in site.iterdir()}
    assert {re.split(r"[-.]", name)[0] for name in (before ^ after) - {"__pycache__"}} == {"rank_bm25", "tqdm"}
    assert (site / "numpy").is_symlink() and (site / "pandas").is_symlink()
    assert [path.name for path in content.iterdir()] == [colab.FOLDER]


def test_there_results_go_to_drive_once_it_is_mounted(place, tmp_path: Path) -> None:
    python, wheels, address = place
    code = f"{colab_cells.setup_cell(NOTEBOOKS[0])}\nprint(lab.settings.outputs_dir)"
    environ = clean_environ(colab_environ(wheels, address, LAB_MODE="auto"))

    def run() -> str:
        done = subprocess.run([python, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    without = run()
    assert "on this machine only" in without and without.endswith(f"{tmp_path / colab.FOLDER / 'outputs'}\n")
    mounted = tmp_path / "drive" / "MyDrive"
    mounted.mkdir(parents=True)
    assert run().endswith(f"{mounted / colab.FOLDER / 'outputs'}\n")
