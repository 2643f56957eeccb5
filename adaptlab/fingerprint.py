"""The key of a step: what its function, everything it uses by name, its settings and its inputs hash to.

Nothing of a machine goes in: no absolute path, no address of an object, no bytecode unless the source is gone.
"""

from __future__ import annotations

import dataclasses
import dis
import inspect
import json
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from adaptlab.files import sha256_bytes
from config import ROOT, LabError, Settings


def digest(value: Any) -> str:
    """Hash of plain data."""
    return sha256_bytes(json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8"))


def canonical(value: Any, what: str) -> Any:
    """`value` as plain data that hashes the same on every machine; `what` names it in the error."""
    if isinstance(value, str):
        return value.replace(str(ROOT), ".")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Path):
        return _portable(value)
    if isinstance(value, BaseModel):
        return canonical(value.model_dump(mode="json"), what)
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, Settings)):
        counted = [item.name for item in dataclasses.fields(value) if item.metadata.get("in_key", True)]
        return canonical({name: getattr(value, name) for name in counted}, what)
    if isinstance(value, dict):
        return {str(key): canonical(item, f"{what}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item, what) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((canonical(item, what) for item in value), key=digest)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return canonical(value.tolist(), what)
    kind = type(value).__name__
    raise LabError(f"{what} is a {kind}, which no key can hold: use numbers, texts, lists or dataclasses.")


def used_values(function: Callable[..., Any]) -> dict[str, Any]:
    """The function and, by name, everything that it and the notebook's own functions and classes under it use."""
    if not isinstance(function, types.FunctionType):
        raise LabError(f"A step takes a plain function, not a {type(function).__name__}: write it with def.")
    found: dict[str, Any] = {}
    _collect(function, "the function", found, function.__module__)
    return found


def code_parts(function: Callable[..., Any]) -> dict[str, str]:
    """A hash for everything in `used_values`: of the source where it is the notebook's own, else of the value."""
    return {name: _part(item, function.__module__) for name, item in used_values(function).items()}


def source_of(function: Callable[..., Any] | type) -> str:
    """The source text, with the indentation of its place and trailing blanks taken off."""
    lines = textwrap.dedent(inspect.getsource(function)).strip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _collect(item: Any, name: str, found: dict[str, Any], home: str) -> None:
    """Add `item` under `name`, then all that it refers to, as far as it comes from the module `home`."""
    if name in found:
        return
    found[name] = item
    if isinstance(item, types.FunctionType) and item.__module__ == home:
        for used, value in _references(item):
            _collect(value, used, found, home)
    if isinstance(item, type) and item.__module__ == home:
        for method in _methods(item):
            _collect(method, f"{name}.{method.__name__}", found, home)


def _part(item: Any, home: str) -> str:
    """The hash that stands for one used value."""
    if isinstance(item, types.FunctionType) and item.__module__ == home:
        return sha256_bytes(_source_or_code(item).encode("utf-8"))
    if isinstance(item, type) and item.__module__ == home:
        return digest(_class_text(item))
    return digest(_value(item))


def _references(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Names and values of what `function` takes from around it: the enclosing function, defaults, globals."""
    for name, value in sorted(inspect.getclosurevars(function).nonlocals.items()):
        yield f"{name} around {function.__name__}", value
    for index, default in enumerate((*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())):
        yield f"default {index} of {function.__name__}", default
    for name in sorted(_global_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _global_names(code: types.CodeType) -> set[str]:
    """Global names that `code`, or a function or comprehension inside it, reads."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _value(item: Any) -> Any:
    """What stands for a value in the key: its content if it is plain, else its kind."""
    if isinstance(item, types.ModuleType):
        return f"module {item.__name__}"
    if isinstance(item, (types.FunctionType, types.BuiltinFunctionType, type)):
        return f"{item.__module__}.{item.__qualname__}"
    if isinstance(item, dict):
        return {str(key): _value(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_value(value) for value in item]
    if hasattr(type(item), "lab_key"):
        return item.lab_key
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(item, (pandas.DataFrame, pandas.Series)):
        return item.to_csv()
    try:
        return canonical(item, "a value")
    except LabError:
        return f"a {type(item).__module__}.{type(item).__qualname__}"


def _source_or_code(function: types.FunctionType) -> str:
    """The source; without it (typed into an interpreter) the bytecode, which no prebuilt result ever matches."""
    try:
        return source_of(function)
    except (OSError, TypeError):
        return f"{function.__code__.co_code!r} {function.__code__.co_consts!r}"


def _class_text(cls: type) -> Any:
    """Name, bases, plain attributes and annotations of a class; its methods count by themselves."""
    methods = {method.__name__ for method in _methods(cls)}
    kept = {key: value for key, value in vars(cls).items() if not key.startswith("_") and key not in methods}
    annotations = {key: str(value) for key, value in vars(cls).get("__annotations__", {}).items()}
    bases = [base.__qualname__ for base in cls.__mro__]
    return [bases, {key: _value(value) for key, value in kept.items()}, annotations]


def _methods(cls: type) -> list[types.FunctionType]:
    """The functions that the class body itself defines and whose source can be read."""
    found = [getattr(value, "__func__", getattr(value, "fget", value)) for value in vars(cls).values()]
    functions = [item for item in found if isinstance(item, types.FunctionType) and item.__module__ == cls.__module__]
    return [item for item in functions if not item.__code__.co_filename.startswith("<string")]


def _portable(path: Path) -> str:
    """A path without what is particular to this machine."""
    return path.resolve().relative_to(ROOT).as_posix() if path.resolve().is_relative_to(ROOT) else path.name
