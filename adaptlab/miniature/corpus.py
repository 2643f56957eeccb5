"""Conversations for pre-training, drawn without end from invented worlds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

from adaptlab import prompts
from adaptlab.miniature import chat, phrasings, synonyms
from adaptlab.miniature.catalogue import KINDS
from adaptlab.miniature.forms import Passage, entity_passage, noise_passage, table_passage
from adaptlab.miniature.world import Entity, World, answer, new_entity, new_world

Conversation = list[tuple[str, str]]

FIXED_BOOKS = 6
FIXED_BOOK_ENTITIES = 20
MAX_PAIRS = 16
UNANSWERABLE_SHARE = 0.28
EARLY_PASSAGES = (0.55, 0.25, 0.10, 0.07, 0.03)
LATE_PASSAGES = (0.18, 0.20, 0.22, 0.25, 0.15)
MIXES = {
    "trunk": {"reading": 0.62, "writing": 0.17, "closed": 0.13, "chat": 0.06, "copy": 0.02},
    "quoting": {"quote": 0.42, "drill": 0.40, "writing": 0.07, "closed": 0.08, "chat": 0.03},
    "long": {"reading": 0.45, "drill": 0.20, "quote": 0.05, "writing": 0.14, "closed": 0.11, "chat": 0.05},
    "student": {"reading": 0.58, "drill": 0.14, "closed": 0.20, "chat": 0.08},
    "wording": {"reading": 0.52, "drill": 0.20, "closed": 0.20, "chat": 0.08},
    "teacher": {"writing": 0.45, "reading": 0.30, "drill": 0.12, "quote": 0.03, "closed": 0.05, "chat": 0.05},
    "names": {
        "writing": 0.50,
        "reading": 0.26,
        "drill": 0.06,
        "quote": 0.06,
        "copy": 0.04,
        "closed": 0.05,
        "chat": 0.03,
    },
}


def question(
    rng: random.Random,
    entity: Entity,
    attribute: str,
    held_out: bool = False,
    wordings: phrasings.Wordings = phrasings.SPECIFIC,
) -> str:
    """One way of asking for an attribute; `held_out` draws from the phrasings no training ever sees."""
    key = (entity.kind.name, attribute)
    own = (phrasings.SPECIFIC_HELD_OUT if held_out else wordings).get(key, ())
    wide = wordings is not phrasings.SPECIFIC
    if own and rng.random() < (0.7 if wide else 0.45):
        return _asked(rng, rng.choice(own), entity, attribute, held_out, wide)
    if held_out:
        return _asked(rng, rng.choice(phrasings.GENERIC_HELD_OUT), entity, attribute, held_out)
    called = rng.choice(synonyms.of(*key)) if rng.random() < 0.5 else attribute
    return _asked(rng, rng.choice(phrasings.GENERIC), entity, called, held_out, wide)


def _mentioned(rng: random.Random, entity: Entity) -> str:
    """The entity as a player mentions it: what has an article at all is not always "the" one."""
    if not entity.mention.startswith("the "):
        return entity.mention
    article = "an" if entity.name[0] in "AEIOU" else "a"
    which = rng.choices(("the", article, "our", "my", "this", "that"), (0.5, 0.25, 0.08, 0.07, 0.05, 0.05))[0]
    return f"{which} {entity.name}"


def _asked(rng: random.Random, template: str, entity: Entity, called: str, held_out: bool, wide: bool = False) -> str:
    mention = _mentioned(rng, entity) if wide else entity.mention
    asked = template.format(e=mention, E=mention[0].upper() + mention[1:], a=called, al=called.lower())
    if held_out or rng.random() > 0.15:
        return asked
    return rng.choice(phrasings.LEADS).format(e=entity.mention) + " " + asked


def asks_for(asked: str, entity: Entity, attribute: str) -> bool:
    """Whether `asked` is one of the trained ways of asking for this attribute of this entity."""
    key = (entity.kind.name, attribute)
    for lead in phrasings.LEADS:
        asked = asked.removeprefix(lead.format(e=entity.mention) + " ")
    own = ((t, attribute) for t in phrasings.WIDE.get(key, ()))
    generic = ((t, called) for t in phrasings.GENERIC for called in (attribute, *synonyms.of(*key)))
    return any(
        asked == t.format(e=entity.mention, E=entity.mention_capitalised, a=called, al=called.lower())
        for t, called in (*own, *generic)
    )


def table_group(world: World, rows: int | None = None) -> list[Entity]:
    """Entities of one kind with the same attributes in the same order, as a table needs them."""
    rng = world.rng
    kind = rng.choice(KINDS)
    attributes = rng.sample(kind.attributes, rng.randint(2, min(5, len(kind.attributes))))
    return [new_entity(world, kind, attributes) for _ in range(rows or rng.choice((1, 2, 3, 4, 5, 6, 7, 8)))]


def passage(world: World, form: str | None = None, entity: Entity | None = None) -> Passage:
    """A passage with facts in `form` (tables and prose more often than the easy forms)."""
    rng = world.rng
    form = form or rng.choices(("stat_block", "list", "prose", "table"), (0.2, 0.15, 0.3, 0.35))[0]
    if form == "table":
        return table_passage(rng, table_group(world))
    if entity is None and rng.random() < 0.12:
        first, second = (entity_passage(rng, new_entity(world), form) for _ in range(2))
        return Passage(first.title, f"{first.text}\n\n{second.text}", form, first.facts + second.facts)
    return entity_passage(rng, entity or new_entity(world), form)


def _unanswerable(rng: random.Random, world: World, passages: list[Passage], wordings: phrasings.Wordings) -> str:
    """A question on these passages that none of them answers: an absent attribute, or an absent entity."""
    present = [fact[0] for p in passages for fact in p.facts]
    entity = rng.choice(present)
    missing = [a.name for a in entity.kind.attributes if a.name not in entity.values]
    if missing and rng.random() < 0.6:
        return question(rng, entity, rng.choice(missing), wordings=wordings)
    stranger = new_entity(world, entity.kind if rng.random() < 0.7 else None)
    return question(rng, stranger, rng.choice(list(stranger.values)), wordings=wordings)


def _shown(rng: random.Random, world: World, count: int) -> list[Passage]:
    """Passages as a retriever would bring them: one with facts, then others alike, other entries or mere noise."""
    shown = [passage(world)]
    while len(shown) < count:
        kind = rng.random()
        if kind < 0.3:
            shown.append(noise_passage(world))
        elif kind < 0.65 and shown[0].form != "table":
            alike = new_entity(world, shown[0].facts[0][0].kind)
            shown.append(passage(world, rng.choice(("stat_block", "list", "prose")), alike))
        else:
            shown.append(passage(world))
    rng.shuffle(shown)
    return shown


def _shared(facts: list[tuple[Entity, str]]) -> list[tuple[Entity, str]]:
    """The facts whose attribute several entities here have: only the entity's name tells them apart."""
    counts = Counter(attribute for _, attribute in facts)
    return [fact for fact in facts if counts[fact[1]] > 1]


