"""The report of `make gpu-check`: figures beside their targets, as Markdown, from the stored measurements alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import recipes
from benchmarks.flops import ACCOUNTING, peak_of
from benchmarks.gpu_cases import GB, SAMPLES, Case

TO_LONGEST, TEXTBOOK, GENERATION, UTILISATION, CLOSE = 2.0, 6.0, 10.0, 0.30, 0.15
Found = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """One figure beside its target; `met` is None where there is nothing to judge, and `figure` then says why."""

    what: str
    figure: str
    wanted: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """Met, missed or not judged."""
        return "not judged" if self.met is None else "met" if self.met else "missed"


# ------------------------------------------------------------------------------------------------------------- targets


def targets(found: Found, cases: Sequence[Case]) -> list[Target]:
    """Every target with its figure. Nothing that the miniature student did is judged, since it is no card's work."""
    lines = [_memory(found, case) for case in cases if case.under]
    for cap in dict.fromkeys(case.cap for case in cases):
        lines += _of_cap(found, [case for case in cases if case.cap == cap])
    lines.append(_prediction(found, cases))
    return [Target(t.what, t.figure, t.wanted, None) for t in lines] if found["tiny"] else lines


def _of_cap(found: Found, cases: Sequence[Case]) -> list[Target]:
    """The targets of speed under one cap."""
    lines = []
    plain = {case.recipe: case for case in cases if case.kind == "training" and case.engine == "plain"}  # by recipe
    packed = plain.get(recipes.PACKED.name)
    if packed is not None:
        lines.append(_utilisation(found, packed))
        for recipe, least in ((recipes.TO_LONGEST, TO_LONGEST), (recipes.TEXTBOOK, TEXTBOOK)):
            if recipe.name in plain:
                lines.append(_faster(found, packed, plain[recipe.name], least))
    return lines + [_generation(found, case) for case in cases if case.kind == "generation"]


def _memory(found: Found, case: Case) -> Target:
    """What PyTorch takes of the card for rows of full length."""
    wanted = f"under {case.under} GB"
    what = f"memory: {case.name}"
    if _status(found, case) == "out of memory":
        return Target(what, found["measurements"][case.name]["why"], wanted, False)
    if (missing := _missing(found, case)) is not None:
        return Target(what, missing, wanted, None)
    taken = _of(found, case)["reserved"] or _of(found, case)["peak"]
    return Target(what, f"{taken / GB:.2f} GB", wanted, taken < case.under * GB)


def _utilisation(found: Found, case: Case) -> Target:
    wanted = f"at least {UTILISATION:.0%} of the dense peak"
    what = f"model FLOP utilisation: {case.name}"
    if (missing := _missing(found, case)) is not None:
        return Target(what, missing, wanted, None)
    peak = peak_of(found["card"])
    if peak is None:
        return Target(what, f"not shown: the peak of {found['card']} is not in benchmarks/flops.py", wanted, None)
    share = _of(found, case)["FLOPs/s"] / peak.flops
    return Target(what, f"{share:.1%} of {peak.flops / 1e12:g} TFLOPS", wanted, share >= UTILISATION)


def _faster(found: Found, ours: Case, other: Case, least: float) -> Target:
    wanted = f"at least {least:g} times"
    what = f"trained tokens a second: {ours.name} against {other.recipe}"
    missing = _missing(found, ours) or _missing(found, other)
    if missing is not None:
        return Target(what, missing, wanted, None)
    fast, slow = _of(found, ours), _of(found, other)
    ratio = fast["trained tokens/s"] / slow["trained tokens/s"]
    labels = fast["labels/s"] / slow["labels/s"]
    return Target(what, f"{ratio:.2f} times ({labels:.2f} in tokens with a label)", wanted, ratio >= least)


def _generation(found: Found, case: Case) -> Target:
    wanted = f"at least {GENERATION:g} times one by one"
    what = f"generation: {case.name}"
    if (missing := _missing(found, case)) is not None:
        return Target(what, missing, wanted, None)
    speeds = _of(found, case)["tokens/s"]
    ratio, together = speeds["ours"] / speeds["apart"], speeds["ours"] / speeds["together"]
    figure = f"{ratio:.1f} times ({together:.2f} times num_return_sequences)"
    return Target(what, figure, wanted, ratio >= GENERATION)


def _prediction(found: Found, cases: Sequence[Case]) -> Target:
    """The worst of all predictions of the plain engine, whose parts the formulas know."""
    wanted = f"within {CLOSE:.0%} of the measured peak"
    what = "memory, as adaptlab train fit predicts it: the farthest off"
    if found["tiny"]:
        return Target(what, "not compared: a process's peak on a processor holds more than the model", wanted, None)
    plain = [case for case in cases if case.kind == "training" and case.engine == "plain"]
    known = [_of(found, case) for case in plain if _missing(found, case) is None]
    if not known:
        return Target(what, "not measured yet", wanted, None)
    off = max((one["predicted"] / one["peak"] - 1 for one in known), key=abs)
    return Target(what, f"{off:+.0%}, of {len(known)} measurements", wanted, abs(off) <= CLOSE)


