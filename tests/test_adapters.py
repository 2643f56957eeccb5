"""After training: a merge that is checked on logits, and nothing that is published by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from adaptlab import adapters, training
from config import LabError
from tests.test_training import ROWS, make_base, profile

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "tiny-granite")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    training.train_qlora(ROWS[:8], base, folder, profile(epochs=8, learning_rate=2e-2), seed=7)
    return folder / "adapter"


@pytest.mark.parametrize(("dtype", "most"), [("bfloat16", 0.1), ("float32", 1e-4)])
def test_a_merged_model_says_what_base_and_adapter_say(
    base: Path, adapter: Path, tmp_path: Path, dtype: str, most: float
) -> None:
    report = adapters.merge(base, adapter, tmp_path / "merged", dtype=dtype)
    assert report.effect > 0.1 and report.share < most and report.same_choice > 0.9
    model, tokenizer = training.load_base(tmp_path / "merged", dtype=dtype)
    assert next(model.parameters()).dtype == getattr(torch, dtype)
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    assert tokenizer.chat_template
    assert json.loads((tmp_path / "merged" / "merge.json").read_text())["share"] == report.share
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "# LoRA adapter of tiny-granite" in card and str(report) in card
    texts = [path.read_text() for path in (tmp_path / "merged").glob("*.json")]
    assert not any(str(base.parent) in text for text in texts)


def test_a_merge_that_rounds_the_adapter_away_is_refused_and_leaves_nothing(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    faint = tmp_path / "faint"
    shutil.copytree(adapter, faint)
    weights = load_file(faint / "adapter_model.safetensors")
    small = {name: w * 1e-4 if "lora_B" in name else w for name, w in weights.items()}
    save_file(small, faint / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(LabError, match="That is too much: merge with --dtype float32"):
        adapters.merge(base, faint, tmp_path / "merged")
    assert not (tmp_path / "merged").exists() and [p.name for p in tmp_path.iterdir()] == ["faint"]


def test_an_adapter_of_another_base_is_one_sentence(adapter: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    other = tmp_path / "other"
    config = LlamaConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=50
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(other)
    AutoTokenizer.from_pretrained(adapter).save_pretrained(other)
    with pytest.raises(LabError, match="does not fit .*other .*name its base"):
        adapters.merge(other, adapter, tmp_path / "merged")


@pytest.mark.parametrize(
    ("repository", "token", "message"),
    [("me/mine", "", "needs a token"), ("me/mine", "  ", "needs a token"), ("mine", "secret", "give owner/name")],
)
def test_nothing_is_uploaded_without_a_token_and_a_place(
    adapter: Path, repository: str, token: str, message: str
) -> None:
    with pytest.raises(LabError, match=message):
        adapters.push(adapter, repository, token)


def test_a_folder_without_weights_and_a_hub_that_cannot_be_reached_are_one_sentence(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabError, match="holds no safetensors"):
        adapters.push(tmp_path, "me/mine", "secret-token")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(LabError, match="me/mine could not be uploaded") as told:
        adapters.push(adapter, "me/mine", "secret-token")
    assert "secret-token" not in str(told.value)
