"""Training as a command: alone, and unchanged under torchrun in two processes on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adaptlab import engines, files
from config import L4, MINI, LabError
from tests.test_training import ROWS, adapter_weights, log_lines, make_base

TRAIN = ["-m", "adaptlab", "train", "rows"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "tiny-granite")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.write_jsonl(tmp_path_factory.mktemp("rows") / "training_data.jsonl", ROWS[:20])


def train(launcher: list[str], rows: Path, base: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, *TRAIN, str(rows), "--out", str(out), "--base", str(base), *options]
    env = {**os.environ, "LAB_PROFILE": "mini", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, capture_output=True, text=True, env=env)


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one_with_the_same_rows_a_step(
    rows: Path, base: Path, tmp_path: Path
) -> None:
    alone = train([], rows, base, tmp_path / "one", "--batch-size", "2", "--max-steps", "10")
    assert alone.returncode == 0, alone.stderr
    both = train(TORCHRUN, rows, base, tmp_path / "two", "--batch-size", "1", "--max-steps", "10")
    assert both.returncode == 0, both.stderr
    one, two = (log_lines(tmp_path / name) for name in ("one", "two"))
    assert [line["step"] for line in one] == [line["step"] for line in two] == [5, 10]
    assert [line["learning_rate"] for line in one] == [line["learning_rate"] for line in two]
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=1e-4)
    first, second = (adapter_weights(tmp_path / name) for name in ("one", "two"))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=1e-2, atol=1e-4)
    assert "batch 1 x 2 x 2 processes" in (tmp_path / "two" / "adapter" / "README.md").read_text()
    assert both.stdout.count("the adapter is in") == 1
    torn = tmp_path / "two" / "checkpoints" / "checkpoint-10" / "trainer_state.json"
    torn.write_text("{")  # a kill fell into the last save
    again = train(TORCHRUN, rows, base, tmp_path / "two", "--batch-size", "1", "--max-steps", "10", "--json")
    assert json.loads(again.stdout[again.stdout.index("{") :])["resumed_from"] == 5, again.stderr
    assert all(torch.equal(second[name], weight) for name, weight in adapter_weights(tmp_path / "two").items())


@pytest.mark.parametrize("content", [None, "", '{"id": 1}'])
def test_rows_that_cannot_be_read_are_one_sentence(base: Path, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_text(content)
    done = train([], path, base, tmp_path / "out")
    assert done.returncode == 2 and done.stderr.startswith("adaptlab: ") and done.stderr.count("\n") == 1


# ------------------------------------------------------------------------------------------------------------ engines


def test_unsloth_is_given_the_layers_that_peft_would_adapt() -> None:
    inside = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}
    modules = [
        f"model.layers.{at}.{block}.{name}" for at in range(2) for block, names in inside.items() for name in names
    ]
    assert engines.layer_names("all-linear", modules) == [*inside["self_attn"], *inside["mlp"]]
    assert engines.layer_names(MINI.lora.target_modules, modules) == ["v_proj", "o_proj", *inside["mlp"]]
    assert engines.layer_names({"v_proj", "q_proj"}, modules) == ["q_proj", "v_proj"]


def test_the_profile_chooses_the_engine_and_the_plain_one_stands_in_where_unsloth_cannot_run() -> None:
    assert engines.choose(MINI)[0] == "plain"
    name, why = engines.choose(L4)
    if not torch.cuda.is_available():
        assert name == "plain" and why.startswith("unsloth ")
    from dataclasses import replace

    with pytest.raises(LabError, match="no engine 'fast': choose one of plain, unsloth"):
        engines.choose(replace(MINI, engine="fast"))


def test_engines_are_compared_by_what_each_takes_and_one_that_cannot_run_says_why(
    rows: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PROFILE", "mini")
    table = engines.compare(rows, tmp_path, [f"--base={base}", "--max-steps=2"]).set_index("engine")
    assert table.loc["plain", "note"] == "" and table.loc["plain", "tokens_per_second"] > 0
    assert table.loc["plain", "peak_memory_bytes"] > 1e7 and (tmp_path / "plain" / "adapter").is_dir()
    if not torch.cuda.is_available():
        assert "unsloth cannot be used here" in table.loc["unsloth", "note"]
        assert engines.ratios(table.reset_index()) == {}
