"""At which layer a question fails: the retriever, the window, the reader, or the judgement to refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from adaptlab import prompts
from adaptlab.retrieval import Searches, proved, touched
from adaptlab.schemas import Generation, Hit, PhrasingRole, Question
from adaptlab.scoring import is_refusal, strict
from adaptlab.stats import wilson

RIGHT = "right"
CALL_FAILED = "call failed"
NOT_RETRIEVED = "proving quote not retrieved"
CUT_OFF = "retrieved but cut off"
STILL_WRONG = "retrieved and still wrong"
REFUSED_WRONGLY = "refused wrongly"
SHOULD_HAVE_REFUSED = "should have refused"
ON_THE_PAGE = "proving quote on the page"
LAYERS = (
    RIGHT,
    CALL_FAILED,
    NOT_RETRIEVED,
    CUT_OFF,
    STILL_WRONG,
    REFUSED_WRONGLY,
    "wrong without context",
    "refused without context",
    SHOULD_HAVE_REFUSED,
)
RETRIEVAL_LAYERS = (ON_THE_PAGE, CUT_OFF, NOT_RETRIEVED)


def retrieval_layer(hits: Sequence[Hit], question: Question, document: str | None, shown: Sequence[Hit]) -> str:
    """Where a question's proof ended: on the page, retrieved but cut off, or not retrieved.

    Cut off means that the proof is in the `hits` but not in those that were `shown`, because the context was cut to
    fit the window; or that every quote not wholly retrieved is partly so, because a chunk's border runs through it.
    """
    if proved(shown, question, document):
        return ON_THE_PAGE
    if proved(hits, question, document) or touched(hits, question, document):
        return CUT_OFF
    return NOT_RETRIEVED


def shown_hits(generation: Generation) -> list[Hit]:
    """The hits whose text stands in the stored prompt; none if the prompt itself did not go into the window."""
    if generation.status == "error" and generation.finish_reason == "refused":
        return []
    prompt = generation.messages[-1].content if generation.messages else ""
    return [hit for hit in generation.hits if hit.text in prompt]


def layer(question: Question, generation: Generation, document: str | None = None) -> str:
    """At which layer a question failed, or that it did not. The first sample of an arm is the one to give."""
    if generation.status == "error" and generation.finish_reason != "refused":
        return CALL_FAILED
    if generation.status != "error" and strict(question, generation.text):
        return RIGHT
    if question.answer_type == "refusal":
        return CALL_FAILED if generation.status == "error" else SHOULD_HAVE_REFUSED
    refused = is_refusal(generation.text)
    if not generation.hits and not generation.messages[-1].content.startswith(prompts.READING_INSTRUCTION):
        if generation.status == "error":
            return CALL_FAILED
        return "refused without context" if refused else "wrong without context"
    found = retrieval_layer(generation.hits, question, document, shown_hits(generation))
    if found != ON_THE_PAGE:
        return found
    return REFUSED_WRONGLY if refused else STILL_WRONG


def layers(
    generations: Sequence[Generation], questions: Sequence[Question], document: str | None = None
) -> pd.DataFrame:
    """The layer of every answered question of every arm (its first candidate): arm, question_id, category, layer."""
    known = {question.id: question for question in questions}
    rows = [
        {
            "arm": item.arm,
            "question_id": item.question_id,
            "category": known[item.question_id].category,
            "layer": layer(known[item.question_id], item, document),
        }
        for item in generations
        if item.sample == 0 and item.question_id in known
    ]
    return pd.DataFrame(rows, columns=["arm", "question_id", "category", "layer"])


def layer_counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many questions of each arm stand at each layer, with an interval of the share."""
    rows = []
    for arm, part in table.groupby("arm", sort=False):
        counts: Counter[str] = Counter(part["layer"])
        for name in dict.fromkeys((*LAYERS, *RETRIEVAL_LAYERS)):
            if counts[name]:
                share = wilson(counts[name], len(part))._asdict()
                rows.append({"arm": arm, "layer": name, "questions": counts[name], "n": len(part), **share})
    return pd.DataFrame(rows, columns=["arm", "layer", "questions", "n", "rate", "low", "high"])


def by_category(table: pd.DataFrame) -> pd.DataFrame:
    """Questions of each layer (rows, in the order of the ladder) by category (columns); give it one arm."""
    counted = pd.crosstab(table["layer"], table["category"])
    return counted.reindex([name for name in LAYERS if name in counted.index])


def retrieval_layers(
    index: Searches,
    questions: Sequence[Question],
    k: int,
    document: str,
    role: PhrasingRole = "unseen form",
    arm: str = "retriever",
) -> pd.DataFrame:
    """Where each question's proof ends with this index at `k`, without a model: arm, question_id, category, layer.

    Nothing is asked, so no window can cut anything here: cut off means a chunk's border. Questions without quotes
    stay out.
    """
    rows = []
    for question in (question for question in questions if question.quotes):
        hits = index.search(question.text(role), k)
        found = retrieval_layer(hits, question, document, hits)
        rows.append({"arm": arm, "question_id": question.id, "category": question.category, "layer": found})
    return pd.DataFrame(rows, columns=["arm", "question_id", "category", "layer"])


def moved(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """How many questions went from which layer (rows) to which (columns); both tables hold one arm each."""
    both = before.merge(after, on="question_id", suffixes=(" before", " after"))
    counted = pd.crosstab(both["layer before"], both["layer after"])
    order = [ON_THE_PAGE, *LAYERS]
    rows, columns = (sorted(axis, key=order.index) for axis in (counted.index, counted.columns))
    counted = counted.loc[rows, columns]
    return counted.rename_axis(index="before", columns="after")
