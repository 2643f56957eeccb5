"""Other words for an attribute: what stands in a generic wording's place of the attribute's own name.

They fit wherever a wording says "the {al} of {e}" or "which {al}". A pair of kind and attribute goes before the
attribute alone.
"""

from __future__ import annotations

Key = str | tuple[str, str]


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


SYNONYMS: dict[Key, tuple[str, ...]] = {
    "Armour Class": _words(
        "armour | AC | armour number | number to hit | hitting number | protection | number an attack must reach"
        " | armour score | toughness of hide | defence"
    ),
    "Hit Dice": _words(
        "HD | hit point dice | dice for hit points | toughness | number of hit points | health dice | staying power"
        " | hit points in dice | dice of life"
    ),
    "Movement": _words(
        "speed | pace | movement in feet | distance in a round | walking distance | swiftness | movement rate"
        " | distance it covers in a round | running speed"
    ),
    "Damage": _words(
        "harm | damage dice | hurt | dice of damage | damage roll | harm done | number of hit points lost | injury"
        " | dice of harm | roll for damage | loss of hit points"
    ),
    "Morale": _words(
        "courage | nerve | morale score | bravery | fighting spirit | steadiness | willingness to stand | heart"
    ),
    "Number Appearing": _words(
        "number met | group size | size of the group | number in a group | count when met | number that turn up"
        " | how-many roll | dice for the number met | pack size"
    ),
    "Lair": _words(
        "home | den | dwelling | lair place | hiding place | place where it lives | place where it sleeps | haunt"
        " | sort of home | nest"
    ),
    "Weakness": _words(
        "weak point | bane | dreaded stuff | feared substance | thing that harms it most | stuff that hurts it"
        " | vulnerability | substance against it | thing it fears"
    ),
    "Treasure": _words(
        "hoard | loot | money in the hoard | coin it guards | riches | money carried | sum of treasure | wealth"
    ),
    "Experience": _words(
        "XP | experience points | points earned | reward in points | points for a win | points won | worth in points"
        " | experience award"
    ),
    "Circle": _words(
        "level | spell level | rank | circle of magic | grade | magic circle | order | level of the spell"
    ),
    "Range": _words(
        "distance | greatest distance | reach in feet | casting distance | farthest distance | range in feet"
        " | distance to the target"
    ),
    "Duration": _words(
        "length of time | time it lasts | lasting time | time until it ends | span of time | how-long | time it holds"
        " | length"
    ),
    ("term", "Duration"): _words(
        "time it lasts | lasting time | time until it ends | time under it | length of the state | time one stays so"
    ),
    "Reagent": _words(
        "ingredient | component | material to cast with | stuff it needs | thing it uses up | substance for casting"
        " | spell ingredient | stuff to put in | consumed material"
    ),
    "Saving Throw": _words(
        "save | saving roll | resisting roll | save against it | throw to resist | roll that saves | save to make"
    ),
    "Area": _words(
        "size | shape and size | area covered | space it fills | ground it covers | extent | region | area in feet"
    ),
    "Casting Time": _words(
        "time to cast | time of casting | preparation | time it takes to cast | length of casting | casting length"
        " | time needed to read it"
    ),
    "Price": _words(
        "cost | price in coin | sum to pay | charge in the shop | money it costs | shop price | asking price"
    ),
    "Weight": _words("load | heaviness | pounds | burden | weight in pounds | mass"),
    "Material": _words("stuff | substance | make | matter it is made of | what-it-is-made-of | composition"),
    "Maker": _words(
        "smith | workshop | guild that made it | craftsmen | manufacturer | house that makes it | origin | producer"
    ),
    "Reach": _words("length in feet | fighting distance | striking distance | reach in feet | distance it strikes at"),
    "Charges": _words(
        "uses | number of uses | times it works | uses left in a full one | fill | times before it is empty"
    ),
    "Hardness": _words("strength | toughness | resistance to breaking | sturdiness | number that keeps it whole"),
    "Wage": _words("pay | salary | daily money | hire | fee | money for service | cost of hiring | asking pay"),
    "Loyalty": _words("faithfulness | loyalty score | trust | devotion | loyalty number | steadfastness"),
    "Guild": _words("company | trade body | brotherhood | organisation | house it belongs to | guild membership"),
    "Notice": _words("warning | time of notice | time before leaving | warning before quitting | notice period"),
    "Weapon": _words("arms | weapon carried | fighting tool | thing it fights with | armament | weapon in hand"),
    "Limit": _words("greatest number | cap | maximum | most one may hire | most allowed | highest number"),
    "Target Number": _words(
        "number to reach | difficulty | number to roll | needed roll | number needed | TN | roll to succeed"
    ),
    "Ability": _words("score | ability score | ability tested | ability used | ability to add | stat | score to test"),
    "Time": _words("time it takes | time needed | how-long | length of the task | time spent | hours or minutes"),
    "Penalty": _words(
        "minus | subtraction | number to subtract | deduction | negative | loss on the roll | penalty number"
    ),
    "Tool": _words("gear | equipment | thing needed | implement | instrument | thing to bring | tool needed"),
    "Die": _words("die to roll | kind of die | die thrown | dice type | die size"),
    "Spotting Number": _words(
        "number to notice it | roll to see it | number to spot it | finding number | spotting roll"
    ),
    "Reset Time": _words(
        "time to reset | time until it works again | resetting time | pause | time before the next one"
    ),
    "Remedy": _words("cure | antidote | treatment | healing stuff | thing that helps | relief | what-cures-it"),
    "Ruler": _words("lord | leader | head | governor | person in charge | one who rules | master"),
    "Population": _words("number of people | inhabitants | head count | size in people | number who live there"),
    "Toll": _words("gate fee | entry fee | money at the gate | passage money | charge to enter | road money"),
    "Garrison": _words("soldiers | number of guards | armed force | troops | number of soldiers | guard strength"),
    "Founded": _words(
        "founding year | year of founding | year it began | beginning | date it was built | age in years"
    ),
    "Export": _words("main goods | trade goods | thing it sells | product | ware it sends out | goods for sale abroad"),
    "Feast": _words("festival | holiday | month of the feast | feast month | yearly feast | celebration"),
    "Effect": _words("result | consequence | what-it-does | change | effect on a person | outcome | hindrance"),
    "Trigger": _words("cause | reason | what-brings-it-on | way to get it | thing that causes it | origin"),
}


def of(kind: str, attribute: str) -> tuple[str, ...]:
    """Other words for a kind's attribute; an attribute that a world has invented has none but its own name."""
    return SYNONYMS.get((kind, attribute)) or SYNONYMS.get(attribute, (attribute,))
