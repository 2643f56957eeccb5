"""The scorers against answers that must pass, answers that must fail, and controls that are wrong by construction."""

from __future__ import annotations

import pytest

from adaptlab.agreement import SHIPPED
from adaptlab.answers import clean
from adaptlab.benchmark import load_questions
from adaptlab.controls import TRICKS, control_table, negative_controls
from adaptlab.refusals import is_refusal
from adaptlab.schemas import Phrasing, Question, Quote
from adaptlab.scoring import REFUSAL, agrees, canonical, lenient, majority, strict


def ask(text, answer, kind="number", accepted=(), category="explicit_rule"):
    unanswerable = kind == "refusal"
    return Question(
        id=text,
        category="unanswerable" if unanswerable else category,
        answer_type=kind,
        phrasings=[Phrasing(text=text, role="unseen form")],
        answer=answer,
        accepted=list(accepted),
        quotes=[] if unanswerable else [Quote(text=answer, section="S")],
    )


AC = ask("What is the Armour Class of the Gullwight?", "15")
RANGE = ask("How far does Emberlace reach?", "45 feet")
PRICE = ask("What does the Saltknife cost?", "35 crowns")
CHARGES = ask("How many charges does the Tin Bell hold?", "12")
WAGE = ask("What Wage does a Gravel Clerk get?", "19 terns")
XP = ask("What Experience does the Gullwight give?", "1,175 points")
PENALTY = ask("What is the Penalty for Blearied?", "4")
DAMAGE = ask("What Damage does the Gullwight deal?", "3d8+2", "dice")
DIE = ask("Which Die does Scaling use?", "d20", "dice")
WEAK = ask("What is the Weakness of the Gullwight?", "cold iron", "text")
IRON = ask("What is the Material of the Saltknife?", "iron", "text")
MAKER = ask("Who makes the Saltknife?", "the Tallow Guild", "name")
RULER = ask("Who rules Brackwater?", "Lady Orsolwen", "name")
SAVE = ask("Which Saving Throw does Emberlace allow?", "Save versus Stone", "text", ["a save against Stone"])
AREA = ask("What Area does Emberlace fill?", "25-foot circle", "text", ["a circle of 25 feet"])
EFFECT = ask("What does Blearied do?", "may not cast spells", "text")
TOOLS = ask("Which tools are needed for Scaling?", "rope, pitons and a hammer", "list")
WEAR = ask("May a Lampwright wear mail?", "no", "yes_no")
CAST = ask("Can a Lampwright cast Emberlace?", "Yes", "yes_no")
LAIR = ask("Where is the Lair of the Fenhag?", "The passage does not say.", "refusal")
ALL = [
    AC, RANGE, PRICE, XP, PENALTY, DAMAGE, DIE, WEAK, IRON, MAKER, RULER, SAVE, AREA, EFFECT, TOOLS, WEAR, CAST, LAIR,
    ask("How thick is the hide?", "14"), ask("What is the Notice of a Wicker?", "6 rounds"),
    ask("What does the Fenhag deal?", "2d6", "dice"), ask("What hurts the Mirehound?", "burnt salt", "text"),
    ask("Who made the Bell?", "the Order of Wax", "name"), ask("Who is captain?", "Sir Dunmarrow", "name"),
    ask("What must you carry?", "lamp, oil and flint", "list"),
]  # fmt: skip

