"""What an invented rulebook can speak of: kinds of entities, their attributes, and the shape of each value.

The miniature models are trained on worlds whose names and values are random, so that nothing in the lab's own
rulebook can be known beforehand. What they share with it is only this catalogue: which attributes exist.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """`shape` names a value generator of `world.py`; `article` of the kind decides "the Gullwight" or "Emberlace"."""

    name: str
    shape: str


@dataclass(frozen=True)
class Kind:
    """A kind of entity; `article` is "the " or empty, put before a name in running text."""

    name: str
    article: str
    attributes: tuple[Attribute, ...]


def _kind(name: str, article: str, **attributes: str) -> Kind:
    pairs = tuple(Attribute(key.replace("_", " "), shape) for key, shape in attributes.items())
    return Kind(name, article, pairs)


KINDS: tuple[Kind, ...] = (
    _kind(
        "monster",
        "the ",
        Armour_Class="int:10-24",
        Hit_Dice="dice",
        Movement="feet",
        Damage="dice",
        Morale="int:2-12",
        Number_Appearing="dice",
        Lair="place",
        Weakness="material",
        Treasure="money",
        Experience="points",
    ),
    _kind(
        "spell",
        "",
        Circle="int:1-9",
        Range="feet",
        Duration="time",
        Reagent="material",
        Saving_Throw="save",
        Area="area",
        Casting_Time="time",
        Damage="dice",
    ),
    _kind(
        "item",
        "the ",
        Price="money",
        Weight="weight",
        Damage="dice",
        Material="material",
        Maker="guild",
        Reach="feet",
        Charges="int:2-30",
        Hardness="int:2-20",
    ),
    _kind(
        "retainer",
        "the ",
        Wage="money",
        Loyalty="int:2-12",
        Guild="guild",
        Notice="time",
        Weapon="gear",
        Hit_Dice="dice",
        Limit="int:1-12",
    ),
    _kind(
        "check",
        "",
        Target_Number="int:6-25",
        Ability="ability",
        Time="time",
        Penalty="int:1-9",
        Tool="gear",
        Die="die",
    ),
    _kind(
        "hazard",
        "the ",
        Damage="dice",
        Saving_Throw="save",
        Spotting_Number="int:6-25",
        Reset_Time="time",
        Remedy="material",
        Area="area",
        Experience="points",
    ),
    _kind(
        "place",
        "",
        Ruler="person",
        Population="count",
        Toll="money",
        Garrison="count",
        Founded="year",
        Export="material",
        Feast="month",
    ),
    _kind(
        "term",
        "",
        Effect="effect",
        Duration="time",
        Remedy="material",
        Penalty="int:1-9",
        Trigger="trigger",
    ),
)
KIND_BY_NAME = {kind.name: kind for kind in KINDS}

# How each shape reads; `world.py` draws the values.
SHAPE_EXAMPLES = {
    "int": "14",
    "dice": "3d8+2 (also 2d6, 1d4+1, 4d8)",
    "die": "d20 (d6, d8, d10, d12, d20, d100)",
    "feet": "45 feet",
    "time": "6 rounds (rounds, turns, hours, days, minutes, weeks)",
    "money": "35 crowns (any coin word)",
    "weight": "12 stones (stones, pounds)",
    "points": "175 points",
    "count": "1,340",
    "year": "412",
    "area": "25-foot circle (circle, square, cone, line)",
    "material": "cold iron (adjective + noun, or noun)",
    "place": "flooded crypts (adjective + plural noun)",
    "guild": "the Tallow Guild (invented word + Guild, House, Order, Lodge, Company)",
    "person": "Lady Orsolwen (title + invented name)",
    "save": "Save versus Stone (Save versus + noun)",
    "ability": "Grit (one invented or plain ability noun)",
    "gear": "boar spear (adjective + noun)",
    "month": "Frostwane (one invented month name)",
    "effect": "may not cast spells (verb phrase)",
    "trigger": "falling below half hit points (gerund phrase)",
}
