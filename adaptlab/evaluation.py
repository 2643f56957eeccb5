"""Run arms over questions, and turn what they said into scores, failures by layer and paired comparisons."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pandas as pd

from adaptlab import prompts
from adaptlab.benchmark import permuted_gold
from adaptlab.documents import header_of
from adaptlab.retrieval import Index, as_hit, holds, proved
from adaptlab.schemas import Arm, Generation, Hit, Message, PhrasingRole, Question
from adaptlab.scoring import Reanswers, is_refusal, lenient, majority, reanswered, strict
from adaptlab.stats import Verdict, exceeds, mcnemar_exact, smallest_detectable, verdict, wilson
from config import LabError

Selector = Literal["first", "majority", "reanswer"]
RIGHT = "right"
LAYERS = (
    RIGHT,
    "call failed",
    "proving quote not retrieved",
    "retrieved and still wrong",
    "refused wrongly",
    "wrong without context",
    "refused without context",
    "should have refused",
)


class Generates(Protocol):
    """What an arm needs of a generator; `adaptlab.generation` has the local one and the one for endpoints."""

    def generate(
        self,
        chats: Sequence[Sequence[Message]],
        *,
        n: int = ...,
        temperature: float = ...,
        max_tokens: int | None = ...,
        seeds: Sequence[int] | None = ...,
        on_item: Callable[[int, list[Any]], None] | None = ...,
    ) -> Sequence[Sequence[Any]]:
        """A list of completions for every chat."""


# ---------------------------------------------------------------------------------------------------- running


def context_for(arm: Arm, question: Question, index: Index | None, role: PhrasingRole, k: int) -> list[Hit]:
    """The hits an arm puts before a question: none, the retrieved ones, or those that hold the proving quotes.

    A question without quotes has no oracle context; it gets what was retrieved, which does not answer it.
    """
    if arm.context == "none":
        return []
    if index is None:
        raise LabError(f"The arm {arm.name!r} needs {arm.context} context: give run_arm an index of the chunks.")
    if arm.context == "retrieved" or not question.quotes:
        return index.search(question.text(role), k)
    holding = [chunk for chunk in index.chunks if any(holds([chunk], quote) for quote in question.quotes)]
    return [as_hit(chunk, 0.0, rank) for rank, chunk in enumerate(holding, 1)]


def messages_for(question: str, hits: Sequence[Hit], document: str | None = None) -> list[Message]:
    """The chat for a question over its hits; a hit that continues a table gets the table's head in front."""
    if not hits:
        return [Message(role="user", content=prompts.closed_book(question))]
    heads = [header_of(hit, document) if document else "" for hit in hits]
    passages = [(hit.title, f"{head}\n{hit.text}" if head else hit.text) for hit, head in zip(hits, heads, strict=True)]
    return [Message(role="user", content=prompts.with_passages(question, passages))]


