"""The commands around training: `adaptlab train fit|rows|engines` and `adaptlab adapter merge|push`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import config
from adaptlab.commands import add, show
from config import LabError, Profile, Settings


def register(nouns: Any) -> None:
    """Add the groups `train` and `adapter` to the command line."""
    group = nouns.add_parser("train", help="will it fit, train rows, compare the engines")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="verb")
    asked = add(
        verbs,
        "fit",
        "say how much memory and time the profile's training takes, from the model's config alone",
        train_fit,
        example="adaptlab train fit --profile l4 --rows 3000",
    )
    asked.add_argument("--config", type=Path, help="a config.json or its folder; else the profile's student")
    asked.add_argument("--rows", type=_positive, default=1000, help="training rows, at full length (1000)")
    trained = add(
        verbs,
        "rows",
        "train an adapter on rows; the same command works under torchrun (-m adaptlab train rows ...)",
        train_rows,
        example="torchrun --nproc-per-node 2 -m adaptlab train rows training_data.jsonl --out adapter-run",
    )
    _training_options(trained)
    trained.add_argument("--engine", choices=["plain", "unsloth"], help="else the profile's")
    trained.add_argument("--strict-engine", action="store_true", help="stop where that engine cannot be used here")
    compared = add(
        verbs,
        "engines",
        "train the same rows with the plain engine and with unsloth, and compare speed and memory",
        train_engines,
        example="adaptlab train engines training_data.jsonl --out engines --max-steps 50 --profile l4",
    )
    _training_options(compared)
    _register_adapter(nouns)


def _training_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("rows", type=Path, help="training rows as section 02 writes them (training_data.jsonl)")
    command.add_argument("--out", required=True, type=Path, help="the folder to write")
    command.add_argument("--base", help="a folder with weights or a hub name; else the profile's student")
    command.add_argument("--max-steps", type=_positive, help="stop after so many steps")
    command.add_argument("--batch-size", type=_positive, help="rows a step and process; else the profile's")
    command.add_argument("--validation-share", type=float, help="hold back the rows about this share of the facts")
    command.add_argument(
        "--patience", type=_positive, help="stop after so many epochs without a better validation loss"
    )
    command.add_argument("--no-resume", action="store_true", help="start afresh")


def _register_adapter(nouns: Any) -> None:
    group = nouns.add_parser("adapter", help="merge a trained adapter, or publish it")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="verb")
    merged = add(
        verbs,
        "merge",
        "merge an adapter into 16-bit weights, checked against the unmerged model on its logits",
        adapter_merge,
        example="adaptlab adapter merge outputs/mini/the-sea-that-left/adapter --out merged",
    )
    merged.add_argument("adapter", type=Path, help="the adapter's folder")
    merged.add_argument("--out", required=True, type=Path, help="the folder to write")
    merged.add_argument("--base", help="a folder with weights or a hub name; else the profile's student")
    merged.add_argument(
        "--as-trained", action="store_true", help="merge into the base as it comes out of the 4 bits of the training"
    )
    merged.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"], help="(bfloat16)")
    pushed = add(
        verbs,
        "push",
        "upload an adapter or a merged model to a hub; never done without this command and a token",
        adapter_push,
        example="HF_TOKEN=... adaptlab adapter push merged --to your-name/rulebook-adapter",
    )
    pushed.add_argument("folder", type=Path, help="what to upload")
    pushed.add_argument("--to", required=True, help="the repository, as owner/name")
    pushed.add_argument("--public", action="store_true", help="for everybody; else private")


def _positive(text: str) -> int:
    """A whole number from 1 on, or argparse's own complaint."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 on")
    return int(text)


# --------------------------------------------------------------------------------------------------- commands


