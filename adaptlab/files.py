"""Files that are whole or not there: atomic writes, hashes, JSON lines with errors that name the line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ValidationError

from config import LabError

Model = TypeVar("Model", bound=BaseModel)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What libraries that write by themselves make of it: safetensors the first, PyTorch the others.
FULL_WORDS = re.compile(rf"os error ({'|'.join(map(str, FULL))})\b|iostream error|PytorchStreamWriter failed writing")


@contextlib.contextmanager
def needing_room(path: Path) -> Iterator[None]:
    """Turn a full disk (or quota, or limit on file sizes) inside the block into a LabError about `path`."""
    try:
        yield
    except Exception as error:
        said = _full(error)
        if said is None or isinstance(error, LabError):
            raise
        raise LabError(f"{path} cannot be written ({said}): make room on its disk.") from error


def _full(error: BaseException | None) -> str | None:
    """What an error, or one that led to it, says about a full disk; None if it is about something else."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error.strerror
        if FULL_WORDS.search(str(error)):
            return os.strerror(errno.ENOSPC)
        error = error.__cause__ or error.__context__
    return None


def atomic_write_bytes(path: Path, data: bytes) -> Path:
    """Write `data` so that `path` holds either its old content or all of the new one, whatever happens."""
    with needing_room(path):
        return _replaced(path, data)


def _replaced(path: Path, data: bytes) -> Path:
    """Write a file beside `path` and move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    return path


def atomic_write_text(path: Path, text: str) -> Path:
    """`atomic_write_bytes` for text in UTF-8."""
    return atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: Path, value: Any) -> Path:
    """`atomic_write_bytes` for indented JSON; records of pydantic and NaN-free numbers only."""
    return atomic_write_text(path, to_json(value, str(path.name), indent=2) + "\n")


def plain(value: Any) -> Any:
    """`value` with its pydantic records turned into dictionaries, as deep as lists and dictionaries go."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    return value


def to_json(value: Any, what: str, indent: int | None = None) -> str:
    """JSON text of `value`; `what` names it in the sentence that says why it cannot be written."""
    try:
        return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
    except (TypeError, ValueError) as error:
        raise LabError(f"{what} cannot be written as JSON ({error}): return plain data or pydantic records.") from error


# ------------------------------------------------------------------------------------------------ JSON lines


def write_jsonl(path: Path, records: Iterable[Any]) -> Path:
    """Write one JSON object a line, atomically."""
    return atomic_write_text(path, "".join(to_json(record, path.name) + "\n" for record in records))


def append_jsonl(path: Path, record: Any) -> None:
    """Add one line to `path` and wait until the disk has it; a line that has no room leaves nothing of itself."""
    line = (to_json(record, path.name) + "\n").encode("utf-8")
    with needing_room(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as stream:
            before = stream.seek(0, os.SEEK_END)
            try:
                while line:
                    line = line[stream.write(line) :]
                os.fsync(stream.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(stream.fileno(), before)
                raise


@overload
def read_jsonl(path: Path, schema: None = None) -> list[dict[str, Any]]: ...
@overload
def read_jsonl(path: Path, schema: type[Model]) -> list[Model]: ...
def read_jsonl(path: Path, schema: type[BaseModel] | None = None) -> list[Any]:
    """The records of a JSON-lines file; a bad line raises a LabError that names file, line and field."""
    records = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            records.append(parse_record(line, f"{path.name} line {number}", schema))
    return records


def parse_record(line: str, where: str, schema: type[BaseModel] | None = None) -> Any:
    """One JSON object out of `line`, checked against `schema` if there is one."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise LabError(f"{where}: this is not JSON ({error.msg} at column {error.colno}): correct the line.") from error
    if not isinstance(value, dict):
        raise LabError(f"{where}: a JSON object in braces belongs here, not {type(value).__name__}: correct the line.")
    return value if schema is None else validated(value, where, schema)


def validated(value: Any, where: str, schema: type[Model]) -> Model:
    """`value` as a `schema`; the first fault becomes a LabError that names the field."""
    try:
        return schema.model_validate(value.model_dump() if isinstance(value, BaseModel) else value)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in fault["loc"]) or "the record"
        raise LabError(f"{where}: field {name}: {fault['msg']} (as {schema.__name__}): correct it.") from error


def read_text(path: Path) -> str:
    """The text of `path`, or a LabError that says what is wrong with it."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise LabError(f"{path} does not exist: restore it, or run the step that writes it.") from error
    except UnicodeDecodeError as error:
        raise LabError(f"{path} is no text in UTF-8: restore it, or run the step that writes it.") from error
    except OSError as error:
        raise LabError(f"{path} cannot be read ({error.strerror}): put that right and try again.") from error


class Partial:
    """Items of a long step that are finished, one JSON line each, so that an interrupted run goes on from there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """The finished items; a last line that a kill tore is cut off the file."""
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))
        return read_jsonl(self.path)

    def append(self, record: Any) -> None:
        """Keep one more finished item."""
        append_jsonl(self.path, record)


# ---------------------------------------------------------------------------------------- hashes and folders


def sha256_bytes(data: bytes) -> str:
    """Hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_path(path: Path) -> str:
    """Hex digest of a file, or of a folder: of the names and digests of all files in it."""
    if not path.is_dir():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    lines = [f"{name} {sha256_path(path / name)}\n" for name in files_below(path)]
    return sha256_bytes("".join(lines).encode("utf-8"))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum((path / name).stat().st_size for name in files_below(path)) if path.is_dir() else path.stat().st_size


def files_below(folder: Path) -> list[str]:
    """Names of all files in `folder`, relative to it, with forward slashes, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def replace(source: Path, destination: Path) -> None:
    """Put a file or folder in the place of `destination`, which must be on the same disk."""
    if source.is_dir():
        replace_folder(source, destination)
    else:
        os.replace(source, destination)


def replace_folder(source: Path, destination: Path) -> None:
    """Put the folder `source` in the place of `destination`, which must be on the same disk."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if destination.exists():
        retired = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", suffix=".old", dir=destination.parent))
        os.replace(destination, retired / "was")
        os.replace(source, destination)
        shutil.rmtree(retired)
        return
    os.replace(source, destination)


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends; a second holder gets a LabError."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabError(f"Another run is computing {what} right now: wait until it is done, or stop it.") from error
        yield
