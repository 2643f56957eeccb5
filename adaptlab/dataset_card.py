"""The card of exported rows: README.md with the front matter of the Hugging Face Hub, its figures read from results."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from adaptlab import files, synthesis
from adaptlab.artifacts import Lab, Result
from adaptlab.exports import ROW_FORMATS, Exported, is_formula, pairs_table
from adaptlab.inert import inert
from adaptlab.provenance import Provenance, today
from adaptlab.schemas import Row
from adaptlab.synthesis import mixing, quality
from adaptlab.synthesis.filters import UNCHECKED
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

SHIPPED_LICENCE = "cc-by-4.0"  # LICENSE-TEXTS.md: the rulebook, and the prebuilt results made from it
UNKNOWN = "unknown"  # the hub's word for a licence that was not stated
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
HEAD = """Exported from the Model Adaptation Lab on {date}. The questions and answers about one document were written by
a language model and filtered by programs; nobody has read all of them. Every figure below was read from the results
and files that are named here.
"""
LIMITS = """- The rows are about one document, and know nothing that stands outside of it.
- The checks compare words. A row can pass them all and still be wrong, or say less than the document does.
- The counts under **Funnel** are those of this run alone: another seed or teacher gives others.
- A model that was trained on these rows cannot be measured on them.
"""


@dataclass(frozen=True)
class Origin:
    """Where rows come from: the sidecars of the results they were made from, or files by name with their hashes."""

    records: Mapping[str, Provenance]
    flows: Sequence[Mapping[str, str]] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)


def origin_of(lab: Lab, results: Sequence[Result]) -> Origin:
    """The sidecars of `results` and of all that went into them, and the flows that are named there."""
    records = {result.artifact.file: result.provenance for result in results}
    waiting = list(results)
    while waiting:
        for used in waiting.pop().provenance.inputs:
            if used.origin == "source" or used.name in records:
                continue
            try:
                found = lab.result(used.name)
            except LabError:
                continue  # an earlier result that is not kept; the sidecar that names it is shown
            records[used.name] = found.provenance
            waiting.append(found)
    named = {used.name: used.sha256 for record in records.values() for used in record.inputs if used.origin == "source"}
    flows = [_flow(lab, name, sha256) for name, sha256 in sorted(named.items())]
    return Origin(records, [flow for flow in flows if flow])


def _flow(lab: Lab, name: str, sha256: str) -> dict[str, str]:
    """What a flow says of itself; empty for an input that is no flow."""
    folder = lab.settings.flows_dir / name
    if not (folder / "flow.yaml").is_file():
        return {}
    said = yaml.safe_load(files.read_text(folder / "flow.yaml")).get("metadata") or {}
    same = files.sha256_path(folder) == sha256
    version = str(said.get("version", "")) if same else "edited since"
    return {"flow": name, "id": str(said.get("id", "")), "version": version, "sha256 when used": sha256}


def card(
    lab: Lab,
    rows: pd.DataFrame,
    splits: Mapping[str, Sequence[Row]],
    exported: Sequence[Exported],
    origin: Origin,
    *,
    licence: str | None = None,
    stratum: mixing.Stratum | None = None,
    left_out: Mapping[str, int] | None = None,
    cleaned: int | None = None,
) -> str:
    """The whole README.md: `rows` is the checked table with the rejected rows, `splits` is what was exported.

    `left_out` says how many rows were not exported, and why; `cleaned` how many were cleaned (None: not asked for).
    """
    licence = licence or (SHIPPED_LICENCE if lab.settings.shipped_document else UNKNOWN)
    every = [row for part in splits.values() for row in part]
    languages = quality.languages(pairs_table(rows))["language"]
    spoken = Counter(language for language in languages if language).most_common()
    front = yaml.safe_dump(_front(lab, every, exported, licence, spoken), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{front}---",
        f"# {_cell(lab.settings.document.stem)}: questions and answers",
        HEAD.format(date=today()),
        "## Provenance",
        _table(_provenance(lab, rows, origin, licence)),
        _table(_frame(origin.flows)) if origin.flows else "No flow is named in the results.",
        "### Results",
        _table(_results(origin)),
        "## Funnel",
        _table(synthesis.funnel(rows)),
        "## Rows",
        _table(mixing.mix_table(every)),
        _table(mixing.split_table(splits, stratum)),
        "## Files",
        _table(_frame([vars(one) for one in exported])),
        "## Limits",
        f"{LIMITS}{_counted(rows, every, left_out or {}, cleaned)}",
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _front(
    lab: Lab,
    rows: Sequence[Row],
    exported: Sequence[Exported],
    licence: str,
    spoken: Sequence[tuple[str, int]],
) -> dict[str, Any]:
    """The fields that the hub reads: https://huggingface.co/docs/hub/datasets-cards."""
    size = next((word for limit, word in SIZES if len(rows) < limit), "n>1M")
    by_format = {kind: [one for one in exported if one.format == kind] for kind in ROW_FORMATS}
    files_of = next((found for found in map(by_format.get, reversed(ROW_FORMATS)) if found), [])
    front: dict[str, Any] = {
        "pretty_name": f"{lab.settings.document.stem}: questions and answers",
        "language": [language for language, _ in spoken[:1]],
        "license": licence,
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "source_datasets": ["original"],
        "task_categories": ["question-answering", "text-generation"],
        "size_categories": [size],
        "tags": ["synthetic", "sdg-hub", "model-adaptation-lab"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": one.split, "path": one.file} for one in files_of]}
        ],
        "dataset_info": {"splits": [{"name": one.split, "num_examples": one.rows} for one in files_of]},
    }
    return {name: value for name, value in front.items() if value}


