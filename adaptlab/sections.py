"""The notebooks as sections: their order, and what a section computes and reads, found in its cells.

Standard library only, so that `adaptlab doctor` can speak of notebooks where nothing is installed yet.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import LabError

NOTEBOOKS = (
    "00Setup/00_Recap_and_Evidence.ipynb",
    "01Inference_Time_Scaling/01_BestOfN.ipynb",
    "02SyntheticDataGen/01SDGHub.ipynb",
    "03ModelAdaptation/01ModelAdaptation.ipynb",
    "04Evaluation/01_Evaluation.ipynb",
    "05Conclusion/01_Synthesis.ipynb",
)
# Notebooks that train for long: computed by `make lab-full` alone, and otherwise replayed where results are there.
LONG = ("03ModelAdaptation/02_LoRA_QLoRA_Full.ipynb", "04Evaluation/02_MultiModelEval.ipynb")
SERIES = tuple(sorted((*NOTEBOOKS, *LONG)))  # by folder and file name, which is the order of the lab
FACILITATOR = "facilitator"  # the tag of cells that only whoever teaches is to see


@dataclass(frozen=True)
class Step:
    """One `lab.step` of a notebook. `needs` is None where the call leaves it to the lab; `heading` stands above it."""

    artifact: str
    models: tuple[str, ...]
    needs: tuple[str, ...] | None
    heading: str


@dataclass(frozen=True)
class Section:
    """A notebook: its path below the repository, its number, title, steps, what it reads, and its cells' text."""

    path: str
    title: str
    steps: tuple[Step, ...]
    reads: tuple[str, ...]
    code: str

    @property
    def number(self) -> str:
        """The first two characters of its folder, such as 03."""
        return self.path[:2]

    @property
    def name(self) -> str:
        """What sidecars and manifests call it: the path without its extension."""
        return self.path.removesuffix(".ipynb")


def cells(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook, each source as one text. Raises a LabError for what is no notebook."""
    try:
        found = json.loads(path.read_text("utf-8"))["cells"]
        return [{**cell, "source": "".join(cell["source"])} for cell in found]
    except FileNotFoundError as error:
        raise LabError(f"{path} is missing: restore it with git checkout.") from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise LabError(f"{path} is no readable notebook: restore it with git checkout.") from error


def for_participants(cells: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The cells of a notebook without those that are for the facilitator."""
    return [cell for cell in cells if FACILITATOR not in cell.get("metadata", {}).get("tags", [])]


def heading_of(source: str) -> str:
    """The text of the first heading in a Markdown cell; empty without one."""
    lines = (line for line in source.splitlines() if line.startswith("#"))
    return next(lines, "").lstrip("#").strip()


def section(root: Path, name: str) -> Section:
    """One notebook read; cells that are no plain Python (such as shell lines) count for nothing."""
    title, heading = "", ""
    steps: list[Step] = []
    reads: list[str] = []
    code: list[str] = []
    for cell in cells(root / name):
        if cell.get("cell_type") == "markdown":
            heading = heading_of(cell["source"]) or heading
            title = title or heading
        elif cell.get("cell_type") == "code":
            code.append(cell["source"])
            for step in _calls(cell["source"], heading):
                steps.append(step) if isinstance(step, Step) else reads.append(step)
    return Section(name, title, tuple(steps), tuple(dict.fromkeys(reads)), "\n".join(code))


def sections(root: Path, names: Sequence[str] = NOTEBOOKS) -> list[Section]:
    """All notebooks in order."""
    return [section(root, name) for name in names]


def before(number: str, names: Sequence[str] = SERIES) -> list[str]:
    """The notebooks of the sections before `number`. Raises a LabError for a number that no section has."""
    known = sorted({name[:2] for name in names})
    wanted = number.zfill(2)
    if wanted not in known:
        raise LabError(f"There is no section {number!r}: choose one of {', '.join(known)}.")
    return [name for name in names if name[:2] < wanted]


def _calls(source: str, heading: str) -> Iterator[Step | str]:
    """The `lab.step(...)` calls of a cell as steps, and the names of its `lab.result(...)` calls."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    plain = {
        target.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if not (isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "lab"):
            continue
        assert isinstance(node, ast.Call)
        name = _literal(node.args[0], plain) if node.args else None
        if not isinstance(name, str) or called.attr not in ("step", "result"):
            continue
        if called.attr == "result":
            yield name
            continue
        given = {keyword.arg: _literal(keyword.value, plain) for keyword in node.keywords}
        models, needs = given.get("models"), given.get("needs")
        yield Step(name, ("student",) if models is None else tuple(models), tuple(needs) if needs else None, heading)


def _literal(node: ast.expr, plain: dict[str, ast.expr]) -> Any:
    """The value of an expression that is a literal, or the name of one in the same cell; None for any other."""
    if isinstance(node, ast.Name) and node.id in plain:
        node = plain[node.id]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
