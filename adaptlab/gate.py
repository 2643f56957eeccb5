"""A gate before a deployment: not worse than the baseline, paired, and targets of accuracy, validity, latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from adaptlab.eval_runs import EvalRun, latency
from adaptlab.stats import mcnemar_exact, smallest_detectable, verdict, wilson
from config import LabError

Outcome = Literal["pass", "fail", "cannot be judged"]
LATENCY_QUANTILE = 0.95
EXIT = {"pass": 0, "fail": 1, "cannot be judged": 2}


@dataclass(frozen=True)
class Check:
    """One thing that the gate asks, with its outcome and the figures behind it in one sentence."""

    name: str
    outcome: Outcome
    said: str


@dataclass(frozen=True)
class Targets:
    """What a run has to reach; None asks nothing. Shares from 0 to 1, seconds for 95 of 100 answers."""

    min_accuracy: float | None = None
    min_validity: float | None = None
    max_latency: float | None = None

    def checked(self) -> Targets:
        """The targets, or a LabError that names the option that cannot be."""
        for option, value in (("--min-accuracy", self.min_accuracy), ("--min-validity", self.min_validity)):
            if value is not None and not 0 <= value <= 1:
                raise LabError(f"{option} is {value:g}: give a share from 0 to 1, such as 0.6.")
        if self.max_latency is not None and not self.max_latency > 0:
            raise LabError(f"--max-latency is {self.max_latency:g}: give seconds above 0.")
        return self


def against_baseline(run: EvalRun, baseline: EvalRun) -> Check:
    """Exact McNemar over the questions that both answered, asked and scored in the same way."""
    name = "not worse than the baseline"
    if run.scorer != baseline.scorer:
        why = f"scored by scorer {run.scorer} and {baseline.scorer}: make the baseline again"
        return Check(name, "cannot be judged", f"the two were {why}.")
    if run.context != baseline.context:
        why = f"asked with context {run.context} and {baseline.context}: ask both in the same way"
        return Check(name, "cannot be judged", f"the two were {why}.")
    known = {(score.question_id, score.question): score.strict for score in baseline.scores}
    pairs = [
        (known[score.question_id, score.question], score.strict)
        for score in run.scores
        if (score.question_id, score.question) in known
    ]
    if not pairs:
        return Check(name, "cannot be judged", "the two share no question: run both on the same benchmark.")
    gained = sum(now and not before for before, now in pairs)
    lost = sum(before and not now for before, now in pairs)
    p, difference, detectable = (
        mcnemar_exact(gained, lost),
        (gained - lost) / len(pairs),
        smallest_detectable(len(pairs)),
    )
    word = verdict(p, difference)
    said = (
        f"{word} on {len(pairs)} shared questions of {len(run.scores)}: {gained} gained, {lost} lost, "
        f"{difference:+.1%}, exact McNemar p = {p:.3g}"
    )
    if word == "worse":
        return Check(name, "fail", f"{said}.")
    if word == "better":
        return Check(name, "pass", f"{said}.")
    if detectable is None:
        return Check(name, "cannot be judged", f"{said}; so few questions can show no difference at all.")
    return Check(name, "pass", f"{said}; so many questions can show {detectable:.0%} or more at 80 % power.")


def _share(name: str, right: int, n: int, least: float) -> Check:
    found = wilson(right, n)
    said = f"{right} of {n}, {found.rate:.1%} (95 % interval {found.low:.0%} to {found.high:.0%}), target {least:.1%}."
    return Check(name, "pass" if found.rate >= least else "fail", said)


def _quick(run: EvalRun, most: float) -> Check:
    if run.timing != "whole requests":
        why = f"its seconds are {run.timing}"
        return Check("latency", "cannot be judged", f"{why}: measure with adaptlab eval run --endpoint URL.")
    found = latency(run.scores, LATENCY_QUANTILE)
    said = f"{LATENCY_QUANTILE:.0%} of the answers within {found:.3g} s, target {most:g} s."
    return Check("latency", "pass" if found <= most else "fail", said)


def gate(run: EvalRun, baseline: EvalRun, targets: Targets | None = None) -> list[Check]:
    """Every check, the comparison first."""
    wanted = (targets or Targets()).checked()
    checks = [against_baseline(run, baseline)]
    n = len(run.scores)
    if wanted.min_accuracy is not None:
        checks.append(_share("accuracy", sum(score.strict for score in run.scores), n, wanted.min_accuracy))
    if wanted.min_validity is not None:
        checks.append(_share("validity", sum(score.valid for score in run.scores), n, wanted.min_validity))
    if wanted.max_latency is not None:
        checks.append(_quick(run, wanted.max_latency))
    return checks


def outcome(checks: list[Check]) -> Outcome:
    """Fail if anything fails, else not to be judged if anything cannot be, else pass."""
    found = {check.outcome for check in checks}
    return "fail" if "fail" in found else "cannot be judged" if "cannot be judged" in found else "pass"


def as_json(checks: list[Check]) -> dict[str, Any]:
    """The gate's answer for a program."""
    return {"outcome": outcome(checks), "checks": [vars(check) for check in checks]}