def reading(
    rng: random.Random,
    progress: float = 1.0,
    passages: int | None = None,
    wordings: phrasings.Wordings = phrasings.SPECIFIC,
) -> Conversation:
    """Retrieved-style passages, then two to nine questions, over a quarter of which the passages do not answer."""
    world = new_world(rng.random())
    weights = [early + progress * (late - early) for early, late in zip(EARLY_PASSAGES, LATE_PASSAGES, strict=True)]
    shown = _shown(rng, world, passages or rng.choices((1, 2, 3, 4, 5), weights)[0])
    facts = [fact for p in shown for fact in p.facts]
    confusable = _shared(facts)
    turns: Conversation = []
    block = [(p.title, p.text) for p in shown]
    for turn in range(rng.randint(2, 9)):
        if rng.random() < UNANSWERABLE_SHARE:
            asked, reply = _unanswerable(rng, world, shown, wordings), prompts.NOT_IN_PASSAGE
        else:
            entity, attribute = rng.choice(confusable if confusable and rng.random() < 0.5 else facts)
            asked, reply = question(rng, entity, attribute, wordings=wordings), answer(entity, attribute)
        turns.append(("user", prompts.with_passages(asked, block) if turn == 0 else asked))
        turns.append(("assistant", reply))
    return turns


def _alike(rng: random.Random, world: World) -> list[Passage]:
    """A few short entries of one kind with the same attributes: one table, or an entry each."""
    entities = table_group(world, rng.choice((2, 2, 3, 3, 4, 5)))
    if rng.random() < 0.45:
        return [table_passage(world.rng, entities)]
    forms = rng.choices(("stat_block", "list", "prose"), k=1 if rng.random() < 0.6 else len(entities))
    return [entity_passage(world.rng, e, forms[i % len(forms)]) for i, e in enumerate(entities)]


def drill(rng: random.Random, wordings: phrasings.Wordings = phrasings.SPECIFIC) -> Conversation:
    """Many questions on entries that are alike, where only the pair of name and attribute leads to the value.

    Reading over long contexts rests on that, and never learns it while an attribute alone is mostly enough.
    """
    world = new_world(rng.random())
    shown = _alike(rng, world)
    facts = [fact for p in shown for fact in p.facts]
    block = [(p.title, p.text) for p in shown]
    turns: Conversation = []
    for entity, attribute in rng.sample(facts, min(len(facts), rng.randint(5, 12))):
        if rng.random() < 0.1:
            asked, reply = _unanswerable(rng, world, shown, wordings), prompts.NOT_IN_PASSAGE
        else:
            asked, reply = question(rng, entity, attribute, wordings=wordings), answer(entity, attribute)
        turns += [("user", asked if turns else prompts.with_passages(asked, block)), ("assistant", reply)]
    return turns


