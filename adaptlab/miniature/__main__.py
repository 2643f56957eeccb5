"""`python -m adaptlab.miniature tokenizer|layers|pretrain|export|measure|card`: makes and measures the small models."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def _tokenizer(options: argparse.Namespace) -> None:
    from adaptlab.miniature.tokenizer import train_default

    train_default().save_pretrained(options.folder)


def _layers(options: argparse.Namespace) -> None:
    from adaptlab.miniature.pretrain import losses_by_layers

    for loss, layers in losses_by_layers(options.name, options.trunk):
        print(f"{loss:.3f}  {', '.join(map(str, layers))}")


def _pretrain(options: argparse.Namespace) -> None:
    from adaptlab.miniature.pretrain import Stage, train

    stage = Stage(options.name, options.mix, int(options.tokens * 1e6), seed=options.seed, decay=options.decay)
    train(stage, options.tokenizer, options.folder, options.start_from, options.workers, options.threads, fused=True)


def _export(options: argparse.Namespace) -> None:
    from adaptlab.miniature.pretrain import export

    export(options.checkpoint, options.name, options.tokenizer, options.folder)


def _measure(options: argparse.Namespace) -> None:
    from adaptlab import models
    from adaptlab.generation import LocalGenerator
    from adaptlab.miniature.measure import measure

    table = measure(LocalGenerator(models.load(options.model)), options.n, options.teacher)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    if options.json:
        table.to_json(options.json, orient="records", indent=1)


def _card(options: argparse.Namespace) -> None:
    from adaptlab.miniature.card import write

    measured = json.loads(options.measured.read_text("utf-8"))
    before = json.loads((options.after / "training.json").read_text("utf-8")) if options.after else []
    stages = before + [
        {**json.loads((run / "stage.json").read_text("utf-8")), "tokens": _tokens_seen(run)} for run in options.runs
    ]
    print(write(options.folder, measured, stages))


def _tokens_seen(run: Path) -> int:
    """The tokens that the weights of a stage's checkpoint have seen in it."""
    import torch

    return int(torch.load(run / "checkpoint.pt", weights_only=True)["seen"])


def main() -> None:
    """Parse the command line and run one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m adaptlab.miniature", description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("tokenizer", help="train the family's tokenizer")
    one.add_argument("folder", type=Path)
    one.set_defaults(run=_tokenizer)
    one = commands.add_parser("layers", help="the answer loss of every choice of a shipped model's layers, best first")
    one.add_argument("name", help="the smaller member that keeps them")
    one.add_argument("trunk", type=Path, help="the shipped model's folder")
    one.set_defaults(run=_layers)
    one = commands.add_parser("pretrain", help="run or resume one stage of pre-training")
    one.add_argument("name")
    one.add_argument("folder", type=Path)
    one.add_argument("--tokenizer", type=Path, required=True)
    one.add_argument("--tokens", type=float, required=True, help="millions of tokens in this stage")
    one.add_argument("--start-from", type=Path, help="an earlier stage's checkpoint, or a shipped model's folder")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--mix", default="trunk", help="trunk, student or teacher")
    one.add_argument("--decay", type=float, default=0.3, help="share of the stage over which the rate falls to zero")
    one.add_argument("--workers", type=int, default=2)
    one.add_argument("--threads", type=int, default=1, help="threads a worker")
    one.set_defaults(run=_pretrain)
    one = commands.add_parser("export", help="write a checkpoint as a shippable model")
    one.add_argument("name")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("folder", type=Path)
    one.add_argument("--tokenizer", type=Path, required=True)
    one.set_defaults(run=_export)
    one = commands.add_parser("measure", help="measure a model on worlds it was never trained on")
    one.add_argument("model", help="a registry name or a folder")
    one.add_argument("--n", type=int, default=400)
    one.add_argument("--teacher", action="store_true", help="also measure writing and checking")
    one.add_argument("--json", type=Path, help="write the table to this file too")
    one.set_defaults(run=_measure)
    one = commands.add_parser("card", help="write a shipped model's card")
    one.add_argument("folder", type=Path)
    one.add_argument("measured", type=Path, help="the file that `measure --json` wrote")
    one.add_argument("runs", type=Path, nargs="+", help="the folders of its training stages, in order")
    one.add_argument("--after", type=Path, help="the shipped model's folder that the first of them started from")
    one.set_defaults(run=_card)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
