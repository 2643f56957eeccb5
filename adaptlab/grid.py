"""The full grid of section 04: base or adapter, by kind of context, by one greedy answer or a vote of N.

Every arm answers the same questions in the same phrasing. A pair of arms that differ in one thing alone is a *step*;
what a step brought is a paired test, and all steps are read together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pandas as pd

from adaptlab import evaluation, workbench
from adaptlab.refusals import is_refusal
from adaptlab.retrieval import Searches
from adaptlab.schemas import CATEGORIES, Arm, Context, Generation, Question
from adaptlab.scoring import strict
from adaptlab.stats import mean_interval, wilson
from config import LabError

if TYPE_CHECKING:
    from adaptlab.artifacts import Lab

MODELS = ("base", "adapter")
CONTEXTS: dict[Context, str] = {"none": "", "retrieved": " + retrieval", "oracle": " + oracle passage"}
VOTED = ", majority"
HELD_OUT, VISIBLE = "held-out facts", "all but held-out"
GROUPS = (*CATEGORIES, VISIBLE, HELD_OUT)
CHANGES = ("got better", "got worse", "right in both", "wrong in both")


def arm_name(model: str, context: Context, voted: bool = False) -> str:
    """The name of an arm of the grid; `model` is `base` or `adapter`."""
    return f"{model}{CONTEXTS[context]}{VOTED if voted else ''}"


CELLS = tuple(product(MODELS, CONTEXTS, (False, True)))
ARMS = tuple(arm_name(model, context, voted) for model, context, voted in CELLS)
SELECTORS: dict[str, evaluation.Selector] = {name: "majority" for name in ARMS if name.endswith(VOTED)}


@dataclass(frozen=True)
class Step:
    """Two arms that differ in one thing: what was added on the way from `a` to `b`."""

    added: str
    a: str
    b: str


def steps() -> list[Step]:
    """Every pair of arms that differ in one thing, by that thing: adapter, retrieval, the right passage, a vote."""
    adapted = [Step("adapter", arm_name("base", c, v), arm_name("adapter", c, v)) for m, c, v in CELLS if m == "base"]
    found = [Step("retrieval", arm_name(m, c, v), arm_name(m, "retrieved", v)) for m, c, v in CELLS if c == "none"]
    right = [
        Step("the right passage", arm_name(m, c, v), arm_name(m, "oracle", v)) for m, c, v in CELLS if c == "retrieved"
    ]
    votes = [Step("a vote", arm_name(m, c), arm_name(m, c, True)) for m, c, v in CELLS if not v]
    return [*adapted, *found, *right, *votes]


# ------------------------------------------------------------------------------------------------------------ asking


def ask(
    lab: Lab,
    model: str,
    wanted: Sequence[tuple[Context, int, Sequence[Question]]],
    progress: Any,
    search: Searches,
    text: str,
    adapter: Path | None = None,
) -> list[Generation]:
    """The missing arms of one model: (context, candidates, questions) each; one candidate is the greedy answer.

    Candidates of a vote have the prompt and the hits of the greedy arm, which holds them, and are stored without.
    """
    made = []
    for context, count, asked in wanted:
        voted = count > 1
        arm = Arm(
            name=arm_name(model, context, voted),
            model="student",
            adapter="adapter" if adapter else None,
            context=context,
            n=count,
            temperature=lab.profile.sampling.temperature if voted else 0.0,
        )
        answers = workbench.ask(lab, arm, asked, progress, search, text, adapter)
        made += [item.model_copy(update={"messages": [], "hits": []}) for item in answers] if voted else answers
    return made


def as_votes(generations: Iterable[Generation], count: int) -> list[Generation]:
    """The first `count` candidates of arms that were sampled elsewhere, under the names of the grid's voted arms."""
    return [
        item.model_copy(update={"arm": item.arm + VOTED, "messages": [], "hits": []})
        for item in generations
        if item.sample < count
    ]


def same_prompts(generations: Iterable[Generation], questions: Sequence[Question]) -> list[Generation]:
    """The oracle arms' answers to questions without quotes, which need not be asked again.

    No passage proves their answer, so their oracle context is what was retrieved: the prompt, and with the same seed
    every candidate, is that of the arm with retrieval.
    """
    unproved = {question.id for question in questions if not question.quotes}
    names = {
        arm_name(model, "retrieved", voted): arm_name(model, "oracle", voted)
        for model, voted in product(MODELS, (False, True))
    }
    return [
        item.model_copy(update={"arm": names[item.arm]})
        for item in generations
        if item.arm in names and item.question_id in unproved
    ]


