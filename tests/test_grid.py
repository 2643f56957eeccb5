"""The grid of arms: steps differ in one thing, prompts are asked once, items and refusals are counted right."""

from __future__ import annotations

import pandas as pd
import pytest

from adaptlab import documents, evaluation, figures_grid, grid, stats, workbench
from adaptlab.progress import progress
from adaptlab.retrieval import Index
from adaptlab.schemas import Generation, Phrasing, Question, Quote
from config import MODELS_DIR, LabError

needs_model = pytest.mark.skipif(
    not (MODELS_DIR / "mini-granite" / "model.safetensors").is_file(), reason="prebuilt/models is not there"
)
TEXT = """# Beasts

## Keelwidow

The Keelwidow has an Armour Class of 15. It moves 30 feet, sleeps under keels and is fond of tar and old rope.

## Drowsel

The Drowsel has an Armour Class of 12. It moves 20 feet, hums in the rain and hides in wells and cisterns.
"""


def question(name: str, gold: str, held_out: bool = False, unanswerable: bool = False) -> Question:
    quote = Quote(text=f"The {name} has an Armour Class of {gold}.", section=name)
    return Question(
        id=name.lower(),
        category="unanswerable" if unanswerable else "explicit_rule",
        answer_type="refusal" if unanswerable else "number",
        phrasings=[Phrasing(text=f"What is the Armour Class of the {name}?", role="unseen form")],
        answer=gold,
        quotes=[] if unanswerable else [quote],
        split="held_out" if held_out else "visible",
    )


ASKED = [
    question("Keelwidow", "15"),
    question("Drowsel", "12", held_out=True),
    question("Lampfish", "?", unanswerable=True),
]


def said(arm: str, name: str, text: str, sample: int = 0, **more) -> Generation:
    asked = f"What is the Armour Class of the {name}?"
    return Generation(question_id=name.lower(), phrasing=asked, arm=arm, sample=sample, text=text, **more)


def test_a_step_changes_one_thing_and_every_such_pair_is_there_once() -> None:
    cells = dict(zip(grid.ARMS, grid.CELLS, strict=True))
    found = grid.steps()
    assert len(cells) == 12 and len({(step.a, step.b) for step in found}) == len(found) == 6 + 8 + 6
    for step in found:
        assert sum(x != y for x, y in zip(cells[step.a], cells[step.b], strict=True)) == 1
    assert set(workbench.RUNGS) <= set(grid.ARMS)  # the ladder's arms have the same names


def test_a_vote_counts_its_own_candidates_only_and_the_final_answer_is_its_winner() -> None:
    texts = ["It is 14.", "It is 15.", "It is 15.", "It is 12."]
    drawn = [said("base", "Keelwidow", text, i, prompt_tokens=20) for i, text in enumerate(texts)]
    votes = grid.as_votes(drawn, 3)
    assert [item.sample for item in votes] == [0, 1, 2] and {item.arm for item in votes} == {"base, majority"}
    [answer] = grid.final(votes, ASKED)
    assert answer.text == "It is 15." and answer.sample == 0
    assert grid.final(drawn, ASKED)[0].text == "It is 14."  # the greedy arm of that name takes its first


def answers() -> list[Generation]:
    no = "The passage does not say."
    return [
        said("base", "Keelwidow", "It is 14."),
        said("base", "Drowsel", "It is 12."),
        said("base", "Lampfish", no),
        said("adapter", "Keelwidow", "It is 15. <script>alert(1)</script>"),
        said("adapter", "Drowsel", no),
        said("adapter", "Lampfish", "It is 15."),
    ]


def test_scores_keep_held_out_facts_apart_and_refusals_count_both_ways() -> None:
    found = grid.items(answers(), ASKED)
    rates = grid.scores(found).set_index(["arm", "group"])
    assert list(rates.loc["base"].index) == ["explicit_rule", "unanswerable", grid.VISIBLE, grid.HELD_OUT]
    assert tuple(rates.loc[("base", grid.VISIBLE), ["k", "n"]]) == (1, 2)
    assert rates.loc[("adapter", grid.HELD_OUT), "rate"] == 0
    assert rates.loc[("base", "explicit_rule"), "high"] == pytest.approx(stats.wilson(0, 1).high)
    refused = grid.refusals(found).set_index("arm")
    assert refused.loc["base", "refused rightly"] == 1 and refused.loc["base", "refused wrongly"] == 0
    assert refused.loc["adapter", "refused rightly"] == 0 and refused.loc["adapter", "refused wrongly"] == 0.5


