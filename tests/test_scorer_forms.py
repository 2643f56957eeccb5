"""Many ways of saying one thing, and what only looks like it: what strict and lenient make of each."""

from __future__ import annotations

import pytest

from adaptlab.schemas import Phrasing, Question
from adaptlab.scoring import lenient, strict


def ask(kind, text, answer, *accepted):
    return Question(
        id=text,
        category="unanswerable" if kind == "refusal" else "explicit_rule",
        answer_type=kind,
        phrasings=[Phrasing(text=text, role="unseen form")],
        answer=answer,
        accepted=list(accepted),
    )


LENGTH = ask("number", "How long is the ferry?", "60 feet")
FARE = ask("number", "What is the fare of the ferry?", "3 crowns")
HIT_POINTS = ask("number", "How many hit points does the golem have?", "45")
SHIELD = ask("number", "What bonus does a shield give?", "+2")
HEAT = ask("number", "How hot is the forge?", "900 degrees")
SHARE = ask("number", "What share of the loot does the guild take?", "15 %", "15 percent")
CHARM = ask("number", "How long does the charm last?", "10 minutes", "1 turn")
YEAR = ask("number", "When was the temple founded?", "1204")
LOAD = ask("number", "How much can a mule carry?", "200 pounds")
SPEAR = ask("dice", "What damage does a spear do?", "1d8")
GOBLINS = ask("dice", "How many goblins appear?", "3d6+2")
PERCENTILE = ask("dice", "Which dice do I roll for a secret door?", "d100", "1d100", "percentile dice")
KING = ask("name", "Who rules Highmere?", "King Aldous", "Aldous")
MINT = ask("name", "Where is the mint?", "Low Marsh")
GOD = ask("name", "Which god do the smiths follow?", "Orun the Bright", "Orun")
FEAR = ask("text", "What scares the ogre?", "loud bells")
CURE = ask("text", "What cures marsh fever?", "willow bark tea")
AMULET = ask("text", "What does the amulet do?", "prevents magical sleep")
DOORS = ask("text", "What are the doors made of?", "black oak")
SALVE = ask("list", "Which herbs go into the salve?", "mint, sage and rue")
TONGUES = ask("list", "Which languages does the monk speak?", "Elvish and Old Marsh")
GHOST = ask("yes_no", "Can a ghost cross running water?", "no")
SWIMMER = ask("yes_no", "Does armour slow a swimmer?", "yes")
SCROLL = ask("yes_no", "Are scrolls used up when read?", "yes")
DOG = ask("refusal", "What is the name of the miller's dog?", "The passage does not say.")
WELL = ask("refusal", "How deep is the well at Highmere?", "The passage does not say.")

