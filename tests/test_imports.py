"""Earlier results take the recap's place after validation, say so everywhere, and what they miss is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT
from test_artifacts import full_run

import config
from adaptlab import imports, workbench
from adaptlab.artifacts import Lab
from adaptlab.capture import verify_live
from adaptlab.scoring import strict
from config import LabError

PREBUILT = ROOT / "prebuilt" / "mini" / "the-sea-that-left"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """The shipped document and benchmark, with outputs in a temporary folder."""
    said: list[str] = []
    environ = {"LAB_PROFILE": "mini", "LAB_OUTPUTS": str(tmp_path / "outputs")}
    made = Lab(config.settings(environ), notebook="00Setup/test", say=said.append)
    made.said = said  # type: ignore[attr-defined]
    return made


def recap(lab: Lab, name: str = "eval_results"):
    """The recap's step as the notebook has it, with a function that must not run."""

    def never() -> list:
        raise AssertionError("the step ran")

    return lab.step(name, never, inputs=[workbench.benchmark_path(lab)], models=())


def older(lab: Lab, count: int = 4, **more: object) -> list[dict]:
    """Keyword-graded records about the first questions, the first of them answered rightly."""
    asked = workbench.questions(lab)[:count]
    return [
        {
            "question": question.text().upper(),
            "expected_keywords": [question.answer],
            "answer": question.answer if at == 0 else "I would guess 7.",
            "score": 1.0,
            **more,
        }
        for at, question in enumerate(asked)
    ]


def written(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), "utf-8")
    return path


def test_our_own_results_take_the_place_of_the_recaps_and_are_labelled(lab, tmp_path):
    records = json.loads((PREBUILT / "eval_results.json").read_text("utf-8"))
    records += json.loads((PREBUILT / "eval_with_context.json").read_text("utf-8"))
    path = tmp_path / "day2.jsonl"
    path.write_text("".join(json.dumps(record | {"arm": f"day two, {record['arm']}"}) + "\n" for record in records))
    imported = imports.read(lab, path)
    assert set(imported.generations) == {"eval_results", "eval_with_context"}
    imports.store(lab, path, imported)
    result = recap(lab)
    assert result.origin == "imported" and result.label.startswith("imported from day2.jsonl; profile mini")
    assert [item["text"] for item in result.data] == [r["text"] for r in records[: len(result.data)]]
    assert {item["arm"] for item in result.data} == {"base"}
    assert {item["arm"] for item in recap(lab, "eval_with_context").data} == {"base + retrieval"}
    after = lab.step("bon_results", lambda: 1, inputs=[result], models=())
    assert after.origin == "mixed" and "live, on imported baseline answers" in after.label


def test_imported_results_are_never_captured_as_this_machines(make_lab, tmp_path):
    lab = make_lab()
    question = {"id": "q", "category": "explicit_rule", "answer_type": "number", "answer": "3 crowns"}
    question |= {"phrasings": [{"text": "What does the ferry cost?", "role": "unseen form"}]}
    question |= {
        "quotes": [{"text": "A ferry across the Saltmarket costs 3 crowns.", "section": "The Saltmarket Rules"}]
    }
    benchmark = written(tmp_path / "questions.jsonl", question)
    lab = make_lab(LAB_BENCHMARK=str(benchmark))
    full_run(lab)
    path = written(tmp_path / "day2.json", [{"question": "What does the ferry cost?", "answer": "3 crowns"}])
    imports.store(lab, path, imports.read(lab, path))
    assert any("eval_results.json is imported from day2.json" in problem for problem in verify_live(lab.settings))


def test_an_import_of_another_benchmark_is_told_and_computed_here(lab, tmp_path):
    path = written(tmp_path / "day2.json", older(lab))
    imports.store(lab, path, imports.read(lab, path))
    lines = workbench.benchmark_path(lab).read_text("utf-8").splitlines()
    fewer = tmp_path / "benchmark.jsonl"
    fewer.write_text("\n".join(lines[:9]) + "\n", "utf-8")
    ran = lab.step("eval_results", lambda: [], inputs=[fewer], models=())
    assert ran.origin == "live" and "was made with another benchmark.jsonl" in lab.said[0]