def test_items_are_followed_from_arm_to_arm_filtered_and_escaped() -> None:
    from adaptlab import notebook

    moved = grid.changes(grid.items(answers(), ASKED), "base", "adapter")
    change = moved.set_index("question_id")["change"]
    assert change.to_dict() == {"keelwidow": "got better", "drowsel": "got worse", "lampfish": "got worse"}
    assert list(grid.filtered(moved, change="got worse")["question_id"]) == ["drowsel", "lampfish"]
    assert list(grid.filtered(moved, "got worse", "unanswerable")["question_id"]) == ["lampfish"]
    assert list(grid.filtered(moved, words="DROWSEL")["question_id"]) == ["drowsel"]
    assert grid.filtered(moved, "right in both", words="x").empty and len(grid.filtered(moved)) == 3
    shown = notebook.table(grid.filtered(moved, "got better"), "moved")._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown
    with pytest.raises(LabError, match="no change 'improved': choose one of got better, got worse"):
        grid.filtered(moved, change="improved")
    with pytest.raises(LabError, match="no arm 'nobody': choose one of base, adapter"):
        grid.changes(grid.items(answers(), ASKED), "base", "nobody")


def test_steps_are_tested_in_pairs_and_read_together() -> None:
    names = [f"Beast {number}" for number in range(12)]
    asked = [question(name, "15") for name in names]
    arms = {"base": "14", "adapter": "15", "base + retrieval": "14"}
    stored = [said(arm, name, f"It is {value}.") for arm, value in arms.items() for name in names]
    table = grid.verdicts(stored, asked, grid.steps()).set_index("added")
    alone = evaluation.compare([g for g in stored if g.arm == "base"], [g for g in stored if g.arm == "adapter"], asked)
    assert list(table.index) == ["adapter", "retrieval"]  # the other steps' arms were not asked
    assert table.loc["adapter", "p"] == alone.p and table.loc["adapter", "p (Holm)"] == min(1, 2 * alone.p)
    assert table.loc["adapter", "verdict"] == "better" and table.loc["adapter", "low"] == 1.0
    assert table.loc["retrieval", "verdict"].startswith("no detectable") and table.loc["retrieval", "high"] == 0.0


def test_the_figures_show_every_cell_and_every_step() -> None:
    rates = grid.scores(grid.items(answers(), ASKED))
    written = [text.get_text() for text in figures_grid.heat_map(rates).axes[0].texts]
    assert len(written) == len(rates) and sum(text.startswith("100 %") for text in written) == 3
    steps = pd.DataFrame(
        {"added": ["adapter"], "a": ["base"], "b": ["adapter"], "difference": [0.5], "low": [0.2], "high": [0.7]}
    ).assign(verdict="better")
    ax = figures_grid.steps(steps).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["adapter, from base"]


def test_throughput_adds_up_candidates_and_counts_a_prompt_once() -> None:
    stored = [
        said("base, majority", name, "15", i, prompt_tokens=100, completion_tokens=5, seconds=0.25)
        for name in ("Keelwidow", "Drowsel")
        for i in range(4)
    ]
    [line] = grid.throughput(stored).to_dict("records")
    assert (line["candidates"], line["tokens read"], line["tokens written"]) == (4, 100, 20)
    assert (line["seconds a question"], line["questions a second"]) == (1.0, 1.0)
    waited = [{"arm": "base, majority", "seconds": seconds} for seconds in (0.1, 0.9, 0.2)]
    [line] = grid.cost_table(stored, waited).to_dict("records")
    assert (line["alone, median (s)"], line["alone, longest (s)"]) == (0.2, 0.9)


@needs_model
def test_missing_arms_are_asked_and_a_question_without_proof_has_the_same_prompt_twice(make_lab) -> None:
    lab = make_lab(LAB_MODE="live")
    search = Index(documents.chunks(TEXT, 100, 0), TEXT)
    everything = [
        ("retrieved", 1, ASKED),
        ("retrieved", 2, ASKED),
        ("oracle", 1, ASKED),
        ("oracle", 2, ASKED),
        ("none", 1, ASKED),
    ]
    made: list[Generation] = []

    def ask(progress) -> list[dict]:
        made.extend(grid.ask(lab, "base", everything, progress, search, TEXT))
        return [item.model_dump() for item in made]

    lab.step("grid_base.json", ask, models=("student",))
    oracle = {(g.question_id, g.arm, g.sample): g for g in made if "oracle" in g.arm}
    reused = grid.same_prompts(made, ASKED)
    assert {item.question_id for item in reused} == {"lampfish"} and len(reused) == 3
    for item in reused:
        again = oracle[item.question_id, item.arm, item.sample]
        assert (item.text, item.messages, item.seed) == (again.text, again.messages, again.seed)
    assert all(not item.messages and not item.hits for item in made if item.arm.endswith(grid.VOTED))
    proof = oracle["keelwidow", "base + oracle passage", 0]
    assert [hit.title for hit in proof.hits] == ["Beasts > Keelwidow"]
    waited = grid.latency(lab, made, ASKED[:1], 2, {"base": None}, progress)
    assert [line["arm"] for line in waited] == list(grid.ARMS[:6]) and all(line["seconds"] > 0 for line in waited)
