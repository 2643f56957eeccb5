"""Each exercise of the notebooks, in a real kernel after a replay: not yet as committed, passed with its solution."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from conftest import ROOT, clean_environ
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import config
from adaptlab import exercise_cells, exercises, exercises_trials, guide, kernel, training_scores
from adaptlab.capture import has_results
from adaptlab.sections import LONG, SERIES
from config import LabError

PARTS = {"exercise", "check", "solution"}
FOLD = "<details><summary>{}</summary>\n\n{}\n\n</details>"
SOLUTION = FOLD.format("Hint", "Small.") + "\n\n" + FOLD


def only_shows(cell: nbformat.NotebookNode) -> bool:
    """Whether a code cell makes no name, so that no later cell needs it."""
    if cell.cell_type != "code" or PARTS & set(cell.metadata.get("tags", [])):
        return False
    return all(isinstance(statement, ast.Expr) for statement in ast.parse(cell.source).body)


def said(cell: nbformat.NotebookNode) -> str:
    """What a check cell shows: its last value."""
    (output,) = cell.outputs
    assert output.output_type == "execute_result", output
    return output.data["text/plain"]


@pytest.mark.parametrize("name", SERIES)
def test_every_exercise_fails_as_committed_and_passes_with_its_solution(name: str, tmp_path: Path) -> None:
    """One kernel without PyTorch: the replay, then each exercise solved and checked, then put back and checked."""
    shown = config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"})
    if name in LONG and not has_results(shown, name.removesuffix(".ipynb")):
        pytest.skip("nobody has captured this long notebook yet")
    for module in ("torch", "transformers"):
        (tmp_path / f"{module}.py").write_text(f"raise ImportError('{module} is not there in a replay')\n")
    found = exercise_cells.exercises(ROOT / name)
    notebook = nbformat.read(ROOT / name, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not only_shows(cell)]
    replayed = len(notebook.cells)
    for exercise in found:
        sources = (exercise.solution, exercise.check, exercise.start, exercise.check)
        notebook.cells += [new_code_cell(source) for source in sources]
    settings = {"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt", "LAB_OUTPUTS": str(tmp_path / "outputs")}
    settings |= {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = kernel.execute(notebook, (ROOT / name).parent, clean_environ(settings), lambda cells: None)
    committed = [said(c) for c in done.cells[:replayed] if "check" in c.metadata.get("tags", [])]
    assert len(committed) == len(found) >= 2
    for number, exercise in enumerate(found):
        solved, again = (said(done.cells[replayed + 4 * number + at]) for at in (1, 3))
        assert committed[number].startswith("Not yet: ") and again == committed[number], exercise.title
        assert solved.startswith("Passed: "), (exercise.title, solved)


@pytest.mark.parametrize("name", SERIES)
def test_every_notebook_ends_with_a_knowledge_check_whose_answers_are_folded(name: str) -> None:
    asked = exercise_cells.knowledge(ROOT / name)
    assert 3 <= len(asked) <= 5
    assert [question.split(".")[0] for question, _ in asked] == [str(n) for n in range(1, len(asked) + 1)]
    assert all(question.endswith("?") and len(answer.split()) >= 8 for question, answer in asked)
    cells = [cell for cell in nbformat.read(ROOT / name, as_version=4).cells if cell.cell_type == "markdown"]
    assert "knowledge" in cells[-2].metadata.get("tags", [])


@pytest.mark.parametrize("name", SERIES)
def test_no_solution_or_answer_lies_open(name: str) -> None:
    for cell in nbformat.read(ROOT / name, as_version=4).cells:
        if "solution" in cell.metadata.get("tags", []):
            assert cell.source.count("<details><summary>") == cell.source.count("</details>") == 2
            assert not exercise_cells.FOLDED.sub("", cell.source).strip()


def test_the_guide_tells_the_facilitator_every_exercise_and_its_solution() -> None:
    text = guide.markdown(config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "auto"}))
    for name in SERIES:
        for exercise in exercise_cells.exercises(ROOT / name):
            assert exercise.title in text and exercise.solution in text


# --------------------------------------------------------------------------------------- finding, and bad cells


def written(tmp_path: Path, *cells: nbformat.NotebookNode) -> Path:
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def four(solution: str = "```python\nx = 2\n```") -> list[nbformat.NotebookNode]:
    return [
        new_markdown_cell("### Exercise 1: two\n\nMake it two.", metadata={"tags": ["exercise"]}),
        new_code_cell("x = 1", metadata={"tags": ["exercise"]}),
        new_code_cell("x == 2", metadata={"tags": ["check"]}),
        new_markdown_cell(SOLUTION.format("Solution", solution), metadata={"tags": ["solution"]}),
    ]


def test_an_exercise_is_read_with_all_its_parts(tmp_path: Path) -> None:
    (found,) = exercise_cells.exercises(written(tmp_path, new_code_cell("y = 0"), *four()))
    assert (found.title, found.start, found.check, found.hint) == ("Exercise 1: two", "x = 1", "x == 2", "Small.")
    assert found.solution == "x = 2" and found.task.endswith("Make it two.")


def test_an_exercise_that_lacks_a_part_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="needs 4 tagged cells, and 3 are"):
        exercise_cells.exercises(written(tmp_path, *four()[:3]))
    with pytest.raises(LabError, match="Exercise 1: two: a code cell tagged check is missing"):
        exercise_cells.exercises(written(tmp_path, *four()[:2], four()[3], four()[2]))
    with pytest.raises(LabError, match="needs a folded Hint and a folded Solution"):
        exercise_cells.exercises(written(tmp_path, *four("Only words.")))


# -------------------------------------------------------------------------------------------- checks by themselves


RECALL = pd.DataFrame({"size": [200, 200, 800], "k": [1, 4, 1], "rate": [0.5, 0.9, 0.7], "characters": [200, 800, 800]})
RUNGS = pd.DataFrame({"rung": ["base", "search", "train"], "low": [0.1, 0.3, 0.4], "high": [0.25, 0.5, 0.6]})
CLAIMS = pd.DataFrame({"claim": ["a", "b"], "supported": [True, False]})
VOTES = pd.DataFrame({"votes": [8, 8, 5, 2, 0], "right": [True, False, True, False, False]})


def raises(*_: object) -> float:
    raise ZeroDivisionError("by a learner")


@pytest.mark.parametrize(
    "answer", [None, "two", "", 2.5, -1, 10**9, True, [], (1, 2, 3), {"a": 1}, float("nan"), raises]
)
def test_no_answer_makes_a_check_raise(answer: object, tmp_path: Path) -> None:
    replies = [
        exercises.best_within(answer, RECALL, 800),
        exercises.layers_named(answer, pd.DataFrame({"question_id": ["q"]}), pd.DataFrame()),
        exercises.same_ceiling(answer, pd.DataFrame({"samples": [4], "right": [2]}), (1, 2)),
        exercises.half_the_wrong(answer, VOTES),
        exercises.rows_to_read(answer, 0.9, 0.1),
        exercises.refusing_question(answer, ["Ferry"], "The Ferry rests.", []),
        exercises.trained_bytes(answer, "adamw_torch", {}, tmp_path),
        exercises.exact_p(answer, []),
        exercises.enough_questions(answer, 0.1, 0.3),
        exercises.cheapest_above(answer, RUNGS),
        exercises.claims_judged(answer, CLAIMS),
    ]
    for reply in replies:
        assert reply.state == "not yet" and "\n" not in repr(reply) and len(reply.words) < 300


@pytest.mark.parametrize(
    ("chosen", "state", "words"),
    [((200, 4), "passed", "90%"), ((800, 1), "not yet", "finds more"), ((300, 1), "not yet", "no such line")],
)
def test_the_best_setting_is_the_best_that_can_be_afforded(chosen, state, words) -> None:
    reply = exercises.best_within(chosen, RECALL, 800)
    assert reply.state == state and words in reply.words
    assert "the budget is 500" in exercises.best_within((200, 4), RECALL, 500).words
    assert exercises.best_within((200, 1), RECALL, 500).state == "passed"


def test_votes_halve_the_wrong_and_say_what_it_costs() -> None:
    assert "2 of 2 wrong answers are still given" in exercises.half_the_wrong(1, VOTES).words
    reply = exercises.half_the_wrong(3, VOTES)
    assert reply.state == "passed" and "1 of 2 wrong" in reply.words and "2 of 2 right" in reply.words
    assert "fewer votes would do" in exercises.half_the_wrong(4, VOTES).words
    assert exercises.half_the_wrong(1, VOTES[VOTES.right]).state == "not here"


def test_neither_too_few_nor_too_many_are_asked_for() -> None:
    assert "read more" in exercises.rows_to_read(30, 0.9, 0.1).words
    assert exercises.rows_to_read(145, 0.9, 0.1).state == "passed"
    assert "a tenth fewer" in exercises.rows_to_read(500, 0.9, 0.1).words
    assert "ask more" in exercises.enough_questions(100, 0.1, 0.2).words
    assert exercises.enough_questions(175, 0.1, 0.2).state == "passed"
    assert "a fifth fewer" in exercises.enough_questions(600, 0.1, 0.2).words


def test_a_refusing_question_names_an_entry_and_asks_what_no_word_of_the_document_says() -> None:
    def ask(asked: str) -> exercises.Check:
        return exercises.refusing_question(asked, ["Salt Ferry"], "The Salt Ferry costs three crowns at dusk.", [])

    assert ask("What is the telephone number of the Salt Ferry?").state == "passed"
    assert "name an entry" in ask("What is the telephone number of the pier?").words
    assert "may well answer" in ask("What does the Salt Ferry cost at dusk?").words
    assert "question mark" in ask("Tell me about the Salt Ferry.").words


def test_the_rung_is_the_cheapest_that_is_surely_above_or_none() -> None:
    assert exercises.cheapest_above("search", RUNGS).state == "passed"
    assert "a cheaper rung" in exercises.cheapest_above("train", RUNGS).words
    assert exercises.cheapest_above("base", RUNGS).state == exercises.cheapest_above("none", RUNGS).state == "not yet"
    close = RUNGS.assign(low=0.0)
    assert exercises.cheapest_above("none", close).state == "passed"
    assert exercises.cheapest_above("search", close).state == "not yet"


COSTS = pd.DataFrame({"trial": ["QLoRA", "full"], "artifact (MB)": [1.5, 8.0]})


def test_adapters_share_one_base_and_whole_models_do_not() -> None:
    shared = exercises_trials.shared_base(lambda n, base, adapter: base + n * adapter, COSTS, "QLoRA", "full")
    assert shared.state == "passed" and "158 MB with one base, and 800 MB with 100" in shared.words
    for wrong in (lambda n, base, adapter: n * base, lambda n, base, adapter: n * (base + adapter), "none", raises):
        assert exercises_trials.shared_base(wrong, COSTS, "QLoRA", "full").state == "not yet"
    assert exercises_trials.shared_base(lambda *_: 1, COSTS, "QLoRA", "rank 2").state == "not here"


def test_the_fewest_rows_are_those_that_cannot_be_told_from_all() -> None:
    right = {"few": 5, "half": 28, "all": 30}
    lines = [(name, training_scores.UNSEEN, str(n), n < k) for name, k in right.items() for n in range(40)]
    outcomes = pd.DataFrame(lines, columns=training_scores.OUTCOMES)
    rows = {"few": 20, "half": 100, "all": 200}
    replies = {answer: exercises_trials.fewest_rows(answer, rows, outcomes) for answer in (0, 20, 100, 200, "x", True)}
    assert {answer for answer, reply in replies.items() if reply.state == "passed"} == {100}
    assert "no point of the curve has 0 rows" in replies[0].words and "detectably worse" in replies[20].words
    assert "a smaller point" in replies[200].words


def test_a_damaged_adapter_leaves_the_exercise_nothing_to_work_on(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"short")
    assert exercises.adapter_weights(lambda i, o, r: r * (i + o), tmp_path, 1).state == "not here"


def test_pairs_are_counted_once_in_every_arm() -> None:
    right = exercises_trials.pairs_compared(lambda models, arms: models * (models - 1) // 2 * arms, 5, 2)
    assert right.state == "passed" and "20 tests" in right.words and "0.0025" in right.words
    for wrong in (lambda models, arms: models * arms, lambda models, arms: models * (models - 1) * arms, 3, raises):
        assert exercises_trials.pairs_compared(wrong, 5, 2).state == "not yet"
    assert exercises_trials.pairs_compared(lambda m, a: m * (m - 1) // 2 * a, 1, 2).state == "not here"
