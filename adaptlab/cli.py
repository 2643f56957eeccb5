"""The command line: `adaptlab <noun> <verb>`, the same functions as in the notebooks."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import config
from adaptlab import (
    commands_colab,
    commands_document,
    commands_eval,
    commands_sdg,
    commands_site,
    commands_teaching,
    commands_training,
)
from adaptlab.commands import add, show
from adaptlab.inert import inert
from config import LabError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what a person can put right is one sentence on standard error and exit code 2."""
    arguments, rest = parser().parse_known_args(argv)
    if rest and not arguments.passes_on:
        print(f"adaptlab: unknown argument {rest[0]}: see adaptlab --help.", file=sys.stderr)
        return 2
    try:
        _apply(arguments)
        return int(arguments.command(arguments, rest))
    except LabError as error:
        print(f"adaptlab: {inert(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("adaptlab: stopped; what was finished is kept, and the next run goes on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"adaptlab: {error.strerror or error}{where}: free or allow it, then run it again.", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="adaptlab", description="The Model Adaptation Lab.")
    nouns = top.add_subparsers(dest="noun", required=True, metavar="noun")
    asked = add(nouns, "doctor", "say what this machine can run and what is missing", doctor, example="adaptlab doctor")
    asked.add_argument(
        "--timeout", type=_seconds, default=10.0, help="most seconds to wait for network and endpoint (10)"
    )
    add(nouns, "capture", "copy this machine's complete live run into prebuilt/", capture)
    verify = nouns.add_parser("verify", help="check stored results against their hashes")
    verbs = verify.add_subparsers(dest="verb", required=True, metavar="verb")
    add(verbs, "prebuilt", "check the results that come with the repository", verify_prebuilt)
    add(verbs, "live", "check whether this machine's run is complete", verify_live)
    add(verbs, "all", "check everything that is stored, training rows included", commands_eval.verify_all)
    commands_eval.register_verify_data(verbs)
    commands_eval.register(nouns)
    commands_document.register(nouns)
    commands_sdg.register(nouns)
    commands_training.register(nouns)
    commands_teaching.register(nouns)
    commands_site.register(nouns)
    commands_colab.register(nouns)
    models = nouns.add_parser("models", help="the models of the lab")
    add(models.add_subparsers(dest="verb", required=True, metavar="verb"), "list", "list them", models_list)
    serving = add(
        nouns,
        "serve",
        "an OpenAI-compatible endpoint for the miniature models; it asks for the key in LAB_SERVE_KEY, if one is set",
        serve,
        passes_on=True,
    )
    serving.add_argument("--port", type=_port, default=8000, help="port to listen on (8000)")
    add(nouns, "run", "run the notebooks in order", run, passes_on=True, example="--from 02 --to 04")
    return top


def _apply(arguments: argparse.Namespace) -> None:
    """Let --profile and --mode count for everything below, child processes included."""
    for option, variable in ((arguments.profile, "LAB_PROFILE"), (arguments.mode, "LAB_MODE")):
        if option is not None:
            os.environ[variable] = option


def _port(text: str) -> int:
    """A port number, or argparse's own complaint."""
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    """A number of seconds from 1 to 600, or argparse's own complaint."""
    if not text.isdecimal() or not 1 <= int(text) <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give whole seconds from 1 to 600")
    return float(text)


# --------------------------------------------------------------------------------------------------- commands


def doctor(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """What this machine can run; exit code 0 if every notebook can, 1 if one cannot, 2 if a setting is wrong."""
    from adaptlab import doctor as asking

    settings = config.settings()
    report = asking.examine(settings, arguments.timeout)
    show(arguments, asking.as_json(settings, report), asking.screen(settings, report))
    return report.code


def capture(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Copy a complete, verified live run into prebuilt/."""
    from adaptlab.capture import capture as copy, read_manifest

    folder = copy(config.settings())
    manifest = read_manifest(folder)
    names = sorted(manifest.artifacts) if manifest else []
    show(arguments, {"folder": str(folder), "artifacts": names}, f"Captured {len(names)} artifacts into {folder}.")
    return 0


def verify_prebuilt(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """List what is wrong with the prebuilt results; exit code 1 if anything is."""
    from adaptlab import capture as captured

    settings = config.settings()
    return _verdict(arguments, captured.verify_prebuilt(settings), f"{settings.prebuilt_dir} is whole.")


def verify_live(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """List what keeps this machine's run from being captured; exit code 1 if anything does."""
    from adaptlab import capture as captured

    settings = config.settings()
    return _verdict(arguments, captured.verify_live(settings), f"{settings.live_dir} is complete.")


def _verdict(arguments: argparse.Namespace, problems: list[str], well: str) -> int:
    """Print problems, or that there are none."""
    show(arguments, {"problems": problems}, "\n".join(problems) or well)
    return 1 if problems else 0


def models_list(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """The models of the registry with where they come from."""
    from adaptlab.provenance import model_record

    records = [model_record(spec).model_dump() for spec in config.MODELS.values() if not spec.remote]
    lines = [
        f"{record['name']:<26} {record['repository'] or config.MODELS[record['name']].path:<40} "
        f"{record['revision']:<22} {record['precision']}{_presence(record['name'], record['weights'])}"
        for record in records
    ]
    show(arguments, records, "\n".join(lines))
    return 0


def _presence(name: str, weights: str | None) -> str:
    """A word about the weights of a shipped model."""
    if not config.MODELS[name].shipped:
        return ""
    return f"  {weights[:12]}" if weights else "  missing"


def serve(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Serve the miniature models until Ctrl-C."""
    from adaptlab import serving

    return int(serving.main(["--port", str(arguments.port), *rest]) or 0)


def run(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Run the notebooks; `adaptlab.runner` knows the further options."""
    config.settings()  # a wrong setting is told at once, before anything heavy is imported
    from adaptlab import runner

    return int(runner.main([*(["--json"] if arguments.json else []), *rest]) or 0)


if __name__ == "__main__":
    sys.exit(main())
