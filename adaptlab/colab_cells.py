"""The badge and the set-up cell of every notebook, both written from config.REPOSITORY and config.REPOSITORY_REF."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import config
from adaptlab import committed
from adaptlab.colab import FOLDER
from adaptlab.files import atomic_write_text
from adaptlab.sections import SERIES
from config import LabError

HOST = "https://colab.research.google.com"
BADGE = re.compile(r"\A\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)\n+")
START = "from adaptlab import notebook"
SETUP = f"""import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("adaptlab") is None:  # not installed: the checkout around this notebook, else a clone beside it
    clone = Path("{FOLDER}").resolve()
    home = next((p for p in clone.parents if (p / "adaptlab" / "colab.py").is_file()), clone)
    source, tag = os.getenv("LAB_REPOSITORY", "https://github.com/<repository>"), os.getenv("LAB_REF", "<tag>")
    git = ["git", "clone", "-q", "--depth=1", "-c", "lab.cloned=true", f"--branch={{tag}}", source, str(home)]
    if not home.exists() and subprocess.run(git).returncode:
        raise RuntimeError("The lab could not be cloned: check the network, or name its address in LAB_REPOSITORY.")
    sys.path.insert(0, str(home))

from adaptlab import colab

colab.prepare()  # does nothing but on Colab and in such a clone
{START}

lab = notebook.start("<name>")"""


def badge(name: str) -> str:
    """The first line of the notebook `name`: a picture that opens it on Colab."""
    place = f"{HOST}/github/{config.REPOSITORY}/blob/{config.REPOSITORY_REF}/{name}"
    return f"[![Open in Colab]({HOST}/assets/colab-badge.svg)]({place})"


def setup_cell(name: str) -> str:
    """The set-up cell of the notebook `name`: the same in all of them but for the name in its last line."""
    filled = SETUP.replace("<repository>", config.REPOSITORY).replace("<tag>", config.REPOSITORY_REF)
    return filled.replace("<name>", name.removesuffix(".ipynb"))


def written(notebook: NotebookNode, name: str) -> NotebookNode:
    """A copy of a notebook with its badge and set-up cell as the setting has them; outputs stay."""
    copy = nbformat.from_dict(notebook)
    title = next((cell for cell in copy.cells if cell.cell_type == "markdown"), None)
    first = next((cell for cell in copy.cells if cell.cell_type == "code"), None)
    if title is None or first is None or START not in first.source:
        raise LabError(f"{name} has no title or no set-up cell first: restore it with git checkout.")
    title.source = f"{badge(name)}\n\n{BADGE.sub('', title.source)}"
    first.source = setup_cell(name)
    return copy


def differing(root: Path, names: Sequence[str] = SERIES) -> dict[str, NotebookNode]:
    """The notebooks whose badge or set-up cell is not what the setting gives, as they should be."""
    found = {name: committed.read(root / name) for name in names}
    wanted = {name: written(notebook, name) for name, notebook in found.items()}
    return {name: notebook for name, notebook in wanted.items() if notebook != found[name]}


def rewrite(root: Path, names: Sequence[str] = SERIES) -> list[str]:
    """Write badge and set-up cell into every notebook where they differ; returns the names of those."""
    changed = differing(root, names)
    for name, notebook in changed.items():
        atomic_write_text(root / name, nbformat.writes(notebook) + "\n")
    return list(changed)
