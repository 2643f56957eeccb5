"""Quality tools over real rows and hostile ones: what they turn down, what they leave alone, what they never show."""

from __future__ import annotations

import random

import pandas as pd
import pytest
from conftest import ROOT

from adaptlab import benchmark, synthesis
from adaptlab.schemas import Phrasing, Question
from adaptlab.synthesis import cleaning, quality
from adaptlab.verify_data import tokenizer_at_hand
from config import LabError

PREBUILT = ROOT / "prebuilt" / "mini" / "the-sea-that-left"
DOCUMENT = ROOT / "02SyntheticDataGen" / "The-Sea-That-Left.md"
KEY = "ghp_" + "a1B2c3D4e5" * 4  # the form of a key, and nobody's


def table(*pairs: tuple[str, str], **columns: list) -> pd.DataFrame:
    rows = pd.DataFrame(list(pairs), columns=["question", "answer"])
    return rows.assign(row_id=[f"r{number}" for number in range(1, len(rows) + 1)], **columns)


@pytest.fixture(scope="module")
def kept() -> pd.DataFrame:
    rows = synthesis.read_pairs_csv(PREBUILT / "synthetic_qa_pairs.csv")
    return rows[rows.kept.astype(bool)].reset_index(drop=True)


@pytest.fixture(scope="module")
def names() -> list[str]:
    return sorted(
        {fact.entity for fact in benchmark.load_facts(DOCUMENT.with_name("facts.jsonl"), DOCUMENT.read_text())}
    )


def asked(text: str, name: str = "q1") -> Question:
    phrasing = Phrasing(text=text, role="unseen form")
    return Question(id=name, category="explicit_rule", answer_type="text", phrasings=[phrasing], answer="x")


# ----------------------------------------------------------------------------------------------------- cleaning


@pytest.mark.parametrize(
    ("broken", "text", "said"),
    [
        ("The price is schÃ¶n.", "The price is schön.", "encoding"),
        ("a\x00b\x07c\x1b[31m", "abc", "control characters"),
        ("12 \u202eyrt\u202c crowns", "12 yrt crowns", "direction marks"),
        ("soft\u00adhyphen\u200b\ufeff", "softhyphen", "invisible characters"),
        ("see \U000e0049\U000e0067 below", "see below", "invisible characters"),
        ("ﬁve caf\u0065\u0301s", "five cafés", "composed characters"),
        ("one\u00a0 two\t ", "one two", "whitespace"),
        ("**one**\u2003two  \r\n\r\n\r\n\r\n| a   |\n", "**one** two  \n\n| a   |", "whitespace"),
    ],
)
def test_cleaning_mends_a_text_and_says_what_it_changed(broken, text, said):
    mended, changes = cleaning.clean_text(broken)
    assert mended == text and said in changes
    assert cleaning.clean_text(mended) == (mended, [])


@pytest.mark.parametrize(
    "text",
    [
        "👩\u200d👩\u200d👧 costs 3 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "مرحبا بالعالم",
        "می\u200cخواهم",
        "“It’s” &amp; <b>",
        "=SUM(A1)",
        "-2",
        "naïve café — 5 ½",
        "| a     | b |\n|-------|---|",
        "**Lair:** bag  \n**Weakness:** pepper",
        "",
    ],
)
def test_texts_in_order_are_left_alone(text):
    assert cleaning.clean_text(text) == (text, [])


def test_changes_show_what_is_not_seen_and_name_row_and_column():
    rows = table(("Who\u202e rows?", "Ana."), ("And back?", "Bo\x00b."))
    shown = cleaning.changes(rows)
    assert shown[["row_id", "column", "changed"]].values.tolist() == [
        ["r1", "question", "direction marks"],
        ["r2", "answer", "control characters"],
    ]
    assert shown.before.tolist() == ["Who\\u202e rows?", "Bo\\x00b."] and shown.after.tolist() == ["Who rows?", "Bob."]
    result = cleaning.cleaned(rows)
    assert result.answer.tolist() == ["Ana.", "Bob."] and rows.answer[1] == "Bo\x00b."
    assert result.cleaned.tolist() == ["question: direction marks", "answer: control characters"]