def _of(found: Found, case: Case) -> dict[str, Any]:
    return found["measurements"][case.name]


def _status(found: Found, case: Case) -> str:
    return found["measurements"].get(case.name, {}).get("status", "")


def _missing(found: Found, case: Case) -> str | None:
    """Why a case has no figures; None if it has."""
    status = _status(found, case)
    if status == "measured":
        return None
    return f"{status}: {_of(found, case)['why']}" if status else "not measured yet"


# -------------------------------------------------------------------------------------------------------------- tables


def report(found: Found, cases: Sequence[Case]) -> str:
    """The whole report."""
    peak = peak_of(found["card"])
    about = [
        ("date", found["date"]),
        ("card", f"{found['card']}, {found['memory'] / GB:.1f} GB"),
        ("dense peak", f"{peak.flops / 1e12:g} TFLOPS ({peak.source})" if peak else "not in benchmarks/flops.py"),
        ("command", f"`{found['command']}`"),
        ("versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items())),
    ]
    title = "Miniature run, which measures no card" if found["tiny"] else f"GPU check: {found['card']}"
    parts = [
        f"# {title}",
        _table(("", ""), about),
        "## Targets",
        _table(("what", "measured", "target", "verdict"), [_line(target) for target in targets(found, cases)]),
        "## Training",
        _table(TRAINING, [_training(found, case) for case in cases if case.kind == "training"]),
        "## Generation",
        _table(SAMPLING, [_sampling(found, case) for case in cases if case.kind == "generation"]),
        "## How it is measured",
        *NOTES,
    ]
    return "\n\n".join(parts) + "\n"


def _line(target: Target) -> tuple[str, ...]:
    return (target.what, target.figure, target.wanted, target.verdict)


TRAINING = (
    "case",
    "trained tokens/s",
    "tokens with a label/s",
    "tokens/s",
    "padding",
    "utilisation",
    "peak",
    "taken of the card",
    "predicted / peak",
    "setting",
)


def _training(found: Found, case: Case) -> tuple[str, ...]:
    if (missing := _missing(found, case)) is not None:
        return (case.name, *[""] * (len(TRAINING) - 2), missing)
    one, peak = _of(found, case), peak_of(found["card"])
    return (
        case.name,
        f"{one['trained tokens/s']:,.0f}",
        f"{one['labels/s']:,.0f}",
        f"{one['tokens/s']:,.0f}",
        f"{1 - one['work']['real'] / one['work']['slots']:.0%}",
        f"{one['FLOPs/s'] / peak.flops:.1%}" if peak else "peak not known",
        f"{one['peak'] / GB:.2f} GB",
        f"{one['reserved'] / GB:.2f} GB" if one["reserved"] else "",
        f"{one['predicted'] / one['peak']:.2f}" if case.engine == "plain" and not found["tiny"] else "",
        one["setting"],
    )


SAMPLING = ("case", "shared prefill", "num_return_sequences", "one by one", "peak", "setting")


def _sampling(found: Found, case: Case) -> tuple[str, ...]:
    if (missing := _missing(found, case)) is not None:
        return (case.name, *[""] * (len(SAMPLING) - 2), missing)
    one = _of(found, case)
    speeds = [f"{one['tokens/s'][way]:,.0f} tokens/s" for way in ("ours", "together", "apart")]
    return (case.name, *speeds, f"{one['peak'] / GB:.2f} GB", f"{one['setting']}, prompt of {one['prompt']} tokens")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)


NOTES = (
    ACCOUNTING,
    "The architectures have their true sizes and random weights, on which neither speed nor memory depends. Each case "
    "runs in a process of its own, whose PyTorch may take no more than its cap (in 10^9 bytes; a CUDA context comes on "
    "top); its first pass over the rows warms up, the second one counts. `peak` is what tensors take at the highest "
    "point, and what the prediction is held against; `taken of the card` is what PyTorch reserved, and what a target "
    "of memory is held against.",
    f"The rows are captured ones of the lab, of at most {recipes.LONGEST} tokens, in the tokens of the miniature "
    "student, since no hub is needed here; a student's own tokenizer makes fewer of the same text. `pad to "
    f"{recipes.LONGEST}` trains on every token of a row, the other recipes on its answer. Trained tokens are those of "
    "the answers for every recipe alike, so the same rows count the same; tokens with a label are each recipe's own.",
    f"Generation draws {SAMPLES} samples of one prompt: by the lab's decoding, which reads the prompt once, by "
    f"`num_return_sequences={SAMPLES}`, and by {SAMPLES} calls.",
)
