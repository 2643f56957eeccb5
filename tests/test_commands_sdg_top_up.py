"""`adaptlab sdg top-up`: only thin sections are asked again, with new seeds, and what is new is kept beside the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_helpers import teaching

from adaptlab import cli, prompts

pytest.importorskip("adaptlab.commands_sdg")
FILLER = "Nobody knows why it was built, and the people who might have known have moved away. " * 7
PLACES = ("Ferry", "Bell", "Gate")


def answer(prompt: str, request: dict | None = None) -> str:
    """One pair on the Ferry; nothing that can be read on any other place."""
    told = "costs 3 crowns" in prompt
    said = ("Ferry: Cost", "What does the Ferry cost?", "The Cost of the Ferry is 3 crowns.")
    return prompts.pair(*said) if told else "no tags"


@pytest.fixture
def top_up(
    lab_environ: dict[str, str], document: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`top_up("run", ...)`: a verb of `adaptlab sdg` over a document of three sections."""
    sections = [f"## {name}\n\nThe {name} costs {at} crowns. {FILLER}\n\n" for at, name in enumerate(PLACES, 3)]
    document.write_text("# Atlas\n\n" + "".join(sections), "utf-8")
    for name, value in lab_environ.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["sdg", *arguments])
        return code, *capsys.readouterr()

    return call


def test_only_the_thinnest_sections_are_asked_again_and_their_rows_are_kept(
    top_up: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with teaching(answer) as teacher:
        options = ["--endpoint", teacher.url, "--model", "teacher", "--out", str(out), "--part", "all"]
        options += ["--flow", "question_answer_pairs", "--json"]
        code, _, errors = top_up("top-up", *options)
        assert code == 2 and "There are no rows" in errors
        assert top_up("run", *options)[0] == 0
        teacher.requests.clear()
        code, output, errors = top_up("top-up", *options, "--count", "2", "--pieces", "1", "--more", "2")
        assert (code, errors) == (0, "") and json.loads(output)["documents"] == 4
        asked = [r for r in teacher.requests if prompts.WRITING_INSTRUCTION in r["messages"][0]["content"]]
        assert len(asked) == 4 and len({r["seed"] for r in asked}) == 2
        assert not any("The Ferry costs" in r["messages"][0]["content"] for r in asked)
        before = (out / "top_up.jsonl").read_text("utf-8").splitlines()
        top_up("top-up", *options, "--section", "ferry", "--pieces", "1")
        rows = [json.loads(line) for line in (out / "top_up.jsonl").read_text("utf-8").splitlines()]
    assert [json.dumps(row, ensure_ascii=False) for row in rows[: len(before)]] == before
    assert rows[-1]["answer"] == "The Cost of the Ferry is 3 crowns." and rows[-1]["seed"] > rows[0]["seed"]


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--pieces", "0"], ["--more", "-1"]])
def test_a_number_under_one_is_a_sentence(top_up: Callable[..., tuple[int, str, str]], wrong: list[str]) -> None:
    code, _, errors = top_up("top-up", "--endpoint", "http://127.0.0.1:9/v1", "--model", "m", *wrong)
    assert code == 2 and "numbers from 1 on" in errors