def test_the_kept_rows_of_the_lab_need_no_cleaning(kept):
    assert cleaning.changes(kept, ["title", "document", "subject", "question", "answer"]).empty
    assert (cleaning.cleaned(kept).cleaned == "").all()


# --------------------------------------------------------------------------------------------------- duplicates


def test_exact_and_near_duplicates_are_found_whatever_the_order_of_the_rows():
    long = "In the lamplight court of the harbour the warden may ask each traveller for the toll of the evening"
    rows = table(
        (f"{long}, what is it?", "The toll is 3 crowns."),
        (f"{long.upper()} what is it", "the toll is 3 crowns"),
        (f"{long}, and what is it?", "The toll is 3 crowns."),
        (f"{long}, what is it?", "The toll is 4 crowns."),
        (f"{long}, what is it?", "The toll is never 3 crowns."),
        ("🦀?", "🦀"),
    )
    found = quality.near_duplicates(rows)
    assert found.duplicate_of.tolist() == ["", "r1", "r1", "", "", ""]
    assert found.verdict_near_duplicate.tolist()[1:3] == [
        "the same words as another row",
        "nearly the same as another row",
    ]
    assert (
        found.similarity[1] == 1
        and 0.85 <= found.similarity[2] < 1
        and found.verdict_near_duplicate[5] == "not checked"
    )
    mixed = quality.near_duplicates(rows.sample(frac=1, random_state=3)).sort_values("row_id")
    assert mixed.duplicate_of.tolist() == found.duplicate_of.tolist()


def test_two_entities_are_never_duplicates_however_alike_the_rows():
    one, other = "Lamp Hook", "Lamp Hood"
    shape = "Could you tell the whole company of this table what the price of the {} in the shop by the old harbour is?"
    rows = table(*((shape.format(name), f"The Price of the {name} is 6 terns.") for name in (one, other)))
    assert quality.near_duplicates(rows, threshold=0.8).duplicate_of[1] == "r1"
    assert (quality.near_duplicates(rows, threshold=0.8, names=[one, other]).duplicate_of == "").all()


def test_planted_near_duplicates_are_found_among_the_real_rows(kept, names):
    long = kept[kept.question.str.len() > 60].head(60)
    planted = long.assign(
        row_id="z" + long.row_id, question=long.question.str.replace("?", " please?", n=1, regex=False)
    )
    changed = planted.question.values != long.question.values
    found = quality.near_duplicates(pd.concat([kept, planted[changed]]), names=names, threshold=0.8)
    caught = found[found.row_id.str.startswith("z")]
    assert len(caught) >= 30 and (caught.duplicate_of == caught.row_id.str[1:]).mean() >= 0.9


def test_rows_that_are_turned_down_already_take_no_place_from_others():
    rows = table(("Who rows the ferry?", "Ana."), ("Who rows the ferry?", "Ana."), kept=[False, True])
    assert quality.near_duplicates(rows).verdict_near_duplicate.tolist() == ["not checked", "ok"]


# ------------------------------------------------------------------------------------------------ contamination

RUN = "a traveller who walks on the bottom of the old sea must pay the warden"  # fifteen words


def test_contamination_is_told_by_kind_and_names_are_excepted_and_listed():
    rows = table(
        ("Who rows the Gull?", "Ana."),
        ("who rows the gull", "Ana."),
        ("Say: who rows the Gull? I ask.", "Ana."),
        (f"Is it so that {RUN} every night?", "Yes."),
        (RUN.replace("old sea", "Gull of the sea"), "Ana."),
        (" ".join(RUN.split()[:12]), "Ana."),
    )
    questions = [asked("Who rows the Gull over the water?", "q1"), asked(f"Why is it that {RUN}?", "q2")]
    found = quality.contaminated(rows, questions, names=["Gull"])
    assert found.verdict_benchmark.tolist() == [
        "ok",
        "ok",
        "ok",
        "shares 13 words with a benchmark question",
        "ok",
        "ok",
    ]
    assert found.benchmark_id[3] == "q2" and found.excepted_names.tolist()[:5] == ["gull", "gull", "gull", "", "gull"]
    equal = quality.contaminated(rows, [asked("Who rows the Gull?")], names=["Gull"])
    assert equal.verdict_benchmark.tolist()[:2] == ["equals a benchmark question"] * 2
    assert quality.contaminated(rows, []).verdict_benchmark.unique().tolist() == ["not checked"]