RIGHT = [
    (AC, "15"),
    (AC, "The Armour Class of the Gullwight is 15."),
    (AC, "Its Armour Class is **fifteen**."),
    (AC, "The Gullwight has an Armour Class of 15, because its hide counts 13 and its shield counts 2."),
    (AC, "The hide gives 13 and the shield gives 2, so the Armour Class is 15."),
    (AC, "13 + 2 = 15"),
    (AC, "It is not 14 but 15."),
    (AC, "It is 15, not 14."),
    (AC, "What is the Armour Class of the Gullwight? It is 15."),
    (AC, "Two rules apply. First, look at the stat block.\n\nAnswer: 15"),
    (AC, "The Gullwight, which appears in groups of 2d6, has an Armour Class of 15."),
    (RANGE, "The Range of Emberlace is 45 feet."),
    (RANGE, "It reaches 45 ft."),
    (CHARGES, "The Tin Bell holds 12 charges."),
    (AC, "15 means that it is hard to hit."),
    (WAGE, "The Wage of the Gravel Clerk is 19 terns."),
    (RANGE, "Forty-five feet"),
    (RANGE, "It has a 45-foot range."),
    (RANGE, "45'"),
    (PRICE, "The Price of the Saltknife is 35 crowns."),
    (PRICE, "It costs thirty-five crowns."),
    (XP, "The Experience of the Gullwight is 1,175 points."),
    (XP, "It gives 1175 XP."),
    (PENALTY, "The Penalty is -4."),
    (PENALTY, "Minus 4? No matter what, the Penalty of Blearied is 4."),
    (DAMAGE, "The Damage of the Gullwight is 3d8+2."),
    (DAMAGE, "It deals 3d8 + 2 points of damage."),
    (DAMAGE, "3D8 plus 2"),
    (DAMAGE, "three 8-sided dice plus 2"),
    (DIE, "Scaling uses a d20."),
    (DIE, "1d20"),
    (DIE, "You roll a twenty-sided die."),
    (WEAK, "The Weakness of the Gullwight is cold iron."),
    (WEAK, "Cold iron."),
    (WEAK, "The Gullwight fears cold iron, which burns it."),
    (WEAK, "It is vulnerable to Cold Iron and it takes double damage from it."),
    (IRON, "It is made of iron."),
    (MAKER, "The Maker of the Saltknife is the Tallow Guild."),
    (MAKER, "Tallow Guild"),
    (MAKER, "It is made by the Tallow Guild, which also makes candles."),
    (RULER, "The Ruler of Brackwater is Lady Orsolwen."),
    (SAVE, "The Saving Throw of Emberlace is Save versus Stone."),
    (SAVE, "You get a save against Stone."),
    (SAVE, "Save vs. Stone"),
    (AREA, "It fills a 25-foot circle."),
    (AREA, "It fills a circle of 25 feet."),
    (EFFECT, "A blearied character may not cast spells."),
    (TOOLS, "You need rope, pitons and a hammer."),
    (TOOLS, "A hammer, rope, and pitons."),
    (TOOLS, "- rope\n- pitons\n- hammer"),
    (WEAR, "No, a Lampwright may not wear mail."),
    (WEAR, "No."),
    (CAST, "Yes. There is no limit on it."),
    (AC, "Based on passage [2], the Armour Class of the Gullwight is 15."),
    (AC, "The Gullwight has AC 15 (natural hide 13, +2 for the shield)."),
    (AC, "It has an Armour Class of 15 and a Morale of 9."),
    (AC, "It has a Morale of 9 and an Armour Class of 15."),
    (RANGE, "Emberlace has a range of 45 feet and lasts 6 rounds."),
    (PRICE, "The Saltknife is sold for **35 crowns** in most ports (40 crowns in Brackwater)."),
    (DAMAGE, "On a hit, the Gullwight deals 3d8+2 points of damage (average 15.5); a save halves it."),
    (WEAK, "It isn't hurt by silver, but cold iron burns it."),
    (WEAK, "Nothing except cold iron hurts it."),
    (TOOLS, "You will need rope, pitons, and a hammer, all of which are sold in ports."),
    (WEAR, "A Lampwright may not wear mail."),
    (CAST, "A Lampwright can cast Emberlace."),
    (LAIR, "Unfortunately, the passages don't say where it lairs. They only cover its Armour Class of 12."),
    (LAIR, "No lair is given for the Fenhag."),
    (LAIR, "The rulebook is silent on this."),
    (LAIR, "The passage does not say."),
    (LAIR, "The passages do not mention where the Fenhag lairs."),
    (LAIR, "I don't know."),
    (LAIR, "The Lair of the Fenhag is not stated in the rules."),
    (LAIR, "The passages describe the Fenhag, but they do not say where it lairs."),
    (LAIR, "I'm sorry. The rules do not specify this."),
    (LAIR, "There is no information about the Fenhag's lair."),
]

