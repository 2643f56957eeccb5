"""Reading the environment: `.env`, variables by their kind, documents by their path, the GPU. Standard library only.

Each complaint is one sentence that names the variable and the choices.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT_SUFFIXES = (".md", ".markdown", ".txt")
CONVERTED_SUFFIXES = (".html", ".htm", ".xhtml", ".pdf", ".docx")  # read by adaptlab.documents


class LabError(ValueError):
    """Something the person at the keyboard can put right; the message is one sentence that says how."""


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines of `path`; comments, `export` and quotes are understood, a missing file is empty."""
    if not path.is_file():
        return {}
    pairs = {}
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            raise LabError(f"{path.name} line {number} is not NAME=value: correct the line or put a # before it.")
        pairs[name.strip()] = unquoted(value.strip())
    return pairs


def choice(env: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    """The value of a variable that knows only some values."""
    value = env.get(name) or default
    if value.lower() not in choices:
        raise LabError(f"{name} is {value!r}: choose one of {listed(choices)}.")
    return value.lower()


def integer(env: Mapping[str, str], name: str, default: int) -> int:
    """The value of a variable that holds a whole number from 0 on."""
    value = env.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise LabError(f"{name} is {value!r}: give a whole number from 0 to 999999999.")
    return int(value)


def positive(env: Mapping[str, str], name: str, default: int) -> int:
    """The value of a variable that holds a whole number from 1 on."""
    value = integer(env, name, default)
    if value < 1:
        raise LabError(f"{name} is {env[name]!r}: give a whole number from 1 on.")
    return value


def folder(env: Mapping[str, str], name: str, default: Path) -> Path:
    """The folder that a variable names; it need not exist yet."""
    path = Path(env[name]).expanduser().resolve() if env.get(name) else default
    if path.exists() and not path.is_dir():
        raise LabError(f"{name} names {path}, which is a file: name a folder.")
    return path


def path_of(text: str) -> Path:
    """An absolute path; a relative one counts from the working directory, else from the repository root."""
    path = Path(text).expanduser()
    if not path.is_absolute() and not path.exists():
        path = ROOT / path
    return path.resolve()


def documents(env: Mapping[str, str], folder: Path, rulebook: str | None) -> tuple[Path, ...]:
    """The paths that LAB_DOCUMENT names, parted as in PATH (: or, on Windows, ;), else the shipped `rulebook`."""
    if env.get("LAB_DOCUMENT"):
        whole = path_of(env["LAB_DOCUMENT"])
        named = [part.strip() for part in env["LAB_DOCUMENT"].split(os.pathsep) if part.strip()]
        return (whole,) if whole.exists() or len(named) < 2 else tuple(dict.fromkeys(path_of(part) for part in named))
    if rulebook is not None:
        return (folder / rulebook,)
    shipped = sorted(path for path in folder.glob("*.md") if path.stem.lower() != "readme")
    return (shipped[0] if shipped else folder / "rulebook.md",)


def check_document(path: Path, named_by: str) -> None:
    """Raise a LabError unless `path` is a text in UTF-8 with something in it, a file to convert, or a folder of such.

    What a file to convert holds is checked when it is read.
    """
    if path.is_dir():
        if not document_files(path):
            wanted = "put a Markdown, text, HTML, PDF or DOCX file into it, or name one"
            raise LabError(f"{named_by} is a folder without documents, {path}: {wanted}.")
        return
    if not path.is_file():
        raise LabError(f"{named_by} names {path}, which does not exist: name one Markdown or text file.")
    if not is_plain_text(path) and path.stat().st_size:
        return
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        raise LabError(f"{named_by} names {path}, which cannot be read: {error.strerror}.") from error
    if "\0" in text:
        raise LabError(f"{named_by} names {path}, which is no text in UTF-8: convert it to plain text first.")
    if not text.strip():
        raise LabError(f"{named_by} names {path}, which is empty: name a Markdown or text file with words in it.")


def is_plain_text(path: Path) -> bool:
    """True for a file that is read as it is: no folder, and no format that is converted."""
    return path.suffix.lower() not in CONVERTED_SUFFIXES and not path.is_dir()


def document_files(folder: Path) -> list[Path]:
    """The documents in a folder and below it, sorted by name; hidden ones are left out."""
    known = (*TEXT_SUFFIXES, *CONVERTED_SUFFIXES)
    found = (path for path in folder.rglob("*") if path.suffix.lower() in known and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def find_gpu(environ: Mapping[str, str] | None = None) -> tuple[str, float] | None:
    """Name and memory in GB of the first NVIDIA GPU, as nvidia-smi tells them; None without one."""
    program = shutil.which("nvidia-smi", path=(os.environ if environ is None else environ).get("PATH", ""))
    if program is None:
        return None
    import subprocess

    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        name, _, megabytes = answer.strip().splitlines()[0].rpartition(",")
        return name.strip(), float(megabytes) / 1024
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None


def unquoted(value: str) -> str:
    """`value` without its quotes, or without the comment after it."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return re.split(r"\s+#", value, maxsplit=1)[0]


def listed(names: tuple[str, ...]) -> str:
    """The choices as a list for a sentence."""
    return ", ".join(names)
