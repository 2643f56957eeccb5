"""Section 02 at full scale: its own cells, the profile's flow, and a scripted teacher behind an endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT
from fault_helpers import question
from synthesis_helpers import FastServer, passages, scripted, truth

from adaptlab import synthesis
from adaptlab.artifacts import Lab
from config import SHORT_FLOW, SPELT_FLOW, settings

NOTEBOOK = ROOT / "02SyntheticDataGen" / "01SDGHub.ipynb"
LAST = "## 2.6"  # here the student's tokenizer is needed, which lies on a hub


def run_cells(until: str) -> dict[str, Any]:
    """The notebook's code cells up to a heading, run here as they stand; returns their names and values."""
    names: dict[str, Any] = {"__name__": "cells_of_section_02"}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "markdown" and cell.source.startswith(until):
            break
        if cell.cell_type == "code":
            exec(compile(cell.source, NOTEBOOK.name, "exec"), names)  # noqa: S102
    return names


@pytest.mark.parametrize(
    ("profile", "teacher", "flow"),
    [
        ("t4", "big-teacher", synthesis.KNOWLEDGE_TUNING),
        ("l4", "big-teacher", synthesis.KNOWLEDGE_TUNING),
        ("mini", "big-teacher", SPELT_FLOW),
        ("mini", "mini-teacher", SHORT_FLOW),
    ],
)
def test_a_teacher_gets_a_flow_that_it_can_follow(lab_environ, monkeypatch, profile, teacher, flow) -> None:
    given = {"LAB_PROFILE": profile, "LAB_ENDPOINT_URL": "http://127.0.0.1:9/v1", "LAB_TEACHER_MODEL": teacher}
    assert settings({**lab_environ, **given}).flow == flow
    for name, value in {**lab_environ, **given}.items():
        monkeypatch.setenv(name, value)
    assert synthesis.QA_FLOW == synthesis.find_flow(flow)
    with pytest.raises(AttributeError, match="NO_FLOW"):
        getattr(synthesis, "NO_FLOW")  # noqa: B009


def test_the_notebook_runs_sdg_hubs_own_flow_at_full_scale(lab_environ, document: Path, monkeypatch) -> None:
    known = [(row.title.partition("> ")[2], row.document) for row in passages(4).itertuples()]
    told = "".join(f"## {name}\n\n{'Nobody knows why it was built. ' * 22}\n\n{text}\n\n" for name, text in known)
    document.write_text(f"# Atlas\n\n{told}", "utf-8")
    document.with_suffix(".questions.jsonl").write_text(question(0), "utf-8")

    def answer(prompt: str, request: dict) -> str:
        return "Yes." if prompt == "Are you there?" else scripted(prompt, request)

    with FastServer(answer) as server:
        given = {"LAB_PROFILE": "t4", "LAB_MODE": "live", "LAB_PART": "Atlas"}
        given |= {"LAB_ENDPOINT_URL": server.url, "LAB_TEACHER_MODEL": "big-teacher"}
        for name, value in {**lab_environ, **given}.items():
            monkeypatch.setenv(name, value)
        Lab(notebook="01Inference_Time_Scaling/test").step("knowledge_failures", lambda: [], models=())
        names = run_cells(LAST)
    assert synthesis.QA_FLOW == synthesis.find_flow(synthesis.KNOWLEDGE_TUNING)
    rows = names["run2"].data
    assert len(rows) == 4 * 2 * names["passes"] and set(rows["problem"].fillna("")) == {""}
    assert all(row["answer"] == truth(row["question"]) for row in rows.to_dict("records"))
    tried = names["tried"].data
    assert tried["problems"] == [] and tried["trial"]["calls"] == 5 * tried["trial"]["asked"] > 0
    assert json.dumps(tried["blocks"]).count("LLMChatBlock") == 3
    assert names["flow"]["metadata"]["name"] == "Document Based Knowledge Tuning Dataset Generation Flow"
