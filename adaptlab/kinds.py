"""The artifacts that have a name in the lab, and how each kind of file is written, checked and read."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from adaptlab import files
from adaptlab.schemas import Row
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".md": "text", ".txt": "text", ".png": "bytes"}


@dataclass(frozen=True)
class Artifact:
    """A named result. `noun` is what a label calls it, `notebook` is where it is made, `schema` checks its records."""

    file: str
    kind: str
    noun: str
    notebook: str = ""
    schema: type[BaseModel] | None = None
    required: bool = False


def _known(file: str, noun: str, notebook: str, schema: type[BaseModel] | None = None) -> Artifact:
    """A registered artifact, without which no run is complete."""
    return Artifact(file, _kind_of(file), noun, notebook, schema, required=True)


def _named(file: str, noun: str, notebook: str) -> Artifact:
    """A registered artifact that a run can be complete without."""
    return Artifact(file, _kind_of(file), noun, notebook)


def _kind_of(file: str) -> str:
    """The kind that a file name tells; a name without an extension is a folder."""
    return SUFFIXES.get(Path(file).suffix, "folder" if not Path(file).suffix else "")


REGISTRY: dict[str, Artifact] = {
    Path(artifact.file).stem: artifact
    for artifact in (
        _known("eval_results.json", "baseline answers", "00Setup/00_Recap_and_Evidence"),
        _known("eval_with_context.json", "answers with retrieval", "00Setup/00_Recap_and_Evidence"),
        _named("retriever_trial.json", "answers with another retriever", "00Setup/00_Recap_and_Evidence"),
        _known("bon_results.json", "Best-of-N results", "01Inference_Time_Scaling/01_BestOfN"),
        _named("text_metrics.csv", "overlap metrics", "00Setup/00_Recap_and_Evidence"),
        _named("bon_more_samples.json", "further candidates", "01Inference_Time_Scaling/01_BestOfN"),
        _known("knowledge_failures.json", "list of knowledge failures", "01Inference_Time_Scaling/01_BestOfN"),
        _named("its_hub_results.json", "its_hub answers", "01Inference_Time_Scaling/01_BestOfN"),
        _known("sdg_run1_results.csv", "first-run rows", "02SyntheticDataGen/01SDGHub"),
        _known("sdg_run2_results.csv", "second-run rows", "02SyntheticDataGen/01SDGHub"),
        _named("sdg_library.json", "SDG Hub's registries", "02SyntheticDataGen/01SDGHub"),
        _named("sdg_dry_run.json", "dry run", "02SyntheticDataGen/01SDGHub"),
        _named("sdg_checked_rows.csv", "checked rows", "02SyntheticDataGen/01SDGHub"),
        _named("sdg_top_up.csv", "rows of the top-up", "02SyntheticDataGen/01SDGHub"),
        _named("rejected_rows.csv", "rejected rows", "02SyntheticDataGen/01SDGHub"),
        _known("synthetic_qa_pairs.csv", "rows", "02SyntheticDataGen/01SDGHub"),
        _known("training_data.jsonl", "rows", "02SyntheticDataGen/01SDGHub", Row),
        _known("training_log.jsonl", "training log", "03ModelAdaptation/01ModelAdaptation"),
        _known("adapter", "adapter", "03ModelAdaptation/01ModelAdaptation"),
        _named("adaptation_trials.json", "compared trainings", "03ModelAdaptation/02_LoRA_QLoRA_Full"),
        _named("memory_plan.json", "memory plan", "03ModelAdaptation/01ModelAdaptation"),
        _named("stopping_run.json", "small run", "03ModelAdaptation/01ModelAdaptation"),
        _named("grid_base.json", "further answers of the base", "04Evaluation/01_Evaluation"),
        _named("grid_adapter.json", "further answers of the adapter", "04Evaluation/01_Evaluation"),
        _named("latency.json", "waiting times", "04Evaluation/01_Evaluation"),
        _named("multi_model_eval.json", "comparison of models", "04Evaluation/02_MultiModelEval"),
        _known("evaluation.json", "evaluation", "04Evaluation/01_Evaluation"),
        _known("evidence_brief.md", "brief", "05Conclusion/01_Synthesis"),
    )
}


def artifact_of(name: str, schema: type[BaseModel] | None = None) -> Artifact:
    """The artifact called `name`: a registered one with or without its extension, else a file name with one."""
    bare = name.rstrip("/")
    stem, suffix = Path(bare).stem, Path(bare).suffix
    known = REGISTRY.get(stem)
    if known is not None and bare in (stem, known.file):
        return known if schema is None else replace(known, schema=schema)
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*(\.[a-z]+)?", bare) or (not suffix and not name.endswith("/")):
        choices = ", ".join(sorted(REGISTRY))
        raise LabError(f"{name!r} names no artifact: take one of {choices}, or add an extension, or / for a folder.")
    if not _kind_of(bare):
        raise LabError(f"{name!r} has an unknown extension: use one of {', '.join(sorted(SUFFIXES))}.")
    return Artifact(bare, _kind_of(bare), stem.replace("_", " "), schema=schema)


def write(artifact: Artifact, value: Any, path: Path) -> dict[str, str]:
    """Write what a step returned to `path`, whole or not at all; returns the types of a table's columns."""
    if artifact.kind == "folder":
        _publish_folder(artifact, value, path)
        return {}
    if artifact.kind == "csv":
        table = _table(artifact, value)
        files.atomic_write_text(path, table.to_csv(index=False, lineterminator="\n"))
        return {str(name): str(kind) for name, kind in table.dtypes.items()}
    if artifact.kind == "text":
        files.atomic_write_text(path, _expected(artifact, value, str))
    elif artifact.kind == "bytes":
        files.atomic_write_bytes(path, _expected(artifact, value, bytes))
    elif artifact.kind == "jsonl":
        records = [_checked(artifact, item, f"{artifact.file} record {i}") for i, item in enumerate(_records(value), 1)]
        files.write_jsonl(path, records)
    else:
        files.atomic_write_json(path, _checked_json(artifact, _plain_table(value)))
    return {}


