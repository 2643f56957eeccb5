"""An adapter on the weights that it was trained beside: those of the base once it has been in 4 bits."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adaptlab import adapters, base_weights, models, training
from config import LabError
from tests.test_training import ROWS, make_base, mean_loss, profile

torch.set_num_threads(1)
PROBE = torch.tensor([[7, 40, 12, 99, 3, 61]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "tiny-granite")


@pytest.fixture(scope="module")
def beside_four_bits(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter trained until it knows its rows, beside a base in NF4."""
    folder = tmp_path_factory.mktemp("qlora")
    training.train_qlora(ROWS[:8], base, folder, profile(epochs=60, learning_rate=2e-2), seed=7)
    return folder / "adapter"


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=PROBE).logits


def with_adapter(base: Path, adapter: Path, **options) -> torch.Tensor:
    return logits(models.load(base, adapter=adapter, **options).model)


def test_a_training_in_four_bits_notes_the_rounding_and_one_in_whole_weights_notes_nothing(
    base: Path, beside_four_bits: Path, tmp_path: Path
) -> None:
    note = json.loads((beside_four_bits / base_weights.FILE).read_text("utf-8"))
    assert note["type"] == "nf4" and note["double"] is torch.cuda.is_available()
    whole = replace(profile(epochs=1), quantisation=None)
    training.train_qlora(ROWS[:4], base, tmp_path, whole, seed=7)
    assert base_weights.noted(tmp_path / "adapter") is None


def test_an_adapter_answers_merged_as_it_was_trained_and_not_as_on_the_published_weights(
    base: Path, beside_four_bits: Path
) -> None:
    trained = with_adapter(base, beside_four_bits, quantised=True, as_trained=True)
    merged = with_adapter(base, beside_four_bits, as_trained=True)
    published = with_adapter(base, beside_four_bits)
    assert torch.allclose(merged, trained, atol=1e-3)
    assert (published - trained).abs().mean() > 20 * (merged - trained).abs().mean()


def test_the_loss_on_the_rows_is_the_trainings_own_beside_the_rounded_weights(
    base: Path, beside_four_bits: Path
) -> None:
    def loss(**options) -> float:
        loaded = models.load(base, adapter=beside_four_bits, **options)
        return mean_loss(loaded.model, loaded.tokenizer, ROWS[:8])

    beside = loss(as_trained=True)
    assert beside == pytest.approx(loss(quantised=True, as_trained=True), abs=1e-3)
    assert beside < loss()


def test_no_layer_is_left_in_four_bits_and_no_setting_says_so(base: Path, beside_four_bits: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    model = models.load(base, adapter=beside_four_bits, as_trained=True).model
    assert not any(isinstance(module, Linear4bit) for module in model.modules())
    assert getattr(model.config, "quantization_config", None) is None
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("as_trained", [False, True])
def test_a_merged_folder_holds_the_weights_that_were_asked_for(
    base: Path, beside_four_bits: Path, tmp_path: Path, as_trained: bool
) -> None:
    adapters.merge(base, beside_four_bits, tmp_path / "merged", dtype="float32", as_trained=as_trained)
    found = logits(training.load_base(tmp_path / "merged")[0])
    wanted, other = (with_adapter(base, beside_four_bits, as_trained=it) for it in (as_trained, not as_trained))
    assert torch.allclose(found, wanted, atol=1e-3) and not torch.allclose(found, other, atol=1e-3)


def test_an_adapter_that_notes_no_rounding_is_not_merged_as_trained(
    base: Path, beside_four_bits: Path, tmp_path: Path
) -> None:
    silent = shutil.copytree(beside_four_bits, tmp_path / "silent")
    (silent / base_weights.FILE).unlink()
    with pytest.raises(LabError, match=r"silent has no base_weights\.json.*Leave --as-trained away"):
        adapters.merge(base, silent, tmp_path / "merged", as_trained=True)
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(("text", "fault"), [("{", "not JSON"), ('{"type": "int8"}', "field type")])
def test_a_note_that_cannot_be_read_is_one_sentence(base: Path, tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "adapter_config.json").write_text("{}", "utf-8")
    (tmp_path / base_weights.FILE).write_text(text, "utf-8")
    with pytest.raises(LabError, match=fault) as told:
        models.load(base, adapter=tmp_path, as_trained=True)
    assert base_weights.FILE in str(told.value) and "\n" not in str(told.value)