def final(generations: Iterable[Generation], questions: Sequence[Question]) -> list[Generation]:
    """One answer for each arm and question, the voted arms' chosen by their vote."""
    arms: dict[str, list[Generation]] = {}
    for item in generations:
        arms.setdefault(item.arm, []).append(item)
    chosen = []
    for name, items in arms.items():
        said = evaluation.answers(items, questions, SELECTORS.get(name, "first"))
        first = {item.question_id: item for item in reversed(items)}
        chosen += [first[i].model_copy(update={"text": text, "sample": 0}) for i, text in said.items()]
    return chosen


# --------------------------------------------------------------------------------------------------- what came of it


def group_of(question: Question) -> str:
    """The column of the grid: its category, or HELD_OUT for facts that no training row may hold."""
    return HELD_OUT if question.split == "held_out" else question.category


def items(answers: Sequence[Generation], questions: Sequence[Question]) -> pd.DataFrame:
    """One row for each arm and question, out of `final` answers: what was said, right or not, refused or not."""
    known = {question.id: question for question in questions}
    rows = []
    for answer in answers:
        if (question := known.get(answer.question_id)) is None:
            continue
        rows.append(
            {
                "arm": answer.arm,
                "question_id": question.id,
                "group": group_of(question),
                "question": answer.phrasing,
                "gold": question.answer,
                "text": answer.text,
                "right": strict(question, answer.text),
                "refused": is_refusal(answer.text, answer.phrasing),
                "answerable": question.answer_type != "refusal",
            }
        )
    return pd.DataFrame(rows)


def scores(found: pd.DataFrame) -> pd.DataFrame:
    """Rates of `items` for each arm and one of GROUPS with Wilson intervals, in the order of the grid.

    VISIBLE sums up what every arm was asked.
    """
    visible = found[found["group"] != HELD_OUT].assign(group=VISIBLE)
    rows = []
    for (arm, group), part in pd.concat([found, visible], ignore_index=True).groupby(["arm", "group"], sort=False):
        k, n = int(part["right"].sum()), len(part)
        rows.append({"arm": arm, "group": group, "k": k, "n": n, **wilson(k, n)._asdict()})
    rows.sort(key=lambda line: (ARMS.index(line["arm"]), GROUPS.index(line["group"])))
    return pd.DataFrame(rows)


def refusals(found: pd.DataFrame) -> pd.DataFrame:
    """For each arm: unanswerable questions that it refused, as it should, and answerable ones that it refused."""
    rows = []
    for arm in (name for name in ARMS if name in set(found["arm"])):
        line: dict[str, Any] = {"arm": arm}
        for name, answerable in (("refused rightly", False), ("refused wrongly", True)):
            part = found[(found["arm"] == arm) & (found["answerable"] == answerable)]
            interval = wilson(int(part["refused"].sum()), len(part))
            line |= {name: interval.rate, f"{name} low": interval.low, f"{name} high": interval.high}
            line |= {f"{name} n": len(part)}
        rows.append(line)
    return pd.DataFrame(rows)


