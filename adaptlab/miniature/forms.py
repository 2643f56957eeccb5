"""How an invented rulebook puts its facts on the page: stat block, list, prose and table."""

from __future__ import annotations

import random
from dataclasses import dataclass

from adaptlab.miniature import prose, words
from adaptlab.miniature.world import Entity, World, any_word, invented_name

PARTS = ("Part", "Chapter", "Book", "Section")
ORDINALS = ("One", "Two", "Three", "Four", "Five", "1", "2", "3", "IV", "V", "VI")
FORMS = ("stat_block", "list", "prose", "table")


@dataclass(frozen=True)
class Passage:
    """One chunk of an invented rulebook; `facts` are the (entity, attribute) pairs in it, in reading order."""

    title: str
    text: str
    form: str
    facts: tuple[tuple[Entity, str], ...]


def _unheard_of(rng: random.Random) -> str:
    """A sentence of words in no order: a model that has met it is not thrown by prose that it never saw."""
    chosen = rng.choices(words.COMMON, k=rng.randint(5, 18))
    if rng.random() < 0.3:
        chosen.insert(rng.randrange(len(chosen)), str(rng.randint(1, 60)))
    if rng.random() < 0.2:
        chosen.insert(rng.randrange(len(chosen)), rng.choice(words.ABILITIES))
    if len(chosen) > 9 and rng.random() < 0.6:
        chosen[len(chosen) // 2] += ","
    text = " ".join(chosen)
    return text[0].upper() + text[1:] + "."


def filler(rng: random.Random, entity: Entity | None = None) -> str:
    """A sentence of flavour that states no value; it may mention `entity`."""
    if rng.random() < 0.3:
        return _unheard_of(rng)
    template = rng.choice(prose.FILLERS)
    e, capital = (entity.mention, entity.mention_capitalised) if entity else ("the party", "The party")
    return template.format(
        e=e,
        E=capital,
        adj=rng.choice(words.ADJECTIVES),
        material=rng.choice(words.MATERIALS),
        place=rng.choice(words.NOUNS_PLACE),
        gear=rng.choice(words.GEAR),
        ability=rng.choice(words.ABILITIES),
        person=f"{rng.choice(words.TITLES)} {invented_name(rng)}",
        name=invented_name(rng),
    )


def _flavour(rng: random.Random, entity: Entity, low: int, high: int) -> str:
    return " ".join(filler(rng, entity) for _ in range(rng.randint(low, high)))


def _stat_block(rng: random.Random, entity: Entity) -> str:
    label = rng.choice(("**{a}** {v}", "**{a}:** {v}", "**{a}**: {v}", "{a}: {v}", "{a} {v}", "*{a}* {v}"))
    parts = [label.format(a=a, v=v) for a, v in entity.values.items()]
    joint = rng.choice(("; ", " | ", "\n", ", ", ". ", " / ", "  \n"))
    return joint.join(parts) + rng.choice(("", "."))


def _bullets(rng: random.Random, entity: Entity) -> str:
    mark = rng.choice(("- ", "* ", "+ "))
    label = rng.choice(("{a}: {v}", "**{a}:** {v}", "{a} - {v}", "**{a}** {v}", "{a}: {v}."))
    return "\n".join(mark + label.format(a=a, v=v) for a, v in entity.values.items())


def _sentence(rng: random.Random, entity: Entity, attribute: str, pronoun_allowed: bool) -> str:
    own = prose.SENTENCES.get((entity.kind.name, attribute), ())
    pool = own if own and rng.random() < 0.85 else prose.GENERIC_SENTENCES
    template = rng.choice(pool)
    while not pronoun_allowed and "{e}" not in template and "{E}" not in template:
        template = rng.choice(prose.GENERIC_SENTENCES)
    text = template.format(
        E=entity.mention_capitalised, e=entity.mention, v=entity.values[attribute], a=attribute, al=attribute.lower()
    )
    return text if text.endswith((".", "!")) else text + "."


def _prose(rng: random.Random, entity: Entity) -> str:
    sentences = []
    for position, attribute in enumerate(entity.values):
        sentences.append(_sentence(rng, entity, attribute, pronoun_allowed=position > 0))
        if rng.random() < 0.35:
            sentences.append(filler(rng, entity))
    if rng.random() < 0.5:
        sentences.insert(0, filler(rng, entity))
    if len(sentences) > 4 and rng.random() < 0.4:
        cut = rng.randint(2, len(sentences) - 2)
        return " ".join(sentences[:cut]) + "\n\n" + " ".join(sentences[cut:])
    return " ".join(sentences)


def _heading(rng: random.Random, title: str) -> str:
    style = rng.random()
    if style < 0.45:
        return f"{'#' * rng.choice((2, 3, 3, 3, 4))} {title}\n\n"
    return "" if style < 0.9 else f"**{title}**\n\n"


def section_title(rng: random.Random) -> str:
    """A heading from the list or, more often, of any words: a model must not take what it never saw for an entity."""
    if rng.random() < 0.35:
        return rng.choice(prose.HEADINGS)
    title = " ".join(any_word(rng).capitalize() for _ in range(rng.randint(1, 5)))
    return f"{rng.choice(PARTS)} {rng.choice(ORDINALS)}: {title}" if rng.random() < 0.15 else title


def _path(rng: random.Random, leaf: str) -> str:
    parts = [section_title(rng) for _ in range(rng.choice((0, 1, 2, 2, 3)))]
    return " > ".join([*parts, leaf])


def entity_passage(rng: random.Random, entity: Entity, form: str) -> Passage:
    """One entity's own entry in `form` (any of `FORMS` but table)."""
    body = {"stat_block": _stat_block, "list": _bullets, "prose": _prose}[form](rng, entity)
    if form != "prose":
        before = _flavour(rng, entity, 1, 2) if rng.random() < 0.75 else ""
        after = _flavour(rng, entity, 1, 2) if rng.random() < 0.3 else ""
        body = "\n\n".join(part for part in (before, body, after) if part)
    text = _heading(rng, entity.name) + body
    facts = tuple((entity, attribute) for attribute in entity.values)
    return Passage(_path(rng, entity.name), text, form, facts)


def table_passage(rng: random.Random, entities: list[Entity]) -> Passage:
    """A Markdown table with one row an entity; all must have the same attributes in the same order."""
    columns = list(entities[0].values)
    first = rng.choice((entities[0].kind.name.capitalize(), "Name", entities[0].kind.name.capitalize()))
    rows = [[entity.name, *entity.values.values()] for entity in entities]
    lines = [[first, *columns], ["---"] * (len(columns) + 1), *rows]
    if rng.random() < 0.35:
        widths = [max(len(line[i]) for line in [lines[0], *rows]) for i in range(len(lines[0]))]
        lines = [
            [cell.ljust(width) if cell != "---" else "-" * width for cell, width in zip(line, widths, strict=True)]
            for line in lines
        ]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    title = section_title(rng)
    intro = (rng.choice(prose.INTROS) if rng.random() < 0.6 else filler(rng)) + "\n\n" if rng.random() < 0.75 else ""
    after = "\n\n" + filler(rng) if rng.random() < 0.2 else ""
    facts = tuple((entity, attribute) for entity in entities for attribute in entity.values)
    return Passage(_path(rng, title), _heading(rng, title) + intro + table + after, "table", facts)


def noise_passage(world: World) -> Passage:
    """A chunk of flavour and general rules that states no fact."""
    rng = world.rng
    title = section_title(rng)
    text = _heading(rng, title) + " ".join(filler(rng) for _ in range(rng.randint(2, 9)))
    return Passage(_path(rng, title), text, "prose", ())