def test_few_shot_texts_count_on_both_sides(tmp_path):
    flow = tmp_path / "flow.yaml"
    flow.write_text("metadata: {id: few-shots}\nblocks: []\n")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "ask.yaml").write_text(
        "- role: system\n  content: Ask in the words of the book.\n"
        "- role: user\n  content: Who carries the lamp of the harbour tonight?\n"
    )
    shots = quality.few_shot_texts(flow)
    assert list(shots) == ["ask.yaml, turn 1", "ask.yaml, turn 2"]
    rows = table(("Who carries the lamp of the harbour tonight?", "Ana."), ("Who carries it?", "Bo."))
    found = quality.contaminated(rows, [], few_shot=shots)
    assert found.verdict_benchmark.tolist() == ["equals a few-shot text", "ok"]
    met = quality.contaminated_texts(shots, [asked("Who carries the lamp of the harbour tonight?")])
    assert met[["text", "question_id", "kind"]].values.tolist() == [["ask.yaml, turn 2", "q1", "equal"]]
    assert quality.contaminated_texts(quality.few_shot_texts(synthesis.SHORT_FLOW), [asked("Who rows?")]).empty


def test_a_benchmark_question_among_the_real_rows_is_found(kept, names):
    questions = benchmark.load_questions(ROOT / "00Setup" / "benchmark.jsonl")
    leaked = pd.concat([kept, kept.head(1).assign(row_id="leak", question=questions[0].text())], ignore_index=True)
    found = quality.contaminated(leaked, questions, names=names)
    assert found[found.verdict_benchmark != "ok"].row_id.tolist() == ["leak"]


# ------------------------------------------------------------------------------------------------ the single row


def test_unreadable_rows_are_told_apart():
    rows = table(("Who?", "Ana."), ("Who?", " "), ("Caf\ufffd?", "Ana."), ("Who\x85?", "Ana."))
    verdicts = quality.readable(rows).verdict_readable
    assert verdicts[0] == "ok" and verdicts[1] == "the text is empty" and "U+FFFD" in verdicts[2]
    assert "control character" in verdicts[3]


def test_length_is_counted_in_tokens_of_the_chat():
    rows = table(("Who rows the ferry?", "Ana."), ("Who?", "row " * 9_000))
    tokenizer = tokenizer_at_hand(str(ROOT / "prebuilt" / "models" / "mini-granite"))
    found = quality.lengths(rows, tokenizer=tokenizer, longest=768)
    assert found.verdict_length.tolist() == ["ok", "too long"] and found.tokens[1] > 9_000
    assert quality.lengths(rows, longest=10, shortest=6).verdict_length.tolist() == ["too short", "too long"]


def test_another_language_is_recognised_and_short_or_invented_words_are_not_blamed(kept):
    rows = table(
        ("Was kostet die Überfahrt am Abend?", "Die Überfahrt kostet drei Kronen und eine Laterne."),
        ("Combien coûte la traversée du soir ?", "La traversée coûte trois couronnes et une lanterne."),
        ("كم تبلغ تكلفة العبور مساء؟", "تكلفة العبور ثلاثة تيجان وفانوس واحد."),
        ("What does the crossing cost?", "It costs three crowns."),
        ("AC?", "12"),
    )
    found = quality.languages(rows)
    assert found.verdict_language.tolist() == ["another language: de", "another language: fr", "another language: ar",
                                               "ok", "not checked"]  # fmt: skip
    assert quality.languages(rows.head(1), expected=["de"]).verdict_language[0] == "ok"
    assert (quality.languages(kept.head(300)).verdict_language == "ok").all()
    with pytest.raises(LabError, match="language xx is not known"):
        quality.languages(rows, expected=["xx"])


