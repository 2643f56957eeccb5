"""Test items and replay rows from freshly generated worlds: what a model could do before it was adapted.

They ask for reading from other documents, for saying that a passage does not say, for the books of its
pre-training and for short general skills, so that forgetting is measured and replay has something to protect.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from adaptlab import prompts
from adaptlab.miniature import chat, corpus, phrasings
from adaptlab.miniature.forms import FORMS, Passage, entity_passage, noise_passage, table_passage
from adaptlab.miniature.world import Entity, World, new_entity, new_world
from adaptlab.retrieval import Index
from adaptlab.schemas import AnswerType, Category, Chunk, Message, Phrasing, Question, Row
from adaptlab.scoring import strict

Skill = Literal["reading", "not in the passage", "closed-book", "fixed books", "general"]
ANSWER_TYPES: dict[str, AnswerType] = {
    "int": "number",
    "die": "dice",
    "dice": "dice",
    "person": "name",
    "guild": "name",
    "month": "name",
    "count": "number",
    "year": "number",
    "feet": "number",
    "money": "number",
    "weight": "number",
    "points": "number",
    "time": "number",
}


@dataclass(frozen=True)
class Item:
    """One test item: the chat to answer and the question that scores it; `group` is the form or the general skill."""

    skill: Skill
    group: str
    messages: list[Message]
    question: Question
    passage: Passage | None = None


def as_question(
    identifier: str, entity: Entity, attribute: str, asked: str, category: Category = "explicit_rule"
) -> Question:
    """The benchmark record of one fact of an invented world."""
    shape = next((a.shape for a in entity.kind.attributes if a.name == attribute), "text").split(":")[0]
    return Question(
        id=identifier,
        category=category,
        answer_type=ANSWER_TYPES.get(shape, "text"),
        phrasings=[Phrasing(text=asked, role="unseen form")],
        answer=entity.values[attribute],
    )


def _refusal_question(identifier: str, asked: str, reply: str = prompts.NOT_IN_PASSAGE) -> Question:
    return Question(
        id=identifier,
        category="unanswerable",
        answer_type="refusal",
        answer=reply,
        phrasings=[Phrasing(text=asked, role="unseen form")],
    )


def _book(world: World, form: str) -> tuple[list[Passage], Passage]:
    """A small book of mixed passages and the one in `form` that a question will be about."""
    if form == "table":
        target = table_passage(world.rng, corpus.table_group(world, world.rng.randint(4, 8)))
    else:
        target = entity_passage(world.rng, new_entity(world), form)
    others = [corpus.passage(world) for _ in range(10)] + [noise_passage(world) for _ in range(2)]
    kind = target.facts[0][0].kind
    others += [entity_passage(world.rng, new_entity(world, kind), world.rng.choice(FORMS[:3])) for _ in range(4)]
    return others, target


def _retrieved(world: World, others: list[Passage], target: Passage, asked: str, count: int) -> list[Passage]:
    """`target` among the passages that BM25 finds nearest to the question, in a random order."""
    chunks = [Chunk(id=str(i), title=p.title, text=p.text, start=0, end=len(p.text)) for i, p in enumerate(others)]
    near = [int(hit.chunk_id) for hit in Index(chunks).search(asked, k=count - 1)]
    rest = [i for i in range(len(others)) if i not in near]  # a question may share no word with the other passages
    near += world.rng.sample(rest, count - 1 - len(near))
    shown = [target, *(others[i] for i in near)]
    world.rng.shuffle(shown)
    return shown


def reading_item(seed: str, form: str, answerable: bool = True, held_out: bool = True) -> Item:
    """A question over three to five retrieved-style passages of an unseen world."""
    world = new_world(seed)
    rng = world.rng
    others, target = _book(world, form)
    entity, attribute = rng.choice(target.facts)
    if not answerable:
        missing = [a.name for a in entity.kind.attributes if a.name not in entity.values]
        if missing and rng.random() < 0.6:
            attribute = rng.choice(missing)
        else:
            entity = new_entity(world, entity.kind)
            attribute = rng.choice(list(entity.values))
    asked = corpus.question(rng, entity, attribute, held_out)
    shown = _retrieved(world, others, target, asked, rng.randint(3, 5))
    content = prompts.with_passages(asked, [(p.title, p.text) for p in shown])
    question = as_question(seed, entity, attribute, asked) if answerable else _refusal_question(seed, asked)
    skill: Skill = "reading" if answerable else "not in the passage"
    return Item(skill, form, [Message(role="user", content=content)], question, target)


def closed_item(seed: str, fixed: bool, held_out: bool = True) -> Item:
    """A closed-book question on a fixed book of the pre-training (can be known) or on an unseen world (cannot)."""
    rng = random.Random(seed)
    if fixed:
        entity, attribute = rng.choice(corpus.fixed_facts())
    else:
        entity = new_entity(new_world(seed))
        attribute = rng.choice(list(entity.values))
    asked = corpus.question(rng, entity, attribute, held_out)
    message = Message(role="user", content=prompts.closed_book(asked))
    question = as_question(seed, entity, attribute, asked)
    return Item("fixed books" if fixed else "closed-book", attribute, [message], question)


def general_item(seed: str) -> Item:
    """One exchange of the general skills, asked as the pre-training asks."""
    rng = random.Random(seed)
    name = rng.choice(list(chat.SKILLS))
    asked, reply = chat.exchange(rng, name)
    question = Question(
        id=seed,
        category="explicit_rule",
        answer_type="text",
        answer=reply,
        phrasings=[Phrasing(text=asked, role="unseen form")],
    )
    return Item("general", name, [Message(role="user", content=asked)], question)


def is_right(item: Item, text: str) -> bool:
    """The verdict on one answer: the lab's strict scorer, but for general skills the very reply they are drilled on."""
    if item.skill == "general":
        return text.strip().rstrip(".").casefold() == item.question.answer.strip().rstrip(".").casefold()
    return strict(item.question, text)


def skill_items(count: int, seed: str, held_out: bool = True) -> list[Item]:
    """`count` items of each skill but closed-book on unseen worlds; reading in equal shares of every form."""
    items = [reading_item(f"{seed} reading {i}", FORMS[i % 4], True, held_out) for i in range(count)]
    items += [reading_item(f"{seed} absent {i}", FORMS[i % 4], False, held_out) for i in range(count)]
    items += [closed_item(f"{seed} fixed {i}", True, held_out) for i in range(count)]
    return items + [general_item(f"{seed} general {i}") for i in range(count)]


def replay_rows(count: int, seed: str) -> list[Row]:
    """Training rows that rehearse the general skills: reading, refusing, fixed books and chat, from unseen worlds.

    Rehearsal against forgetting: Robins 1995; for fine-tuned language models: Scialom et al. 2022.
    """
    rng = random.Random(seed)
    makers = {
        "reading": lambda: corpus.reading(rng, progress=0.2, wordings=phrasings.WIDE),
        "closed": lambda: corpus.closed(rng, phrasings.WIDE),
        "chat": lambda: corpus.small_talk(rng),
    }
    rows = []
    for number in range(count):
        skill = rng.choices(list(makers), (0.5, 0.35, 0.15))[0]
        (_, asked), (_, reply) = makers[skill]()[:2]
        prompt, completion = [Message(role="user", content=asked)], [Message(role="assistant", content=reply)]
        rows.append(Row(id=f"replay-{number}", prompt=prompt, completion=completion, source=f"replay: {skill}"))
    return rows
