"""Draw the models' answers of `labelled_answers_unseen.jsonl` by a random seed; no scorer takes part.

`python tests/data/draw_unseen_answers.py OUT [--real-document PATH]` writes one drawn answer a line, without labels.
A stratum is an arm of a stored artifact as it was at the commit `COMMIT`, or a miniature model asked anew under one of
the `ASKED` prompts. In every stratum the answers that hold the gold as it stands and all others are drawn apart, in
both by turns from every answer type, and never a text that an older file of labels has.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from adaptlab import models, prompts  # noqa: E402
from adaptlab.arms import context_for  # noqa: E402
from adaptlab.benchmark import load_questions  # noqa: E402
from adaptlab.documents import load  # noqa: E402
from adaptlab.generation import LocalGenerator, Request  # noqa: E402
from adaptlab.models import Loaded  # noqa: E402
from adaptlab.retrieval import Searches, build  # noqa: E402
from adaptlab.schemas import Arm, Message, PhrasingRole, Question  # noqa: E402
from config import ROOT, settings  # noqa: E402

DATA, SETUP = ROOT / "tests" / "data", ROOT / "00Setup"
OLDER = ("labelled_answers.jsonl", "labelled_answers_more.jsonl", "labelled_answers_fresh.jsonl")
COMMIT = "57a4221"
SEED = 20261137
STORED = {  # file and arm: how many answers with the gold in them are drawn, and how many others
    ("eval_results.json", "base"): (0, 8),
    ("eval_with_context.json", "base + retrieval"): (10, 6),
    ("bon_results.json", "base"): (3, 10),
    ("bon_with_context.json", "base + retrieval"): (10, 5),
    ("bon_more_samples.json", "base"): (3, 8),
    ("bon_more_samples.json", "base + retrieval"): (14, 7),
    ("adapter_results.json", "adapter"): (8, 8),
    ("adapter_with_context.json", "adapter + retrieval"): (10, 7),
    ("retriever_trial.json", "base + my retriever"): (4, 4),
    ("reanswers.json", "re-answer"): (6, 3),
}
AGAIN = {
    ("eval_with_context.json", "base + retrieval"): (6, 3),
    ("adapter_with_context.json", "adapter + retrieval"): (6, 3),
    ("adapter_results.json", "adapter"): (4, 2),
    ("bon_more_samples.json", "base + retrieval"): (7, 3),
    ("bon_with_context.json", "base + retrieval"): (3, 1),
    ("retriever_trial.json", "base + my retriever"): (2, 2),
    ("reanswers.json", "re-answer"): (2, 2),
}
MODELS = ("mini-granite", "mini-teacher")
ASKED: dict[str, tuple[PhrasingRole, str, float]] = {  # the prompt: which phrasing, in what frame, how hot
    "as in the lab": ("unseen form", "{asked}", 0.7),
    "the trained phrasing": ("seen form", "{asked}", 1.0),
    "passages without instruction": ("unseen form", "{passages}\n\n{question}", 1.0),
    "told to give the value only": ("unseen form", "{asked} Give only the value.", 0.4),
}
PUT = (24, 12, 18)  # questions put to each model under each prompt: the benchmark's, the further ones, Basic Fantasy's
DRAWN = (4, 3)  # with the gold in them and others, from each model, prompt and document
MOST = 2  # answers to one question, and one more in the second round
MAX_TOKENS = 48
COMMAND = "python tests/data/draw_unseen_answers.py"


class Drawn(NamedTuple):
    """An answer with its question and where it comes from."""

    question: Question
    text: str
    origin: str


def plain(text: str) -> str:
    """A text as it is compared with the older files: outer blanks and capitals do not count."""
    return text.strip().casefold()


def stored(file: str, arm: str, questions: dict[str, Question]) -> Iterator[Drawn]:
    """The answers of one arm in one artifact."""
    shown = ["git", "show", f"{COMMIT}:prebuilt/mini/the-sea-that-left/{file}"]
    rows = json.loads(subprocess.run(shown, cwd=ROOT, capture_output=True, check=True).stdout)
    for row in rows:
        if row["arm"] == arm and row["status"] == "ok":
            yield Drawn(questions[row["question_id"]], row["text"], f"{COMMIT} {file}, {arm}")


def chat(question: Question, role: PhrasingRole, frame: str, index: Searches) -> list[Message]:
    """A question over the first two passages that hold its proof (else that are retrieved), in a frame."""
    hits = context_for(Arm(name="oracle", model="", context="oracle"), question, index, role, 2)[:2]
    passages = [(hit.title, hit.text) for hit in hits]
    asked = prompts.with_passages(question.text(role), passages)
    shown = prompts.format_passages(passages)
    return [Message(role="user", content=frame.format(asked=asked, passages=shown, question=question.text(role)))]


def generated(loaded: Loaded, prompt: str, questions: Sequence[Question], index: Searches) -> Iterator[Drawn]:
    """One answer of a miniature model to every question whose passages fit into its window."""
    role, frame, heat = ASKED[prompt]
    generator = LocalGenerator(loaded)
    chats = [(question, chat(question, role, frame, index)) for question in questions]
    room = loaded.window - MAX_TOKENS
    chats = [(question, turns) for question, turns in chats if len(generator.prompt_ids(Request(turns))) <= room]
    seeds = [SEED + at for at in range(len(chats))]
    done = generator.generate([turns for _, turns in chats], temperature=heat, max_tokens=MAX_TOKENS, seeds=seeds)
    for (question, _), completions in zip(chats, done, strict=True):
        if completions[0].status == "ok" and completions[0].text:
            origin = f"{loaded.name}, temperature {heat:g}, oracle passages, {prompt}: {COMMAND}"
            yield Drawn(question, completions[0].text, origin)


def strata(real_document: Path, chance: random.Random) -> Iterator[tuple[tuple[int, int], list[Drawn]]]:
    """How many to draw with the gold in them and without, and from what."""
    sea = load_questions(SETUP / "benchmark.jsonl")
    own = load_questions(DATA / "fresh.questions.jsonl")
    real = [*load_questions(DATA / "basic_fantasy.questions.jsonl"), *(q for q in own if "fresh.bf-" in q.id)]
    more = [question for question in own if "fresh.bf-" not in question.id]
    by_id = {question.id: question for question in sea}
    for (file, arm), counts in STORED.items():
        yield counts, list(stored(file, arm, by_id))
    chosen = settings()
    size, overlap = chosen.profile.chunk_chars, chosen.profile.chunk_overlap
    indexes = [build(load(path), size=size, overlap=overlap) for path in (chosen.document, real_document)]
    for name in MODELS:
        loaded = models.load(name, chosen)
        for prompt in ASKED:
            for count, questions, index in zip(PUT, (sea, more, real), (indexes[0], *indexes), strict=True):
                yield DRAWN, list(generated(loaded, prompt, chance.sample(questions, count), index))


def by_turns(rows: Iterable[Drawn], chance: random.Random) -> Iterator[Drawn]:
    """The answers in random order, one of each answer type in turn, two of numbers and texts."""
    piles: dict[str, list[Drawn]] = defaultdict(list)
    for row in rows:
        piles[row.question.answer_type].append(row)
    for kind in sorted(piles):
        chance.shuffle(piles[kind])
    while any(piles.values()):
        for kind in sorted([*piles, *(common for common in ("number", "text") if common in piles)]):
            if piles[kind]:
                yield piles[kind].pop()


class Draw:
    """What was drawn so far: no text of an older file, none twice, and only so many to a question."""

    def __init__(self) -> None:
        lines = [line for name in OLDER for line in (SETUP / name).read_text(encoding="utf-8").splitlines()]
        self.taken = {plain(json.loads(line)["text"]) for line in lines}
        self.asked: Counter[str] = Counter()

    def take(self, counts: tuple[int, int], rows: list[Drawn], most: int, chance: random.Random) -> Iterator[Drawn]:
        """The answers drawn from one stratum, `most` to a question over all strata."""
        pairs = sorted({(row.question.id, plain(row.text)): row for row in rows if row.text.strip()}.items())
        groups: tuple[list[Drawn], list[Drawn]] = ([], [])
        for _, row in pairs:
            forms = [row.question.answer, *row.question.accepted]
            groups[not any(plain(form) in plain(row.text) for form in forms)].append(row)
        for count, group in zip(counts, groups, strict=True):
            left = count
            for row in by_turns(group, chance):
                if left and plain(row.text) not in self.taken and self.asked[row.question.id] < most:
                    yield row
                    self.taken.add(plain(row.text))
                    self.asked[row.question.id] += 1
                    left -= 1


def draw(real_document: Path) -> Iterator[Drawn]:
    """The draw: all strata, then a second round over the arms that hold most of the right answers."""
    drawn = Draw()
    chance = random.Random(SEED)
    for counts, rows in strata(real_document, random.Random(SEED)):
        yield from drawn.take(counts, rows, MOST, chance)
    chance = random.Random(SEED + 1)
    by_id = {question.id: question for question in load_questions(SETUP / "benchmark.jsonl")}
    for (file, arm), counts in AGAIN.items():
        yield from drawn.take(counts, list(stored(file, arm, by_id)), MOST + 1, chance)


def main() -> None:
    """Write the drawn answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    default = ROOT.parent / "shared" / "data" / "basic-fantasy" / "Basic-Fantasy-RPG-Rules-r142.md"
    parser.add_argument("--real-document", type=Path, default=default)
    chosen = parser.parse_args()
    lines = [
        json.dumps({"question": row.question.id, "text": row.text, "origin": row.origin}, ensure_ascii=False)
        for row in draw(chosen.real_document)
    ]
    chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