def _provenance(lab: Lab, rows: pd.DataFrame, origin: Origin, licence: str) -> pd.DataFrame:
    """Document, licence, teacher and settings, one a line."""
    stated = "not stated: ask its owner before you pass these rows on" if licence == UNKNOWN else licence
    models = {model.name: model for record in origin.records.values() for model in record.models}
    lines: list[tuple[str, str]] = [
        ("document", lab.settings.document.name),
        ("sha256 of the document", files.sha256_path(lab.settings.document)),
        ("licence of the document", stated),
        ("profile", lab.profile.name),
    ]
    for name, model in sorted(models.items()):
        weights = f"; weights {model.weights}" if model.weights else ""
        lines.append(("model", f"{name} ({model.revision}; {model.precision}{weights})"))
    for column, label in (("model", "teacher as it was called"), ("temperature", "temperature"), ("seed", "seeds")):
        if column in rows.columns:
            lines.append((label, ", ".join(sorted({str(value) for value in rows[column]}))))
    if "title" in rows.columns:
        parts = sorted({str(title).split(" > ")[0] for title in rows["title"] if str(title).strip()})
        lines.append(("part of the document", "; ".join(parts)))
    for file, record in origin.records.items():
        if record.settings:
            said = "; ".join(f"{name}: {value}" for name, value in record.settings.items())
            lines.append((f"settings of {file}", said))
    newest = next(iter(origin.records.values()), None)
    if newest is not None:
        libraries = ", ".join(f"{name} {version}" for name, version in newest.libraries.items())
        lines += [("device", newest.device), ("Python", newest.python), ("libraries", libraries)]
        lines.append(("seeds of the run", ", ".join(f"{name} {value}" for name, value in newest.seeds.items())))
    return _frame([{"what": what, "value": value} for what, value in lines])


def _results(origin: Origin) -> pd.DataFrame:
    """The results that the rows were made from, as their sidecars have them, and the files."""
    results = [
        {"result": name, "made": record.label, "seconds": round(record.wall_seconds, 1), "sha256": record.sha256}
        for name, record in origin.records.items()
    ]
    given = [{"result": name, "made": "given", "seconds": "", "sha256": sha} for name, sha in origin.files.items()]
    return _frame([*results, *given])


def _counted(rows: pd.DataFrame, every: Sequence[Row], left: Mapping[str, int], cleaned: int | None) -> str:
    """Counts of what a reader should know before using the rows; never the texts themselves."""
    pairs = pairs_table(rows)
    flagged = quality.personal_data(pairs)["personal"]
    cells = sum(is_formula(value) for name in ("subject", "question", "answer") for value in pairs.get(name, []))
    declining = len(mixing.refusals_of(every)[0])
    own = Counter(row.source for row in every if row.source.startswith("own:"))
    verdicts = [name for name in pairs.columns if name.startswith("verdict_")]
    unchecked = [name.removeprefix("verdict_") for name in verdicts if (pairs[name] == UNCHECKED).any()]
    lines = [
        f"Kept rows in which an email address, a phone number or a key was recognised: {int((flagged != '').sum())}.",
        f"Rows whose answer declines: {declining} of {len(every)}.",
        f"Cells that a spreadsheet would run as a formula: {cells}.",
    ]
    lines += [f"Rows that were not exported ({reason}): {count}." for reason, count in left.items()]
    lines += [] if cleaned is None else [f"Rows whose text was cleaned before the export: {cleaned}."]
    lines += [f"Rows of `{_cell(name)}`: {count}; their licence and origin are not known to the lab."
              for name, count in sorted(own.items())]  # fmt: skip
    lines += [f"Checks that not every kept row went through: {', '.join(unchecked)}."] if unchecked else []
    return "".join(f"- {line}\n" for line in lines)


# ------------------------------------------------------------------------------------------------------ Markdown


def _frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(records))


def _table(frame: pd.DataFrame) -> str:
    """A Markdown table; every cell is escaped, because names and reasons come from outside."""
    head = [f"| {' | '.join(_cell(name) for name in frame.columns)} |", "|" + "---|" * len(frame.columns)]
    lines = [
        f"| {' | '.join(_value(name, value) for name, value in row.items())} |" for row in frame.to_dict("records")
    ]
    return "\n".join([*head, *lines])


def _value(column: Any, value: Any) -> str:
    """A cell; what a column calls a share is shown in per cent."""
    return f"{value:.1%}" if str(column).startswith("share") else _cell(value)


def _cell(value: Any) -> str:
    """A value as text that is neither Markdown nor HTML."""
    escaped = html.escape(inert(" ".join(str(value).split())), quote=False)
    for letter in "|`[]*":
        escaped = escaped.replace(letter, f"&#{ord(letter)};")
    return escaped
