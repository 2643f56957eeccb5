"""The checks of the notebooks' exercises: each reads a learner's answer and replies with one sentence, never an error.

A check computes from the section's results and calls no model. "Passed" says what the answer shows, "Not yet" what to
look at without giving the answer away, "Not here" that these results leave the exercise nothing to work on.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec

import pandas as pd

from adaptlab import benchmark, fit, retrieval, scoring, stats
from adaptlab.bestofn import by_samples, pass_at_n
from adaptlab.layers import CALL_FAILED, LAYERS, RIGHT, shown_hits
from adaptlab.schemas import Generation, Question
from config import LabError

State = Literal["passed", "not yet", "not here"]
P = ParamSpec("P")


@dataclass(frozen=True)
class Check:
    """The reply to an answer; as the last line of a cell it shows as one sentence."""

    state: State
    words: str

    def __repr__(self) -> str:
        return f"{self.state.capitalize()}: {self.words}"


class NotYet(Exception):
    """The answer is not right yet; the message says what to look at."""


class NotHere(Exception):
    """These results leave the exercise nothing to work on; the message says why."""


def gentle(check: Callable[P, str]) -> Callable[P, Check]:
    """Turn a function that returns what a right answer shows, or raises, into one that always returns a `Check`."""

    @wraps(check)
    def reply(*args: P.args, **kwargs: P.kwargs) -> Check:
        try:
            return Check("passed", check(*args, **kwargs))
        except NotYet as told:
            return Check("not yet", str(told))
        except (NotHere, LabError) as told:
            return Check("not here", str(told))
        except Exception as error:  # whatever a learner's line does: a sentence, and the notebook goes on
            first = next(iter(str(error).splitlines()), "")[:120]
            return Check("not yet", f"your answer could not be used ({type(error).__name__}: {first}); see the hint.")

    return reply


def whole(answer: Any, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    if isinstance(answer, bool) or not isinstance(answer, int | float) and not hasattr(answer, "__index__"):
        raise NotYet(f"put a whole number in place of {answer!r}.")
    if answer != int(answer) or not least <= answer <= most:
        raise NotYet(f"{answer} is no whole number from {least:,} to {most:,}.")
    return int(answer)


# --------------------------------------------------------------------------------------------------- 00, the recap


@gentle
def best_within(chosen: Any, recall: pd.DataFrame, budget: float) -> str:
    """Chunk size and k that find the most quotes for at most `budget` characters; `recall` as of `recall_grid`."""
    if not isinstance(chosen, tuple | list) or len(chosen) != 2:
        raise NotYet("give two numbers in brackets: the size of a chunk, then k.")
    line = recall[(recall["size"] == chosen[0]) & (recall.k == chosen[1])]
    if line.empty:
        sizes, ks = (", ".join(str(v) for v in sorted(recall[name].unique())) for name in ("size", "k"))
        raise NotYet(f"the table has no such line: its sizes are {sizes}, its k {ks}.")
    mine, affordable = line.iloc[0], recall[recall.characters <= budget]
    if mine.characters > budget:
        raise NotYet(f"it puts {mine.characters:.0f} characters before a question, the budget is {budget:.0f}.")
    if mine.rate < affordable.rate.max():
        raise NotYet(f"it finds {mine.rate:.0%}, and another setting within the budget finds more.")
    return f"{mine.rate:.0%} of the questions have their proof within {mine.characters:.0f} of {budget:.0f} characters."


def failure_cards(
    failed: pd.DataFrame, generations: Sequence[Generation], known: Mapping[str, Question], text: str, most: int = 4
) -> pd.DataFrame:
    """The first failure of each layer with what is needed to tell its layer; places are characters of the document.

    `failed` as of `evaluation.layers`, `generations` of the same arm. Quotes of one question are split by a semicolon.
    """
    rows = []
    said = {g.question_id: g for g in generations}
    wrong = failed[~failed.layer.isin([RIGHT, CALL_FAILED])].drop_duplicates("layer").head(most)
    for question_id in wrong.question_id:
        question, generation = known[question_id], said[question_id]
        pages = [f"{hit.start} to {hit.end}" for hit in sorted(shown_hits(generation), key=lambda hit: hit.start)]
        card = {"question_id": question_id, "question": question.text(), "gold": question.answer}
        card |= {"answer": generation.text, "quote at": _places(question, text), "pages shown": "; ".join(pages)}
        rows.append(card)
    columns = ["question_id", "question", "gold", "answer", "quote at", "pages shown"]
    return pd.DataFrame(rows, columns=columns)


def _places(question: Question, text: str) -> str:
    """Where each quote stands in the document, all its places; words for a question that has none."""
    found = []
    for quote in question.quotes:
        starts = [at for at in range(len(text)) if text.startswith(quote.text, at)] if quote.text in text else []
        found.append(" or ".join(f"{at} to {at + len(quote.text)}" for at in starts) or "not verbatim")
    return "; ".join(found) or "the document does not say"


@gentle
def layers_named(named: Any, cards: pd.DataFrame, failed: pd.DataFrame) -> str:
    """The layer of each failure on the cards, in their order."""
    if cards.empty:
        raise NotHere("no question failed, so there is no layer to name.")
    if not isinstance(named, list | tuple) or len(named) != len(cards):
        raise NotYet(f"give a list of {len(cards)} layers, one for each line of the table.")
    unknown = [name for name in named if name not in LAYERS]
    if unknown:
        raise NotYet(f"{unknown[0]!r} is no layer: choose of {', '.join(LAYERS)}.")
    truth = failed.set_index("question_id").layer[list(cards.question_id)]
    wrong = [number for number, (mine, is_) in enumerate(zip(named, truth, strict=True), start=1) if mine != is_]
    if wrong:
        right = len(cards) - len(wrong)
        raise NotYet(f"{right} of {len(cards)} are right; look at line {wrong[0]} again, where the quote stands.")
    return f"all {len(cards)} failures stand at their layer, told from places alone and not by feeling."


# --------------------------------------------------------------------------------------------------- 01, Best-of-N


@gentle
def same_ceiling(formula: Callable[[int, int, int], float], tallies: pd.DataFrame, counts: Sequence[int]) -> str:
    """Pass@k of every question of `tallies` (samples, right) by the learner's formula, against Chen et al. 2021."""
    tried = [(4, 1, 2), (4, 3, 2)]
    tried += [
        (int(n), int(c), k) for n, c in zip(tallies.samples, tallies.right, strict=True) for k in counts if k <= n
    ]
    for total, right, k in tried:
        mine, true = float(formula(total, right, k)), pass_at_n(total, right, k)
        if not math.isclose(mine, true, abs_tol=1e-9):
            raise NotYet(
                f"with {right} right of {total}, {k} drawn without putting back hold a right one with a "
                f"chance of {true:.4f}; yours says {mine:.4f}."
            )
    top = max(counts)
    mean = sum(pass_at_n(n, c, top) for n, c, k in tried[2:] if k == top) / max(1, len(tallies))
    return f"the formula holds for all {len(tallies)} questions, and their mean at {top} is the ceiling: {mean:.1%}."