def seed_for(question_id: str, seed: int) -> int:
    """A seed of its own for each question, the same on every machine and in every batch."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{question_id}".encode()).digest()[:4], "big") >> 1


def run_arm(
    arm: Arm,
    questions: Sequence[Question],
    generator: Generates,
    index: Index | None = None,
    document: str | None = None,
    role: PhrasingRole = "unseen form",
    k: int = 4,
    on_done: Callable[[list[Generation]], None] | None = None,
    done: Iterable[Generation] = (),
    max_tokens: int = 64,
    seed: int = 0,
) -> list[Generation]:
    """Every question's candidates under one arm, in the order of the questions.

    `done` are generations of an earlier, interrupted run: a question whose candidates are all there, with the same
    messages and without an error, is not asked again. `on_done` gets each question's candidates as they arrive.
    """
    before: dict[str, list[Generation]] = defaultdict(list)
    for item in done:
        if item.arm == arm.name:
            before[item.question_id].append(item)
    kept: dict[str, list[Generation]] = {}
    todo: list[tuple[Question, list[Hit], list[Message]]] = []
    for question in questions:
        hits = context_for(arm, question, index, role, k)
        messages = messages_for(question.text(role), hits, document)
        earlier = sorted(before[question.id], key=lambda item: item.sample)
        if _finished(earlier, arm, messages):
            kept[question.id] = earlier
        else:
            todo.append((question, hits, messages))

    def keep(at: int, completions: Sequence[Any]) -> None:
        question, hits, messages = todo[at]
        if question.id not in kept:
            kept[question.id] = [
                _generation(arm, question, role, hits, messages, sample, item, seed_for(question.id, seed))
                for sample, item in enumerate(completions)
            ]
            if on_done:
                on_done(kept[question.id])

    if todo:
        answered = generator.generate(
            [messages for _, _, messages in todo],
            n=arm.n,
            temperature=arm.temperature,
            max_tokens=max_tokens,
            seeds=[seed_for(question.id, seed) for question, _, _ in todo],
            on_item=keep,
        )
        for at, completions in enumerate(answered):
            keep(at, completions)
    return [generation for question in questions for generation in kept[question.id]]


def _finished(earlier: Sequence[Generation], arm: Arm, messages: Sequence[Message]) -> bool:
    complete = [item.sample for item in earlier] == list(range(arm.n))
    return complete and earlier[0].messages == list(messages) and all(item.status != "error" for item in earlier)


def _generation(
    arm: Arm,
    question: Question,
    role: PhrasingRole,
    hits: list[Hit],
    messages: list[Message],
    sample: int,
    completion: Any,
    seed: int,
) -> Generation:
    given = getattr(completion, "seed", None)
    return Generation(
        question_id=question.id,
        phrasing=question.text(role),
        arm=arm.name,
        sample=sample,
        messages=messages if sample == 0 else [],
        hits=hits if sample == 0 else [],
        text=completion.text or "",
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        finish_reason=completion.finish_reason,
        seed=seed if given is None else given,
        seconds=completion.seconds,
        status=completion.status,
        error=completion.error,
        attempts=getattr(completion, "attempts", 1),
        faults=getattr(completion, "faults", []),
    )


# ---------------------------------------------------------------------------------------------------- scoring


def _by_arm(generations: Iterable[Generation]) -> dict[str, list[Generation]]:
    arms: dict[str, list[Generation]] = defaultdict(list)
    for generation in generations:
        arms[generation.arm].append(generation)
    return dict(arms)


def _selected(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    selector: Selector,
    reanswers: Reanswers | None,
) -> dict[str, Generation]:
    """The candidate that counts for each question of one arm."""
    found: dict[str, list[Generation]] = defaultdict(list)
    for generation in sorted(generations, key=lambda item: item.sample):
        found[generation.question_id].append(generation)
    chosen: dict[str, Generation] = {}
    for question in questions:
        if not (items := found.get(question.id)):
            continue
        texts = [item.text for item in items]
        at: int | None = 0
        if selector == "majority":
            at = majority(question, texts).index
        elif selector == "reanswer":
            second = (reanswers or {}).get(question.id, ())
            at = reanswered(question, texts, [second] if isinstance(second, str) else second)
        chosen[question.id] = items[at or 0]
    return chosen


def answers(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    selector: Selector = "first",
    reanswers: Reanswers | None = None,
) -> dict[str, str]:
    """The final answer to each question of one arm; where nothing can be parsed the first candidate stands."""
    return {i: item.text for i, item in _selected(generations, questions, selector, reanswers).items()}


def _group(question: Question, by: str | None) -> str:
    if by is None:
        return ""
    if by == "answerable":
        return "unanswerable" if question.answer_type == "refusal" else "answerable"
    return str(getattr(question, by))


def score_table(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    by: Literal["category", "split", "answer_type", "answerable"] | None = None,
    selectors: Mapping[str, Selector] | None = None,
    reanswers: Reanswers | None = None,
) -> pd.DataFrame:
    """One row an arm (and group): `k` of `n` right under strict, with Wilson's interval; lenient beside it.

    A failed call counts as wrong and is counted under `errors`; `n` is the number of questions the arm was asked.
    """
    rows: list[dict[str, Any]] = []
    for arm, items in _by_arm(generations).items():
        chosen = _selected(items, questions, (selectors or {}).get(arm, "first"), reanswers)
        groups: dict[str, list[Question]] = defaultdict(list)
        for question in questions:
            if question.id in chosen:
                groups[_group(question, by)].append(question)
        for group, members in groups.items():
            k = sum(strict(question, chosen[question.id].text) for question in members)
            easy = sum(lenient(question, chosen[question.id].text) for question in members)
            interval = wilson(k, len(members))
            rows.append(
                {
                    "arm": arm,
                    **({by: group} if by else {}),
                    "k": k,
                    "n": len(members),
                    **interval._asdict(),
                    "strict": interval.rate,
                    "lenient": easy / len(members),
                    "errors": sum(chosen[question.id].status == "error" for question in members),
                }
            )
    columns = ["arm", *([by] if by else []), "k", "n", "rate", "low", "high", "strict", "lenient", "errors"]
    return pd.DataFrame(rows, columns=columns)


def guess_control(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    permutations: int = 200,
    seed: int = 0,
    attributes: Mapping[str, str] | None = None,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Each arm's score beside the same answers scored against permuted gold: only what exceeds that is knowledge.

    `guess` is the mean over the permutations and `guess_low` and `guess_high` hold 95 % of them. `p` is the one-sided
    exact test (Fisher) of the score against the control as if it had been measured on as many questions: where few
    questions share an attribute, the permutations alone vary too little to tell luck from knowledge.
    """
    rows = []
    for arm, items in _by_arm(generations).items():
        texts = answers(items, questions)
        exchangeable = {q.id for q in permuted_gold([q for q in questions if q.id in texts], seed, attributes)}
        asked = [q for q in questions if q.id in exchangeable]
        if not asked:
            continue
        right = sum(strict(q, texts[q.id]) for q in asked)
        known: dict[tuple[str, str, tuple[str, ...]], bool] = {}
        scores = []
        for turn in range(permutations):
            hits = 0
            for q in permuted_gold(asked, seed + turn, attributes):
                key = (q.id, q.answer, tuple(q.accepted))
                if key not in known:
                    known[key] = strict(q, texts[q.id])
                hits += known[key]
            scores.append(hits)
        ordered = pd.Series(scores) / len(asked)
        guessed = math.ceil(float(ordered.mean()) * len(asked))
        p = exceeds(right, guessed, len(asked))
        rows.append(
            {
                "arm": arm,
                "n": len(asked),
                "rate": right / len(asked),
                "guess": float(ordered.mean()),
                "guess_low": float(ordered.quantile(0.025)),
                "guess_high": float(ordered.quantile(0.975)),
                "p": p,
                "above_guess": p < alpha,
            }
        )
    columns = ["arm", "n", "rate", "guess", "guess_low", "guess_high", "p", "above_guess"]
    return pd.DataFrame(rows, columns=columns)