def _entry(shown: Passage, entity: Entity) -> str:
    """An entity's own words on the page: its row of a table, else its name and what follows the heading."""
    if shown.form == "table":
        return next(line for line in shown.text.split("\n") if line.startswith(f"| {entity.name} ")).rstrip()
    head, _, rest = shown.text.partition("\n\n")
    return f"{entity.name}\n{rest if head.strip('#* ') == entity.name else shown.text}"


def quote(rng: random.Random) -> Conversation:
    """Entries to be said again by name: from that grows the attention from a name to where it stands on the page."""
    world = new_world(rng.random())
    shown = _alike(rng, world)
    entries = [(entity, p) for p in shown for entity in {e.name: e for e, _ in p.facts}.values()]
    block = [(p.title, p.text) for p in shown]
    turns: Conversation = []
    for entity, p in rng.sample(entries, min(len(entries), 3)):
        asked = rng.choice(phrasings.QUOTE).format(e=entity.mention)
        turns += [("user", asked if turns else prompts.with_passages(asked, block)), ("assistant", _entry(p, entity))]
    return turns


def pairs(rng: random.Random, facts: list[tuple[Entity, str]]) -> str:
    """What a teacher should write about `facts`: one tagged pair each."""
    return "\n".join(
        prompts.pair(f"{entity.name}: {attribute}", question(rng, entity, attribute), answer(entity, attribute))
        for entity, attribute in facts
    )


def writing(rng: random.Random) -> Conversation:
    """A passage and the tagged question-answer pairs on its facts (at most `MAX_PAIRS`, in reading order)."""
    world = new_world(rng.random())
    shown = passage(world)
    facts = list(shown.facts)
    if len(facts) > MAX_PAIRS:
        kept = sorted(rng.sample(range(len(facts)), MAX_PAIRS))
        facts = [facts[i] for i in kept]
    return [("user", prompts.write_pairs(shown.title, shown.text)), ("assistant", pairs(rng, facts))]


@cache
def fixed_facts() -> tuple[tuple[Entity, str], ...]:
    """The facts of the few books that never change: they teach the habit of holding facts in the weights."""
    facts: list[tuple[Entity, str]] = []
    for book in range(FIXED_BOOKS):
        world = new_world(f"fixed book {book}", listed_words_only=True)
        for _ in range(FIXED_BOOK_ENTITIES):
            entity = new_entity(world)
            facts += [(entity, attribute) for attribute in entity.values]
    return tuple(facts)


def closed(rng: random.Random, wordings: phrasings.Wordings = phrasings.SPECIFIC) -> Conversation:
    """One to three closed-book questions about the fixed books."""
    turns: Conversation = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        entity, attribute = rng.choice(fixed_facts())
        turns += [
            ("user", prompts.closed_book(question(rng, entity, attribute, wordings=wordings))),
            ("assistant", answer(entity, attribute)),
        ]
    return turns


def small_talk(rng: random.Random) -> Conversation:
    """One to three exchanges of the general skills."""
    turns: Conversation = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        asked, reply = chat.exchange(rng)
        turns += [("user", asked), ("assistant", reply)]
    return turns


def copying(rng: random.Random) -> Conversation:
    """Names and values to be said again: the drill from which copying grows, on which all reading rests."""
    turns: Conversation = []
    for _ in range(rng.randint(2, 5)):
        world = new_world(rng.random())
        entity = new_entity(world)
        items = [entity.name, *rng.sample(list(entity.values.values()), rng.randint(0, 3))]
        rng.shuffle(items)
        said = rng.choice((", ", "; ", " / ", "\n")).join(items)
        lead = rng.choice(("Repeat after me: ", "Say this: ", "Write exactly: ", "Copy this line: "))
        turns += [("user", lead + said), ("assistant", said)]
    return turns


SHORT_MAKERS: dict[str, Callable[[random.Random], Conversation]] = {
    "quote": quote,
    "writing": writing,
    "chat": small_talk,
    "copy": copying,
}


def conversations(mix: str, seed: int | str, progress: float = 1.0) -> Iterator[Conversation]:
    """An endless, reproducible stream in the proportions of `MIXES[mix]`; passages grow in number with `progress`."""
    rng = random.Random(f"{mix} {seed}")
    names, shares = zip(*MIXES[mix].items(), strict=True)
    wordings = phrasings.WIDE if mix == "wording" else phrasings.SPECIFIC
    makers = {
        **SHORT_MAKERS,
        "reading": lambda rng: reading(rng, progress, wordings=wordings),
        "drill": lambda rng: drill(rng, wordings),
        "closed": lambda rng: closed(rng, wordings),
    }
    while True:
        yield makers[rng.choices(names, shares)[0]](rng)