def vote_table(generations: Sequence[Generation], questions: Sequence[Question]) -> pd.DataFrame:
    """For each question of one arm how many candidates stand behind the majority's answer, and whether it is right."""
    candidates = by_samples(generations)
    rows = []
    for question in questions:
        texts = [g.text for g in candidates.get(question.id, [])]
        vote = scoring.majority(question, texts)
        right = vote.index is not None and scoring.strict(question, texts[vote.index])
        rows.append({"question_id": question.id, "votes": vote.votes, "right": right})
    return pd.DataFrame(rows, columns=["question_id", "votes", "right"]).astype({"right": bool})


@gentle
def half_the_wrong(least: Any, votes: pd.DataFrame) -> str:
    """The fewest votes to ask for so that at most half of the majority's wrong answers are still given."""
    wrong, right = votes[~votes.right & (votes.votes > 0)].votes, votes[votes.right].votes
    if wrong.empty:
        raise NotHere("no majority was wrong, so there is nothing to withhold.")
    number = whole(least, 1, int(votes.votes.max()) + 1)
    given, fewer = int((wrong >= number).sum()), int((wrong >= number - 1).sum())
    if given > len(wrong) / 2:
        raise NotYet(f"{given} of {len(wrong)} wrong answers are still given: ask for more votes.")
    if fewer <= len(wrong) / 2 and number > 1:
        raise NotYet(f"{given} of {len(wrong)} wrong answers are still given, but fewer votes would do.")
    return (
        f"with {number} votes asked for, {given} of {len(wrong)} wrong answers are still given, and "
        f"{int((right >= number).sum())} of {len(right)} right ones. Whether that is worth it is the customer's to say."
    )


# ---------------------------------------------------------------------------------------------- 02, synthetic data


@gentle
def rows_to_read(rows: Any, share: float, width: float) -> str:
    """How many rows to read so that Wilson's interval is `width` wide at most, if the `share` right is as found."""
    number = whole(rows, 1, 100_000)
    here, fewer = _width(share, number), _width(share, max(1, round(number * 0.9)))
    if here > width:
        raise NotYet(f"after {number} rows the interval is {100 * here:.1f} points wide: read more.")
    if fewer <= width:
        raise NotYet(f"{number} rows give {100 * here:.1f} points: a tenth fewer would do as well.")
    return f"{number} rows pin the share down to {100 * here:.1f} points, if about {share:.0%} of them are right."


