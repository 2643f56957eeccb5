"""How a player may ask for an attribute of an entity: the wordings the miniature models are trained on.

`{e}` is the mention in running text ("the Gullwight", "Emberlace"), `{E}` the same with a capital first letter,
`{a}` the attribute's name as written ("Armour Class"), `{al}` the same in lower case. The wordings kept back from
training are in `phrasings_held_out.py` and can be imported from here too.
"""

from __future__ import annotations

from adaptlab.miniature.phrasings_held_out import GENERIC_HELD_OUT, SPECIFIC_HELD_OUT

__all__ = ["GENERIC", "GENERIC_HELD_OUT", "LEADS", "QUOTE", "SPECIFIC", "SPECIFIC_HELD_OUT"]

GENERIC: tuple[str, ...] = (
    "What is the {a} of {e}?",
    "What is the {al} of {e}?",
    "What is {e}'s {al}?",
    "What's the {al} for {e}?",
    "What {al} does {e} have?",
    "Which {al} is listed for {e}?",
    "Which {al} belongs to {e}?",
    "Tell me {e}'s {al}.",
    "Tell me the {a} of {e}.",
    "Give me the {al} of {e}.",
    "Give the {a} for {e}.",
    "State the {al} of {e}, please.",
    "Please look up the {al} of {e}.",
    "Find the {a} of {e} for me.",
    "I need the {al} for {e}.",
    "I want to know the {al} of {e}.",
    "I forgot the {al} of {e}.",
    "I am looking for {e}'s {a}.",
    "Could you tell me the {al} of {e}?",
    "Can you look up {e}'s {al}?",
    "Do you know the {al} of {e}?",
    "For {e}, which {al} do the rules give?",
    "For {e}, what is the {a}?",
    "With {e}, what {al} applies?",
    "About {e}: what is the {al}?",
    "{E}: what {al}?",
    "{E}: {a}?",
    "{E} has what {al}?",
    "{E} is listed with which {al}?",
    "Looking at {e}, the {al} would be what?",
    "{a} for {e}?",
    "And the {al} of {e}?",
    "Quick check: what is the {al} of {e}?",
    "Quick check: {e}, {al}?",
    "A player asks for the {al} of {e}.",
    "A player asks: what {al} does {e} have?",
    "At the table someone wants {e}'s {al}.",
    "At the table: which {al} goes with {e}?",
    "We are using {e} tonight. What is the {al}?",
    "My notes on {e} are missing the {al}. What is it?",
    "Remind me what the {al} of {e} is.",
    "Remind us: what does the book say is {e}'s {al}?",
    "According to the rules, what is the {al} of {e}?",
    "By the book, which {al} does {e} have?",
    "What do the rules give as the {a} of {e}?",
    "What does the rulebook say about the {al} of {e}?",
    "How do the rules set the {al} of {e}?",
    "I wonder what the {al} of {e} might be.",
    "Does the book give the {al} of {e}, and what is it?",
    "The {al} of {e} is what?",
)

