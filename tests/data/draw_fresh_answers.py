"""Draw the models' answers of `labelled_answers_fresh.jsonl` by a random seed, stratified by arm; no scorer takes part.

`python tests/data/draw_fresh_answers.py OUT [--real-document PATH]` writes one drawn answer a line, without labels.
The stored artifacts are read as they were at the commit `COMMIT`; the generated answers come from the shipped
miniature models over the passages that prove the question.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from adaptlab import models  # noqa: E402
from adaptlab.agreement import TUNED  # noqa: E402
from adaptlab.arms import run_arm  # noqa: E402
from adaptlab.benchmark import load_questions  # noqa: E402
from adaptlab.documents import load  # noqa: E402
from adaptlab.generation import LocalGenerator, Request  # noqa: E402
from adaptlab.models import Loaded  # noqa: E402
from adaptlab.retrieval import build  # noqa: E402
from adaptlab.schemas import Arm, Message, Question  # noqa: E402
from config import Settings, settings  # noqa: E402

DATA = ROOT / "tests" / "data"
COMMIT = "4b2553e"
SEED = 20261121
STORED = {  # file and arm: how many answers are drawn
    ("eval_results.json", "base"): 10,
    ("eval_with_context.json", "base + retrieval"): 14,
    ("bon_results.json", "base"): 12,
    ("bon_with_context.json", "base + retrieval"): 16,
    ("bon_more_samples.json", "base"): 8,
    ("bon_more_samples.json", "base + retrieval"): 12,
    ("adapter_results.json", "adapter"): 16,
    ("adapter_with_context.json", "adapter + retrieval"): 14,
    ("retriever_trial.json", "base + my retriever"): 12,
    ("reanswers.json", "re-answer"): 12,
}
AGAIN = {  # a second round, since these arms hold most of the right answers
    ("eval_with_context.json", "base + retrieval"): 5,
    ("adapter_results.json", "adapter"): 5,
    ("adapter_with_context.json", "adapter + retrieval"): 5,
    ("retriever_trial.json", "base + my retriever"): 5,
    ("reanswers.json", "re-answer"): 5,
}
MODELS = ("mini-granite", "mini-teacher")
TEMPERATURES = (0.0, 0.8, 1.2)
ASKED = 14  # questions put to every model at every temperature from each of the four sets
EACH = 4  # answers drawn from these
MOST = 3  # answers to one question, over the whole draw
MAX_TOKENS = 48
COMMAND = "python tests/data/draw_fresh_answers.py"
Drawn = tuple[str, str, str]  # question id, text, origin


def plain(text: str) -> str:
    """A text as it is compared with the older set: outer blanks and capitals do not count."""
    return text.strip().casefold()


def stored(file: str, arm: str) -> Iterator[Drawn]:
    """The answers of one arm in one artifact."""
    shown = ["git", "show", f"{COMMIT}:prebuilt/mini/the-sea-that-left/{file}"]
    rows = json.loads(subprocess.run(shown, cwd=ROOT, capture_output=True, check=True).stdout)
    for row in rows:
        if row["arm"] == arm and row["status"] == "ok":
            yield row["question_id"], row["text"], f"{COMMIT} {file}, {arm}"


def generated(loaded: Loaded, heat: float, asked: list[Question], document: str, chosen: Settings) -> Iterator[Drawn]:
    """One answer of a miniature model to every question, over the passages that hold its proof."""
    generator = LocalGenerator(loaded)

    def fits(messages: Sequence[Message]) -> bool:
        return len(generator.prompt_ids(Request(messages))) + MAX_TOKENS <= loaded.window

    arm = Arm(name="oracle", model=loaded.name, context="oracle", temperature=heat)
    index = build(document, size=chosen.profile.chunk_chars, overlap=chosen.profile.chunk_overlap)
    for row in run_arm(arm, asked, generator, index, document, max_tokens=MAX_TOKENS, seed=SEED, fits=fits):
        if row.status == "ok":
            yield row.question_id, row.text, f"{loaded.name}, temperature {heat:g}, oracle passage: {COMMAND}"


def strata(real_document: Path, chance: random.Random) -> Iterator[tuple[int, list[Drawn]]]:
    """How many to draw, and from what; every model at every temperature is asked `ASKED` questions of each set."""
    for (file, arm), count in STORED.items():
        yield count, list(stored(file, arm))
    chosen = settings()
    own = load_questions(DATA / "fresh.questions.jsonl")
    sea = [q for q in load_questions(ROOT / "00Setup" / "benchmark.jsonl") if not q.in_mini]
    fantasy = load_questions(DATA / "basic_fantasy.questions.jsonl")
    sets = [(sea, False), (fantasy, True)]
    sets += [([q for q in own if q.id.startswith("fresh.bf-") is real], real) for real in (False, True)]
    documents = {False: load(chosen.document), True: load(real_document)}
    for name in MODELS:
        loaded = models.load(name, chosen)
        for heat in TEMPERATURES:
            for questions, real in sets:
                asked = chance.sample(questions, ASKED)
                yield EACH, list(generated(loaded, heat, asked, documents[real], chosen))
    for (file, arm), count in AGAIN.items():
        yield count, list(stored(file, arm))


def draw(real_document: Path) -> list[Drawn]:
    """The draw: each pair of question and text once, no text of the older set, at most `MOST` to a question."""
    older = TUNED.read_text(encoding="utf-8").splitlines()
    taken = {plain(json.loads(line)["text"]) for line in older}
    chance = random.Random(SEED)
    seen: set[tuple[str, str]] = set()
    asked: Counter[str] = Counter()
    found: list[Drawn] = []
    for count, rows in strata(real_document, chance):
        pairs = sorted({(question, text): origin for question, text, origin in rows}.items())
        chance.shuffle(pairs)
        left = count
        for (question, text), origin in pairs:
            fresh = text.strip() and plain(text) not in taken and (question, plain(text)) not in seen
            if left and fresh and asked[question] < MOST:
                found.append((question, text, origin))
                seen.add((question, plain(text)))
                asked[question] += 1
                left -= 1
    return found


def main() -> None:
    """Write the drawn answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    default = ROOT.parent / "shared" / "data" / "basic-fantasy" / "Basic-Fantasy-RPG-Rules-r142.md"
    parser.add_argument("--real-document", type=Path, default=default)
    chosen = parser.parse_args()
    lines = [
        json.dumps({"question": question, "text": text, "origin": origin}, ensure_ascii=False)
        for question, text, origin in draw(chosen.real_document)
    ]
    chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
