"""Wordings kept back from training, so that an evaluation can ask in a way the model has never seen.

The placeholders are those of `phrasings.py`.
"""

from __future__ import annotations

GENERIC_HELD_OUT: tuple[str, ...] = (
    "Suppose {e} comes up in play; what would you write down under {al}?",
    "Fill in the gap: {e}, {a}, then what?",
    "If someone asked you about {e}, what {al} would you name?",
    "There is an entry on {e} in the rules. Which {al} does it show?",
    "Before we go on, let us settle the {al} that {e} has.",
    "Under {a}, what is written for {e}?",
    "Nobody here remembers {e} well enough to say its {al}. Help?",
    "I have {e} in front of me but no {al}; what should it be?",
    "As regards {al}, what holds for {e}?",
    "My friend and I disagree on {e}: how does the {al} read?",
    "One more thing on {e}, namely its {al}?",
    "Let me hear the {a} that goes with {e}.",
)

SPECIFIC_HELD_OUT: dict[tuple[str, str], tuple[str, ...]] = {
    # Monsters
    ("monster", "Armour Class"): (
        "My arrow flies at {e}; which number is enough to hit?",
        "To land a hit on {e}, what should my attack reach?",
    ),
    ("monster", "Hit Dice"): (
        "I am setting up {e}; which dice decide its hit points?",
        "Before it drops, how many hit points has {e} got?",
    ),
    ("monster", "Movement"): (
        "If {e} chases us, how fast will it be?",
        "In one round, what distance does {e} move?",
    ),
    ("monster", "Damage"): (
        "When the attack of {e} lands, how much does it hurt?",
        "Should {e} strike my friend, how much harm is done?",
    ),
    ("monster", "Morale"): (
        "In a losing fight, how well does {e} keep its nerve?",
        "How much courage has {e} got before running away?",
    ),
    ("monster", "Number Appearing"): (
        "Should we meet {e}, what size is the group?",
        "A group made up of {e} appears: how many are there?",
    ),
    ("monster", "Lair"): (
        "We are hunting {e}; what sort of place is its home?",
        "If I wanted to visit {e} at home, where would I go?",
    ),
    ("monster", "Weakness"): (
        "Which substance should I use when {e} attacks, to hurt it most?",
        "Name the stuff that {e} fears.",
    ),
    ("monster", "Treasure"): (
        "Once {e} is dead, how much coin is in the hoard?",
        "Searching {e}, how much money do we find?",
    ),
    ("monster", "Experience"): (
        "Our party has beaten {e}; what do we earn in points?",
        "How much XP comes from killing {e}?",
    ),
    # Spells
    ("spell", "Circle"): (
        "Casters must be of what rank to learn {e}?",
        "Among spells, how high a level has {e}?",
    ),
    ("spell", "Range"): (
        "My target stands far away; how far will {e} still work?",
        "What is the greatest distance to a target of {e}?",
    ),
    ("spell", "Duration"): (
        "After {e} is cast, when is it over, that is, how long does it stay?",
        "How long will {e} remain active?",
    ),
    ("spell", "Reagent"): (
        "Which ingredient is used up by {e}?",
        "I am packing to cast {e}; what substance do I need?",
    ),
    ("spell", "Saving Throw"): (
        "My hero is the target of {e}; which save do I roll?",
        "To resist {e}, one rolls what save?",
    ),
    ("spell", "Area"): (
        "What size of ground is caught in {e}?",
        "If I cast {e} here, what shape of space does it cover?",
    ),
    ("spell", "Casting Time"): (
        "In a fight, how long am I busy casting {e}?",
        "From first chant until {e} goes off, how long does it take?",
    ),
    ("spell", "Damage"): (
        "My target fails to avoid {e}; how many hit points are lost?",
        "What dice of harm come from {e}?",
    ),
    # Items
    ("item", "Price"): (
        "How much money must I bring to buy {e}?",
        "In a shop, what would I pay for {e}?",
    ),
    ("item", "Weight"): (
        "If I put {e} in my pack, how heavy a load is it?",
        "Can I carry {e}, or how much does it weigh?",
    ),
    ("item", "Damage"): (
        "I strike a foe with {e}; which dice of harm do I roll?",
        "When {e} hits, how many hit points are lost?",
    ),
    ("item", "Material"): (
        "Somebody forged {e}, but from what stuff?",
        "Name the substance that {e} is made of.",
    ),
    ("item", "Maker"): (
        "Which workshop or guild made {e}?",
        "By whom was {e} crafted?",
    ),
    ("item", "Reach"): (
        "With {e} in hand, how far off may a foe be when I strike?",
        "How great a distance does a strike with {e} cover?",
    ),
    ("item", "Charges"): (
        "After how many uses does {e} run out?",
        "Fresh from the shop, {e} can be used how many times?",
    ),
    ("item", "Hardness"): (
        "If a giant tries to break {e}, how sturdy is it?",
        "How much does {e} resist someone who would smash it?",
    ),
    # Retainers
    ("retainer", "Wage"): (
        "If I hire {e}, how much coin must I pay?",
        "How much pay is due to {e}?",
    ),
    ("retainer", "Loyalty"): (
        "When things go badly, how true does {e} stay to me?",
        "How much trust does {e} deserve, as a score?",
    ),
    ("retainer", "Guild"): (
        "Whose member is {e}, which house or order?",
        "To hire {e}, which company do I turn to?",
    ),
    ("retainer", "Notice"): (
        "Before {e} quits, how long ahead am I told?",
        "How early does {e} warn me about leaving?",
    ),
    ("retainer", "Weapon"): (
        "When a fight starts, what does {e} hold?",
        "Which arms does {e} carry?",
    ),
    ("retainer", "Hit Dice"): (
        "I hired {e}; which dice decide the hit points?",
        "Before falling, how many hit points has {e} got?",
    ),
    ("retainer", "Limit"): (
        "Our party wants more of {e}; how many may we have at most?",
        "Of {e}, how many is one party allowed to hire?",
    ),
    # Checks
    ("check", "Target Number"): (
        "To succeed at {e}, which number must I beat?",
        "My roll for {e} has to reach what number?",
    ),
    ("check", "Ability"): (
        "Among my scores, which does {e} depend on?",
        "When I attempt {e}, which trait is put to the test?",
    ),
    ("check", "Time"): (
        "I am busy with {e}; how long until I am done?",
        "Once begun, how long is {e} going to take?",
    ),
    ("check", "Penalty"): (
        "With things against me, how large is the minus on {e}?",
        "By how much is my roll for {e} made worse?",
    ),
    ("check", "Tool"): (
        "Before I attempt {e}, what equipment should I have?",
        "My pack is for {e}; which gear must be in it?",
    ),
    ("check", "Die"): (
        "How many sides should the dice have that I throw for {e}?",
        "For {e}, is it a d20, a d6 or some other?",
    ),
    # Hazards
    ("hazard", "Damage"): (
        "Someone is caught by {e}; how many hit points are lost?",
        "When {e} catches me, what dice of harm are rolled?",
    ),
    ("hazard", "Saving Throw"): (
        "My hero is caught in {e}; which save do I roll?",
        "To resist {e}, one rolls what save?",
    ),
    ("hazard", "Spotting Number"): (
        "I look around carefully; what roll is enough to see {e}?",
        "To notice {e} in time, which number must I beat?",
    ),
    ("hazard", "Reset Time"): (
        "We sprung {e}; how long do we have until it is ready once more?",
        "After going off, how long does {e} stay safe?",
    ),
    ("hazard", "Remedy"): (
        "My friend was caught by {e}; what heals that?",
        "Which cure should we carry because of {e}?",
    ),
    ("hazard", "Area"): (
        "What size of ground is dangerous around {e}?",
        "How far does {e} spread, and in what shape?",
    ),
    ("hazard", "Experience"): (
        "Our party has overcome {e}; what do we earn in points?",
        "How much XP comes from surviving {e}?",
    ),
    # Places
    ("place", "Ruler"): (
        "Which lord or lady governs the people of {e}?",
        "We want to meet whoever is in charge in {e}; who is it?",
    ),
    ("place", "Population"): (
        "Counting all the folk, how many are at home in {e}?",
        "What number of people has {e} got?",
    ),
    ("place", "Toll"): (
        "The gate guard of {e} holds out a hand; how much do we pay?",
        "How large a fee is asked to pass into {e}?",
    ),
    ("place", "Garrison"): (
        "How strong are the troops of {e}, in soldiers?",
        "An army nears {e}; how many soldiers defend it?",
    ),
    ("place", "Founded"): (
        "What is the year in which people built {e}?",
        "How far back does {e} go, to which year?",
    ),
    ("place", "Export"): (
        "As a merchant, which goods should I buy in {e}?",
        "What trade goods leave {e}?",
    ),
    ("place", "Feast"): (
        "We want to see the festival of {e}; which month should we come?",
        "What month is the holiday of {e} in?",
    ),
    # Terms
    ("term", "Effect"): (
        "My hero is a victim of {e}; what happens now?",
        "In play, what does being under {e} do?",
    ),
    ("term", "Duration"): (
        "My hero suffers from {e}; how long until it wears off?",
        "How long does one stay under {e}?",
    ),
    ("term", "Remedy"): (
        "My hero has {e}; what substance heals it?",
        "Which cure should we carry against {e}?",
    ),
    ("term", "Penalty"): (
        "A victim of {e} rolls with how large a minus?",
        "While {e} lasts, how much do my rolls lose?",
    ),
    ("term", "Trigger"): (
        "What has to happen for {e} to set in?",
        "Which event causes someone to get {e}?",
    ),
}
