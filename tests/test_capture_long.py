"""A capture keeps a long notebook's prebuilt results while they belong to the run, and drops them when they do not."""

from __future__ import annotations

import json

from test_artifacts import _returning

from adaptlab.artifacts import Lab
from adaptlab.capture import capture, has_results, verify_prebuilt
from adaptlab.kinds import REGISTRY
from adaptlab.schemas import Row
from adaptlab.sections import LONG

NOTEBOOK = LONG[0].removesuffix(".ipynb")


def compute(settings, asked: str, long: bool) -> None:
    """A complete run over one training row; with `long`, also what the long notebook makes of that row."""
    folder = settings.outputs_dir / "made"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.bin").write_bytes(b"\1\2")
    row = Row(id="r1", prompt=[{"role": "user", "content": asked}], completion=[{"role": "assistant", "content": "!"}])
    for name, known in REGISTRY.items():
        if known.notebook == NOTEBOOK:
            continue
        values = {"json": {"of": name}, "csv": [{"of": name}], "jsonl": [{"of": name}], "text": name, "folder": folder}
        value = [row] if name == "training_data" else values[known.kind]
        Lab(settings, notebook=known.notebook).step(name, _returning(value), models=())
    if long:
        lab = Lab(settings, notebook=NOTEBOOK)
        lab.step("trial_qlora.json", _returning({"x": 1}), inputs=[lab.result("training_data")], models=())


def test_results_that_still_belong_are_carried_over_and_others_are_not(make_lab):
    first = make_lab().settings
    compute(first, "?", long=True)
    capture(first)
    assert has_results(first, NOTEBOOK)

    again = make_lab(LAB_OUTPUTS=str(first.outputs_dir.with_name("again"))).settings
    compute(again, "?", long=False)
    folder = capture(again)
    assert has_results(again, NOTEBOOK) and verify_prebuilt(again) == []
    assert json.loads((folder / "trial_qlora.json").read_text()) == {"x": 1}

    other = make_lab(LAB_OUTPUTS=str(first.outputs_dir.with_name("other"))).settings
    compute(other, "another question?", long=False)
    folder = capture(other)
    assert not has_results(other, NOTEBOOK) and not (folder / "trial_qlora.json").exists()
    assert verify_prebuilt(other) == []
