"""The statistics against published worked examples and against each other."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scipy import stats as scipy_stats

from adaptlab import stats
from adaptlab.stats import (
    before_looking,
    detectable_words,
    exceeds,
    exceeds_chance,
    guess_verdict,
    holm,
    mcnemar_exact,
    mcnemar_power,
    mean_interval,
    p_words,
    paired_bootstrap,
    points,
    smallest_detectable,
    verdict,
    wilson,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_newcombe_1998_table_i(k, n, low, high):
    found = wilson(k, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.rate == k / n


def test_wilson_reproduces_the_overlap_of_six_and_eight_in_ten():
    assert [round(100 * x) for x in wilson(6, 10)[1:]] == [31, 83]
    assert [round(100 * x) for x in wilson(8, 10)[1:]] == [49, 94]


def test_wilson_of_nothing_says_that_nothing_is_known():
    assert math.isnan(wilson(0, 0).rate)
    assert wilson(0, 0)[1:] == (0.0, 1.0)


def test_exact_mcnemar_agrees_with_fagerland_lydersen_and_laake_2013():
    # airway hyper-responsiveness before and after stem cell transplantation: 1 and 7 discordant pairs
    assert mcnemar_exact(1, 7) == pytest.approx(0.0703, abs=5e-5)
    assert mcnemar_exact(7, 1) == mcnemar_exact(1, 7)


def test_exact_mcnemar_is_the_sign_test_on_discordant_pairs():
    for b, c in [(0, 5), (3, 12), (20, 44)]:
        assert mcnemar_exact(b, c) == pytest.approx(scipy_stats.binomtest(b, b + c).pvalue)
    assert mcnemar_exact(0, 0) == mcnemar_exact(4, 4) == 1.0


def test_holm_agrees_with_the_textbook_example():
    # p = .01, .04, .03, .005 gives adjusted .03, .06, .06, .02 (Holm's step-down)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_power_agrees_with_connors_formula():
    # Connor (1987): n = (z_a sqrt(psi) + z_b sqrt(psi - d^2))^2 / d^2 pairs for the asymptotic test
    psi, d = 0.3, 0.15
    z_a, z_b = scipy_stats.norm.ppf(0.975), scipy_stats.norm.ppf(0.8)
    n = round((z_a * math.sqrt(psi) + z_b * math.sqrt(psi - d * d)) ** 2 / d**2)
    assert mcnemar_power(n, d, psi) == pytest.approx(0.8, abs=0.06)
    assert mcnemar_power(n, d, psi) < 0.8  # the exact test is the more careful one


def test_smallest_detectable_difference_shrinks_with_the_set_and_hits_the_power():
    small, large = smallest_detectable(60), smallest_detectable(240)
    assert large < small < 0.3
    assert mcnemar_power(60, small, 0.3) == pytest.approx(0.8, abs=0.01)
    assert smallest_detectable(120, power=0.9) > smallest_detectable(120)


def test_a_set_too_small_for_any_difference_says_so():
    assert smallest_detectable(10) is None
    assert smallest_detectable(0) is None


def test_power_without_a_difference_stays_below_alpha():
    assert mcnemar_power(100, 0.0, 0.3) < 0.05


def test_paired_bootstrap_finds_the_mean_difference_and_is_repeatable():
    a = [0, 0, 1, 1, 0, 1, 0, 0, 1, 0] * 6
    b = [1, 0, 1, 1, 1, 1, 0, 1, 1, 0] * 6
    found = paired_bootstrap(a, b)
    assert found.rate == pytest.approx(0.3)
    assert 0.15 < found.low < 0.3 < found.high < 0.45
    assert found == paired_bootstrap(a, b)
    # the textbook standard error: sd of the differences over sqrt(n)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.3 * 0.7 / 60), rel=0.15)


def test_paired_bootstrap_refuses_series_that_do_not_pair():
    with pytest.raises(ValueError, match="equally long"):
        paired_bootstrap([1, 0], [1])


def test_an_interval_of_equal_values_is_a_point():
    assert mean_interval([0.5, 0.5]) == (0.5, 0.5, 0.5)
    assert mean_interval([])[1:] == (0.0, 1.0)


def test_verdicts_are_words_from_the_test():
    assert verdict(0.01, 0.2) == "better"
    assert verdict(0.01, -0.2) == "worse"
    assert verdict(0.2, 0.3) == "no detectable difference at this size"
    assert verdict(0.05, 0.3) == "no detectable difference at this size"
    assert verdict(float("nan"), 0.3) == "no detectable difference at this size"


def test_exceeds_is_fishers_exact_test_of_the_lady_tasting_tea() -> None:
    """Fisher 1935: 3 of 4 cups right against 1 of 4, one-sided p = 17/70."""
    assert exceeds(3, 1, 4) == pytest.approx(17 / 70)
    assert exceeds(2, 0, 42) > 0.2
    assert exceeds(60, 3, 92) < 1e-10


def test_exact_mcnemar_on_agrestis_approval_of_the_prime_minister():
    """Agresti, Categorical Data Analysis, 2nd ed., table 10.1: 86 and 150 of 1,600 changed sides; z0^2 = 17.36."""
    z = (86 - 150) / math.sqrt(86 + 150)
    assert z * z == pytest.approx(17.36, abs=0.005)
    exact = mcnemar_exact(86, 150)
    assert exact == pytest.approx(scipy_stats.binomtest(86, 236).pvalue)
    assert exact < 0.0001 and verdict(exact, 150 - 86) == "better"


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [(121, 59, 0.000004), (70, 59, 0.378688), (80, 59, 0.089452), (30, 60, 0.00206), (10, 30, 0.002221)],
)
def test_exact_mcnemar_agrees_with_vassarstats(b, c, p):
    """Discordant pairs and p values that statsmodels quotes from VassarStats (its test_nonparametric.py)."""
    assert mcnemar_exact(b, c) == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        # R's ?p.adjust and Wright (1992): ordered p times the number of hypotheses not yet rejected, made monotone
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        # Holm (1979), step-down at alpha = .05: .01 and .005 are rejected, .03 and .04 no longer (k = 4)
        ([0.005, 0.01, 0.03, 0.04], [0.02, 0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
    ],
)
def test_holm_steps_down(p, adjusted):
    assert holm(p) == pytest.approx(adjusted)
    order = sorted(range(len(p)), key=p.__getitem__)
    by_hand, highest = {}, 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[at]))
        by_hand[at] = highest
    assert holm(p) == pytest.approx([by_hand[at] for at in range(len(p))])


def test_exceeds_chance_is_the_binomial_tail():
    """Exactly sum_{i>=k} C(n,i) q^i (1-q)^(n-i)."""
    tail = sum(math.comb(16, i) * 0.1**i * 0.9 ** (16 - i) for i in range(5, 17))
    assert exceeds_chance(5, 16, 0.1) == pytest.approx(tail)
    assert exceeds_chance(0, 16, 0.1) == 1.0


def test_what_a_set_can_show_is_said_with_its_assumption():
    smallest = smallest_detectable(92)
    assert f"{100 * smallest:.0f} points or more" in detectable_words(92)
    assert "disagree on 30%" in detectable_words(92)
    assert detectable_words(8) == "no difference at all"


def test_several_comparisons_can_show_less_than_one():
    one, four = smallest_detectable(92), smallest_detectable(92, alpha=0.05 / 4)
    assert four > one
    assert points(one, signed=False) in before_looking(92)
    assert points(four, signed=False) in before_looking(92, comparisons=4)
    assert "4 of them read together" in before_looking(92, comparisons=4)


def test_a_score_beside_its_guess_control_has_one_of_two_wordings():
    assert guess_verdict(True) == "more than guessing explains"
    assert guess_verdict(False) == "no more than guessing explains"


def test_no_other_file_of_the_package_makes_these_words():
    """Prose may quote them; code that builds a sentence takes them from `stats`."""
    words = ("no detectable difference", 'than guessing explains"')
    for path in sorted(Path(stats.__file__).parent.rglob("*.py")):
        if path.name not in ("stats.py", "bestofn.py"):
            assert not any(word in path.read_text("utf-8") for word in words), path.name


def test_a_difference_is_told_in_points_and_a_tiny_p_value_is_never_told_as_zero():
    assert (points(0.565), points(-0.054), points(-0.0001), points(0.0449, 1)) == (
        "+56 points", "-5 points", "+0 points", "+4.5 points",
    )  # fmt: skip
    assert points(0.165, signed=False) == "16 points" and p_words(0.851) == "p = 0.85" and p_words(4e-16) == "p < 0.001"
