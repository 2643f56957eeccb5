"""Invented rulebooks: entities with random names and values, so that nothing in them can be known beforehand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from adaptlab.miniature import words
from adaptlab.miniature.catalogue import KINDS, Attribute, Kind

DICE_SIDES = (4, 6, 8, 10, 12)
TIME_UNITS = ("rounds", "turns", "hours", "days", "minutes", "weeks")
NOVEL_SHARE = 0.55
INVENTED_SHARE = 0.12


@dataclass(frozen=True)
class Entity:
    """An entity of a world; `values` maps attribute names to their values, in a random order."""

    name: str
    kind: Kind
    values: dict[str, str]

    @property
    def mention(self) -> str:
        """The name as it stands inside a sentence: "the Gullwight" or "Emberlace"."""
        return self.kind.article + self.name

    @property
    def mention_capitalised(self) -> str:
        """The name as it stands at the start of a sentence."""
        return self.mention[0].upper() + self.mention[1:]


@dataclass
class World:
    """One invented rulebook's vocabulary and entities; everything follows from `rng` and `novel`.

    `novel` draws names and values from words outside the lists, so that a model has to copy what it reads; without
    it a world keeps to the lists.
    """

    rng: random.Random
    novel: random.Random | None = None
    coins: list[str] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)


def invented_name(rng: random.Random, syllables: int | None = None) -> str:
    """A capitalised invented word of two or three syllables."""
    count = syllables or rng.choice((2, 2, 3))
    middle = rng.choice(words.NAME_MIDDLES) if count == 3 else ""
    return (rng.choice(words.NAME_STARTS) + middle + rng.choice(words.NAME_ENDS)).replace(" ", "").capitalize()


def entity_name(rng: random.Random) -> str:
    """A name of one to three words: compound ("Gullwight"), two-word ("Ash Heron") or invented ("Vorrgash")."""
    style = rng.random()
    if style < 0.22:
        return invented_name(rng)
    head, tail = rng.choice(words.COMPOUND_HEADS).capitalize(), rng.choice(words.COMPOUND_TAILS)
    if style < 0.44:
        return head.split()[0] + tail.replace(" ", "").replace("-", "")
    if style < 0.70:
        return f"{head} {tail.capitalize()}"
    if style < 0.80:
        return f"{rng.choice(words.ADJECTIVES).capitalize()} {tail.capitalize()}"
    if style < 0.90:
        return f"{invented_name(rng, 2)} {tail.capitalize()}"
    if style < 0.95:
        return f"{invented_name(rng, 2)}'s {tail.capitalize()}"
    return f"{tail.capitalize()} of {invented_name(rng, 2)}"


def any_word(rng: random.Random) -> str:
    """A plain word, often with an ending, an invented one, or letters that make no known word at all."""
    kind = rng.random()
    if kind < 0.40:
        return rng.choice(words.COMMON)
    if kind < 0.65:
        return rng.choice(words.COMMON) + rng.choice(words.ENDINGS)
    if kind < 0.85:
        return invented_name(rng).lower()
    return "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiouy") for _ in range(rng.randint(2, 4)))


def novel_name(rng: random.Random) -> str:
    """A name of words outside the lists: "Moonledger", "Soup Sabre", "Orchard of Vuzole"."""
    first, second = any_word(rng).capitalize(), any_word(rng)
    style = rng.random()
    if style < 0.35:
        return first + second
    if style < 0.85:
        return f"{first} {second.capitalize()}"
    return f"{first} of {second.capitalize()}" if style < 0.93 else f"{first} the {second.capitalize()}"


def _novel_value(rng: random.Random, shape: str) -> str | None:
    """A value of a wordy `shape` made of words outside the lists; None for a shape of numbers."""
    first, second = any_word(rng), any_word(rng)
    capital = first.capitalize()
    several = " ".join(any_word(rng) for _ in range(rng.randint(2, 4)))
    made = {
        "material": first if rng.random() < 0.3 else f"{first} {second}",
        "place": f"{first} {second}s",
        "gear": f"{first} {second}",
        "guild": f"the {capital} {rng.choice((second.capitalize(), rng.choice(words.GUILD_KINDS)))}",
        "person": f"{rng.choice((second.capitalize(), rng.choice(words.TITLES)))} {capital}",
        "save": f"Save versus {capital}",
        "ability": capital,
        "month": capital,
        "effect": f"{rng.choice(('may not', 'cannot', 'must', 'loses', 'forgets', 'is'))} {several}",
        "trigger": f"{first}ing {several}",
    }
    return made.get(shape)


def dice(rng: random.Random) -> str:
    """A dice expression such as 3d8+2."""
    base = f"{rng.randint(1, 10)}d{rng.choice(DICE_SIDES)}"
    return f"{base}+{rng.randint(1, 6)}" if rng.random() < 0.4 else base


def _number(rng: random.Random, low: int, high: int) -> str:
    return str(rng.randint(low, high))


def _money(world: World) -> str:
    amount = world.rng.choice((world.rng.randint(2, 40), world.rng.randint(2, 90) * 5, world.rng.randint(1, 30) * 25))
    return f"{amount} {world.rng.choice(world.coins)}"


def _material(rng: random.Random) -> str:
    if rng.random() < 0.35:
        return f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.MATERIALS).split()[-1]}"
    return rng.choice(words.MATERIALS)


def value(world: World, attribute: Attribute) -> str:
    """A random value of the attribute's shape (see `catalogue.SHAPE_EXAMPLES`)."""
    rng, shape = world.rng, attribute.shape
    if world.novel and world.novel.random() < NOVEL_SHARE and (made := _novel_value(world.novel, shape)):
        return made
    if shape.startswith("int:"):
        low, high = shape[4:].split("-")
        return _number(rng, int(low), int(high))
    makers = {
        "dice": lambda: dice(rng),
        "die": lambda: f"d{rng.choice((*DICE_SIDES, 20, 100))}",
        "feet": lambda: f"{rng.randint(1, 60) * 5} feet",
        "time": lambda: f"{rng.randint(2, 30)} {rng.choice(TIME_UNITS)}",
        "money": lambda: _money(world),
        "weight": lambda: f"{rng.randint(2, 40)} {rng.choice(('stones', 'pounds'))}",
        "points": lambda: f"{rng.randint(2, 90) * 5} points",
        "count": lambda: (
            f"{rng.randint(1, 9)},{rng.randint(0, 99):02d}0" if rng.random() < 0.5 else str(rng.randint(12, 990))
        ),
        "year": lambda: _number(rng, 101, 999),
        "area": lambda: f"{rng.randint(1, 16) * 5}-foot {rng.choice(words.AREAS)}",
        "material": lambda: _material(rng),
        "place": lambda: f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.NOUNS_PLACE).split()[-1]}",
        "guild": lambda: (
            f"the {invented_name(rng, 2)} {rng.choice(words.GUILD_KINDS)}"
            if rng.random() < 0.6
            else f"the {rng.choice(words.COMPOUND_HEADS).capitalize()} {rng.choice(words.GUILD_KINDS)}"
        ),
        "person": lambda: f"{rng.choice(words.TITLES)} {invented_name(rng)}",
        "save": lambda: f"Save versus {rng.choice(words.SAVE_NOUNS)}",
        "ability": lambda: rng.choice(words.ABILITIES) if rng.random() < 0.7 else invented_name(rng, 2),
        "gear": lambda: f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.GEAR).split()[-1]}",
        "month": lambda: invented_name(rng),
        "effect": lambda: rng.choice(words.EFFECTS),
        "trigger": lambda: rng.choice(words.TRIGGERS),
    }
    return makers[shape]()