WRONG = [
    (AC, "14"),
    (AC, "It is 15 or 16."),
    (AC, "either 14 or 15"),
    (AC, "maybe 15, maybe 16"),
    (AC, "It could be 15."),
    (AC, "14, 15, 16"),
    (AC, "It is 14. It is 15. It is 16."),
    (AC, "The Armour Class is 14 to 15."),
    (AC, "is not 15"),
    (AC, "The Armour Class of the Gullwight isn't 15."),
    (AC, "15 is wrong."),
    (AC, "It is false that its Armour Class is 15."),
    (AC, "It is anything but 15."),
    (AC, "15 rounds"),
    (AC, "Is it 15?"),
    (AC, "The passage does not say, but it is 15."),
    (AC, "1d15"),
    (AC, "150"),
    (AC, "1.15"),
    (AC, "an Armour Class of 14 and an Armour Class of 15"),
    (AC, "It has a Morale of 15 and an Armour Class of 9."),
    (AC, "The Armour Class is 14 and the Morale is 15."),
    (AC, "15 feet, 14"),
    (AC, "It is 15 terns."),
    (AC, "15 shells"),
    (RANGE, "45 anchors"),
    (WEAR, "No is wrong."),
    (RANGE, "45 feet or 45 rounds"),
    (RANGE, "6 rounds, 45 feet, 60 feet"),
    (RANGE, "It reaches 30 feet; 45 feet with a staff."),
    (WEAK, "Everything but cold iron hurts it."),
    (MAKER, "Anyone except the Tallow Guild."),
    (WEAR, "A Lampwright may wear mail."),
    (CAST, "A Lampwright cannot cast Emberlace."),
    (RANGE, "15 rounds"),
    (RANGE, "45 rounds"),
    (RANGE, "45"),
    (RANGE, "45 or 60 feet"),
    (RANGE, "The passage does not say."),
    (PRICE, "35 silver pieces"),
    (PRICE, "35 feet"),
    (XP, "175 points"),
    (PENALTY, "+3"),
    (DAMAGE, "3d8"),
    (DAMAGE, "3d8+3"),
    (DAMAGE, "2d8+2"),
    (DAMAGE, "3d8+2 or 2d6"),
    (DAMAGE, "2d6, 3d8+2, 1d4"),
    (DIE, "d12"),
    (DIE, "2d20"),
    (WEAK, "The Weakness of the Gullwight is silver."),
    (WEAK, "It is not cold iron."),
    (WEAK, "Cold iron does not hurt it. Cold iron is wrong."),
    (WEAK, "cold iron or silver"),
    (WEAK, "silver, cold iron, burnt salt"),
    (WEAK, "It is cold iron. It is silver."),
    (WEAK, "- cold iron\n- silver\n- salt"),
    (WEAK, "cold iron and silver"),
    (WEAK, "Is it cold iron?"),
    (WEAK, "iron"),
    (IRON, "It is made of cold iron."),
    (IRON, "iron dust"),
    (MAKER, "The Order of Wax makes it."),
    (MAKER, "the Tallow Guild or the Order of Wax"),
    (RULER, "Lord Orsolwen"),
    (RULER, "Who rules Brackwater"),
    (SAVE, "Save versus Spells"),
    (EFFECT, "may cast spells"),
    (EFFECT, "may not wear armour"),
    (TOOLS, "rope and pitons"),
    (TOOLS, "rope, pitons, a hammer, a lamp and oil"),
    (WEAR, "Yes."),
    (WEAR, "Yes and no."),
    (WEAR, "It is not no."),
    (CAST, "No."),
    (LAIR, "It lairs in the flooded crypts."),
    (LAIR, "The passage does not say, but it is likely the flooded crypts."),
    (LAIR, "Where is the Lair of the Fenhag?"),
    (LAIR, ""),
    (LAIR, "15"),
]


@pytest.mark.parametrize(("question", "text"), RIGHT)
def test_a_right_answer_passes_both_scorers(question, text):
    assert strict(question, text)
    assert lenient(question, text)


@pytest.mark.parametrize(("question", "text"), WRONG)
def test_a_wrong_answer_fails_strict(question, text):
    assert not strict(question, text)


@pytest.mark.parametrize("question", ALL, ids=lambda q: q.id)
def test_every_negative_control_scores_zero_and_gold_scores_one(question):
    controls = negative_controls(question, ALL)
    assert {"empty", "echo"} < set(controls)
    passed = {name: text for name, text in controls.items() if strict(question, text)}
    assert passed == {}
    assert strict(question, question.answer)
    assert all(strict(question, form) for form in question.accepted)


def test_the_controls_cover_every_trick():
    names = {name for question in ALL for name in negative_controls(question, ALL)}
    assert names == {
        "empty", "echo", "refusal", "negated gold", "another question's answer", "hedge", "two options",
        "two guesses", "all options", "wrong unit", "always answering",
    }  # fmt: skip