def test_a_value_that_the_document_does_not_hold_is_turned_down(kept):
    document = DOCUMENT.read_text("utf-8")
    rows = table(
        ("What is it?", "The price is 77777 terns."),
        ("Is it open?", "Yes, it is open."),
        ("Where?", "The passage does not say."),
        subject=["Lamp: Price", "", ""],
    )
    assert quality.in_document(rows, document).verdict_in_document.tolist() == [
        "value not in the document", "not checked", "not checked"]  # fmt: skip
    assert (quality.in_document(kept.head(200), document).verdict_in_document == "ok").all()


# ------------------------------------------------------------------------------------------------ personal data

PRIVATE = {
    "email": "ana.ferry+toll@saltmarket.example",
    "phone number": "+49 30 901820",
    "key": KEY,
}


@pytest.mark.parametrize("kind", PRIVATE)
def test_personal_data_is_flagged_and_never_shown(kind):
    secret = PRIVATE[kind]
    rows = table(("Whom do I ask?", f"Ask for it at {secret} tonight."))
    found = quality.turn_down(quality.personal_data(rows), ["personal"])
    assert found.personal[0] == f"answer: {kind}" and found.reason[0] == f"personal: holds {kind}" and not found.kept[0]
    added = found.drop(columns=["question", "answer"])
    assert secret not in added.to_csv() + quality.report(found).to_csv()
    assert quality.masked(found.answer[0]) == f"Ask for it at [{kind}] tonight."


def test_numbers_of_a_rulebook_are_no_phone_numbers(kept):
    rows = table(("What damage?", "2d6+1, or 12 on a 1d20; 45 feet; 1,250 crowns; page 212-214; 1888-1999."))
    assert quality.personal_data(rows).personal.tolist() == [""]
    assert (quality.personal_data(kept).personal == "").all()
    assert quality.personal_data(table(("Call (212) 555-2368?", "No."))).personal[0] == "question: phone number"


# -------------------------------------------------------------------------------------------------- all together


def test_reasons_go_to_the_first_objection_and_counts_add_up():
    rows = table(("Who rows?", "Ana."), ("Who rows?", f"Ask {PRIVATE['email']}."), ("Who?", ""), ("Who rows?", "Ana."))
    rows = rows.assign(kept=[True, True, True, False], reason=["", "", "", "name: not there"])
    found = quality.turn_down(quality.personal_data(quality.readable(rows)))
    assert found.kept.tolist() == [True, False, False, False]
    assert found.reason.tolist() == ["", "personal: holds email", "readable: the text is empty", "name: not there"]
    assert quality.report(found).groupby("check").rows.sum().tolist() == [4, 4]


def test_every_check_survives_hostile_rows():
    draw = random.Random(4)
    alphabet = "aé🦀\u202e\x00\n,\"'=+@|<>\\ud7ffשع0１ \ufffd"
    texts = ["".join(draw.choices(alphabet, k=draw.randint(0, 40))) for _ in range(60)]
    rows = table(*zip(texts[:30], texts[30:], strict=True))
    for check in (quality.readable, quality.languages, quality.personal_data, quality.near_duplicates):
        rows = check(rows)
    rows = quality.contaminated(
        quality.in_document(quality.lengths(rows, longest=99), "=+a"), [asked("=+a é?")], names=["é"]
    )
    assert len(rows) == 30 and {f"verdict_{name}" for name in quality.CHECKS} <= set(rows.columns)
    clean = cleaning.cleaned(rows)
    assert clean.question.str.encode("utf-8").notna().all() and not cleaning.changes(clean).shape[0]
    empty = table()
    for check in (quality.readable, quality.languages, quality.personal_data, quality.near_duplicates):
        assert check(empty).empty
    assert quality.contaminated(empty, [asked("a b?")]).empty and quality.turn_down(empty).empty
