"""The lab's flows and SDG Hub's own, each run through the real library against a server that follows their prompts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from fault_helpers import ChatServer, teaching
from synthesis_helpers import gates, passages, scripted, tower, truth

from adaptlab import synthesis
from adaptlab.synthesis import flows
from adaptlab.synthesis.pairs import split_tagged
from adaptlab.synthesis.quality import contaminated
from config import PROFILES, LabError

OWN = ("knowledge_tuning", "paraphrases", "question_answer_pairs", "question_answer_rows", "unanswerable")
EVERY = (*OWN, synthesis.KNOWLEDGE_TUNING)


def seeds_of(flow: str, count: int = 3) -> pd.DataFrame:
    """Seed data for a flow."""
    if flow != "paraphrases":
        return synthesis.flow_seeds(passages(count), synthesis.find_flow(flow))
    frame = passages(count)
    names = [title.rpartition("> ")[2] for title in frame["title"]]
    columns = {"subject": [f"{n}: gates" for n in names], "question": [f"How many gates has {n}?" for n in names]}
    rows = frame.assign(row_id=frame["chunk_id"] + "-s0-1", answer=[gates(n) for n in names], **columns)
    return synthesis.paraphrase_seeds(rows)


def run(flow: str | Path, server: ChatServer, out: Path, seeds: pd.DataFrame | None = None):
    seeds = seeds_of(str(flow)) if seeds is None else seeds
    return synthesis.generate(
        flow, seeds, model="hosted_vllm/teacher", api_base=server.url, out_dir=out, num_retries=0, timeout=20.0
    )


def test_the_lab_has_these_flows() -> None:
    assert synthesis.own_flows() == sorted(OWN)


@pytest.mark.parametrize("flow", EVERY)
def test_a_flow_states_what_it_demands_accepts_its_seeds_and_is_not_rewritten(flow: str) -> None:
    path = synthesis.find_flow(flow)
    before = path.read_bytes()
    loaded = synthesis.load_flow(flow, model="hosted_vllm/x", api_base="http://127.0.0.1:1/v1")
    assert loaded.validate_dataset(seeds_of(flow)) == []
    assert loaded.validate_dataset(seeds_of(flow).drop(columns="document")) != []
    assert path.read_bytes() == before


@pytest.mark.parametrize("flow", EVERY)
def test_every_row_of_a_flow_is_whole_and_about_its_own_passage(flow: str, tmp_path: Path) -> None:
    with teaching(scripted) as server:
        made = run(flow, server, tmp_path)
    assert set(made.documents["status"]) == {"ok"} and made.rows["row_id"].is_unique
    good = made.rows[made.rows["problem"] == ""]
    assert set(good["chunk_id"]) == {"c0", "c1", "c2"}
    for row in good.to_dict("records"):
        assert row["title"].rpartition("> ")[2] in row["question"]
        expected = "The passage does not say." if flow == "unanswerable" else truth(row["question"])
        assert row["answer"] == expected


def test_question_answer_rows_come_with_their_quote(tmp_path: Path) -> None:
    with teaching(scripted) as server:
        rows = run("question_answer_rows", server, tmp_path).rows
    assert len(rows) == 6 and list(rows["quote"]) == list(rows["answer"])


def test_knowledge_tuning_asks_about_each_of_three_views(tmp_path: Path) -> None:
    with teaching(scripted) as server:
        rows = run("knowledge_tuning", server, tmp_path).rows
    assert len(server.requests) == 3 * 6
    views = rows.groupby("kind")["question"].agg(lambda asked: {text.split(",")[0] for text in asked}).to_dict()
    assert views == {
        "key_facts": {"By the key facts"},
        "extractive_summary": {"By the extract"},
        "detailed_summary": {"By the detail"},
    }


def test_a_view_without_a_summary_is_named_and_costs_the_others_nothing(tmp_path: Path) -> None:
    def lazy(prompt: str, request: dict) -> str | None:
        return None if "Copy from the passage" in prompt else scripted(prompt, request)

    with teaching(lazy) as server:
        made = run("knowledge_tuning", server, tmp_path)
    assert set(made.documents["status"]) == {"ok"} and len(server.requests) == 3 * 5
    lost = made.rows[made.rows["problem"] != ""]
    assert set(lost["kind"]) == {"extractive_summary"} and set(lost["problem"]) == {"empty reply"} and len(lost) == 3
    assert len(made.rows) - len(lost) == 3 * 2 * 2


def test_a_paraphrase_keeps_the_answer_and_says_where_it_comes_from(tmp_path: Path) -> None:
    with teaching(scripted) as server:
        rows = run("paraphrases", server, tmp_path).rows
    assert len(rows) == 9 and rows["row_id"].is_unique
    for row in rows.to_dict("records"):
        name = row["title"].rpartition("> ")[2]
        assert (row["answer"], row["original_question"]) == (gates(name), f"How many gates has {name}?")


def test_a_question_that_the_passage_answers_is_put_aside_by_the_second_reading(tmp_path: Path) -> None:
    with teaching(scripted) as server:
        made = run("unanswerable", server, tmp_path)
    kept, aside = made.rows[made.rows["problem"] == ""], made.rows[made.rows["problem"] != ""]
    assert len(kept) == 6 and not kept["question"].str.contains("gates").any()
    assert len(aside) == 3 and aside["problem"].str.startswith("turned down by no_answer_on_second_reading").all()
    assert [row["answer"] for row in aside.to_dict("records")] == [gates(f"Place {i}") for i in range(3)]
    assert {r["temperature"] for r in server.requests if "write exactly:" in r["messages"][-1]["content"]} == {0.0}


# ------------------------------------------------------------------------------------------------ SDG Hub's own flow


def test_profiles_of_full_scale_take_sdg_hubs_flow_and_the_miniature_the_short_one() -> None:
    chosen = {name: profile.flow for name, profile in PROFILES.items()}
    assert chosen.pop("mini") == "question_answer_pairs"
    assert set(chosen.values()) == {synthesis.KNOWLEDGE_TUNING}
    name = flows.parsed(synthesis.find_flow(synthesis.KNOWLEDGE_TUNING))["metadata"]["name"]
    assert name == "Document Based Knowledge Tuning Dataset Generation Flow"
    assert synthesis.find_flow(name) == synthesis.find_flow(synthesis.KNOWLEDGE_TUNING)


def test_the_example_in_the_seeds_counts_among_what_no_row_may_repeat() -> None:
    shots = synthesis.few_shot_texts(synthesis.find_flow(synthesis.KNOWLEDGE_TUNING))
    example = seeds_of(synthesis.KNOWLEDGE_TUNING, 1).iloc[0]
    assert (shots["icl_document"], shots["icl_query_1"]) == (example["icl_document"], example["icl_query_1"])
    rows = pd.DataFrame([{"question": example["icl_query_1"], "answer": "18."}])
    assert contaminated(rows, [], few_shot=shots)["verdict_benchmark"].tolist() == ["equals a few-shot text"]


def test_rows_that_the_judge_of_sdg_hubs_flow_turns_down_are_kept_with_its_word(tmp_path: Path) -> None:
    with teaching(scripted) as server:
        made = run(synthesis.KNOWLEDGE_TUNING, server, tmp_path, seeds_of(synthesis.KNOWLEDGE_TUNING, 12))
    assert len(server.requests) == 12 * (1 + 2 * 2)
    turned_down = made.rows[made.rows["problem"] == "turned down by eval_faithful_filter: NO"]
    assert list(turned_down["answer"]) == [tower("Place 10"), tower("Place 11")]
    assert set(turned_down["faithfulness_judgment"]) == {"NO"} and len(made.rows) == 24
    for row in made.rows.to_dict("records"):
        assert row["answer"] == truth(row["question"]) and row["answer"] in row["faithfulness_explanation"]


@pytest.mark.parametrize("said", ["Yes.", "YES, by and large", "maybe"])
def test_a_judge_that_does_not_keep_to_the_form_costs_no_row(said: str, tmp_path: Path) -> None:
    def unruly(prompt: str, request: dict) -> str:
        reply = scripted(prompt, request)
        return reply.replace("\nYES\n", f"\n{said}\n")

    with teaching(unruly) as server:
        made = run(synthesis.KNOWLEDGE_TUNING, server, tmp_path)
    assert set(made.documents["status"]) == {"empty"} and len(made.rows) == 6
    assert set(made.rows["problem"]) == {f"turned down by eval_faithful_filter: {said}"}


def test_a_question_that_was_cut_off_is_named_and_the_others_are_asked(tmp_path: Path) -> None:
    def cut(prompt: str, request: dict) -> str:
        reply = scripted(prompt, request)
        return reply[: reply.rindex("[END]")] if prompt.startswith("Develop") else reply

    with teaching(cut) as server:
        made = run(synthesis.KNOWLEDGE_TUNING, server, tmp_path)
    assert list(made.rows["problem"]) == ["", "cut off"] * 3


def test_what_a_flow_says_about_a_block_goes_before_the_runs_settings(tmp_path: Path) -> None:
    with teaching(scripted) as server:
        run(synthesis.KNOWLEDGE_TUNING, server, tmp_path, seeds_of(synthesis.KNOWLEDGE_TUNING, 1))
    asked = [(r["messages"][-1]["content"][:9], r["max_tokens"], r["temperature"]) for r in server.requests]
    assert set(asked) == {("Develop a", 256, 1.0), ("Answer th", 4096, 1.0), ("Determine", 512, 0.7)}


# --------------------------------------------------------------------------- the filters over what the flows wrote


def answered_again(rows: pd.DataFrame) -> list[str]:
    """A second reading of each row's question over its own passage, by the scripted teacher's knowledge."""
    known = ("gates of", "tower of")
    said = [truth(asked) if any(what in asked for what in known) else REFUSAL for asked in rows["question"]]
    return [answer if problem == "" else "" for answer, problem in zip(said, rows["problem"], strict=True)]


REFUSAL = "The passage does not say."


@pytest.mark.parametrize("flow", EVERY)
def test_the_filters_keep_what_a_faithful_teacher_wrote_in_any_flow(flow: str, tmp_path: Path) -> None:
    with teaching(scripted) as server:
        made = run(flow, server, tmp_path).rows
    rows = synthesis.apply_filters(made, reanswers=answered_again(made))
    whole = rows[rows["problem"] == ""]
    assert len(whole) and whole["kept"].all(), list(whole["reason"])
    assert list(rows.loc[rows["problem"] != "", "kept"]) == [False] * int((rows["problem"] != "").sum())
    assert len(synthesis.to_training_rows(rows)) == len(whole)


def test_a_refusal_is_turned_down_where_the_passage_holds_the_answer(tmp_path: Path) -> None:
    with teaching(scripted) as server:
        made = run("unanswerable", server, tmp_path).rows
    made = made[made["problem"] == ""].reset_index(drop=True)
    told = ["The king of Place 0 is Ansgar.", "| Place | King | Price |\n|---|---|---|\n| Place 1 | Bo | |", "King: Cy"]
    of_king = made["question"].str.contains("king")
    document = made["document"].mask(made["chunk_id"] == "c0", told[0]).mask(made["chunk_id"] == "c1", told[1])
    rows = synthesis.apply_filters(made.assign(document=document.mask(made["chunk_id"] == "c2", told[2])))
    assert list(rows["reason"][of_king]) == ["value: the passage says it"] * 3
    assert rows["kept"][~of_king].all()  # nothing is said of a price, and an empty cell tells none


def test_a_refusal_is_turned_down_where_a_second_reading_finds_an_answer(tmp_path: Path) -> None:
    with teaching(scripted) as server:
        made = run("unanswerable", server, tmp_path).rows
    made = made[made["problem"] == ""].head(2)
    rows = synthesis.apply_filters(made, reanswers=["The king of Place 0 is Ansgar.", REFUSAL])
    assert list(rows["reason"]) == ["reanswer: the passage says it, on second reading", ""]
    assert synthesis.outcome_of(rows["reason"].iloc[0]) == "unfaithful"


def test_a_refusal_must_be_about_something_that_the_passage_names(tmp_path: Path) -> None:
    def elsewhere(prompt: str, request: dict) -> str:
        said = scripted(prompt, request)
        return said.replace("Place 1: king", "Atlantis: king").replace("king of Place 1", "king of Atlantis")

    with teaching(elsewhere) as server:
        made = run("unanswerable", server, tmp_path).rows
    rows = synthesis.apply_filters(made[made["problem"] == ""])
    strange = rows["question"].str.contains("Atlantis")
    assert set(rows["reason"][strange]) == {"name: name not in the passage"} and rows["kept"][~strange].all()


def test_rows_without_a_subject_are_held_against_the_words_and_numbers_of_their_passage(tmp_path: Path) -> None:
    def wrong(prompt: str, request: dict) -> str:
        said = scripted(prompt, request)
        if not prompt.startswith("Answer the question based"):
            return said
        name = truth(prompt.rpartition("Question:")[2]).replace("The tower of ", "")[:7]
        other = {"Place 0": "Place 0 has 99 gates.", "Place 1": "It has a moat.", "Place 2": LONG}
        return other[name] if "gates" in said else said

    LONG = "As the passage says at some length, the number of gates that one may count at Place 2 comes to 5."
    with teaching(wrong) as server:
        made = run(synthesis.KNOWLEDGE_TUNING, server, tmp_path).rows
    assert set(made["subject"]) == {""}
    rows = synthesis.apply_filters(made)
    gates_of = rows[rows["question"].str.contains("gates")].set_index("chunk_id")
    assert gates_of["verdict_value"].to_dict() == {
        "c0": "a number of the answer is not in the passage",
        "c1": "value not in the passage",
        "c2": "ok",
    }
    assert set(rows["verdict_name"]) == {"not checked"}
    assert rows["kept"].sum() == len(rows) - 2
    read = synthesis.faithfulness(synthesis.apply_filters(made, reanswers=answered_again(made)))
    assert set(read["n"]) == {len(made)}


# ----------------------------------------------------------------------------------------------------- editing, faults


@pytest.mark.parametrize("flow", EVERY)
def test_an_edited_prompt_file_is_another_key_and_is_asked_with_the_new_words(flow: str, tmp_path: Path) -> None:
    folder = tmp_path / "flow"
    shutil.copytree(synthesis.find_flow(flow).parent, folder)
    seeds = seeds_of(flow, 1)
    with teaching(scripted) as server:
        first = run(folder, server, tmp_path / "out", seeds)
        count = len(server.requests)
        run(folder, server, tmp_path / "out", seeds)
        assert len(server.requests) == count and count > 0
        for prompt in sorted((folder / "prompts").glob("*.yaml"))[:1]:
            prompt.write_text(f"{prompt.read_text('utf-8').rstrip()}\n    Be brief.\n", "utf-8")
        again = run(folder, server, tmp_path / "out", seeds)
    assert len(server.requests) == 2 * count and not again.documents["cached"].any()
    asked = [" ".join(m["content"] for m in r["messages"]) for r in server.requests]
    assert not any("Be brief." in text for text in asked[:count])
    assert any("Be brief." in text for text in asked[count:])
    assert len(first.rows) == len(again.rows)


def test_a_flow_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(LabError, match=r"There is no flow 'question_pairs'.*question_answer_pairs.*stellar-peak-605"):
        synthesis.find_flow("question_pairs")


def test_seeds_that_lack_what_a_flow_demands_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="original_question.*paraphrase_seeds"):
        synthesis.flow_seeds(passages(1), synthesis.find_flow("paraphrases"))
    with pytest.raises(LabError, match="icl_document.*example"):
        synthesis.flow_seeds(passages(1), synthesis.find_flow(synthesis.KNOWLEDGE_TUNING), tmp_path / "example.yaml")


QUESTION_AND_ANSWER = (["<q>", "<a>"], ["</q>", "</a>"])


@pytest.mark.parametrize(
    ("reply", "values", "problems"),
    [
        ("<q>1</q><a>one</a><q>2</q><a>two</a>", [("1", "one"), ("2", "two")], ["", ""]),
        ("Well: <q>1</q> so <a>one</a> bye", [("1", "one")], [""]),
        ("<q>1</q><q>2</q><a>two</a>", [(), ("2", "two")], ["cut off", ""]),
        ("<q>1</q><a>one</a><a>two</a>", [()], ["a tag is missing, repeated or misplaced"]),
        ("<q>1</q><q>2</q><a>one</a><a>two</a>", [(), ()], ["cut off", "a tag is missing, repeated or misplaced"]),
        ("<a>one</a><q>1</q><a>two</a><q>2</q>", [()], ["does not start with the first tag"]),
        ("<q>1</q><a>one", [()], ["cut off"]),
        ("<q> </q><a>one</a>", [()], ["a tag is empty"]),
        ("nothing", [()], ["no tags"]),
        ("", [()], ["empty reply"]),
        (None, [()], ["empty reply"]),
    ],
)
def test_tags_are_never_paired_by_position(reply: str | None, values: list, problems: list[str]) -> None:
    pieces = split_tagged(reply, *QUESTION_AND_ANSWER)
    assert [piece.values for piece in pieces] == values
    assert [piece.problem for piece in pieces] == problems


def test_end_tags_that_are_alike_or_left_out_are_read() -> None:
    [piece] = split_tagged("[Q] a [END] [A] b [END]", ["[Q]", "[A]"], ["[END]", "[END]"])
    assert piece.values == ("a", "b")
    [rest] = split_tagged("Before ### Facts\n1. one", ["### Facts"], [""])
    assert rest.values == ("1. one",)
    [whole] = split_tagged("  all of it ", [""], [""])
    assert whole.values == ("all of it",)
