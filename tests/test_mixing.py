"""Mixes keep their proportions, splits keep facts together, subsets nest; neither row order nor chance changes them."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from conftest import ROOT

from adaptlab import benchmark, synthesis, verify_data
from adaptlab.schemas import Message, Row
from adaptlab.synthesis import mixing
from config import LabError

PREBUILT = ROOT / "prebuilt" / "mini" / "the-sea-that-left"
DOCUMENT = ROOT / "02SyntheticDataGen" / "The-Sea-That-Left.md"


def row(name: str, asked: str, answer: str = "3 crowns.", facts: tuple[str, ...] = (), **more: object) -> Row:
    chat = {"prompt": [Message(role="user", content=asked)], "completion": [Message(role="assistant", content=answer)]}
    return Row(id=name, fact_ids=list(facts), **chat, **more)


def shuffled(rows: list[Row], seed: int = 5) -> list[Row]:
    return random.Random(seed).sample(rows, len(rows))


@pytest.fixture(scope="module")
def real() -> list[Row]:
    return synthesis.read_training_jsonl(PREBUILT / "training_data.jsonl")


@pytest.fixture(scope="module")
def own(real) -> list[Row]:
    return mixing.distinct([item for item in real if item.source == "synthetic"])


@pytest.fixture(scope="module")
def replay(real) -> list[Row]:
    return [item for item in real if item.source.startswith("replay")]


@pytest.fixture(scope="module")
def by_form() -> mixing.Stratum:
    return mixing.by_form(benchmark.load_facts(DOCUMENT.with_name("facts.jsonl"), DOCUMENT.read_text("utf-8")))


@pytest.fixture(scope="module")
def tokenizer():
    return verify_data.tokenizer_at_hand(str(ROOT / "prebuilt" / "models" / "mini-granite"))


# ------------------------------------------------------------------------------------------------------- mixing


def test_thin_facts_have_their_rows_repeated_and_others_stay_as_they_are() -> None:
    thin, twice, none = row("a", "One?", facts=("f",)), row("b", "Two?", facts=("g",)), row("n", "Nothing?")
    rows = [thin, twice, row("c", "Again two?", facts=("g",)), none]
    made = mixing.repeated(rows, 3)
    assert [item.id for item in made] == ["a", "a-again1", "a-again2", "b", "b-again1", "c", "n"]
    assert {item.prompt[0].content for item in made if item.id.startswith("a")} == {"One?"}
    assert sorted(item.id for item in mixing.repeated(shuffled(rows), 3)) == sorted(item.id for item in made)
    assert list(mixing.mix_table(made)["copies"]) == [3]
    assert mixing.distinct(made) == rows and made[1].generator == {"copy_of": "a"}
    assert mixing.repeated(rows, 0) == mixing.repeated(rows, 1) == rows
    with pytest.raises(LabError, match="Each fact is to have -1 rows at least: give a number from 0 on."):
        mixing.repeated(rows, -1)


def test_each_replay_row_is_dealt_to_one_epoch_evenly(own, replay):
    mixed = mixing.mix(own, [mixing.Part("replay", replay, 0.3)], seed=1)
    made = mixing.dealt(mixed, 3)
    turns = Counter(item.generator["epoch"] for item in made if item.source.startswith("replay"))
    rehearsed = sum(item.source.startswith("replay") for item in mixed)
    assert turns == dict.fromkeys(range(3), rehearsed // 3) and rehearsed // 3 > 0
    assert [item for item in made if "epoch" not in item.generator] == [
        item for item in mixed if not item.source.startswith("replay")
    ]
    assert mixing.dealt(made, 2.5) == made  # a part of an epoch counts as one
    assert mixing.dealt(own, 3) == own


def test_a_mix_in_rows_has_the_stated_share_and_depends_on_seed_alone(own, replay):
    parts = [mixing.Part("replay", replay, 0.25)]
    made = mixing.mix(own, parts, seed=1)
    assert len(made) == len(own) + round(0.25 * len(own)) and {r.id for r in own} <= {r.id for r in made}
    assert mixing.mix(shuffled(own), [mixing.Part("replay", shuffled(replay), 0.25)], seed=1) == made
    other = mixing.mix(own, parts, seed=2)
    assert {r.id for r in other} != {r.id for r in made}
    less = mixing.mix(own, [mixing.Part("replay", replay, 0.1)], seed=1)
    assert {r.id for r in less} < {r.id for r in made}


def test_a_mix_in_tokens_comes_as_near_as_whole_rows_can(own, replay, tokenizer):
    count = {item.id: mixing.token_count(item, tokenizer) for item in (*own, *replay)}
    refusals, rest = mixing.refusals_of(replay)
    parts = [mixing.Part("replay", rest, 0.3), mixing.Part("refusals", refusals, 0.05)]
    made = mixing.mix(own, parts, unit="tokens", tokenizer=tokenizer, longest=500, seed=3)
    whole = sum(count[item.id] for item in own)
    names = {item.id for item in made}
    for part, rows in ((parts[0], rest), (parts[1], refusals)):
        drawn = [count[item.id] for item in rows if item.id in names]
        assert drawn and max(drawn) <= 500
        assert abs(sum(drawn) - part.share * whole) <= 500 / 2
    table = mixing.mix_table(made, tokenizer)
    assert table["share of tokens"].sum() == pytest.approx(1) and table.tokens.sum() == sum(count[n] for n in names)
    assert table.set_index("source").refusals["replay"] >= len([item for item in refusals if item.id in names])


def test_refusals_are_told_from_answers(replay):
    refusals, rest = mixing.refusals_of(replay)
    assert refusals and rest and len(refusals) + len(rest) == len(replay)
    assert all("not" in item.completion[0].content or "no" in item.completion[0].content.lower() for item in refusals)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"share": 9.0}, "asks for 18 rows of replay, but there are 2"),
        ({"share": -1.0}, "give a number from 0 on"),
        ({"share": float("nan")}, "give a number from 0 on"),
        ({"share": 0.5, "unit": "tokens"}, "needs a tokenizer"),
        ({"share": 0.5, "unit": "pages"}, "rows or tokens, not in 'pages'"),
    ],
)
def test_a_mix_that_cannot_be_is_one_sentence(options, told):
    rows = [row("a", "A?"), row("b", "B?")]
    part = mixing.Part("replay", [row("c", "C?"), row("d", "D?")], options.pop("share"))
    with pytest.raises(LabError, match=told):
        mixing.mix(rows, [part], **options)
    with pytest.raises(LabError, match="no rows to mix into"):
        mixing.mix([], [part])
    with pytest.raises(LabError, match="'a'"):
        mixing.mix(rows, [mixing.Part("same", rows, 1.0)])


# ------------------------------------------------------------------------------------------------------- splits


def test_no_fact_and_no_question_stands_in_two_splits(real, by_form):
    splits = mixing.split(real, stratum=by_form, seed=7)
    assert sorted(item.id for part in splits.values() for item in part) == sorted(item.id for item in real)
    for kind in (lambda item: item.fact_ids, lambda item: [item.prompt[0].content.casefold()]):
        seen = [{name for item in part for name in kind(item)} for part in splits.values()]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_shares_hold_in_all_and_in_each_stratum(real, by_form):
    splits = mixing.split(real, stratum=by_form, seed=7)
    for name, share in mixing.SHARES.items():
        assert len(splits[name]) == pytest.approx(share * len(real), abs=12)
        for stratum, count in Counter(map(by_form, real)).items():
            assert sum(by_form(item) == stratum for item in splits[name]) == pytest.approx(share * count, abs=14)
    table = mixing.split_table(splits, by_form)
    assert table.rows.sum() == len(real) and set(table.split) == set(mixing.SHARES)


def test_a_split_depends_on_the_seed_and_not_on_the_order_of_the_rows(real, by_form):
    one = mixing.split(real, stratum=by_form, seed=7)
    assert mixing.split(shuffled(real), stratum=by_form, seed=7) == one
    assert {r.id for r in mixing.split(real, stratum=by_form, seed=8)["test"]} != {r.id for r in one["test"]}


def test_rows_linked_by_a_second_fact_stay_together():
    chain = [row(f"r{i}", f"Question {i}?", facts=(f"f{i}", f"f{i + 1}")) for i in range(30)]
    others = [row(f"o{i}", f"Other {i}?", facts=(f"o{i}",)) for i in range(30)]
    splits = mixing.split([*chain, *others], {"one": 0.5, "two": 0.5}, seed=1)
    assert [sum(item.id.startswith("r") for item in part) for part in splits.values()] in ([30, 0], [0, 30])


def test_shares_that_do_not_add_up_and_too_few_facts_are_refused():
    rows = [row(f"r{i}", f"Question {i}?", facts=("only",)) for i in range(20)]
    with pytest.raises(LabError, match="too few facts"):
        mixing.split(rows)
    with pytest.raises(LabError, match="add up to 1"):
        mixing.split(rows, {"train": 0.8, "test": 0.1})


# ------------------------------------------------------------------------------------------------------ balance


def test_strata_are_cut_or_filled_to_one_size(own, by_form):
    sizes = Counter(map(by_form, own))
    under, over = mixing.balanced(own, by_form, seed=1), mixing.balanced(own, by_form, "over", seed=1)
    assert set(Counter(map(by_form, under)).values()) == {min(sizes.values())}
    assert set(Counter(map(by_form, over)).values()) == {max(sizes.values())}
    copies = Counter(item.generator["copy_of"] for item in over if "copy_of" in item.generator)
    assert len({item.id for item in over}) == len(over) and set(copies) <= {item.id for item in own}
    for stratum, count in sizes.items():
        made = [copies[item.id] for item in own if by_form(item) == stratum]
        assert max(made) - min(made) <= 1 and sum(made) == max(sizes.values()) - count
    assert mixing.balanced(shuffled(own), by_form, "over", seed=1) == over
    assert max(Counter(map(by_form, mixing.balanced(own, by_form, target=40))).values()) == 40
    with pytest.raises(LabError, match="target from 1 on"):
        mixing.balanced(own, by_form, target=0)


# ---------------------------------------------------------------------------------------------- a learning curve


def test_subsets_nest_by_fact_and_mixes_of_them_nest_too(own, replay, by_form):
    curve = mixing.learning_curve(own, stratum=by_form, seed=4)
    assert [subset.name for subset in curve] == ["20 rows", "50 rows", "100 rows", "200 rows", "all rows"]
    assert {r.id for r in curve[-1].rows} == {r.id for r in own}
    for smaller, larger in zip(curve, curve[1:], strict=False):
        assert {r.id for r in smaller.rows} < {r.id for r in larger.rows} and smaller.facts < larger.facts
    for subset, size in zip(curve, mixing.SIZES, strict=False):
        assert len(subset.rows) == pytest.approx(size, abs=5)
        inside = {name for item in subset.rows for name in item.fact_ids}
        names = {r.id for r in subset.rows}
        assert not [item for item in own if item.id not in names and inside & set(item.fact_ids)]
    mixed = {s.name: mixing.mix(s.rows, [mixing.Part("replay", replay, 0.3)], seed=4) for s in curve}
    for smaller, larger in zip(curve, curve[1:], strict=False):
        assert {r.id for r in mixed[smaller.name]} < {r.id for r in mixed[larger.name]}


def test_a_small_subset_has_every_large_stratum_and_no_order_changes_it(own, by_form):
    curve = mixing.learning_curve(own, stratum=by_form, seed=4)
    assert mixing.learning_curve(shuffled(own), stratum=by_form, seed=4) == curve
    hundred, every = Counter(map(by_form, curve[2].rows)), Counter(map(by_form, own))
    for stratum, count in every.items():
        assert hundred[stratum] / len(curve[2].rows) == pytest.approx(count / len(own), abs=0.12)


def test_few_rows_make_a_short_curve():
    rows = [row(f"r{i}", f"Question {i}?", facts=(f"f{i // 3}",)) for i in range(30)]
    assert [(s.name, len(s.rows)) for s in mixing.learning_curve(rows)] == [("20 rows", 21), ("all rows", 30)]
    with pytest.raises(LabError, match="sizes from 1 on"):
        mixing.learning_curve(rows, [0])


# ---------------------------------------------------------------------------------------------- a user's own rows


def test_own_rows_of_every_kind_of_file_mix_in(tmp_path, own, tokenizer):
    faq = 'question,answer,fact_ids\n"=1+1, is it?",-2,gull.price\nمن؟,🦀 يجدف,\n'
    (tmp_path / "faq.csv").write_text(faq, "utf-8")
    turns = [("system", "Be brief."), ("user", "Who?"), ("assistant", "Ana.")]
    chats = [
        {"messages": [{"role": role, "content": text, "name": "x"} for role, text in turns]},
        {"instruction": "Name it.", "input": "The ferry.", "output": "The Gull.", "system": "Be kind."},
    ]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats), "utf-8")
    rows = mixing.read_own_rows(tmp_path / "faq.csv", tokenizer=tokenizer, longest=768)
    rows += mixing.read_own_rows(tmp_path / "chats.jsonl")
    assert [(r.id, r.source, r.fact_ids) for r in rows] == [
        ("own-faq-2", "own: faq", ["gull.price"]),
        ("own-faq-3", "own: faq", []),
        ("own-chats-1", "own: chats", []),
        ("own-chats-2", "own: chats", []),
    ]
    assert [[m.content for m in (*r.prompt, *r.completion)] for r in rows] == [
        ["=1+1, is it?", "-2"], ["من؟", "🦀 يجدف"], ["Be brief.", "Who?", "Ana."],
        ["Be kind.", "Name it.\n\nThe ferry.", "The Gull."],
    ]  # fmt: skip
    made = mixing.mix([*own, *rows], seed=1)
    assert {r.id for r in rows} <= {r.id for r in made}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("bad.jsonl", b'{"prompt": "a", "completion": ""}\n{"prompt": 1, "completion": "b"}\n',
         r"bad.jsonl, line 1, field completion: the text is empty \(2 faults in all\): adaptlab verify data"),
        ("nul.csv", b"question,answer\na\x00,b\n", "nul.csv is a binary file"),
        ("latin.csv", "question,answer\ncaf\xe9,b\n".encode("latin-1"), "line 2, field the whole line: not UTF-8"),
        ("pair.jsonl", b'{"prompt": "\\ud800", "completion": "b"}\n', "half of a character pair"),
        ("long.jsonl", json.dumps({"prompt": "row " * 900, "completion": "b"}).encode(), "more than the 768"),
        ("none.parquet", b"PAR1 nothing", "none.parquet is not Parquet"),
        ("none.xlsx", b"x", "unknown extension: give one of .json, .jsonl, .csv, .parquet"),
    ],
)  # fmt: skip
def test_broken_own_rows_are_one_sentence(tmp_path, tokenizer, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LabError, match=told) as error:
        mixing.read_own_rows(tmp_path / name, tokenizer=tokenizer, longest=768)
    assert "\n" not in str(error.value)