def read(artifact: Artifact, path: Path, columns: dict[str, str]) -> Any:
    """What lies at `path`; texts in a table stay texts, even if they look like numbers or are empty."""
    if artifact.kind == "folder":
        return path
    if artifact.kind == "bytes":
        return path.read_bytes()
    if artifact.kind == "jsonl":
        return files.read_jsonl(path, artifact.schema) if artifact.schema else files.read_jsonl(path)
    text = files.read_text(path)
    if artifact.kind == "csv":
        return _read_table(text, columns)
    if artifact.kind == "text":
        return text
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise LabError(f"{path} line {error.lineno}: not JSON ({error.msg}): restore or recompute it.") from error
    return value if artifact.schema is None else _models(artifact, value)


def _read_table(text: str, columns: dict[str, str]) -> pd.DataFrame:
    """A table whose text columns are read as they are and whose other columns may have gaps."""
    import pandas as pd

    texts: dict[Any, Any] = {name: str for name, kind in columns.items() if kind in ("str", "object", "string")}
    gaps: dict[Any, Any] = {name: [""] for name in columns if name not in texts}
    return pd.read_csv(io.StringIO(text), dtype=texts, keep_default_na=False, na_values=gaps)


def _table(artifact: Artifact, value: Any) -> pd.DataFrame:
    """A data frame out of a data frame or of records."""
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value
    return pd.DataFrame([_checked(artifact, item, artifact.file) for item in _records(value)])


def _plain_table(value: Any) -> Any:
    """A data frame as records; anything else as it is."""
    if type(value).__name__ == "DataFrame" and hasattr(value, "to_json"):
        return json.loads(value.to_json(orient="records"))
    return value


def _records(value: Any) -> list[Any]:
    """The records of a list or a data frame."""
    value = _plain_table(value)
    if not isinstance(value, (list, tuple)):
        raise LabError(f"A list of records belongs here, not a {type(value).__name__}: return a list from the step.")
    return list(value)


def _checked(artifact: Artifact, item: Any, where: str) -> Any:
    """`item` as plain data, after the artifact's schema has seen it."""
    return files.plain(files.validated(item, where, artifact.schema) if artifact.schema else item)


def _checked_json(artifact: Artifact, value: Any) -> Any:
    """The content of a JSON file, checked record by record if it is a list."""
    if artifact.schema is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_checked(artifact, item, f"{artifact.file} record {i}") for i, item in enumerate(value, 1)]
    return _checked(artifact, value, artifact.file)


def _models(artifact: Artifact, value: Any) -> Any:
    """The content of a JSON file as instances of its schema."""
    assert artifact.schema is not None
    if not isinstance(value, list):
        return files.validated(value, artifact.file, artifact.schema)
    return [files.validated(item, f"{artifact.file} record {i}", artifact.schema) for i, item in enumerate(value, 1)]


def _expected(artifact: Artifact, value: Any, kind: type) -> Any:
    """`value` if it is what this kind of file holds."""
    if not isinstance(value, kind):
        raise LabError(f"{artifact.file} holds {kind.__name__}, but the step returned {type(value).__name__}.")
    return value


def _publish_folder(artifact: Artifact, value: Any, path: Path) -> None:
    """Copy the folder that a step returned beside its place, then put it there in one move."""
    source = Path(_expected(artifact, value, Path))
    if not source.is_dir() or not files.files_below(source):
        raise LabError(f"{artifact.file} is a folder, but the step returned {source.name}, which is none or is empty.")
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        shutil.copytree(source, staged, dirs_exist_ok=True)
        staged.chmod(0o755)
        files.replace_folder(staged, path)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
