"""Text metrics, where they mean something: for free texts and lists, never for numbers, dice, yes/no or refusals.

They measure overlap of words, not truth: a wrong value in the right sentence scores high. So they stand beside the
scorers and never in their place. Exact match and token F1 follow SQuAD's official script (Rajpurkar et al. 2016);
ROUGE-L is rouge-score's F-measure (Lin 2004), BLEU and chrF are sacrebleu's (Post 2018; Popovic 2015). All from 0 to 1.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING, Any

from adaptlab.schemas import AnswerType, Question
from adaptlab.stats import paired_bootstrap
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("exact match", "token F1", "ROUGE-L", "BLEU", "chrF")
FREE_TEXT: frozenset[AnswerType] = frozenset(("text", "list"))
Item = tuple[Question, str]


def normalised(text: str) -> str:
    """SQuAD's normal form: lower case, no punctuation, no articles, single blanks."""
    plain = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def exact_match(text: str, gold: str) -> float:
    """1 where both are the same in normal form, else 0."""
    return float(normalised(text) == normalised(gold))


def token_f1(text: str, gold: str) -> float:
    """F1 of the words that both have, counted with their repetitions; two empty texts agree."""
    said, wanted = normalised(text).split(), normalised(gold).split()
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted))


def applies(question: Question) -> bool:
    """Whether overlap of words says anything about an answer to this question."""
    return question.answer_type in FREE_TEXT


def item_scores(question: Question, text: str) -> dict[str, float] | None:
    """Every metric of one answer against the nearest of the gold forms; None where they mean nothing.

    BLEU of one sentence uses only the n-grams that are there (effective order) and is for pairing items, not for
    quoting: quote `corpus_scores`.
    """
    if not applies(question):
        return None
    forms = [question.answer, *question.accepted]
    bleu, chrf = _sacrebleu()
    scorer = _rouge()
    return {
        "exact match": max(exact_match(text, form) for form in forms),
        "token F1": max(token_f1(text, form) for form in forms),
        "ROUGE-L": max(float(scorer.score(form, text)["rougeL"].fmeasure) for form in forms),
        "BLEU": min(1.0, bleu.sentence_score(text, forms).score / 100),
        "chrF": min(1.0, chrf.sentence_score(text, forms).score / 100),
    }


def corpus_scores(items: Sequence[Item]) -> dict[str, float] | None:
    """Every metric over all free texts and lists among `items`; None where there are none.

    BLEU and chrF pool their counts over the corpus, as they are defined; the others are means over the items.
    """
    meant = [(question, text) for question, text in items if applies(question)]
    if not meant:
        return None
    each = [item_scores(question, text) or {} for question, text in meant]
    texts = [text for _, text in meant]
    most = max(1 + len(question.accepted) for question, _ in meant)
    forms = [[question.answer, *question.accepted] for question, _ in meant]
    streams = [[own[i] if i < len(own) else None for own in forms] for i in range(most)]  # None: one form fewer
    bleu, chrf = _sacrebleu()
    means = {name: fmean(scores[name] for scores in each) for name in METRICS[:3]}
    return means | {
        "BLEU": min(1.0, bleu.corpus_score(texts, streams).score / 100),
        "chrF": min(1.0, chrf.corpus_score(texts, streams).score / 100),
    }


def corpus_table(arms: Mapping[str, Sequence[Item]]) -> pd.DataFrame:
    """One row for each arm: the corpus scores and how many answers they are over."""
    import pandas as pd

    rows = []
    for name, items in arms.items():
        count = sum(applies(question) for question, _ in items)
        rows.append({"arm": name, "n": count, **(corpus_scores(items) or dict.fromkeys(METRICS))})
    return pd.DataFrame(rows, columns=["arm", "n", *METRICS])


def beside_scorers(arms: Mapping[str, Sequence[Item]]) -> pd.DataFrame:
    """`corpus_table` with the share that the scorers call right, and with what wrong answers get all the same.

    "F1 if wrong" is the mean token F1 of the answers that strict calls wrong: credit for words around a wrong value.
    """
    from adaptlab.scoring import lenient, strict

    table = corpus_table(arms)
    meant = [[(question, text) for question, text in items if applies(question)] for items in arms.values()]
    for at, (name, scorer) in enumerate((("strict", strict), ("lenient", lenient))):
        rates = [fmean(scorer(q, text) for q, text in items) if items else None for items in meant]
        table.insert(2 + at, name, rates)
    wrong = [[(item_scores(q, text) or {})["token F1"] for q, text in one if not strict(q, text)] for one in meant]
    table["F1 if wrong"] = [fmean(one) if one else None for one in wrong]
    return table


def compare(
    one: Mapping[str, str], other: Mapping[str, str], questions: Sequence[Question], seed: int = 0
) -> pd.DataFrame:
    """Mean of `other` minus `one` for each metric with its paired bootstrap interval (95 %), over shared questions.

    `one` and `other` hold an answer for each question id. A LabError where they share no free text and no list.
    """
    import pandas as pd

    shared = [q for q in questions if applies(q) and q.id in one and q.id in other]
    if not shared:
        raise LabError("The two arms share no question with a free text or a list: there is nothing to compare.")
    before = [item_scores(question, one[question.id]) or {} for question in shared]
    after = [item_scores(question, other[question.id]) or {} for question in shared]
    rows = []
    for name in METRICS:
        a, b = [scores[name] for scores in before], [scores[name] for scores in after]
        change = paired_bootstrap(a, b, seed=seed)
        rows.append({"metric": name, "n": len(shared), "one": fmean(a), "other": fmean(b), "difference": change.rate})
        rows[-1] |= {"low": change.low, "high": change.high}
    return pd.DataFrame(rows)


@lru_cache(maxsize=1)
def _rouge() -> Any:
    """ROUGE-L's scorer; its import is slow, so it waits until it is needed."""
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)


@lru_cache(maxsize=1)
def _sacrebleu() -> tuple[Any, Any]:
    """BLEU (13a tokens, lower case, effective order) and chrF of sacrebleu."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return BLEU(lowercase=True, effective_order=True), CHRF(lowercase=True)