def changes(found: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """Item by item, what became of each question from arm `a` to arm `b`: `change` is one of CHANGES."""
    both = {}
    for arm in (a, b):
        if arm not in set(found["arm"]):
            raise LabError(f"There is no arm {arm!r}: choose one of {', '.join(dict.fromkeys(found['arm']))}.")
        both[arm] = found[found["arm"] == arm].set_index("question_id")
    first, second = both[a], both[b]
    shared = [i for i in first.index if i in second.index]
    first, second = first.loc[shared], second.loc[shared]
    pairs = zip(first["right"], second["right"], strict=True)
    words = {(False, True): CHANGES[0], (True, False): CHANGES[1], (True, True): CHANGES[2], (False, False): CHANGES[3]}
    table = first[["group", "question", "gold"]].assign(change=[words[bool(x), bool(y)] for x, y in pairs])
    table[a], table[b] = first["text"], second["text"]
    return table.reset_index()[["change", "group", "question_id", "question", "gold", a, b]]


def filtered(table: pd.DataFrame, change: str = "", group: str = "", words: str = "") -> pd.DataFrame:
    """The lines of `changes` with this change, in this group, with these words anywhere; an empty filter takes all."""
    for name, value, known in (("change", change, CHANGES), ("group", group, tuple(dict.fromkeys(table["group"])))):
        if value and value not in known:
            raise LabError(f"There is no {name} {value!r}: choose one of {', '.join(known)}, or '' for all.")
    kept = table[(table["change"] == change) | (not change)]
    kept = kept[(kept["group"] == group) | (not group)]
    text = kept.astype(str).agg(" ".join, axis=1).str.lower() if len(kept) else pd.Series(dtype=str)
    return kept[text.str.contains(words.lower(), regex=False)] if words else kept


def verdicts(answers: Sequence[Generation], questions: Sequence[Question], wanted: Sequence[Step]) -> pd.DataFrame:
    """Each step's paired test over `questions`, all read together (Holm), with the bootstrap interval of its gain."""
    arms: dict[str, list[Generation]] = {}
    for item in answers:
        arms.setdefault(item.arm, []).append(item)
    able = [step for step in wanted if step.a in arms and step.b in arms]
    compared = [evaluation.compare(arms[step.a], arms[step.b], questions) for step in able]
    table = evaluation.read_together(compared)
    gains = [mean_interval([1.0] * c.only_b + [-1.0] * c.only_a + [0.0] * (c.both + c.neither)) for c in compared]
    table.insert(0, "added", [step.added for step in able])
    return table.assign(low=[gain.low for gain in gains], high=[gain.high for gain in gains])


# -------------------------------------------------------------------------------------------------------------- cost


def throughput(generations: Iterable[Generation]) -> pd.DataFrame:
    """What answering in batches took, each arm: seconds and tokens a question over all its candidates.

    A sample's seconds are its share of its batch's time, so they add up; tokens read count a prompt once, as the
    candidates of a question share it.
    """
    frame = pd.DataFrame(
        [(g.arm, g.question_id, g.sample, g.prompt_tokens, g.completion_tokens, g.seconds) for g in generations],
        columns=["arm", "question_id", "sample", "prompt", "written", "seconds"],
    )
    rows = []
    for arm in (name for name in ARMS if name in set(frame["arm"])):
        part = frame[frame["arm"] == arm]
        asked, seconds = part["question_id"].nunique(), part["seconds"].sum()
        rows.append(
            {
                "arm": arm,
                "candidates": len(part) / asked,
                "tokens read": part.drop_duplicates("question_id")["prompt"].mean(),
                "tokens written": part["written"].sum() / asked,
                "seconds a question": seconds / asked,
                "questions a second": asked / seconds if seconds else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def latency(
    lab: Lab,
    greedy: Sequence[Generation],
    asked: Sequence[Question],
    count: int,
    adapters: Mapping[str, Path | None],
    progress: Any,
) -> list[dict[str, Any]]:
    """Seconds until the answer where one person waits: each question asked alone, in each arm.

    The prompts are those of the `greedy` arms. `adapters` maps `base` and `adapter` to their adapter folders. The
    candidates of a vote are drawn in one batch.
    """
    prompts = {(item.arm, item.question_id): item.messages for item in greedy}
    made = []
    with progress(total=2 * len(adapters) * len(CONTEXTS) * len(asked), desc="One question at a time") as bar:
        for model, adapter in adapters.items():
            student = workbench.generator(lab, "student", adapter)
            student.generate([prompts[model, asked[0].id]], max_tokens=1, seeds=0)  # the first call also warms up
            for context, n in product(CONTEXTS, (1, count)):
                settings = {"n": n, "temperature": lab.profile.sampling.temperature if n > 1 else 0.0}
                for question in asked:
                    started = perf_counter()
                    messages = prompts[arm_name(model, context), question.id]
                    student.generate([messages], max_tokens=lab.profile.sampling.max_new_tokens, seeds=0, **settings)
                    seconds = perf_counter() - started
                    name = arm_name(model, context, n > 1)
                    made.append({"arm": name, "question_id": question.id, "seconds": seconds})
                    bar.update(1)
    return made


def cost_table(generations: Iterable[Generation], waited: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """`throughput` with the median and the longest of `latency` beside it."""
    alone: dict[str, list[float]] = {}
    for line in waited:
        alone.setdefault(str(line["arm"]), []).append(float(line["seconds"]))
    table = throughput(generations)
    table["alone, median (s)"] = [median(alone[arm]) if arm in alone else float("nan") for arm in table["arm"]]
    table["alone, longest (s)"] = [max(alone.get(arm, [float("nan")])) for arm in table["arm"]]
    return table
