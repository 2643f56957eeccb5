"""What is installed against what is pinned, read from metadata: nothing is imported, so that this works anywhere."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

LINE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;]+))?[^;#]*(?:;\s*([^#]+))?")


@dataclass(frozen=True)
class Installed:
    """A pinned list against this environment; `other` holds (package, pinned, installed)."""

    total: int
    missing: list[str] = field(default_factory=list)
    other: list[tuple[str, str, str]] = field(default_factory=list)


def read(path: Path) -> dict[str, str]:
    """The packages of a requirements file that apply to this Python, with their pinned versions ("" for none)."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        match = LINE.match(line.strip())
        if match and applies(match[3]):
            found[canonical(match[1])] = match[2] or ""
    return found


def canonical(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def applies(marker: str | None) -> bool:
    """Whether a line with this marker counts here; without the library that reads markers, none does."""
    if not marker:
        return True
    try:
        from packaging.markers import Marker
    except ImportError:
        return False
    return Marker(marker.strip()).evaluate()


def version(name: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def compare(pinned: dict[str, str]) -> Installed:
    """A pinned list against what is installed; a build's own suffix, as in 2.13.0+cpu, makes no difference."""
    found = {name: version(name) for name in pinned}
    missing = sorted(name for name, have in found.items() if have is None)
    other = [
        (name, wanted, have)
        for name, wanted in pinned.items()
        if wanted and (have := found[name]) is not None and have.split("+")[0] != wanted.split("+")[0]
    ]
    return Installed(len(pinned), missing, sorted(other))


def python_fits(pyproject: Path) -> tuple[bool, str]:
    """Whether this Python is one that the project names in `requires-python`, and those words."""
    import tomllib

    wanted = str(tomllib.loads(pyproject.read_text("utf-8"))["project"]["requires-python"])
    bounds = re.findall(r"(>=|<)\s*(\d+)\.(\d+)", wanted)
    here = sys.version_info[:2]
    fits = all(
        here >= (int(major), int(minor)) if sign == ">=" else here < (int(major), int(minor))
        for sign, major, minor in bounds
    )
    return fits, wanted