_ANY_SHAPES = ("int:1-40", "dice", "feet", "time", "money", "material", "place", "gear", "points", "weight")


def new_world(seed: int | float | str, listed_words_only: bool = False) -> World:
    """A world without entities yet, with its own coin words."""
    rng = random.Random(seed)
    world = World(rng=rng, coins=rng.sample(words.COINS, 2))
    if not listed_words_only:
        world.novel = random.Random(f"novel {seed}")
        if world.novel.random() < NOVEL_SHARE:
            world.coins = [f"{word}s" for word in world.novel.sample(words.COMMON, 2)]
    return world


def new_entity(world: World, kind: Kind | None = None, attributes: list[Attribute] | None = None) -> Entity:
    """Add a random entity with four to seven attributes (or exactly `attributes`) to `world`."""
    rng = world.rng
    kind = kind or rng.choice(KINDS)
    if attributes is None:
        attributes = rng.sample(kind.attributes, min(len(kind.attributes), rng.randint(4, 7)))
        if rng.random() < INVENTED_SHARE:
            invented = Attribute(rng.choice(words.ATTRIBUTE_INVENTED), rng.choice(_ANY_SHAPES))
            attributes.insert(rng.randrange(len(attributes) + 1), invented)
    taken = {entity.name for entity in world.entities}
    name = entity_name(rng)
    if world.novel and world.novel.random() < NOVEL_SHARE:
        name = novel_name(world.novel)
    while name in taken:
        name = entity_name(rng)
    entity = Entity(name, kind, {attribute.name: value(world, attribute) for attribute in attributes})
    world.entities.append(entity)
    return entity


def answer(entity: Entity, attribute: str) -> str:
    """The sentence every miniature answer uses: subject first, value last."""
    return f"The {attribute} of {entity.mention} is {entity.values[attribute]}."
