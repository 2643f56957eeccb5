"""Synthetic rows: seeds without held-out entries, strict parsing, a driver that loses nothing, filters that add up."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from fault_helpers import ChatServer, teaching

from adaptlab import documents, pace, prompts, synthesis
from adaptlab.schemas import Fact, Message, Phrasing, Question, Row
from adaptlab.synthesis.driver import flow_fingerprint
from adaptlab.synthesis.filters import stands_in, value_of
from config import ROOT, LabError

DOCUMENT = """# The Almanac

## Creatures

### Keelwidow

A crab the size of a dinner table, which mourns for a wrecked rowing boat in public and at considerable length.

**Armour Class** 19; **Hit Dice** 5d8+2; **Movement** 25 feet

### Brasswhelk

A whelk of solid brass, which is opened with a crowbar, a prayer and a second, larger crowbar held in reserve.

**Armour Class** 22; **Morale** 10

### Drowsel

Sailors take the Drowsel for a wet blanket left on a bench. Under all that wool its Armour Class is 12, they say.

## Goods

| Item | Price | Weight |
|---|---|---|
| Lamp Hook | 6 terns | 2 stones |
| Salt Drum | 9 terns | 7 stones |
| Bell Jar | 14 terns | 3 stones |
"""


def fact(entity: str, attribute: str, value: str, form: str, section: str, quote: str, split: str = "visible") -> Fact:
    start = DOCUMENT.index(quote)
    return Fact(
        id=f"{entity}-{attribute}".lower().replace(" ", "-"),
        entity=entity,
        kind="monster",
        attribute=attribute,
        value=value,
        form=form,
        section=section,
        quote=quote,
        start=start,
        end=start + len(quote),
        split=split,
    )


FACTS = [
    fact("Keelwidow", "Armour Class", "19", "stat_block", "Keelwidow", "**Armour Class** 19"),
    fact("Keelwidow", "Movement", "25 feet", "stat_block", "Keelwidow", "**Movement** 25 feet"),
    fact("Drowsel", "Armour Class", "12", "prose", "Drowsel", "its Armour Class is 12"),
    fact("Lamp Hook", "Price", "6 terns", "table", "Goods", "| Lamp Hook | 6 terns | 2 stones |"),
    fact("Brasswhelk", "Morale", "10", "stat_block", "Brasswhelk", "**Morale** 10", "held_out"),
    fact("Salt Drum", "Price", "9 terns", "table", "Goods", "| Salt Drum | 9 terns | 7 stones |", "held_out"),
]


# ------------------------------------------------------------------------------------------------------------ seeds


@pytest.mark.parametrize("size", [100, 200, 450, 5000])
def test_no_seed_passage_holds_anything_of_a_held_out_entry_whatever_the_chunk_size(size: int) -> None:
    seeds = synthesis.seed_rows(DOCUMENT, documents.chunks(DOCUMENT, size), FACTS)
    everything = "\n".join(seeds["title"] + "\n" + seeds["document"])
    for hidden in ("Brasswhelk", "whelk of solid brass", "crowbar", "**Morale** 10", "Salt Drum", "9 terns", "7 stone"):
        assert hidden not in everything
    for shown in ("Keelwidow", "5d8+2", "Drowsel", "Armour Class is 12", "Lamp Hook", "Bell Jar", "14 terns"):
        assert shown in everything


def test_without_held_out_facts_seed_passages_are_the_chunks() -> None:
    chunks = documents.chunks(DOCUMENT, 450)
    seeds = synthesis.seed_rows(DOCUMENT, chunks)
    assert list(seeds["document"]) == [chunk.text for chunk in chunks]
    assert not seeds["masked"].any()


def test_a_passage_that_continues_a_table_gets_its_head_back() -> None:
    seeds = synthesis.seed_rows(DOCUMENT, documents.chunks(DOCUMENT, 100))
    bell_jar = next(text for text in seeds["document"] if "Bell Jar" in text)
    assert bell_jar.startswith("| Item | Price | Weight |\n|---|---|---|\n")


def test_a_chunk_of_which_only_the_head_of_a_table_is_left_is_listed_as_dropped() -> None:
    hidden = [f.model_copy(update={"split": "held_out"}) for f in FACTS if f.form == "table"]
    jar = fact("Bell Jar", "Price", "14 terns", "table", "Goods", "| Bell Jar | 14 terns | 3 stones |", "held_out")
    chunks = documents.chunks(DOCUMENT, 450)
    seeds = synthesis.seed_rows(DOCUMENT, chunks, [*hidden, jar])
    goods = next(chunk.id for chunk in chunks if "Item" in chunk.text)
    assert goods in seeds.attrs["dropped"] and goods not in set(seeds["chunk_id"])


@pytest.mark.parametrize("rows", [1, 2])
def test_a_long_table_is_dealt_out_under_its_head_and_nothing_of_it_is_lost(rows: int) -> None:
    names = ["Lamp Hook", "Bell Jar", "Tar Pot", "Reed Pipe", "Clay Bell"]
    table = "\n".join(f"| {name} | {price} terns |" for price, name in enumerate(names, 3))
    text = f"# Goods\n\nAsk at the blue door.\n\n| Item | Price |\n|---|---|\n{table}\n\nNo credit is given.\n"
    seeds = synthesis.seed_rows(text, documents.chunks(text, 2000), table_rows=rows)
    assert len(seeds) == -(-len(names) // rows) and seeds["chunk_id"].is_unique and not any(seeds["title"])
    for passage in seeds["document"]:
        assert passage.startswith("Ask at the blue door.\n\n| Item | Price |\n|---|---|\n|")
        assert passage.endswith("|\n\nNo credit is given.")
        assert 1 <= sum(name in passage for name in names) <= rows
    assert [name for name in names if any(name in passage for passage in seeds["document"])] == names


def test_prose_and_short_tables_stay_as_they_are_when_tables_are_dealt_out() -> None:
    chunks = documents.chunks(DOCUMENT, 450)
    longest = max(chunk.text.count("\n|") for chunk in chunks)
    dealt = synthesis.seed_rows(DOCUMENT, chunks, table_rows=longest)
    assert dealt.equals(synthesis.seed_rows(DOCUMENT, chunks))


def test_a_fact_under_another_heading_is_named() -> None:
    wrong = FACTS[4].model_copy(update={"section": "Goods"})
    with pytest.raises(LabError, match=r"brasswhelk-morale.*'Goods'"):
        synthesis.seed_rows(DOCUMENT, documents.chunks(DOCUMENT, 450), [wrong])


# ---------------------------------------------------------------------------------------------------------- parsing

GOOD = prompts.pair("Keelwidow: Movement", "How fast is the Keelwidow?", "The Movement of the Keelwidow is 25 feet.")


def test_what_the_prompt_module_writes_is_parsed_back() -> None:
    second = prompts.pair("Drowsel: Armour Class", "And < the Drowsel?", "Its Armour Class is <12 & more>.")
    pieces = synthesis.parse_pairs(f"{GOOD}\n{second}\n")
    assert [p.problem for p in pieces] == ["", ""]
    assert (pieces[0].subject, pieces[0].question) == ("Keelwidow: Movement", "How fast is the Keelwidow?")
    assert pieces[1].answer == "Its Armour Class is <12 & more>."


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("", "empty reply"),
        (None, "empty reply"),
        ("  \n ", "empty reply"),
        ("I cannot help with that.", "no tags"),
        ("<question>a</question><answer>b</answer>", "does not start with a subject"),
        ("<subject>x</subject><question>a</question><question>b</question><answer>c</answer>", "several questions"),
        ("<subject>x</subject><question>a</question><answer>b</answer><answer>c</answer>", "several questions"),
        ("<subject>x</subject><question>a</question>", "cut off"),
        ("<subject>x</subject><question>a</question><answer>b", "cut off"),
        ("<subject>x</subject><answer>a</answer><question>b</question>", "missing or misplaced"),
        ("<subject> </subject><question>a</question><answer>b</answer>", "a tag is empty"),
        ("<subject>x</subject><question>a</question><answer>b</answer> and so on", "words outside the tags"),
    ],
)
def test_a_malformed_piece_is_kept_with_its_problem_and_never_becomes_a_pair(broken: str | None, problem: str) -> None:
    pieces = synthesis.parse_pairs(broken)
    assert len(pieces) == 1 and problem in pieces[0].problem
    assert not (pieces[0].question or pieces[0].answer)


def test_a_missing_answer_never_shifts_the_answers_of_other_questions() -> None:
    unanswered = "<subject>Drowsel: Armour Class</subject>\n<question>And the Drowsel?</question>"
    pieces = synthesis.parse_pairs(f"{unanswered}\n{GOOD}")
    assert [bool(p.problem) for p in pieces] == [True, False]
    assert pieces[1].answer == "The Movement of the Keelwidow is 25 feet."
    assert "".join(p.raw for p in pieces) == f"{unanswered}\n{GOOD}"


# ----------------------------------------------------------------------------------------------------------- driver


def own_pair(prompt: str, request: dict | None = None) -> str:
    """One pair that names the passage it was written for."""
    title = prompt.split("\n")[2]
    return prompts.pair(f"{title}: Number", f"Which number has {title}?", f"The Number of {title} is 7.")


def passages(count: int) -> pd.DataFrame:
    lines = [(f"c{i}", f"Passage {chr(65 + i)}", f"The Number of Passage {chr(65 + i)} is 7.") for i in range(count)]
    return pd.DataFrame(lines, columns=["chunk_id", "title", "document"])


def run(teacher: ChatServer, frame: pd.DataFrame, out_dir: Path, **changes):
    settings = {"model": "hosted_vllm/mini-teacher", "api_base": teacher.url, "num_retries": 0, "timeout": 20.0}
    return synthesis.generate(
        changes.pop("flow_path", synthesis.SHORT_FLOW), frame, out_dir=out_dir, **{**settings, **changes}
    )


def test_the_teacher_is_asked_exactly_what_the_miniature_was_trained_on(tmp_path: Path) -> None:
    seeds = pd.DataFrame([["007", "Goods > {{ 1 + 1 }}", "a & b\n\n| x | <y> |"]], columns=passages(1).columns)
    with teaching(own_pair) as teacher:
        made = run(teacher, seeds, tmp_path, temperature=0.25, seeds=(5,), max_tokens=99)
    [request] = teacher.requests
    assert request["messages"] == [
        {"role": "user", "content": prompts.write_pairs("Goods > {{ 1 + 1 }}", "a & b\n\n| x | <y> |")}
    ]
    assert request["model"] == "mini-teacher"
    assert (request["temperature"], request["seed"], request["max_tokens"]) == (0.25, 5, 99)
    assert list(made.rows["chunk_id"]) == ["007"] and list(made.rows["title"]) == ["Goods > {{ 1 + 1 }}"]


def test_the_flow_states_what_it_demands_and_is_not_rewritten_by_loading() -> None:
    before = synthesis.SHORT_FLOW.read_bytes()
    flow = synthesis.load_flow(synthesis.SHORT_FLOW, model="hosted_vllm/x", api_base="http://127.0.0.1:1/v1")
    assert flow.get_dataset_requirements().required_columns == ["chunk_id", "title", "document"]
    assert flow.validate_dataset(passages(2)) == []
    assert flow.validate_dataset(passages(2)[["title"]]) != []
    assert synthesis.SHORT_FLOW.read_bytes() == before


def test_each_row_belongs_to_its_own_passage_and_every_seed_is_a_pass(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with teaching(own_pair) as teacher:
        made = run(teacher, passages(6), tmp_path, seeds=(0, 1), on_done=lambda d, t, _: told.append((d, t)))
    assert len(teacher.requests) == 12 and set(made.documents["status"]) == {"ok"}
    assert all(row["title"] in row["question"] for row in made.rows.to_dict("records"))
    assert list(made.rows["chunk_id"]) == [f"c{i}" for i in range(6)] * 2
    assert made.rows["row_id"].is_unique
    assert told == [(i, 12) for i in range(1, 13)]


def test_documents_keep_to_the_rate_limit_of_the_endpoint(tmp_path: Path) -> None:
    with teaching(own_pair) as teacher:
        pace.of(teacher.url, per_minute=300)
        began = time.monotonic()
        made = run(teacher, passages(5), tmp_path)
        took = time.monotonic() - began
    assert set(made.documents["status"]) == {"ok"} and took >= 4 * 60 / 300


def test_one_documents_fault_costs_no_other_document_its_result(tmp_path: Path) -> None:
    def faulty(prompt: str, request: dict):
        faults = {"A": 500, "B": 400, "C": b"<html>oops</html>", "D": b'{"choices": []}', "E": None, "F": "no tags"}
        return faults.get(prompt.split("\n")[2][-1], own_pair(prompt))

    with teaching(faulty) as teacher:
        made = run(teacher, passages(9), tmp_path)
        statuses = dict(zip(made.documents["chunk_id"], made.documents["status"], strict=True))
        assert statuses == {
            "c0": "error",
            "c1": "error",
            "c2": "error",
            "c3": "error",
            "c4": "empty",
            "c5": "empty",
            "c6": "ok",
            "c7": "ok",
            "c8": "ok",
        }
        assert all(made.documents.set_index("chunk_id").loc[["c0", "c1", "c2", "c3"], "error"])
        assert dict(zip(made.rows["chunk_id"], made.rows["problem"], strict=True)) == {
            "c4": "empty reply",
            "c5": "no tags",
            "c6": "",
            "c7": "",
            "c8": "",
        }
        with pytest.raises(LabError, match=r"^4 of 9 documents ended in an error \(the first: .*run this again"):
            made.complete_rows()
        teacher.requests.clear()
        teacher.answer = own_pair
        again = run(teacher, passages(9), tmp_path)
        assert again.complete_rows() is again.rows
    assert {r["messages"][0]["content"].split("\n")[2][-1] for r in teacher.requests} == set("ABCD")
    assert list(again.documents["status"]).count("ok") == 7


def test_a_rerun_makes_no_call_and_gives_the_same_rows(tmp_path: Path) -> None:
    with teaching(own_pair) as teacher:
        first = run(teacher, passages(4), tmp_path)
        count = len(teacher.requests)
        second = run(teacher, passages(4), tmp_path)
        assert len(teacher.requests) == count
    pd.testing.assert_frame_equal(first.rows, second.rows)
    assert second.documents["cached"].all() and not first.documents["cached"].any()


@pytest.mark.parametrize("change", ["model", "temperature", "max_tokens", "seeds", "document", "prompt", "flow"])
def test_what_an_answer_depends_on_is_part_of_its_key(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "flow"
    shutil.copytree(synthesis.SHORT_FLOW.parent, folder)
    flow, prompt = folder / "flow.yaml", folder / "prompts" / "write_pairs.yaml"
    seeds = passages(1)
    others = {"model": "hosted_vllm/other", "temperature": 0.1, "max_tokens": 7, "seeds": (9,)}
    with teaching(own_pair) as teacher:
        run(teacher, seeds, tmp_path / "out", flow_path=flow)
        if change == "document":
            seeds = seeds.assign(document=["The Number of Passage A is 8."])
        elif change == "prompt":
            prompt.write_text(prompt.read_text().replace("{{ document }}", "{{ document }} Be brief."))
        elif change == "flow":
            flow.write_text(flow.read_text().replace("version: 1.0.0", "version: 1.0.1"))
        run(teacher, seeds, tmp_path / "out", flow_path=flow, **{k: v for k, v in others.items() if k == change})
        assert len(teacher.requests) == 2


def test_a_half_written_result_is_asked_for_again(tmp_path: Path) -> None:
    with teaching(own_pair) as teacher:
        run(teacher, passages(1), tmp_path)
        [path] = tmp_path.glob("*.json")
        path.write_text(path.read_text()[:40])
        made = run(teacher, passages(1), tmp_path)
        assert len(teacher.requests) == 2 and list(made.documents["status"]) == ["ok"]


def test_concurrency_is_bounded_and_used(tmp_path: Path) -> None:
    def slow(prompt: str, request: dict) -> str:
        time.sleep(0.15)
        return own_pair(prompt)

    with teaching(slow) as teacher:
        run(teacher, passages(8), tmp_path, max_concurrency=3)
    assert teacher.peak == 3


def test_it_works_inside_a_running_event_loop(tmp_path: Path) -> None:
    async def cell() -> int:
        return len(run(teacher, passages(2), tmp_path).rows)

    with teaching(own_pair) as teacher:
        assert asyncio.run(cell()) == 2


def test_a_teacher_that_is_not_there_is_one_sentence_and_not_a_long_wait(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    start = time.monotonic()
    with pytest.raises(LabError, match="hosted_vllm/mini-teacher.*check that it is running"):
        synthesis.generate(
            synthesis.SHORT_FLOW,
            passages(26),
            model="hosted_vllm/mini-teacher",
            api_base="http://127.0.0.1:9/v1",
            num_retries=0,
            out_dir=tmp_path,
        )
    assert time.monotonic() - start < 60
    assert capfd.readouterr() == ("", "")


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def slow(prompt: str, request: dict) -> str:
        time.sleep(0.3)
        return own_pair(prompt)

    script = (
        "import sys, pandas as pd; sys.path[:0] = [sys.argv[3], sys.argv[3] + '/tests']\n"
        "from test_synthesis import passages; from adaptlab import synthesis\n"
        "synthesis.generate(synthesis.SHORT_FLOW, passages(20), model='hosted_vllm/mini-teacher', api_base=sys.argv[1],"
        " out_dir=sys.argv[2], max_concurrency=2, num_retries=0)"
    )
    with teaching(slow) as teacher:
        child = subprocess.Popen([sys.executable, "-c", script, teacher.url, str(tmp_path), str(ROOT)], cwd=ROOT)
        deadline = time.monotonic() + 300
        while len(list(tmp_path.glob("*.json"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        child.kill()
        child.wait()
        finished = len(list(tmp_path.glob("*.json")))
        assert 5 <= finished < 20
        time.sleep(0.4)
        teacher.requests.clear()
        teacher.answer = own_pair
        made = run(teacher, passages(20), tmp_path)
        assert len(teacher.requests) == 20 - finished
    assert list(made.rows["chunk_id"]) == [f"c{i}" for i in range(20)]


def test_generation_prints_nothing(tmp_path: Path) -> None:
    def faulty(prompt: str, request: dict):
        return 400 if "Passage A" in prompt else own_pair(prompt)

    script = (
        "import sys; sys.path[:0] = [sys.argv[3], sys.argv[3] + '/tests']\n"
        "from test_synthesis import passages; from adaptlab import synthesis\n"
        "synthesis.generate(synthesis.SHORT_FLOW, passages(3), model='hosted_vllm/mini-teacher', api_base=sys.argv[1],"
        " out_dir=sys.argv[2], num_retries=1)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("LOG_LEVEL",)}
    with teaching(faulty) as teacher:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, teacher.url, str(tmp_path), str(ROOT)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=400,
        )
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "", "")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "mini-teacher"}, "write hosted_vllm/mini-teacher"),
        ({"flow_path": "nowhere/flow.yaml"}, "There is no flow at"),
        ({"seeds": (1, 1)}, "different numbers"),
        ({"max_concurrency": 0}, "1 or more"),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path: Path, changes: dict, sentence: str) -> None:
    with teaching(own_pair) as teacher, pytest.raises(LabError, match=sentence):
        run(teacher, passages(1), tmp_path, **changes)
    assert not list(tmp_path.iterdir()) and not teacher.requests


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        (passages(1).drop(columns="title"), "no column title"),
        (passages(0), "is empty"),
        (pd.concat([passages(1), passages(1)]), "chunk_id twice"),
        (passages(1).assign(document=" "), "c0 has no text"),
    ],
)
def test_wrong_seed_data_is_one_sentence(tmp_path: Path, seeds: pd.DataFrame, sentence: str) -> None:
    with teaching(own_pair) as teacher, pytest.raises(LabError, match=sentence):
        run(teacher, seeds, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("id: question-answer-pairs", "", "no id under metadata"),
        ("blocks:", "boxes:", "no flow"),
        ("metadata:", "metadata: [", "no YAML"),
        ("TaggedPairsBlock", "NoSuchBlock", "NoSuchBlock"),
    ],
)
def test_a_broken_flow_is_one_sentence_and_is_left_as_it_is(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    shutil.copytree(synthesis.SHORT_FLOW.parent, tmp_path / "flow")
    flow = tmp_path / "flow" / "flow.yaml"
    flow.write_text(flow.read_text().replace(old, new, 1))
    before = flow.read_text()
    with pytest.raises(LabError, match=sentence):
        synthesis.load_flow(flow, model="hosted_vllm/x", api_base="http://127.0.0.1:1/v1")
    assert flow.read_text() == before


def test_a_key_never_reaches_a_result_file(tmp_path: Path) -> None:
    def leaking(prompt: str, request: dict) -> bytes:
        return b"not json: sk-very-secret"

    with teaching(leaking) as teacher:
        made = run(teacher, passages(1), tmp_path, api_key="sk-very-secret")
    assert list(made.documents["status"]) == ["error"]
    assert "sk-very-secret" not in "".join(path.read_text() for path in tmp_path.iterdir())


def test_the_prompt_file_says_what_the_prompt_module_says() -> None:
    path = synthesis.SHORT_FLOW.parent / "prompts" / "write_pairs.yaml"
    [message] = yaml.safe_load(path.read_text())
    assert message == {"role": "user", "content": prompts.write_pairs("{{ title }}", "{{ document }}")}


def test_the_fingerprint_covers_the_prompt_file(tmp_path: Path) -> None:
    shutil.copytree(synthesis.SHORT_FLOW.parent, tmp_path / "flow")
    before = flow_fingerprint(tmp_path / "flow" / "flow.yaml")
    assert before == flow_fingerprint(synthesis.SHORT_FLOW)
    prompt = tmp_path / "flow" / "prompts" / "write_pairs.yaml"
    prompt.write_text(prompt.read_text() + "\n")
    assert flow_fingerprint(tmp_path / "flow" / "flow.yaml") != before


# ---------------------------------------------------------------------------------------------------------- filters

PASSAGE = "**Armour Class** 19; **Hit Dice** 5d8+2; **Movement** 25 feet. It fears the Brasswhelk."


def generated(*pairs: tuple[str, str, str], problem: str = "", title: str = "Creatures > Keelwidow") -> pd.DataFrame:
    lines = [
        {
            "row_id": f"r{i}",
            "chunk_id": "c1",
            "title": title,
            "document": PASSAGE,
            "seed": 0,
            "model": "m",
            "temperature": 0.7,
            "subject": s,
            "question": q,
            "answer": a,
            "problem": problem,
            "raw": "",
        }
        for i, (s, q, a) in enumerate(pairs)
    ]
    return pd.DataFrame(lines)


FAST = ("Keelwidow: Movement", "How fast is the Keelwidow?", "The Movement of the Keelwidow is 25 feet.")


@pytest.mark.parametrize(
    ("pair", "stage", "reason"),
    [
        (FAST, "", ""),
        (("Keelwidow: Movement", FAST[1], "The Movement of the Keelwidow is 5 feet."), "value", "value not in"),
        (("Keelwidow: Hit Dice", FAST[1], "The Hit Dice of the Keelwidow is 5d8."), "value", "value not in"),
        (("Keelwidow: Movement", "How fast is it?", FAST[2]), "name", "not in the question"),
        (("Keelwidow: Movement", FAST[1], "It is 25 feet."), "name", "not in the answer"),
        (
            ("Keelwid: Movement", "How fast is the Keelwid?", "The Movement of the Keelwid is 25 feet."),
            "name",
            "not in the passage",
        ),
        (
            ("Brasswhelk: Movement", "How fast is the Brasswhelk?", "The Movement of the Brasswhelk is 25 feet."),
            "held_out",
            "held-out",
        ),
        (
            ("Keelwidow: Fear", "What does the Keelwidow fear?", "The Fear of the Keelwidow is the Brasswhelk."),
            "held_out",
            "held-out",
        ),
    ],
)
def test_each_filter_turns_down_what_it_is_for(pair: tuple[str, str, str], stage: str, reason: str) -> None:
    [row] = synthesis.apply_filters(generated(pair), facts=FACTS).to_dict("records")
    assert row["kept"] is (stage == "")
    assert row["reason"].startswith(f"{stage}: " if stage else "") and reason in row["reason"]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("The Movement of the Keelwidow is 25 feet.", ""),
        ("25 feet", ""),
        ("The Movement of the Keelwidow is 19 feet.", "another answer"),
        ("The passage does not say.", "does not say"),
        ("", "no second answer"),
    ],
)
def test_a_row_stays_only_if_its_passage_gives_the_same_answer_again(second: str, reason: str) -> None:
    [row] = synthesis.apply_filters(generated(FAST), reanswers=[second]).to_dict("records")
    assert row["kept"] is (reason == "") and reason in row["reason"]


def test_a_second_answer_that_only_drops_the_not_is_another_answer() -> None:
    passage = "Its Effect: may not cast spells. Others may cast spells."
    rows = generated(("Hush: Effect", "What does Hush do?", "The Effect of Hush is may not cast spells."), title="Hush")
    rows = rows.assign(document=passage)
    [row] = synthesis.apply_filters(rows, reanswers=["The Effect of Hush is may cast spells."]).to_dict("records")
    assert row["reason"] == "reanswer: another answer on second reading"


def test_a_question_of_the_benchmark_is_turned_down_in_any_spelling() -> None:
    asked = Question(
        id="q1",
        category="explicit_rule",
        answer_type="number",
        answer="25 feet",
        phrasings=[Phrasing(text="How  fast is THE Keelwidow", role="seen form")],
    )
    [row] = synthesis.apply_filters(generated(FAST), facts=FACTS, questions=[asked]).to_dict("records")
    assert row["reason"] == "contamination: a question of the benchmark"
    other = asked.model_copy(update={"phrasings": [Phrasing(text="What is its speed?", role="seen form")]})
    assert synthesis.apply_filters(generated(FAST), facts=FACTS, questions=[other])["kept"].all()


def test_only_the_first_good_row_of_a_question_stays() -> None:
    wrong = (FAST[0], FAST[1], "The Movement of the Keelwidow is 99 feet.")
    third = (FAST[0], "how FAST is the Keelwidow?", FAST[2])
    other = (FAST[0], FAST[1], "The Movement of the Keelwidow is 19.")
    rows = synthesis.apply_filters(generated(wrong, FAST, third, other))
    assert list(rows["kept"]) == [False, True, False, False]
    assert list(rows["reason"])[2:] == ["duplicate: asked before", "duplicate: asked before, with another answer"]


def test_a_visible_name_that_contains_a_held_out_one_is_not_turned_down() -> None:
    facts = [
        FACTS[0].model_copy(update={"id": "a", "entity": "Brasswhelk Mother"}),
        FACTS[4],
    ]
    pair = (
        "Brasswhelk Mother: Movement",
        "How fast is the Brasswhelk Mother?",
        "The Movement of the Brasswhelk Mother is 25 feet.",
    )
    rows = generated(pair, title="Brasswhelk Mother")
    assert list(synthesis.apply_filters(rows, facts=facts)["verdict_held_out"]) == ["ok"]


def test_every_row_has_every_verdict_and_the_funnel_adds_up() -> None:
    rows = pd.concat(
        [generated(FAST, FAST, ("Keelwid: Movement", "?", "!")), generated(("", "", ""), problem="cut off")],
        ignore_index=True,
    )
    checked = synthesis.apply_filters(rows, facts=FACTS, reanswers=[FAST[2]] * 4)
    assert len(checked) == 4
    verdicts = checked[[f"verdict_{stage}" for stage in synthesis.STAGES]]
    assert (verdicts != "").all().all()
    table = synthesis.funnel(checked)
    count = dict(zip(zip(table["stage"], table["reason"], strict=True), table["rows"], strict=True))
    assert count[("generated", "")] == 4 and count[("kept", "")] == 1
    assert count[("well-formed", "cut off")] == 1 and count[("not asked before", "asked before")] == 1
    assert sum(table["rows"]) == 2 * 4


def test_filters_accept_a_run_without_rows() -> None:
    empty = generated(FAST).iloc[:0]
    checked = synthesis.apply_filters(empty, facts=FACTS, questions=[], reanswers=[])
    assert len(checked) == 0 and list(synthesis.funnel(checked)["rows"]) == [0, 0]


def test_second_answers_must_be_one_a_row() -> None:
    with pytest.raises(ValueError, match="2 answers for 1 rows"):
        synthesis.apply_filters(generated(FAST), reanswers=["a", "b"])


def test_the_second_reading_is_of_the_rows_own_passage() -> None:
    [prompt] = synthesis.reanswer_prompts(generated(FAST))
    assert prompt == prompts.with_passages(FAST[1], [("Creatures > Keelwidow", PASSAGE)])
    assert synthesis.reanswer_prompts(generated(("", "", ""), problem="cut off")) == [""]


@pytest.mark.parametrize(
    ("part", "text", "found"),
    [
        ("5 feet", "45 feet", False),
        ("2d6", "2d6+1", False),
        ("2d6", "2d6.", True),
        ("25", "25.5", False),
        ("340", "1,340", False),
        ("1,340", "| 1,340 |", True),
        ("goose  FAT", "*goose\nfat*", True),
        ("", "x", False),
    ],
)
def test_a_value_stands_in_a_text_only_as_a_whole(part: str, text: str, found: bool) -> None:
    assert stands_in(part, text) is found


def test_the_value_is_what_the_answer_says_of_its_subject() -> None:
    assert value_of("Is-land: Ruler", "The Ruler of Is-land is Lady Orsol.") == "Lady Orsol"
    assert value_of("Keelwidow: Movement", "25 feet.") == "25 feet"


# ------------------------------------------------------------------------------------------------- facts and files


def test_rows_are_tied_to_visible_facts_by_their_subject_or_to_their_chunk() -> None:
    rows = generated(FAST, ("keelwidow:  armour class", "?", "!"), ("Brasswhelk: Morale", "?", "!"))
    assert synthesis.fact_ids_of(rows, FACTS) == ["keelwidow-movement", "keelwidow-armour-class", ""]
    assert synthesis.fact_ids_of(rows) == ["c1", "c1", "c1"]


def test_the_registry_tells_right_rows_from_wrong_ones_and_what_is_covered() -> None:
    wrong = (FAST[0], FAST[1] + "?", "The Movement of the Keelwidow is 19 feet.")
    rows = synthesis.apply_filters(generated(FAST, wrong, ("Nobody: Age", "?", "!")), facts=FACTS)
    assert list(synthesis.against_facts(rows, FACTS)["right"]) == [True, False, None]
    table = synthesis.coverage(rows[rows["kept"]], FACTS).set_index("form")
    assert (table.loc["all", "covered"], table.loc["all", "facts"]) == (1, 4)
    assert table.loc["stat_block", "share"] == 0.5 and table.loc["table", "covered"] == 0


def replay_rows(count: int) -> list[Row]:
    return [
        Row(
            id=f"p{i}",
            prompt=[Message(role="user", content=f"What is {i} plus 1?")],
            completion=[Message(role="assistant", content=f"{i + 1}.")],
            source="replay",
        )
        for i in range(count)
    ]


def test_training_rows_are_closed_book_with_their_origin_and_mixed_with_replay() -> None:
    pairs = [(FAST[0], f"How fast is the Keelwidow, {i}?", FAST[2]) for i in range(8)]
    kept = synthesis.apply_filters(generated(*pairs, ("Keelwid: x", "?", "!")), facts=FACTS)
    own_rows, replay = synthesis.to_training_rows(kept), synthesis.Part("replay", replay_rows(10), 0.5)
    rows = synthesis.mix(own_rows, [replay], seed=3)
    assert len(rows) == 12 and [r.source for r in rows].count("replay") == 4
    assert rows == synthesis.mix(own_rows, [replay], seed=3)
    assert [r.id for r in rows] != [r.id for r in synthesis.mix(own_rows, [replay], seed=4)]
    own = next(row for row in rows if row.source == "synthetic")
    assert own.prompt[0].content.startswith("How fast is the Keelwidow") and "**" not in own.prompt[0].content
    assert own.completion == [Message(role="assistant", content=FAST[2])]
    assert own.fact_ids == ["keelwidow-movement"] and own.chunk_id == "c1"
    assert own.generator["model"] == "m" and set(own.verdicts) == set(synthesis.STAGES)


def test_too_little_replay_and_no_kept_row_are_sentences() -> None:
    kept = synthesis.apply_filters(generated(FAST))
    with pytest.raises(LabError, match="replay"):
        synthesis.mix(synthesis.to_training_rows(kept), [synthesis.Part("replay", replay_rows(2), 3.0)])
    with pytest.raises(LabError, match="No synthetic row was kept"):
        synthesis.to_training_rows(kept.assign(kept=False))


def test_exports_come_back_as_they_were(tmp_path: Path) -> None:
    odd = ("Keelwidow: Movement", 'Say "None", the Keelwidow?\n=1+1', "NA")
    rows = synthesis.apply_filters(generated(FAST, odd), facts=FACTS)
    synthesis.write_pairs_csv(rows, tmp_path / "pairs.csv")
    back = synthesis.read_pairs_csv(tmp_path / "pairs.csv")
    assert back.to_dict("records") == rows.to_dict("records")
    training = synthesis.to_training_rows(rows)
    synthesis.write_training_jsonl(training, tmp_path / "rows.jsonl")
    assert synthesis.read_training_jsonl(tmp_path / "rows.jsonl") == training


@pytest.mark.parametrize(("text", "sentence"), [("", "is empty"), ("a,b\n1,2\n", "no column subject"), (None, "exist")])
def test_a_broken_table_is_one_sentence(tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(LabError, match=sentence):
        synthesis.read_pairs_csv(tmp_path / "pairs.csv")


def test_a_broken_training_line_is_named(tmp_path: Path) -> None:
    synthesis.write_training_jsonl(replay_rows(2), tmp_path / "rows.jsonl")
    with (tmp_path / "rows.jsonl").open("a") as stream:
        stream.write('{"id": "x"}\n')
    with pytest.raises(LabError, match="line 3.*prompt"):
        synthesis.read_training_jsonl(tmp_path / "rows.jsonl")