def _width(share: float, number: int) -> float:
    """How wide the 95 % interval of a share is after so many rows."""
    interval = stats.wilson(share * number, number)
    return interval.high - interval.low


@gentle
def refusing_question(asked: Any, names: Sequence[str], text: str, questions: Sequence[Question]) -> str:
    """A question about one of the `names` that the document cannot answer, and that is no test question."""
    if not isinstance(asked, str) or not asked.strip().endswith("?"):
        raise NotYet("write one question that ends with a question mark.")
    if benchmark.contamination(questions, [asked], names):
        raise NotYet("that is a test question: a row with it would spoil the evaluation.")
    said = retrieval.terms(asked)
    named = [name for name in names if set(retrieval.terms(name)) and set(retrieval.terms(name)) <= set(said)]
    if not named:
        raise NotYet(f"name an entry of the document, such as {names[0]}, or refusing it would be no skill.")
    new = [word for word in said if word not in set(retrieval.terms(text))]
    if not new:
        raise NotYet("every word of it stands in the document, which may well answer it: ask for something else.")
    return (
        f"it is about {max(named, key=len)}, and the document never uses the word {new[0]!r}: the answer is to refuse."
    )


# ------------------------------------------------------------------------------------------------- 03, adaptation


def adapter_shapes(folder: Path) -> tuple[list[fit.Linear], int]:
    """The adapted layers and the rank, from the header of an adapter's safetensors file; the weights are not read.

    The file begins with the header's length (eight bytes, little-endian), then the header as JSON. A is rank by inputs,
    B is outputs by rank. Raises a LabError for a folder without such a file.
    """
    path = folder / "adapter_model.safetensors"
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    except (OSError, ValueError, struct.error) as error:
        raise LabError(f"{path.name} of the adapter cannot be read: run the training cell again.") from error
    shapes = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    first = {name: shape for name, shape in shapes.items() if ".lora_A." in name}
    layers = [
        fit.Linear(name.split(".lora_A.")[0], shape[1], shapes[name.replace(".lora_A.", ".lora_B.")][0], True, True)
        for name, shape in first.items()
    ]
    if not layers:
        raise LabError(f"{path.name} holds no LoRA matrices: train the adapter again.")
    return layers, next(iter(first.values()))[0]


@gentle
def adapter_weights(formula: Callable[[int, int, int], int], folder: Path, counted: int) -> str:
    """One layer's adapter by the learner's formula, summed over the layers, against what training `counted`."""
    layers, rank = adapter_shapes(folder)
    mine = sum(formula(layer.inputs, layer.outputs, rank) for layer in layers)
    if mine != counted:
        raise NotYet(f"{len(layers)} layers come to {mine:,} by your formula, training counted {counted:,}.")
    whole = sum(layer.weights for layer in layers)
    share = f"{counted / whole:.1%} of the {whole:,} beside them"
    return f"{counted:,} weights in {len(layers)} layers of rank {rank}: {share}."


@gentle
def trained_bytes(answer: Any, optimizer: str, cost: Mapping[str, Any], folder: Path) -> str:
    """Bytes that a trained weight takes while it is trained: itself and its gradient in float32, and Adam's moments."""
    if optimizer not in fit.OPTIMIZERS:
        raise NotHere(f"the lab does not know what {optimizer} keeps for a weight.")
    number, needed = whole(answer, 1, 1000), 4 + 4 + fit.OPTIMIZERS[optimizer]
    if number != needed:
        raise NotYet(f"{number} bytes are too {'few' if number < needed else 'many'} with {optimizer}.")
    layers, _ = adapter_shapes(folder)
    frozen = (fit.nf4_weights(layers) + fit.nf4_constants(layers)) / sum(layer.weights for layer in layers)
    adapter, everything = (needed * cost[name] / 1e6 for name in ("trainable weights", "weights"))
    return (
        f"the adapter takes {adapter:.1f} MB so, every weight trained so would take {everything:.1f} MB; "
        f"a frozen one in NF4 takes {frozen:.2f} bytes."
    )


# ------------------------------------------------------------------------------------------------- 04, evaluation


@gentle
def exact_p(formula: Callable[[int, int], float], pairs: Sequence[tuple[int, int]]) -> str:
    """McNemar's exact two-sided p by the learner's formula, on the section's own pairs and on a few others."""
    for only_a, only_b in [(1, 6), (3, 9), (4, 4), (0, 5), *pairs]:
        mine, true = float(formula(int(only_a), int(only_b))), stats.mcnemar_exact(int(only_a), int(only_b))
        if not math.isclose(mine, true, rel_tol=1e-6, abs_tol=1e-12):
            raise NotYet(f"where a alone is right {only_a} times and b alone {only_b} times, p is not {mine:.4g}.")
    listed = ", ".join(f"{stats.mcnemar_exact(int(a), int(b)):.2g}" for a, b in pairs)
    return f"your p is the exact one; for this section's pairs, before Holm: {listed}."