BOTH, LENIENT_ONLY, NEITHER = (True, True), (False, True), (False, False)
CASES = [
    (LENGTH, "The ferry is sixty feet long.", BOTH),
    (LENGTH, "60ft", BOTH),
    (LENGTH, "It measures 60 feet from bow to stern.", BOTH),
    (LENGTH, "It is 60 feet long and 12 feet wide.", BOTH),
    (LENGTH, "60 paces", NEITHER),
    (LENGTH, "nearly 60 feet", LENIENT_ONLY),
    (LENGTH, "Less than 60 feet.", NEITHER),
    (LENGTH, "It is 60 feet (20 yards) long.", BOTH),
    (FARE, "You pay 3 crowns each.", BOTH),
    (FARE, "three crowns per head", BOTH),
    (FARE, "3 crowns a head, children free", BOTH),
    (FARE, "The fare is three (3) crowns.", BOTH),
    (FARE, "3 silver", NEITHER),
    (FARE, "3", LENIENT_ONLY),
    (FARE, "The passage says that the fare is 3 crowns.", BOTH),
    (FARE, "From the context: fare = 3 crowns", BOTH),
    (FARE, "Two crowns by day, three crowns by night.", NEITHER),
    (HIT_POINTS, "forty-five", BOTH),
    (HIT_POINTS, "45 HP", BOTH),
    (HIT_POINTS, "45 hit points", BOTH),
    (HIT_POINTS, "The golem has 45 hit points and an Armour Class of 18.", BOTH),
    (HIT_POINTS, "45 per cent", NEITHER),
    (HIT_POINTS, "Between 40 and 50.", NEITHER),
    (HIT_POINTS, "I don't think it is 45.", NEITHER),
    (SHIELD, "A shield gives a bonus of 2.", BOTH),
    (SHIELD, "plus two", BOTH),
    (SHIELD, "-2", NEITHER),
    (SHIELD, "+2 to Armour Class", BOTH),
    (HEAT, "900°", BOTH),
    (HEAT, "It reaches 900 degrees.", BOTH),
    (SHARE, "The guild takes 15%.", BOTH),
    (SHARE, "fifteen percent of it", BOTH),
    (SHARE, "15 coins", NEITHER),
    (CHARM, "Ten minutes, i.e. one turn.", BOTH),
    (CHARM, "10 min", BOTH),
    (CHARM, "10 mins.", BOTH),
    (CHARM, "One turn (10 minutes).", BOTH),
    (CHARM, "10 hours", NEITHER),
    (YEAR, "It was founded in 1204.", BOTH),
    (YEAR, "AD 1204", BOTH),
    (YEAR, "1204 - that is, two centuries ago.", BOTH),
    (LOAD, "up to 200 lbs", BOTH),
    (LOAD, "200 lb.", BOTH),
    (LOAD, "Two hundred pounds.", BOTH),
    (LOAD, "It can carry 200 pounds, twice what a man can.", BOTH),
    (SPEAR, "A spear deals 1d8 damage (1d10 two-handed).", BOTH),
    (SPEAR, "One d8.", BOTH),
    (SPEAR, "an eight-sided die", BOTH),
    (SPEAR, "d8", BOTH),
    (SPEAR, "8", NEITHER),
    (SPEAR, "1d8+1", NEITHER),
    (GOBLINS, "3d6 plus 2 goblins appear.", BOTH),
    (GOBLINS, "roll three six-sided dice and add 2", BOTH),
    (GOBLINS, "3d6", NEITHER),
    (PERCENTILE, "d%", BOTH),
    (PERCENTILE, "Percentile dice.", BOTH),
    (PERCENTILE, "A hundred-sided die", BOTH),
    (KING, "King Aldous rules it.", BOTH),
    (KING, "Its ruler is King Aldous II.", LENIENT_ONLY),
    (KING, "Queen Aldous", LENIENT_ONLY),
    (KING, "Not Aldous but Brand.", NEITHER),
    (MINT, "The mint is in Low Marsh, near the bridge.", BOTH),
    (MINT, "High Marsh", NEITHER),
    (MINT, "Marsh, Low", LENIENT_ONLY),
    (GOD, "They follow Orun.", BOTH),
    (GOD, "Orun or Brask", NEITHER),
    (FEAR, "Loud bells scare it.", BOTH),
    (FEAR, "The ogre is scared of loud bells.", BOTH),
    (FEAR, "bells", NEITHER),
    (FEAR, "soft bells", NEITHER),
    (FEAR, "loud bells and fire", LENIENT_ONLY),
    (CURE, "You drink a tea made from willow bark.", LENIENT_ONLY),
    (CURE, "Willow-bark tea.", BOTH),
    (CURE, "willow bark", NEITHER),
    (AMULET, "It prevents magical sleep.", BOTH),
    (AMULET, "It causes magical sleep.", NEITHER),
    (DOORS, "oak", NEITHER),
    (DOORS, "Black oak, bound with iron.", BOTH),
    (DOORS, "black oak wood", LENIENT_ONLY),
    (SALVE, "Rue, sage, mint.", BOTH),
    (SALVE, "mint & sage & rue", BOTH),
    (SALVE, "* mint\n* sage\n* rue", BOTH),
    (SALVE, "You need mint and sage.", NEITHER),
    (SALVE, "Mint, sage, rue, and thyme.", LENIENT_ONLY),
    (SALVE, "The salve takes three herbs: mint, sage and rue.", BOTH),
    (SALVE, "mint, sage, and rue - nothing else", BOTH),
    (SALVE, "Sage and rue as well as mint.", BOTH),
    (TONGUES, "Old Marsh and Elvish.", BOTH),
    (TONGUES, "He speaks both Elvish and Old Marsh.", BOTH),
    (TONGUES, "Elvish", NEITHER),
    (TONGUES, "Elvish, but not Old Marsh", NEITHER),
    (GHOST, "No, it can't.", BOTH),
    (GHOST, "A ghost can not cross running water.", BOTH),
    (GHOST, "Ghosts cannot cross running water.", BOTH),
    (GHOST, "Nope.", BOTH),
    (GHOST, "yes", NEITHER),
    (GHOST, "The answer is no.", BOTH),
    (GHOST, "**No.** Running water stops it.", BOTH),
    (GHOST, "Only by bridge.", NEITHER),
    (SWIMMER, "Yes, it does.", BOTH),
    (SWIMMER, "It does.", LENIENT_ONLY),
    (SWIMMER, "Armour slows a swimmer by half.", BOTH),
    (SWIMMER, "Certainly not.", NEITHER),
    (SCROLL, "Correct.", BOTH),
    (SCROLL, "They are used up when read.", BOTH),
    (SCROLL, "Scrolls are not used up.", NEITHER),
    (SCROLL, "Yes - a scroll is used up when it is read.", BOTH),
    (DOG, "The miller's dog is not named in the text.", BOTH),
    (DOG, "No name is given for the dog.", BOTH),
    (DOG, "The dog's name isn't mentioned anywhere.", BOTH),
    (DOG, "Rex", NEITHER),
    (DOG, "It's unclear.", BOTH),
    (DOG, "That information is not in the passage.", BOTH),
    (DOG, "I can't tell from the passage.", BOTH),
    (DOG, "N/A", BOTH),
    (DOG, "The passages never name the dog.", BOTH),
    (DOG, "There is no answer in the passages.", BOTH),
    (DOG, "The text doesn't tell us what the dog is called.", BOTH),
    (DOG, "Probably Rex.", NEITHER),
    (WELL, "The depth is not specified.", BOTH),
    (WELL, "40 feet", NEITHER),
    (WELL, "We are not told.", BOTH),
    (WELL, "Nothing in the rules answers this.", BOTH),
    (WELL, "I'm afraid I don't know how deep it is.", BOTH),
]


@pytest.mark.parametrize(("question", "text", "expected"), CASES)
def test_each_way_of_saying_it_gets_its_verdicts(question, text, expected):
    assert (strict(question, text), lenient(question, text)) == expected


def test_another_number_than_the_one_asked_about_is_not_a_yes():
    question = ask("yes_no", "Is the Armour Class of the Silt Ox 17?", "yes")
    assert not strict(question, "The Armour Class of the Silt Ox is 13.")
    assert not lenient(question, "The Armour Class of the Silt Ox is 13.")