SPECIFIC: dict[tuple[str, str], tuple[str, ...]] = {
    # Monsters
    ("monster", "Armour Class"): (
        "How hard is {e} to hit?", "What do I need to hit {e}?", "What number must an attack reach to hit {e}?",
        "I swing at {e}: what must I roll to hit it?", "How well armoured is {e}?", "What is the AC of {e}?",
    ),
    ("monster", "Hit Dice"): (
        "How tough is {e}?", "What do I roll for the hit points of {e}?", "How many hit points does {e} start with?",
        "Which dice give {e} its hit points?", "How much punishment can {e} take?", "What is the HD of {e}?",
    ),
    ("monster", "Movement"): (
        "How fast is {e}?", "How far can {e} move?", "How quickly does {e} move?", "What is the speed of {e}?",
        "How far does {e} run in a round?", "Can I outrun {e}, or how fast does it go?",
    ),
    ("monster", "Damage"): (
        "How hard does {e} hit?", "What do I roll when {e} hits someone?", "How much does a blow from {e} hurt?",
        "{E} hits me: how much do I lose?", "How many hit points do I lose when {e} strikes me?",
        "What harm does {e} do with its attack?",
    ),
    ("monster", "Morale"): (
        "How brave is {e}?", "How likely is {e} to stand and fight?", "When does {e} lose its nerve?",
        "What score keeps {e} from running away?", "How steady is {e} in a losing fight?",
        "Will {e} flee, or how high is its courage?",
    ),
    ("monster", "Number Appearing"): (
        "How many of {e} turn up at once?", "How many of {e} do we meet?", "How large is a group of {e}?",
        "What do I roll for how many of {e} appear?", "Does {e} come alone, or in what numbers?",
        "How many are there when we meet {e}?",
    ),
    ("monster", "Lair"): (
        "Where does {e} live?", "Where can we find {e}?", "Where does {e} make its home?",
        "In what sort of place does {e} live?", "Where should we look for {e}?", "Where does {e} sleep?",
    ),
    ("monster", "Weakness"): (
        "What is {e} weak against?", "What hurts {e} most?", "What can we use against {e}?",
        "What substance harms {e} the most?", "What does {e} fear?", "What should we bring to beat {e}?",
    ),
    ("monster", "Treasure"): (
        "How much money does {e} carry?", "How rich is the hoard of {e}?", "What coin do we find on {e}?",
        "How much loot does {e} have?", "What do we take from {e} once it is dead?",
        "How many coins does {e} guard?",
    ),
    ("monster", "Experience"): (
        "How many points do we earn for beating {e}?", "What is {e} worth in points?",
        "How many points do we get for killing {e}?", "What is the XP for {e}?", "We killed {e}: how many points?",
        "How many points is a win over {e} worth?",
    ),
    # Spells
    ("spell", "Circle"): (
        "What level is {e}?", "How advanced a spell is {e}?", "At what level do casters learn {e}?",
        "In which circle of magic is {e} found?", "How high a slot does {e} need?", "What rank of spell is {e}?",
    ),
    ("spell", "Range"): (
        "How far off can I cast {e}?", "How far does {e} reach?", "From how far away does {e} work?",
        "How distant can my target be for {e}?", "How near must I be to cast {e} on someone?",
        "At what distance can {e} be cast?",
    ),
    ("spell", "Duration"): (
        "How long does {e} last?", "When does {e} wear off?", "For how long does {e} stay active?",
        "How long until {e} ends?", "Once cast, how long does {e} last?", "How long am I under {e}?",
    ),
    ("spell", "Reagent"): (
        "What does {e} use up?", "What ingredient do I need for {e}?", "What must I carry to cast {e}?",
        "Which substance does {e} need?", "What stuff is spent in casting {e}?", "What component does {e} call for?",
    ),
    ("spell", "Saving Throw"): (
        "How do I resist {e}?", "What save is there against {e}?", "What does a target roll to resist {e}?",
        "Which save stops {e}?", "Someone casts {e} on me: what do I save with?", "Which save avoids {e}?",
    ),
    ("spell", "Area"): (
        "How big a space does {e} cover?", "What space does {e} fill?", "How wide does {e} spread?",
        "How much ground does {e} cover?", "What shape and size is {e}?", "Who is caught in {e}, how wide is it?",
    ),
    ("spell", "Casting Time"): (
        "How long does it take to cast {e}?", "How long must I chant {e}?", "How fast can I cast {e}?",
        "How long before {e} goes off?", "How long do I need to prepare {e} in a fight?",
        "How long does a caster take over {e}?",
    ),
    ("spell", "Damage"): (
        "How much does {e} hurt?", "What do I roll for the harm of {e}?", "How hard does {e} hit?",
        "How many hit points does {e} take off?", "How much harm does {e} do?",
        "Which dice do I roll when {e} hurts someone?",
    ),
    # Items
    ("item", "Price"): (
        "What does {e} cost?", "How much is {e}?", "How much do I pay for {e}?", "What is the cost of {e}?",
        "I want to buy {e}: how much money is that?", "How much coin does a shop ask for {e}?",
    ),
    ("item", "Weight"): (
        "How heavy is {e}?", "What does {e} weigh?", "How much does {e} weigh?", "How much load is {e} in my pack?",
        "How heavy a load is {e} to carry?", "Is {e} heavy, and how much so?",
    ),
    ("item", "Damage"): (
        "How hard does {e} hit?", "What do I roll when I hit with {e}?", "How much does a blow from {e} hurt?",
        "How much harm does {e} do?", "Which dice do I roll for a hit with {e}?",
        "How many hit points does {e} take off?",
    ),
    ("item", "Material"): (
        "What is {e} made of?", "What is {e} made from?", "Which stuff is {e} made of?",
        "From what substance is {e} formed?", "What stuff goes into {e}?", "What is {e} forged from?",
    ),
    ("item", "Maker"): (
        "Who makes {e}?", "Who made {e}?", "Which guild makes {e}?", "Who builds {e}?",
        "From whose workshop does {e} come?", "Who crafted {e}?",
    ),
    ("item", "Reach"): (
        "How far can I strike with {e}?", "How far off can I hit with {e}?", "From how far does {e} hit?",
        "How long is the stretch of {e} in a fight?", "How near must a foe be for {e}?",
        "At what distance does {e} strike?",
    ),
    ("item", "Charges"): (
        "How many uses does {e} have?", "How often can I use {e}?", "How many times does {e} work?",
        "How many uses before {e} is empty?", "When does {e} run out?", "How many times can {e} be used?",
    ),
    ("item", "Hardness"): (
        "How hard is {e} to break?", "How well does {e} stand up to blows?", "How sturdy is {e}?",
        "What does it take to break {e}?", "How tough is {e}?", "I try to smash {e}: how sturdy is it?",
    ),
    # Retainers
    ("retainer", "Wage"): (
        "What do I pay {e}?", "How much does {e} cost to hire?", "What pay does {e} ask for?",
        "How much money does {e} want?", "What does {e} earn?", "How much coin keeps {e} in my pay?",
    ),
    ("retainer", "Loyalty"): (
        "How loyal is {e}?", "How far can I trust {e}?", "Will {e} stand by me, or how loyal is such help?",
        "What score keeps {e} at my side?", "How likely is {e} to stay true?", "How faithful is {e}?",
    ),
    ("retainer", "Guild"): (
        "Who does {e} belong to?", "Which order does {e} belong to?", "Who sends {e} out for hire?",
        "Which house does {e} answer to?", "Where do I go to hire {e}, whose member is it?",
        "Of which company is {e} a member?",
    ),
    ("retainer", "Notice"): (
        "How long before leaving must {e} tell me?", "How long ahead must {e} warn me before leaving?",
        "How much warning does {e} give before leaving?", "{E} wants to leave: how long must I be warned?",
        "How long does {e} stay after saying goodbye?", "If {e} quits, how long is the warning?",
    ),
    ("retainer", "Weapon"): (
        "What does {e} fight with?", "What is {e} armed with?", "What does {e} carry into a fight?",
        "With what does {e} fight?", "What arms does {e} bring?", "What does {e} hold in a fight?",
    ),
    ("retainer", "Hit Dice"): (
        "How tough is {e}?", "What do I roll for the hit points of {e}?", "How many hit points does {e} have?",
        "Which dice give {e} hit points?", "How much punishment can {e} take?", "What is the HD of {e}?",
    ),
    ("retainer", "Limit"): (
        "How many of {e} may I hire?", "How many of {e} can one party have?", "At most how many of {e} can I hire?",
        "What is the most I can have of {e}?", "How many of {e} are allowed?",
        "What is the largest number of {e} that I may have?",
    ),
    # Checks
    ("check", "Target Number"): (
        "What do I need to roll for {e}?", "What must I beat for {e}?", "How hard is {e}?",
        "What number do I need for {e}?", "How high must I roll to succeed at {e}?",
        "I try {e}: what number must I reach?",
    ),
    ("check", "Ability"): (
        "What do I test for {e}?", "Which score do I use for {e}?", "Which of my scores helps with {e}?",
        "What trait does {e} depend on?", "Which trait do I roll with for {e}?", "What score does {e} test?",
    ),
    ("check", "Time"): (
        "How long does {e} take?", "How long do I spend on {e}?", "How long must I work at {e}?",
        "How soon am I done with {e}?", "How long before {e} is finished?", "If I try {e}, how long am I busy?",
    ),
    ("check", "Penalty"): (
        "How much worse do I roll if I try {e} badly prepared?", "What is taken off my roll for {e}?",
        "How much worse is my roll at {e} when things are against me?", "What minus applies to {e}?",
        "How much is taken off when {e} goes badly?", "How large a minus do I take on {e}?",
    ),
    ("check", "Tool"): (
        "What gear do I need for {e}?", "What do I use for {e}?", "What should I bring for {e}?",
        "What equipment helps with {e}?", "Which gear does {e} call for?", "What must I have in hand for {e}?",
    ),
    ("check", "Die"): (
        "What do I throw for {e}?", "Which dice do I use for {e}?", "How many sides are on what I roll for {e}?",
        "Do I roll a d20 or something else for {e}?", "Which of my dice is rolled for {e}?",
        "I try {e}: do I pick up a d6, a d20 or what?",
    ),
    # Hazards
    ("hazard", "Damage"): (
        "How much does {e} hurt?", "What do I roll when {e} catches someone?", "How hard does {e} hit?",
        "How many hit points do I lose to {e}?", "How much harm does {e} do?", "{E} goes off: how much do I lose?",
    ),
    ("hazard", "Saving Throw"): (
        "How do I resist {e}?", "What save is there against {e}?", "What do I roll to avoid {e}?",
        "Which save stops {e}?", "I walk into {e}: what do I save with?", "Which save avoids the worst of {e}?",
    ),
    ("hazard", "Spotting Number"): (
        "What do I need to beat to spot {e}?", "How hard is {e} to see?", "What must I roll to notice {e}?",
        "What number lets me find {e} in time?", "How well hidden is {e}?", "How hard is it to spot {e}?",
    ),
    ("hazard", "Reset Time"): (
        "How long until {e} is ready again?", "When can {e} go off again?", "How soon does {e} work again?",
        "How long is {e} safe after it goes off?", "Once sprung, how long until {e} is set again?",
        "How long before {e} is dangerous again?",
    ),
    ("hazard", "Remedy"): (
        "What cures the harm of {e}?", "What helps against {e} afterwards?", "What do I use to treat a victim of {e}?",
        "What is the cure for {e}?", "What substance heals someone caught by {e}?", "What undoes {e}?",
    ),
    ("hazard", "Area"): (
        "How big a space does {e} cover?", "What space does {e} fill?", "How wide is {e}?",
        "How much ground does {e} cover?", "What shape and size is {e}?", "Who is caught by {e}, how wide is it?",
    ),
    ("hazard", "Experience"): (
        "How many points do we earn for getting past {e}?", "What is {e} worth in points?",
        "How many points do we get for beating {e}?", "What is the XP for {e}?", "We survived {e}: how many points?",
        "How many points is it worth to overcome {e}?",
    ),
    # Places
    ("place", "Ruler"): (
        "Who rules {e}?", "Who is in charge of {e}?", "Who governs {e}?", "Who gives the orders in {e}?",
        "Who is the lord or lady of {e}?", "To whom do the people of {e} answer?",
    ),
    ("place", "Population"): (
        "How many people live in {e}?", "How many live in {e}?", "How big is {e}?", "How many folk are there in {e}?",
        "How many people call {e} home?", "How large a town is {e}, counting its people?",
    ),
    ("place", "Toll"): (
        "What does it cost to enter {e}?", "How much do I pay at the gate of {e}?", "What is the fee to enter {e}?",
        "How much money does the gate of {e} ask for?", "What must we pay to pass through {e}?",
        "How much coin gets me into {e}?",
    ),
    ("place", "Garrison"): (
        "How many soldiers guard {e}?", "How many troops are there in {e}?", "How well guarded is {e}?",
        "How many guards does {e} have?", "How many soldiers hold {e}?", "We attack {e}: how many troops do we face?",
    ),
    ("place", "Founded"): (
        "How old is {e}?", "When was {e} built?", "In which year did {e} begin?", "What year was {e} founded?",
        "When did people first settle {e}?", "Since when has {e} stood?",
    ),
    ("place", "Export"): (
        "What does {e} sell?", "What goods come from {e}?", "What does {e} trade in?",
        "What is {e} known to sell abroad?",
        "What do merchants buy in {e}?", "Which goods does {e} send out?",
    ),
    ("place", "Feast"): (
        "When does {e} celebrate?", "In which month does {e} celebrate?", "When is the festival in {e}?",
        "Which month brings the festival to {e}?", "When do the people of {e} hold their holiday?",
        "In what month is {e} in a festive mood?",
    ),
    # Terms
    ("term", "Effect"): (
        "What does {e} do?", "What does {e} do to me?", "What happens to someone under {e}?",
        "What does {e} mean in play?",
        "I am under {e}: what happens?", "What can a victim of {e} not do, or what must they do?",
    ),
    ("term", "Duration"): (
        "How long does {e} last?", "When does {e} wear off?", "How long until {e} ends?",
        "For how long am I under {e}?", "How long does a victim of {e} suffer?", "How long must I wait out {e}?",
    ),
    ("term", "Remedy"): (
        "What cures {e}?", "How do I get rid of {e}?", "What is the cure for {e}?", "What substance ends {e} early?",
        "What do I use to treat {e}?", "What heals a victim of {e}?",
    ),
    ("term", "Penalty"): (
        "How much is taken off my rolls under {e}?", "What minus comes with {e}?",
        "How much worse do I roll under {e}?",
        "How much do my rolls lose to {e}?", "How large a minus do I take from {e}?",
        "By how much does {e} lower my rolls?",
    ),
    ("term", "Trigger"): (
        "What causes {e}?", "What brings on {e}?", "How does someone get {e}?", "When does {e} start?",
        "What sets off {e}?", "What must happen before {e} starts?",
    ),
}

# What a player says before asking.
LEADS: tuple[str, ...] = (
    "We are at the table.", "Nobody can find the page.", "I have lost my notes.", "Sorry to ask again.",
    "We are about to fight.", "The game has stopped.", "My character is in trouble.", "I am new to this game.",
    "We have {e} in front of us.", "This is about {e}.", "{e} again.", "I am thinking of {e}.",
    "There is {e} in the next room.", "My friend keeps talking about {e}.", "We came all this way for {e}.",
    "One thing before I roll.", "Think of {e}.", "The others are waiting.", "It is my turn.", "We had an argument.",
    "I am writing an adventure with {e} in it.", "The lamp is going out and {e} is here.", "Let us say I choose {e}.",
    "My pack is open.", "The shop is shut.", "We won, just about.", "Help me.", "A short one.", "Suppose I look at {e}.",
)

# Asking for an entry's own words.
QUOTE: tuple[str, ...] = (
    "Quote the entry of {e}.", "Read out what stands under {e}.", "Quote {e}.", "What does the entry of {e} say?",
)
