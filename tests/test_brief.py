"""The brief says what the results say: intervals, costs, what is not known, and "no detectable difference" when so."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

import config
from adaptlab import brief, pages
from adaptlab.artifacts import Lab

SHIPPED = {"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"}


def lab() -> Lab:
    return Lab(config.settings(SHIPPED), notebook="test")


def evaluation() -> dict:
    """Two rungs, one comparison, one skill: as notebook 04 writes them."""
    rung = {"n": 40, "low": 0.4, "high": 0.7, "guess": None, "notebook": "00"}
    test = {"n": 40, "both": 20, "only_a": 2, "only_b": 3, "neither": 15, "difference": 0.025, "p": 1.0}
    return {
        "ladder": [{"rung": "retrieval", "rate": 0.55, **rung}, {"rung": "adapter", "rate": 0.57, **rung}],
        "detectable": 0.21,
        "scores": [{"questions": "lookup", "n": 40}, {"questions": "lookup", "n": 40}],
        "guess": [],
        "tests": [
            {
                "a": "base + retrieval",
                "b": "adapter + retrieval",
                "verdict": "no detectable difference at this size",
                **test,
            }
        ],
        "skills": [],
    }


def test_no_difference_is_called_no_detectable_difference_and_bounded():
    text = brief.write(evaluation(), "rules.md", "mini")
    first = text.splitlines()[2]
    assert "no detectable difference at this size, +2 points" in first and "on 40 questions" in first
    assert "Differences under 21 points: 40 questions are too few to show them." in text
    assert "which does not show that there is none" in text and "better" not in text


def test_a_difference_that_was_found_is_told_as_one():
    data = evaluation()
    data["tests"][0] |= {"verdict": "better", "only_b": 14, "neither": 4, "difference": 0.3, "p": 0.004}
    text = brief.write(data, "rules.md", "mini")
    assert "adapter + retrieval against base + retrieval: better, +30 points" in text
    assert "which does not show" not in text and "Adaptation added to retrieval" in text


def with_skill(verdict: str) -> list[dict]:
    return [{"skill": "reading", "base": 0.8, "adapter": 0.6, "verdict": verdict, "base low": 0.7, "base high": 0.9}]


@pytest.mark.parametrize(
    ("beside", "alone", "skills", "words"),
    [
        ("better", "better", [], "no loss was detected"),
        ("better", "better", with_skill("worse"), "but cost something (reading)"),
        ("worse", "better", [], "made answers with retrieval worse"),
        ("no detectable difference at this size", "better", with_skill("worse"), "It also cost something (reading)"),
        ("no detectable difference at this size", "worse", [], "no detectable gain"),
    ],
)
def test_what_to_do_next_follows_from_gain_and_loss(beside, alone, skills, words):
    data = evaluation()
    data["tests"][0]["verdict"] = beside
    data["tests"].append({**data["tests"][0], "a": "base", "b": "adapter", "verdict": alone})
    assert words in brief.next_step({**data, "skills": skills})


def test_retrieval_stands_among_what_changed_and_intervals_beside_rates():
    step = {"a": "base", "b": "base + retrieval", "n": 40, "difference": 0.5, "low": 0.4, "high": 0.6, "p": 1e-9}
    guess = {"arm": "adapter", "facts": "visible facts", "n": 39, "rate": 24 / 39, "guess": 0.01, "above_guess": True}
    data = {**evaluation(), "steps": [{**step, "verdict": "better"}], "guess": [guess], "skills": with_skill("worse")}
    changed = brief.write(data, "rules.md", "mini").split("## What changed")[1].split("## What it cost")[0]
    assert "- base + retrieval against base: +50 points (+40 to +60, n = 40, p < 0.001), better." in changed
    assert "62% of 39 right (46% to 75%), more than guessing explains (1%)" in changed
    assert "80% (70% to 90%) before, 60% after, worse" in changed


def test_the_interval_of_a_difference_holds_it_and_is_the_same_every_time():
    test = evaluation()["tests"][0]
    low, high = brief.difference_interval(test)
    assert low < test["difference"] < high and (low, high) == brief.difference_interval(test)


def test_every_figure_of_the_shipped_brief_is_in_the_artifacts():
    stored = lab().result("evaluation").data
    spent = brief.cost(lab())
    text = brief.write(stored, "rules.md", "mini", spent)
    for row in stored["ladder"]:
        assert f"{row['rate']:.0%} ({row['low']:.0%} to {row['high']:.0%}, n = {row['n']})" in text
    training = json.loads((lab().settings.prebuilt_dir / "adapter" / "cost.json").read_text())
    assert spent["training"] == training and f"{training['tokens']:,} tokens" in text
    drawn = {(row["arm"], row["drawn"]) for row in spent["answers"]}
    assert ("adapter + retrieval", 1.0) in drawn and max(count for _, count in drawn) > 1
    manifest = json.loads((lab().settings.prebuilt_dir / "manifest.json").read_text())["notebooks"]
    assert spent["minutes"] == pytest.approx({name: seconds / 60 for name, seconds in manifest.items()})


def test_the_call_of_the_notebook_works_without_costs():
    assert "`adaptlab brief` adds" in brief.write(evaluation(), "rules.md", "mini")


def test_the_command_writes_markdown_and_a_page_that_prints_on_one_sheet(adaptlab_command, tmp_path):
    shipped = {"LAB_DOCUMENT": str(lab().settings.document), "LAB_PREBUILT": str(ROOT / "prebuilt")}
    done = adaptlab_command("brief", "--out", str(tmp_path / "b"), "--json", **shipped)
    assert done.returncode == 0, done.stderr
    markdown, html = (Path(name) for name in json.loads(done.stdout)["files"])
    assert markdown.read_text().startswith("# Evidence brief: The-Sea-That-Left.md")
    body = html.read_text()
    assert "<table>" in body and "default-src 'none'" in body and "<script" not in body
    assert not re.search(r"(src|href)=.https?:", body)
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium here to count the printed pages")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    subprocess.run([*command, f"--print-to-pdf={tmp_path / 'b.pdf'}", html.as_uri()], check=True, capture_output=True)
    assert re.findall(rb"/Count (\d+)", (tmp_path / "b.pdf").read_bytes()) == [b"1"]


def test_without_an_evaluation_the_command_says_which_notebook_to_run(adaptlab_command):
    done = adaptlab_command("brief")
    assert done.returncode == 2 and "run 04Evaluation/01_Evaluation.ipynb first" in done.stderr


def test_hostile_text_stays_text():
    data = evaluation()
    data["ladder"][0]["rung"] = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    body = pages.page(brief.write(data, "[x](javascript:alert(1))", "mini"), "a <b>")
    assert "<script>alert" not in body and "<img" not in body and "<title>a &lt;b&gt;</title>" in body
    assert 'href="javascript' not in body
