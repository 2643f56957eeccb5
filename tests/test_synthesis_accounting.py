"""Every row counted once, faithfulness before any filter, what the rows cover, more rows where they are thin."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from fault_helpers import ChatServer, teaching
from test_synthesis import DOCUMENT, FACTS, FAST, generated, own_pair, passages

from adaptlab import documents, figures_synthesis, prompts, synthesis
from adaptlab.schemas import Chunk
from adaptlab.stats import wilson
from adaptlab.synthesis.coverage import next_seed
from adaptlab.synthesis.estimate import Usage, _wait_for
from config import LabError

CHUNKS = documents.chunks(DOCUMENT, 450)
ARMOUR = (
    "Keelwidow: Armour Class",
    "Which Armour Class has the Keelwidow?",
    "The Armour Class of the Keelwidow is 19.",
)
WRONG = ("Keelwidow: Armour Class", "How armoured is the Keelwidow?", "The Armour Class of the Keelwidow is 25.")


def checked(*pairs: tuple[str, str, str], second: list[str] | None = None, **more: list[str]) -> pd.DataFrame:
    answers = [pair[2] for pair in pairs] if second is None else second
    return synthesis.apply_filters(generated(*pairs), facts=FACTS, reanswers=answers, more=more)


def chunk_with(words: str) -> Chunk:
    return next(chunk for chunk in CHUNKS if words in chunk.text)


# ------------------------------------------------------------------------------------------------------- accounting


def all_sorts() -> pd.DataFrame:
    pairs = [
        FAST,
        FAST,
        ("Keelwidow: Movement", "How quick is the Keelwidow?", "The Movement of the Keelwidow is 7 feet."),
        ("Keelwidow: Movement", "How swift is the Keelwidow?", FAST[2]),
        ("Keelwidow: Movement", "How fast is it?", FAST[2]),
        ("Brasswhelk: Movement", "How fast is the Brasswhelk?", "The Movement of the Brasswhelk is 25 feet."),
        ("Keelwidow: Movement", "How far goes the Keelwidow?", FAST[2]),
        ("Keelwidow: Movement", "Wie schnell ist der Keelwidow?", FAST[2]),
    ]
    broken = [generated(("", "", ""), problem=problem) for problem in ("cut off", "empty reply", "a tag is empty")]
    rows = pd.concat([generated(*pairs), *broken], ignore_index=True)
    rows = rows.assign(row_id=[f"r{i}" for i in range(len(rows))], run=1)
    second = [pair[2] for pair in pairs]
    second[3] = "The passage does not say."
    fine = ["ok"] * len(rows)
    more = {"length": [*fine[:6], "900 words", *fine[7:]], "language": [*fine[:7], "German", *fine[8:]]}
    return synthesis.apply_filters(rows, facts=FACTS, reanswers=[*second, "", "", ""], more=more)


def test_every_row_ends_in_exactly_one_outcome() -> None:
    rows = all_sorts()
    table = synthesis.outcomes(rows).set_index("outcome").rows
    assert table.to_dict() == {
        "unparsable": 1,
        "empty": 2,
        "unfaithful": 1,
        "wrong cell": 0,
        "unanswerable": 2,
        "held out": 1,
        "contaminated": 0,
        "too long": 1,
        "wrong language": 1,
        "duplicate": 1,
        "kept": 1,
    }
    assert table.sum() == len(rows)


def test_the_funnel_ends_with_the_kept_rows_and_loses_none_on_the_way() -> None:
    rows = all_sorts()
    table = synthesis.funnel(rows)
    turned_down = table[~table["stage"].isin(["generated", "kept"])]
    assert turned_down["rows"].sum() + rows["kept"].sum() == len(rows)
    assert list(table["left"].iloc[[0, -1]]) == [len(rows), rows["kept"].sum()]
    assert table["left"].is_monotonic_decreasing


def test_a_filter_with_a_name_of_its_own_has_its_place_in_the_count() -> None:
    rows = checked(FAST, ARMOUR, personal_data=["ok", "an e-mail address"])
    assert list(rows["reason"]) == ["", "personal_data: an e-mail address"]
    assert dict(synthesis.outcomes(rows).set_index("outcome").rows)["personal_data"] == 1
    assert "personal data" in set(synthesis.funnel(rows)["stage"])


def test_verdicts_of_another_number_of_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="1 verdicts of length for 2 rows"):
        checked(FAST, ARMOUR, length=["ok"])


def test_the_rejected_rows_are_all_rows_but_the_kept_each_with_its_reason() -> None:
    rows = all_sorts()
    table = synthesis.rejected(rows)
    assert set(table["row_id"]) == set(rows.loc[~rows["kept"], "row_id"]) and len(table) == len(rows) - 1
    assert (table["reason"] != "").all() and "kept" not in set(table["outcome"])


# ----------------------------------------------------------------------------------------------------- faithfulness


def test_faithfulness_counts_the_rows_that_were_filtered_out() -> None:
    rows = checked(FAST, ARMOUR, WRONG, second=[FAST[2], ARMOUR[2], "The Armour Class of the Keelwidow is 19."])
    assert list(rows["kept"]) == [True, True, False]
    table = synthesis.faithfulness(rows).set_index("check")
    again = table.loc["answered alike again"]
    assert (again["n"], again["pairs"]) == (3, 3)
    assert (again["rate"], again["low"], again["high"]) == wilson(2, 3)


def test_a_row_without_a_second_answer_is_no_verdict() -> None:
    table = synthesis.faithfulness(checked(FAST, ARMOUR, second=[FAST[2], ""])).set_index("check")
    assert (table.loc["answered alike again", "n"], table.loc["answered alike again", "pairs"]) == (1, 2)


def test_the_errors_of_a_check_are_counted_against_the_registry_over_all_rows() -> None:
    rows = checked(
        FAST,
        ARMOUR,
        WRONG,
        ("Keelwidow: Armour Class", "What armour has the Keelwidow?", "The Armour Class of the Keelwidow is 25."),
        second=[FAST[2], "The passage does not say.", WRONG[2], "The Armour Class of the Keelwidow is 19."],
    )
    judged = synthesis.against_facts(rows, FACTS)
    assert list(judged["right"]) == [True, True, False, False]
    again = synthesis.check_errors(judged).set_index("check").loc["answered alike again"]
    assert (again["n"], again["false yes"], again["false no"]) == (4, 0.5, 0.5)
    assert len(synthesis.check_errors(judged.assign(right=None))) == 0


def test_two_runs_are_compared_with_intervals() -> None:
    rows = checked(FAST, ARMOUR, WRONG, second=[FAST[2], ARMOUR[2], ""]).assign(run=[1, 2, 2], chunk_id=["a", "b", "b"])
    table = synthesis.compare_runs(rows, {1: ["a", "empty"], 2: ["b"]}, FACTS).set_index(["run", "measure"])
    assert table.loc[("run 1", "kept rows for each passage"), "rate"] == 0.5
    assert table.loc[("run 1", "passages with a kept row"), "n"] == 2
    facts = table.loc[("run 2", "visible facts that kept rows state")]
    assert (facts["rate"], facts["n"]) == (0.25, 4)
    assert (table["low"] <= table["rate"]).all() and (table["rate"] <= table["high"]).all()


# --------------------------------------------------------------------------------------------------------- coverage


def rows_of(chunk: Chunk, *pairs: tuple[str, str, str]) -> pd.DataFrame:
    rows = generated(*pairs).assign(chunk_id=chunk.id, title=chunk.title, document=chunk.text)
    return synthesis.against_facts(synthesis.apply_filters(rows, facts=FACTS), FACTS)


def test_each_chunk_knows_its_facts_and_how_many_a_kept_right_row_states() -> None:
    keel = chunk_with("5d8+2")
    table = synthesis.by_chunk(rows_of(keel, FAST, WRONG), CHUNKS, FACTS, read=[c.id for c in CHUNKS[:3]])
    assert table["facts"].sum() == 4 and table["covered"].sum() == 1  # held-out facts are not counted, nor wrong rows
    line = table.set_index("chunk_id").loc[keel.id]
    assert line["covered"] == 1 and line["generated"] == 2 and line["read"]
    assert list(table["read"]) == [c.id in {keel.id, *(c.id for c in CHUNKS[:3])} for c in CHUNKS]


def test_the_worst_section_comes_first_and_a_section_that_lacks_nothing_not_at_all() -> None:
    keel = chunk_with("5d8+2")
    rows = rows_of(keel, FAST, ARMOUR)
    sections = synthesis.by_section(synthesis.by_chunk(rows, CHUNKS, FACTS, read=[c.id for c in CHUNKS]))
    worst = synthesis.worst(sections)
    assert keel.title not in set(worst["section"]) and (worst["share"] < 1).all()
    without = synthesis.by_section(synthesis.by_chunk(rows, CHUNKS, (), read=[c.id for c in CHUNKS]))
    assert list(synthesis.worst(without, 1)["per 1,000 characters"]) == [0]


def test_facts_are_counted_by_section_and_form() -> None:
    grid = synthesis.by_section_and_form(rows_of(chunk_with("5d8+2"), FAST), FACTS, CHUNKS)
    assert grid["facts"].sum() == 4 and grid["covered"].sum() == 1
    assert set(grid["form"]) == {"stat_block", "prose", "table"}


def test_a_table_that_was_dealt_out_counts_for_its_chunk() -> None:
    goods = chunk_with("Bell Jar")
    pair = ("Lamp Hook: Price", "What costs the Lamp Hook?", "The Price of the Lamp Hook is 6 terns.")
    rows = rows_of(goods, pair).assign(chunk_id=f"{goods.id}-1")
    assert synthesis.by_chunk(rows, CHUNKS, FACTS).set_index("chunk_id").loc[goods.id, "covered"] == 1


# ----------------------------------------------------------------------------------------------------------- top-up


def test_thin_passages_are_those_with_a_visible_fact_that_no_kept_row_states() -> None:
    seeds = synthesis.seed_rows(DOCUMENT, CHUNKS, FACTS)
    rows = rows_of(chunk_with("5d8+2"), FAST, ARMOUR)
    thin = synthesis.thin_passages(rows, seeds, CHUNKS, FACTS)
    text = "\n".join(thin["document"])
    assert "its Armour Class is 12" in text and "Lamp Hook" in text and "5d8+2" not in text
    named = synthesis.thin_passages(rows, seeds, CHUNKS, FACTS, sections=["drowsel"])
    assert list(named["chunk_id"]) == [chunk_with("Armour Class is 12").id]
    with pytest.raises(LabError, match="is called Narnia: take one such as"):
        synthesis.thin_passages(rows, seeds, CHUNKS, FACTS, sections=["Narnia"])


def test_a_passage_is_cut_at_sentence_ends_and_nothing_of_it_is_lost() -> None:
    seeds = passages(1).assign(document=["One is here. Two is longer by far than that. Three. Four ends it."])
    cut = synthesis.smaller_passages(seeds, 2)
    assert " ".join(cut["document"]) == seeds["document"].iloc[0] and len(cut) == 2
    assert list(cut["chunk_id"]) == ["c0-1", "c0-2"] and set(cut["title"]) == {"Passage A"}
    table = passages(1).assign(document=["Goods. Here.\n\n| a | b |\n|---|---|\n| 1 | 2 |"])
    assert synthesis.smaller_passages(table, 2).equals(table)


def raise_more(teacher: ChatServer, rows: pd.DataFrame, out_dir: Path, **changes: object):
    seeds = synthesis.seed_rows(DOCUMENT, CHUNKS, FACTS)
    how = {"model": "hosted_vllm/mini-teacher", "api_base": teacher.url, "num_retries": 0, "timeout": 20.0}
    return synthesis.top_up(synthesis.SHORT_FLOW, rows, seeds, CHUNKS, FACTS, out_dir=out_dir, **{**how, **changes})


def test_a_top_up_asks_for_the_thin_sections_only_with_new_seeds_and_never_twice(tmp_path: Path) -> None:
    rows = rows_of(chunk_with("5d8+2"), FAST, ARMOUR).assign(seed=41)
    with teaching(own_pair) as teacher:
        made = raise_more(teacher, rows, tmp_path, passes=2, pieces=1)
        asked = [request["messages"][0]["content"] for request in teacher.requests]
        assert {request["seed"] for request in teacher.requests} == {42, 43}
        assert asked and not any("5d8+2" in prompt for prompt in asked)
        count = len(teacher.requests)
        again = raise_more(teacher, rows, tmp_path, passes=2, pieces=1)
        assert len(teacher.requests) == count
    pd.testing.assert_frame_equal(made.rows, again.rows)
    assert next_seed(made.rows) == 44


def test_where_nothing_is_thin_nothing_is_asked(tmp_path: Path) -> None:
    rows = rows_of(chunk_with("5d8+2"), FAST)
    every = rows.assign(fact_ids=" ".join(fact.id for fact in FACTS), right=True)
    with teaching(own_pair) as teacher:
        made = raise_more(teacher, every, tmp_path)
        assert not teacher.requests
    assert len(made.complete_rows()) == 0 and list(made.rows.columns) == list(every.columns)


# --------------------------------------------------------------------------------------------------------- estimate


def test_a_trial_measures_calls_tokens_and_pace_and_the_run_reuses_it(tmp_path: Path) -> None:
    with teaching(own_pair) as teacher:
        how = {"model": "hosted_vllm/mini-teacher", "api_base": teacher.url, "out_dir": tmp_path, "seeds": (3,)}
        tried = synthesis.trial(synthesis.SHORT_FLOW, passages(10), sample=4, **how)
        assert (tried["passages"], tried["asked"], tried["calls"], tried["rows"]) == (4, 4, 4, 4)
        assert tried["prompt_tokens"] > 0 and tried["completion_tokens"] > 0 and tried["seconds"] > 0
        synthesis.generate(synthesis.SHORT_FLOW, passages(10), **how)
        assert len(teacher.requests) == 10
        assert synthesis.trial(synthesis.SHORT_FLOW, passages(10), sample=4, **how)["seconds"] is None


def test_counts_that_come_late_are_waited_for() -> None:
    usage, reply = Usage(), SimpleNamespace(usage=None)
    usage.add(reply)
    late = threading.Timer(0.1, usage.add, [reply])
    late.start()
    _wait_for(usage, 1)
    assert usage.calls == 2


def test_an_estimate_scales_the_trial_and_names_money_only_with_a_price() -> None:
    tried = {"passages": 4, "asked": 4, "calls": 8, "seconds": 6.0, "prompt_tokens": 4000, "completion_tokens": 1000}
    table = synthesis.estimate({**tried, "rows": 20}, 20, 2, prices=(1.0, 10.0)).set_index("what")["value"]
    assert table["documents to run"] == "40" and table["calls"] == "80"
    assert (table["tokens read"], table["tokens written"], table["money"]) == ("40,000", "10,000", "0.14")
    assert table["minutes at the dry run's pace"] == "1.0"
    assert "money" not in set(synthesis.estimate({**tried, "rows": 20}, 20)["what"])
    unknown = {**tried, "asked": 0, "seconds": None, "prompt_tokens": None, "rows": 20}
    assert "calls" not in set(synthesis.estimate(unknown, 20)["what"])


# ------------------------------------------------------------------------------------------------- edits and figures


def test_an_edited_prompt_is_another_flow_and_says_what_was_changed(tmp_path: Path) -> None:
    same = synthesis.edited_flow(synthesis.SHORT_FLOW, tmp_path / "same", {})
    other = synthesis.edited_flow(
        synthesis.SHORT_FLOW, tmp_path / "other", {prompts.WRITING_INSTRUCTION: "- Write one pair."}
    )
    assert synthesis.flow_fingerprint(same) == synthesis.flow_fingerprint(synthesis.SHORT_FLOW)
    assert synthesis.flow_fingerprint(other) != synthesis.flow_fingerprint(synthesis.SHORT_FLOW)
    assert synthesis.prompt_changes(synthesis.SHORT_FLOW, same) == []
    changes = synthesis.prompt_changes(synthesis.SHORT_FLOW, other)
    assert [line.strip("+- ") for line in changes] == [prompts.WRITING_INSTRUCTION, "Write one pair."]
    with pytest.raises(LabError, match="No prompt of question_answer_pairs says 'no such words'"):
        synthesis.edited_flow(synthesis.SHORT_FLOW, tmp_path / "none", {"no such words": "x"})


def words_of(figure) -> str:
    texts = [
        text.get_text() for ax in figure.axes for text in [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()]
    ]
    return "\n".join(texts)


def test_the_figures_show_the_counts_they_are_given() -> None:
    rows = all_sorts()
    shown = words_of(figures_synthesis.funnel(synthesis.funnel(rows)))
    assert f"{len(rows)}" in shown and "turned down: 3" in shown and "answered alike again" in shown
    keel = rows_of(chunk_with("5d8+2"), FAST)
    per_chunk = synthesis.by_chunk(keel, CHUNKS, FACTS)
    figure = figures_synthesis.coverage_map(per_chunk, synthesis.by_section_and_form(keel, FACTS, CHUNKS))
    assert "1 of 2" in words_of(figure) and "0 of 1" in words_of(figure)
    assert len(figures_synthesis.coverage_map(per_chunk).axes) == 2  # without a registry: the map and its scale
    versus = synthesis.compare_runs(keel.assign(run=1), {1: [chunk_with("5d8+2").id]}, FACTS)
    assert len(figures_synthesis.runs(versus).axes) == 4
    errors = synthesis.check_errors(synthesis.against_facts(checked(FAST, WRONG), FACTS))
    assert "answered alike" in words_of(figures_synthesis.check_errors(errors))


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("", "kept"),
        ("well_formed: turned down by faithful: NO", "unfaithful"),
        ("well_formed: the flow made no row of it", "empty"),
        ("near_duplicate: as r3", "duplicate"),
        ("language: another language: de", "wrong language"),
        ("personal: an e-mail address", "personal"),
    ],
)
def test_the_reasons_of_other_tools_find_their_outcome(reason: str, outcome: str) -> None:
    assert synthesis.outcome_of(reason) == outcome