def test_keyword_graded_files_are_mapped_and_what_is_missing_is_said(lab, tmp_path):
    records = older(lab) + [{"question": "Who won in 1998?", "answer": "France", "score": 1}]
    path = written(tmp_path / "old.json", {"results": records})
    imported = imports.read(lab, path)
    made = imported.generations["eval_results"]
    asked = workbench.questions(lab)[:4]
    assert [item.question_id for item in made] == [question.id for question in asked]
    assert [item.text for item in made] == [record["answer"] for record in records[:4]]
    right = sum(strict(question, item.text) for question, item in zip(asked, made, strict=True))
    told = "\n".join(imported.notes)
    assert f"The file's own grading called 4 of 4 right, the strict scorer {right}; they differ on {4 - right}." in told
    assert "1 questions are not in the benchmark and are left out: Who won in 1998?" in told
    assert f"no answer to {len(workbench.questions(lab)) - 4} questions" in told
    assert "Missing: the prompt as it was sent, in 4 of 5 records." in told and "Missing: keywords" not in told
    assert "Missing: the retrieved contexts, in 4 of 5 records." in told and "scores" not in told


def test_older_contexts_become_hits_only_where_they_stand_in_the_document(lab, tmp_path):
    text = workbench.document(lab)
    question = next(question for question in workbench.questions(lab) if question.quotes)
    contexts = [question.quotes[0].text, "This stands nowhere in the rules."]
    record = {"question": question.text(), "answer": question.answer, "contexts": contexts}
    imported = imports.read(lab, written(tmp_path / "old.json", [record]))
    [made] = imported.generations["eval_with_context"]
    [hit] = made.hits
    assert text[hit.start : hit.end] == hit.text == contexts[0]
    assert any("contexts that do not stand in the document, in 1 of 1" in note for note in imported.notes)
    assert "Missing: the retriever's scores, in 1 of 1 records." in imported.notes


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"question_id": "nobody"}, "record 1: field question_id: the benchmark has no question 'nobody'"),
        ({"messages": []}, "record 1: field messages: the first sample holds the prompt"),
        ({"sample": "first"}, "record 1: field sample"),
        ({"colour": "red"}, "record 1: field colour"),
    ],
)
def test_a_faulty_record_is_named_and_nothing_is_stored(lab, tmp_path, change, what):
    records = json.loads((PREBUILT / "eval_results.json").read_text("utf-8"))
    with pytest.raises(LabError) as fault:
        imports.read(lab, written(tmp_path / "day2.json", [records[0] | change, records[1]]))
    assert what in str(fault.value) and not lab.settings.live_dir.exists()


def test_contexts_of_another_document_are_refused(lab, tmp_path):
    records = json.loads((PREBUILT / "eval_with_context.json").read_text("utf-8"))
    records[0]["hits"][1]["start"] += 1
    with pytest.raises(LabError, match="record 1: field hits.1: the document has other text at"):
        imports.read(lab, written(tmp_path / "day2.json", records))


def test_the_command_checks_stores_and_complains_in_one_sentence(tmp_path, lab, adaptlab_command):
    path = written(tmp_path / "old.json", older(lab))
    shipped = {"LAB_DOCUMENT": "", "LAB_PREBUILT": ""}
    done = adaptlab_command("eval", "import", str(path), "--check", **shipped)
    assert done.returncode == 0 and "Nothing was stored" in done.stdout and not lab.settings.live_dir.exists()
    done = adaptlab_command("eval", "import", str(path), "--json", **shipped)
    assert [Path(name).name for name in json.loads(done.stdout)["stored"]] == ["eval_results.json"]
    assert recap(lab).origin == "imported"
    strange = written(tmp_path / "strange.json", [{"prompt": "x"}])
    done = adaptlab_command("eval", "import", str(strange), **shipped)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "see docs/commands.md" in done.stderr