# ----------------------------------------------------------------------------------------------------- layers


def layer(question: Question, generation: Generation, document: str | None = None) -> str:
    """At which layer a question failed, or that it did not."""
    if generation.status == "error":
        return "call failed"
    if strict(question, generation.text):
        return RIGHT
    if question.answer_type == "refusal":
        return "should have refused"
    refused = is_refusal(generation.text)
    if not generation.hits and not generation.messages[-1].content.startswith(prompts.READING_INSTRUCTION):
        return "refused without context" if refused else "wrong without context"
    if not proved(generation.hits, question, document):
        return "proving quote not retrieved"
    return "refused wrongly" if refused else "retrieved and still wrong"


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
        for name in LAYERS:
            if counts[name]:
                share = wilson(counts[name], len(part))._asdict()
                rows.append({"arm": arm, "layer": name, "questions": counts[name], "n": len(part), **share})
    return pd.DataFrame(rows, columns=["arm", "layer", "questions", "n", "rate", "low", "high"])


# -------------------------------------------------------------------------------------------------- comparing


@dataclass(frozen=True)
class Comparison:
    """Two arms on the same questions; `difference` and the verdict speak of `b` against `a`."""

    a: str
    b: str
    n: int
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    p: float
    verdict: Verdict
    detectable: float | None


def compare(
    a: Sequence[Generation],
    b: Sequence[Generation],
    questions: Sequence[Question],
    selectors: Mapping[str, Selector] | None = None,
    reanswers: Reanswers | None = None,
    alpha: float = 0.05,
) -> Comparison:
    """Exact McNemar of two arms on the questions that both answered, under the strict scorer."""
    names = [_one_arm(items) for items in (a, b)]
    chosen = [
        _selected(items, questions, (selectors or {}).get(name, "first"), reanswers)
        for items, name in zip((a, b), names, strict=True)
    ]
    asked = [question for question in questions if question.id in chosen[0] and question.id in chosen[1]]
    if not asked:
        raise LabError(f"The arms {names[0]!r} and {names[1]!r} share no question: run both on the same benchmark.")
    pairs = Counter(tuple(strict(q, side[q.id].text) for side in chosen) for q in asked)
    only_a, only_b = pairs[True, False], pairs[False, True]
    difference = (only_b - only_a) / len(asked)
    p = mcnemar_exact(only_b, only_a)
    return Comparison(
        a=names[0],
        b=names[1],
        n=len(asked),
        both=pairs[True, True],
        only_a=only_a,
        only_b=only_b,
        neither=pairs[False, False],
        difference=difference,
        p=p,
        verdict=verdict(p, difference, alpha),
        detectable=smallest_detectable(len(asked), alpha=alpha),
    )


def _one_arm(generations: Collection[Generation]) -> str:
    names = sorted({generation.arm for generation in generations})
    if len(names) != 1:
        raise LabError(f"compare takes one arm on each side, not {len(names)}: filter the generations.")
    return names[0]
