"""Flows: the lab's own and SDG Hub's, where they lie, what they demand, what they say, and how they are loaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab import files
from config import DOCUMENT_FOLDER, LabError

if TYPE_CHECKING:
    import pandas as pd
    from sdg_hub import Flow

FLOWS_FOLDER = DOCUMENT_FOLDER / "flows"
EXAMPLE = FLOWS_FOLDER / "example.yaml"
KNOWLEDGE_TUNING = "stellar-peak-605"  # SDG Hub's "Document Based Knowledge Tuning Dataset Generation Flow"
SEED_COLUMNS = ("chunk_id", "title", "document")


@dataclass(frozen=True)
class Teacher:
    """The model that answers the flow's prompts, and how it is asked; settings in a flow's own YAML go first."""

    model: str
    api_bases: tuple[str, ...]
    api_key: str | None = field(repr=False)
    temperature: float
    max_tokens: int
    timeout: float
    num_retries: int


def own_flows() -> list[str]:
    """The names of the lab's own flows: the folders in 02SyntheticDataGen/flows with a flow.yaml."""
    return sorted(path.parent.name for path in FLOWS_FOLDER.glob("*/flow.yaml"))


def find_flow(name: str | Path) -> Path:
    """The YAML of a flow: a path, the name of a flow of the lab, or the id or name of one that SDG Hub brings."""
    path = Path(name)
    candidates = (path, path / "flow.yaml", FLOWS_FOLDER / str(name) / "flow.yaml")
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is not None:
        return found
    if path.suffix in (".yaml", ".yml"):
        raise LabError(f"There is no flow at {path}: name the flow.yaml of a folder in 02SyntheticDataGen/flows.")
    known = sdg_hub().FlowRegistry.get_flow_path(str(name))
    if known is None:
        raise LabError(
            f"There is no flow {str(name)!r}: choose one of {', '.join(own_flows())}, the path of a flow.yaml, or the "
            f"id of a flow of SDG Hub such as {KNOWLEDGE_TUNING}."
        )
    return Path(known)


def parsed(flow_path: Path) -> dict[str, Any]:
    """What a flow's YAML says, or a `LabError` that says why it is no flow."""
    import yaml

    try:
        flow = yaml.safe_load(files.read_text(flow_path))
    except yaml.YAMLError as error:
        raise LabError(f"{flow_path} is no YAML: {' '.join(str(error).split())}: correct what was edited.") from error
    if not isinstance(flow, dict) or not isinstance(flow.get("blocks"), list):
        raise LabError(f"{flow_path} is no flow: it needs metadata and a list of blocks.")
    if not (flow.get("metadata") or {}).get("id"):
        raise LabError(f"{flow_path} has no id under metadata: give it one, or SDG Hub will rewrite the file.")
    return flow


def prompt_files(flow_path: Path) -> list[Path]:
    """The prompt files that a flow names, in the order of its blocks."""
    named = ((block.get("block_config") or {}).get("prompt_config_path") for block in parsed(flow_path)["blocks"])
    return [flow_path.parent / name for name in named if name]


def flow_fingerprint(flow_path: Path) -> str:
    """A hash of what a flow says: its YAML and the prompt files that it names."""
    digest = hashlib.sha256(files.read_text(flow_path).encode())
    for prompt in prompt_files(flow_path):
        digest.update(files.read_text(prompt).encode())
    return digest.hexdigest()


def required_columns(flow_path: Path) -> list[str]:
    """The columns that a flow demands of its seed data."""
    return list(((parsed(flow_path)["metadata"].get("dataset_requirements")) or {}).get("required_columns") or [])


def example_of(flow_path: Path, example: Path = EXAMPLE) -> dict[str, str]:
    """What `example` holds of the columns that a flow demands: the subject, and the example that shows how to ask."""
    import yaml

    shown = yaml.safe_load(files.read_text(example)) if example.is_file() else {}
    demanded = required_columns(flow_path)
    return {name: str(value).strip() for name, value in (shown or {}).items() if name in demanded}


def flow_seeds(frame: pd.DataFrame, flow_path: Path, example: Path = EXAMPLE) -> pd.DataFrame:
    """Seed passages with the further columns that a flow demands.

    `document_outline` is the passage's headings; the subject and the example that shows what questions to ask
    (`domain`, `icl_document`, `icl_query_1` to `_3`) stand in `example`, a file to edit. A flow that demands what no
    passage has, such as the rows to paraphrase, raises a `LabError`.
    """
    missing = [name for name in required_columns(flow_path) if name not in frame.columns]
    if not missing:
        return frame
    known = {"document_outline": frame["title"], **example_of(flow_path, example)}
    unknown = [name for name in missing if name not in known]
    if unknown:
        said = (
            "build it with paraphrase_seeds from rows that were kept"
            if "original_question" in unknown
            else f"write it into {example.name} in 02SyntheticDataGen/flows"
        )
        raise LabError(f"The flow {flow_path.parent.name} demands the column {', '.join(unknown)}: {said}.")
    return frame.assign(**{name: known[name] for name in missing})


def paraphrase_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Seed data for the flow `paraphrases` from question-answer rows: one record a row, named by its `row_id`.

    The answer stays as it is, because a paraphrase is another way to ask and no other fact.
    """
    columns = ["row_id", *SEED_COLUMNS, "subject", "question", "answer"]
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise LabError(f"The rows to paraphrase have no column {', '.join(missing)}: take those of a generation.")
    asked = rows[rows["question"].astype(bool) & rows["answer"].astype(bool)][columns]
    return asked.rename(columns={"row_id": "seed_id", "question": "original_question"}).reset_index(drop=True)


# ---------------------------------------------------------------------------------------------------------- loading


def sdg_hub() -> Any:
    """SDG Hub, imported with quiet logs and without asking the network for a price list."""
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm
    import sdg_hub as library

    import adaptlab.synthesis.blocks  # noqa: F401 (registers the blocks)

    litellm.suppress_debug_info = True
    return library


def load(path: Path) -> Flow:
    """A flow by its YAML, with the lab's strict blocks in the place of the library's."""
    try:
        flow: Flow = sdg_hub().Flow.from_yaml(str(path))
    except Exception as error:
        raise LabError(f"The flow {path} cannot be loaded: {' '.join(str(error).split())}") from error
    from adaptlab.synthesis.blocks import strict

    flow.blocks = strict(flow.blocks)
    return flow


def _same_client(model: str) -> str:
    """`hosted_vllm/NAME` as `openai/NAME`: the same protocol, by the one client that `calls.at_pace` reaches."""
    provider, _, name = model.partition("/")
    return f"openai/{name}" if provider == "hosted_vllm" else model


def configure(flow: Flow, blocks: Sequence[dict[str, Any]], teacher: Teacher, url: str, seed: int | None) -> None:
    """Tell every block that asks a model which one and how; `blocks` is what the YAML says about them.

    Temperature and length that the YAML gives to a block are its own, so that a judge can be asked otherwise.
    """
    wanted: dict[str, Any] = {"temperature": teacher.temperature, "max_tokens": teacher.max_tokens}
    if seed is not None:
        wanted["seed"] = seed
    own = {block["block_config"]["block_name"]: block["block_config"] for block in blocks}
    for block in flow.blocks:
        if block.block_type == "llm":
            said = own.get(block.block_name, {})
            flow.set_model_config(
                model=_same_client(teacher.model),
                api_base=url,
                api_key=teacher.api_key or "none",
                timeout=teacher.timeout,
                num_retries=teacher.num_retries,
                blocks=[block.block_name],
                **{name: value for name, value in wanted.items() if name not in said},
            )
