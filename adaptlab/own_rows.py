"""Training rows that the learner brings along, in the place of section 02's: checked, stored, labelled as theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adaptlab import benchmark, imports, verify_data, workbench
from adaptlab.artifacts import Lab, Result
from adaptlab.environment import path_of
from adaptlab.kinds import artifact_of
from adaptlab.provenance import OWN_ROWS
from adaptlab.schemas import Row
from adaptlab.synthesis.mixing import read_own_rows
from config import MINI, PREBUILT_ROWS, LabError


def load(lab: Lab, name: str = "") -> Result | None:
    """The rows of the file `name` (else of LAB_TRAINING_ROWS) as a result; None where neither names any.

    A relative name counts from the working directory, else from the repository root. The formats are those of
    `adaptlab verify data`. The word `prebuilt` takes the rows that come with the repository. Raises a LabError with
    file, line and field for a row that cannot be trained on, and for one that would make the evaluation worth nothing.
    """
    wanted = name or lab.settings.training_rows
    if not wanted:
        return None
    if lab.settings.mode == "prebuilt":
        raise LabError(f"A replay trains nothing, so {Path(wanted).name} has to wait: set LAB_MODE=auto.")
    if wanted == PREBUILT_ROWS:
        return prebuilt(lab)
    path = path_of(wanted)
    student = lab.settings.student
    tokenizer = None if student.remote else verify_data.tokenizer_at_hand(student.location)
    rows = read_own_rows(path, tokenizer=tokenizer, longest=lab.profile.training.max_length)
    check_apart(lab, path, rows)
    imports.put(lab, artifact_of(OWN_ROWS, Row), rows, path, lab.notebook)
    return lab.result(OWN_ROWS, Row)


def prebuilt(lab: Lab) -> Result:
    """The rows that come with the repository for this document: the profile's own, else the mini profile's."""
    own = lab.settings.prebuilt_dir / artifact_of("training_data").file
    profile = lab.profile if own.is_file() else MINI
    shown_for = "" if profile is lab.profile else lab.profile.name
    replay = replace(lab.settings, mode="prebuilt", profile=profile, shown_for=shown_for)
    return Lab(replay, notebook=lab.notebook).result("training_data")


def check_apart(lab: Lab, path: Path, rows: Sequence[Row]) -> None:
    """Raise a LabError for a row that asks a test question or speaks of an entry that is held out for testing."""
    text, questions = workbench.document(lab), workbench.questions(lab)
    facts = workbench.facts(lab, text)
    asked = ["\n".join(message.content for message in row.prompt) for row in rows]
    overlaps = benchmark.contamination(questions, asked, sorted({fact.entity for fact in facts}))
    held_out = {fact.entity for fact in facts if fact.split == "held_out"}
    found = {overlap.text_index: f"asks the test question {overlap.question_id}" for overlap in overlaps}
    for at, words in enumerate(asked):
        named = next((entity for entity in sorted(held_out) if entity in words), None)
        if named:
            found.setdefault(at, f"speaks of {named}, which is held out for testing")
    if found:
        at = min(found)
        line, more = rows[at].id.rpartition("-")[2], f" ({len(found)} such rows in all)" if len(found) > 1 else ""
        raise LabError(
            f"{path.name}, line {line}: this row {found[at]}{more}: remove it, or the evaluation is worth nothing."
        )
