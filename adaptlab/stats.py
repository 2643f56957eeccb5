"""Intervals, paired tests and the words that follow from them; scipy and statsmodels compute."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize, stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

ALPHA = 0.05
POWER = 0.8
LEAST_P = 0.001  # a smaller p value is only said to be smaller
Verdict = Literal["better", "worse", "no detectable difference at this size"]
GuessVerdict = Literal["more than guessing explains", "no more than guessing explains"]


class Interval(NamedTuple):
    """An estimate with the ends of its interval (95 % unless another alpha was asked for)."""

    rate: float
    low: float
    high: float


def wilson(k: float, n: int, alpha: float = ALPHA) -> Interval:
    """Wilson's score interval of `k` successes in `n` trials; for n = 0 the rate is unknown, from 0 to 1."""
    if n <= 0:
        return Interval(float("nan"), 0.0, 1.0)
    low, high = proportion_confint(k, n, alpha=alpha, method="wilson")
    return Interval(k / n, max(0.0, float(low)), min(1.0, float(high)))


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact McNemar p: `b` questions only the one arm has right, `c` only the other."""
    if b + c == 0:
        return 1.0
    return min(1.0, float(mcnemar([[0, b], [c, 0]], exact=True).pvalue))


def paired_bootstrap(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    *,
    alpha: float = ALPHA,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Mean of `b - a` over paired items with its percentile bootstrap interval."""
    if len(a) != len(b) or not len(a):
        raise ValueError(f"paired_bootstrap needs two equally long, non-empty series, not {len(a)} and {len(b)} items")
    return mean_interval(np.asarray(b, float) - np.asarray(a, float), alpha=alpha, resamples=resamples, seed=seed)


def mean_interval(
    values: Sequence[float] | np.ndarray, *, alpha: float = ALPHA, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of per-question values (not only 0 and 1) with its percentile bootstrap interval over the questions."""
    data = np.asarray(values, float)
    if not len(data):
        return Interval(float("nan"), 0.0, 1.0)
    mean = float(data.mean())
    if len(data) < 2 or np.ptp(data) == 0:
        return Interval(mean, mean, mean)
    found = scipy_stats.bootstrap(
        (data,),
        np.mean,
        confidence_level=1 - alpha,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
        vectorized=True,
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def mcnemar_power(n: int, difference: float, discordant: float, alpha: float = ALPHA) -> float:
    """Power of the exact McNemar test on `n` pairs of which the share `discordant` differs, by `difference` net."""
    chance = (discordant + difference) / (2 * discordant)
    power = 0.0
    for pairs in range(1, n + 1):
        weight = float(scipy_stats.binom.pmf(pairs, n, discordant))
        if weight < 1e-9:
            continue
        wins = np.arange(pairs + 1)
        tail = scipy_stats.binom.cdf(np.minimum(wins, pairs - wins), pairs, 0.5)
        rejected = np.minimum(1.0, 2 * tail) <= alpha
        power += weight * float(scipy_stats.binom.pmf(wins, pairs, chance)[rejected].sum())
    return power


@lru_cache(maxsize=1000)
def smallest_detectable(n: int, power: float = POWER, alpha: float = ALPHA, discordant: float = 0.3) -> float | None:
    """The smallest difference of two rates on the same `n` questions that exact McNemar finds with `power`.

    `discordant` is the share of questions on which the two arms are expected to differ. When even a difference as
    large as that share would be missed, the set cannot detect any: the result is None.
    """
    if n < 1 or mcnemar_power(n, discordant, discordant, alpha) < power:
        return None
    return float(optimize.brentq(lambda d: mcnemar_power(n, d, discordant, alpha) - power, 0.0, discordant, xtol=1e-4))


def exceeds(k: int, control: int, n: int) -> float:
    """One-sided exact p value (Fisher) that `k` of `n` is more than `control` of another `n`."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[k, n - k], [control, n - control]], alternative="greater").pvalue)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's correction of several p values that are read together."""
    return [float(p) for p in multipletests(list(pvalues), method="holm")[1]] if len(pvalues) else []


def exceeds_chance(k: int, n: int, chance: float) -> float:
    """One-sided exact binomial p value that `k` of `n` is more than a known `chance` for each."""
    return float(scipy_stats.binomtest(k, n, chance, alternative="greater").pvalue)


# ------------------------------------------------------------------- words: no other file of the lab makes them


def verdict(p: float, difference: float, alpha: float = ALPHA) -> Verdict:
    """The word for a paired comparison; the only place of the lab that makes it."""
    if not p < alpha or difference == 0:
        return "no detectable difference at this size"
    return "better" if difference > 0 else "worse"


def guess_verdict(above: bool) -> GuessVerdict:
    """The words for a score beside its guess control."""
    return "more than guessing explains" if above else "no more than guessing explains"


def points(difference: float, digits: int = 0, signed: bool = True) -> str:
    """A difference of two shares for people: in points, since a per cent of a per cent can be read in two ways."""
    value = round(100 * difference, digits) + 0.0  # no -0
    return f"{value:{'+' if signed else ''}.{digits}f} points"


def p_words(p: float) -> str:
    """A p value for people; one too small to be shown is never shown as zero."""
    return f"p < {LEAST_P:g}" if p < LEAST_P else f"p = {p:.2g}"


def detectable_words(n: int, power: float = POWER, alpha: float = ALPHA, discordant: float = 0.3) -> str:
    """What a paired comparison of `n` questions can find at `power`, to be read before any result."""
    smallest = smallest_detectable(n, power, alpha, discordant)
    if smallest is None:
        return "no difference at all"
    least = points(smallest, signed=False)
    return f"differences of {least} or more (if the two disagree on {discordant:.0%} of the questions)"


def before_looking(count: int, comparisons: int = 1) -> str:
    """The sentence to print before any result: what `comparisons` paired tests on `count` questions can show.

    With several read together it speaks of the strictest step of Holm's correction, so no test can do worse.
    """
    words = detectable_words(count, alpha=ALPHA / comparisons)
    several = f", {comparisons} of them read together," if comparisons > 1 else ""
    return f"At {POWER:.0%} power a paired comparison on {count} questions{several} can show {words}."