def train_fit(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Predict memory and time; exit code 1 where the profile's card is too small."""
    from adaptlab import fit, fit_plans, fit_report

    settings = config.settings(need_document=False)
    own = settings.student
    found = fit_plans.model_config(arguments.config) if arguments.config else fit_plans.student_config(own)
    speed = None if settings.profile.needs_gpu else fit_report.processor_speed(fit.architecture(found))
    predicted = fit.predict(found, settings.profile, rows=arguments.rows, flops_per_second=speed)
    value = {
        "model": predicted.architecture.name,
        "parameters": predicted.architecture.parameters,
        "training": predicted.training,
        "generation": predicted.generation,
        "peak": predicted.peak,
        "card": predicted.card.name if predicted.card else None,
        "fits": predicted.fits,
        "seconds": predicted.seconds,
    }
    lines = [f"  {row.phase:<11} {row.part:<26} {row.size:>12}" for row in fit_report.table(predicted).itertuples()]
    show(arguments, value, "\n".join([*lines, fit_report.verdict(predicted)]))
    return 1 if predicted.fits is False else 0


def train_rows(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Train; under torchrun every process runs this, and the first one alone speaks."""
    import os

    from adaptlab import engines, notebook, training

    settings = config.settings(need_document=False)
    notebook.quiet(settings)
    profile = _profile(settings, arguments)
    chosen, why = engines.choose(profile)
    if arguments.strict_engine and chosen != profile.engine:
        raise LabError(f"The engine {profile.engine} cannot be used here: {why}.")
    rows, watched = _rows(arguments, settings)
    result = training.train_qlora(
        rows,
        arguments.base or settings.student.location,
        arguments.out,
        profile,
        resume=not arguments.no_resume,
        seed=settings.seeds.training,
        validation=watched,
        patience=arguments.patience,
        **({"max_steps": arguments.max_steps} if arguments.max_steps else {}),
    )
    if os.environ.get("RANK", "0") == "0":
        words = f"{result.steps} steps, loss {result.final_loss:.4f}, {result.tokens_per_second:,.0f} tokens/s"
        show(arguments, training.result_dict(result), f"{words}; the adapter is in {result.adapter_dir}.")
    return 0


def _profile(settings: Settings, arguments: argparse.Namespace) -> Profile:
    profile = settings.profile
    if arguments.batch_size:
        profile = replace(profile, training=replace(profile.training, batch_size=arguments.batch_size))
    return replace(profile, engine=arguments.engine) if arguments.engine else profile


def _rows(arguments: argparse.Namespace, settings: Settings) -> tuple[list[Any], list[Any]]:
    """Training and validation rows out of the file."""
    from adaptlab.synthesis.rows import read_training_jsonl
    from adaptlab.training_batches import split_by_fact

    rows = read_training_jsonl(arguments.rows)
    if not rows:
        raise LabError(f"{arguments.rows.name} has no rows: give a file with training rows.")
    if arguments.validation_share is None:
        return rows, []
    return split_by_fact(rows, arguments.validation_share, settings.seeds.training)


def train_engines(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Compare the engines; exit code 1 where one of them could not be measured."""
    from adaptlab import engines

    options = [f"--{name}={value}" for name, value in _given(arguments).items()]
    table = engines.compare(arguments.rows.resolve(), arguments.out.resolve(), options)
    gains = engines.ratios(table)
    words = [f"unsloth / plain, {name.replace('_', ' ')}: {value:.2f}" for name, value in gains.items()]
    value = {"engines": table.astype(object).where(table.notna(), None).to_dict("records"), "ratios": gains}
    show(arguments, value, "\n".join([table.to_string(index=False, na_rep=""), *words]))
    return 0 if gains else 1


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that each engine's own run gets."""
    names = ("base", "max_steps", "batch_size", "validation_share", "patience", "profile", "mode")
    return {name.replace("_", "-"): getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def adapter_merge(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Merge and check."""
    from adaptlab import adapters

    base = arguments.base or config.settings(need_document=False).student.location
    report = adapters.merge(
        base, arguments.adapter, arguments.out, dtype=arguments.dtype, as_trained=arguments.as_trained
    )
    show(arguments, report.as_dict(), f"{report}\nMerged into {arguments.out}.")
    return 0


def adapter_push(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Upload with the token of HF_TOKEN."""
    import os

    from adaptlab import adapters

    where = adapters.push(arguments.folder, arguments.to, os.environ.get("HF_TOKEN", ""), private=not arguments.public)
    show(arguments, {"url": where}, f"Uploaded to {where}.")
    return 0