def test_on_the_whole_benchmark_no_trick_scores_and_the_gold_always_does():
    table = control_table(load_questions(SHIPPED), {"strict": strict, "lenient": lenient})
    tricks, golds = table[table.expected == "all wrong"], table[table.expected == "all right"]
    assert (tricks.strict == 0).all()
    assert (golds.strict == golds["items"]).all() and (golds.lenient == golds["items"]).all()
    items = table.set_index(["questions", "control"])["items"]
    number_questions = sum(question.answer_type == "number" for question in load_questions(SHIPPED))
    answerable = {name: items["answerable", name] for name in TRICKS["answerable"]}
    assert answerable == dict.fromkeys(TRICKS["answerable"], 172) | {"wrong unit": number_questions}
    assert number_questions == 86
    assert {name: items["unanswerable", name] for name in TRICKS["unanswerable"]} == dict.fromkeys(
        ("empty", "echo", "always answering"), 21
    )
    sure = ["empty", "echo", "refusal", "another question's answer", "two options", "wrong unit", "always answering"]
    assert (tricks[tricks.control.isin(sure)].lenient == 0).all()


def test_a_scorer_that_fails_everything_is_found_out_by_the_gold():
    table = control_table(ALL, {"never": lambda question, text: False})
    assert (table[table.expected == "all right"].never == 0).all()
    assert (table[table.expected == "all right"]["items"] > 0).all()


@pytest.mark.parametrize(
    ("question", "text"),
    [(RANGE, "45"), (RULER, "Orsolwen"), (TOOLS, "rope, pitons, a hammer and a lamp"), (AC, "It is probably 15.")],
)
def test_lenient_forgives_what_strict_does_not(question, text):
    assert lenient(question, text) and not strict(question, text)


@pytest.mark.parametrize(
    ("question", "text"),
    [(AC, "14"), (AC, "14 or 15"), (RANGE, "45 rounds"), (WEAK, "silver"), (WEAK, "not cold iron"), (AC, "")],
)
def test_lenient_still_fails_wrong_answers(question, text):
    assert not lenient(question, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The passage does not say.", True),
        ("I cannot answer that from the passages.", True),
        ("This cannot be determined from the text.", True),
        ("The text does not give a price. It only lists the weight.", True),
        ("It is 15. The passage does not say more.", False),
        ("The rule does not say so directly, however it would be 15.", False),
        ("A blearied character may not cast spells.", False),
        ("15", False),
        ("", False),
    ],
)
def test_refusals_are_told_from_answers(text, expected):
    assert is_refusal(text) is expected


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("Forty-five feet", "45 feet"),
        ("one hundred and twenty", "120"),
        ("two thousand three hundred", "2300"),
        ("a hundred", "100"),
        ("one of them", "one of them"),
        ("no one", "no one"),
        ("1,340 people", "1340 people"),
        ("**3d8+2**", "3d8+2"),
        ("“yes” – no", '"yes" - no'),
        ("a often weight", "a often weight"),
    ],
)
def test_clean_spells_numbers_and_signs_one_way(raw, plain):
    assert clean(raw) == plain


@pytest.mark.parametrize(
    ("question", "text", "answer"),
    [
        (AC, "The Armour Class of the Gullwight is 15.", "15"),
        (RANGE, "It reaches forty-five ft.", "45 feet"),
        (DAMAGE, "3D8 + 2", "3d8+2"),
        (DIE, "a d20", "1d20"),
        (CHARGES, "It holds 12 charges.", "12"),
        (WAGE, "It is 19 terns.", "19 tern"),
        (WEAK, "The Weakness of the Gullwight is cold iron.", "cold iron"),
        (MAKER, "the Tallow Guild", "tallow guild"),
        (WEAR, "No, it may not.", "no"),
        (LAIR, "The passage does not say.", REFUSAL),
        (AC, "The passage does not say.", REFUSAL),
        (AC, "14 or 15", None),
        (AC, "hm", None),
        (AC, "", None),
        ("number", "It is 15.", "15"),
    ],
)
def test_canonical_reads_the_answer_without_the_gold(question, text, answer):
    assert canonical(question, text) == answer


def test_majority_counts_parsed_answers_only():
    vote = majority(AC, ["hm", "It is 14.", "The Armour Class of the Gullwight is 15.", "fifteen", "14 or 15", ""])
    assert (vote.answer, vote.index, vote.votes, vote.counted) == ("15", 2, 2, 3)


def test_majority_breaks_a_tie_by_the_first_answer_and_survives_no_votes():
    assert majority(AC, ["16", "15"]).answer == "16"
    assert majority(AC, ["hm", ""]) == majority(AC, [])
    assert majority(AC, []).index is None


def test_answers_agree_by_what_they_say():
    assert agrees(RANGE, "45 feet", "The Range of Emberlace is 45 feet.")
    assert not agrees(RANGE, "45 feet", "60 feet")
    assert not agrees(RANGE, "hm", "hm")