@gentle
def enough_questions(answer: Any, difference: float, disagree: float) -> str:
    """The number of questions with which a paired test finds `difference`, where the arms `disagree` on that share."""
    number = whole(answer, 1, 5000)
    power = stats.mcnemar_power(number, difference, disagree)
    if power < stats.POWER:
        raise NotYet(f"{number} questions would find it {power:.0%} of the time: ask more.")
    if stats.mcnemar_power(round(number * 0.8), difference, disagree) >= stats.POWER:
        raise NotYet(f"{number} questions are enough, but a fifth fewer would do: each one has to be written.")
    return f"{number} questions find {difference:.0%} {power:.0%} of the time, if the two disagree on {disagree:.0%}."


@gentle
def cheapest_good_enough(choice: Any, offers: pd.DataFrame, bar: float) -> str:
    """The `name` with the fewest `seconds for 1,000` among those whose whole interval lies above `bar`, or "none"."""
    good = offers[offers.low > bar].sort_values("seconds for 1,000")
    right = str(good["name"].iloc[0]) if len(good) else "none"
    if choice != "none" and choice not in set(offers["name"]):
        raise NotYet(f"{choice!r} is no line of the table: copy a name from it, or say none.")
    if choice != right:
        line = offers[offers["name"] == choice]
        if line.empty:
            raise NotYet(f"{len(good)} of {len(offers)} lines begin above {bar:.0%}.")
        low = float(line.low.iloc[0])
        reason = "another that does is faster" if low > bar else f"its interval begins at {low:.0%}"
        raise NotYet(f"the whole interval has to lie above {bar:.0%}, at the fewest seconds: {reason}.")
    if right == "none":
        return f"no line is surely above {bar:.0%}, so none can be promised: more questions, or a lower bar."
    first = good.iloc[0]
    others = f"{len(good) - 1} others are good enough and slower"
    return f"{right} is surely above {bar:.0%} at {first['seconds for 1,000']:.3g} s for 1,000 questions; {others}."


# ------------------------------------------------------------------------------------------------- 05, conclusion


def claims(data: Mapping[str, Any]) -> pd.DataFrame:
    """Sentences that somebody may want to say about an evaluation, and whether its verdicts support them."""
    found = [(f"{t['b']} is better than {t['a']}.", t["verdict"] == "better") for t in data["tests"]]
    found += [
        (f"The {g['arm']} knows {g['facts']} without a page.", bool(g["above_guess"]))
        for g in data["guess"]
        if g["arm"] == "adapter"
    ]
    found += [(f'Adaptation made the skill "{s["skill"]}" worse.', s["verdict"] == "worse") for s in data["skills"]]
    found.append(("Where no difference was detected, there is none.", False))
    return pd.DataFrame(found, columns=["claim", "supported"])


@gentle
def cheapest_above(rung: Any, rungs: pd.DataFrame) -> str:
    """The first rung whose whole interval lies above that of the first one; "none" where there is none."""
    start = rungs.iloc[0]
    above = rungs[rungs.low > start.high]
    right = str(above.rung.iloc[0]) if len(above) else "none"
    if rung != "none" and rung not in set(rungs.rung):
        raise NotYet(f"{rung!r} is no rung: choose of {', '.join(rungs.rung)}, or none.")
    if rung == right and right == "none":
        return f"no rung is surely above {start.rung}, and saying so is the service."
    if rung == right:
        line = above.iloc[0]
        return (
            f"{rung} begins at {line.low:.0%}, where {start.rung} ends at {start.high:.0%}; no cheaper rung does that."
        )
    if rung in set(above.rung):
        raise NotYet(f"{rung} is surely above {start.rung}, but a cheaper rung is as well.")
    if rung in ("none", start.rung):
        raise NotYet(f"{start.rung} ends at {start.high:.0%}: does the interval of any rung begin above that?")
    begins = rungs.set_index("rung").low[rung]
    raise NotYet(f"{rung} begins at {begins:.0%}, and {start.rung} ends only at {start.high:.0%}.")


@gentle
def claims_judged(answer: Any, listed: pd.DataFrame) -> str:
    """For each claim whether the results support it."""
    if not isinstance(answer, list | tuple) or len(answer) != len(listed):
        raise NotYet(f"give a list of {len(listed)} times True or False, one for each claim.")
    judged = zip(answer, listed.supported, strict=True)
    wrong = [number for number, (mine, is_) in enumerate(judged, start=1) if bool(mine) != bool(is_)]
    if wrong:
        raise NotYet(f"{len(listed) - len(wrong)} of {len(listed)} are judged right; read claim {wrong[0]} again.")
    return f"all {len(listed)} are judged right: {int(listed.supported.sum())} may be said, the others may not."
