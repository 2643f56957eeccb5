"""Local batched generation on the shipped miniature, and loading and freeing models."""

from __future__ import annotations

import gc
import shutil
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adaptlab import models
from adaptlab.generation import Completion, LocalGenerator, Request
from adaptlab.prompts import with_passages
from adaptlab.schemas import Message
from config import MODELS, LabError, ModelSpec

torch = pytest.importorskip("torch")
STUDENT = MODELS["mini-granite"]
if models.missing_files(STUDENT):
    pytest.skip("the miniature's weights are not here yet", allow_module_level=True)


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


PASSAGE = "The Marsh Otter has a speed of 12 and 3 hit dice. It is worth 40 crowns. Its bite does 1d6. "
CHATS = [
    ask("Hello."),
    ask("What is the speed of the Marsh Otter?"),
    ask(with_passages("What is the speed of the Marsh Otter?", [("Monsters > Marsh Otter", PASSAGE)])),
    ask(with_passages("What does its bite do?", [("Monsters", PASSAGE * 4), ("Otters", PASSAGE * 2)])),
    ask("What is 3 plus 4?"),
    ask("Tell me all about the marsh and what lives in it, please. " * 5),
]


@pytest.fixture(scope="module")
def loaded() -> models.Loaded:
    return models.load(STUDENT)


def texts(answers: list[list[Completion]]) -> list[list[str]]:
    assert all(item.error is None for one in answers for item in one)
    return [[item.text for item in one] for one in answers]


# ---------------------------------------------------------------------------------------------- local generation


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.5])
def test_answers_are_the_same_alone_and_batched(loaded: models.Loaded, temperature: float) -> None:
    generator = LocalGenerator(loaded)
    options: dict[str, Any] = {"temperature": temperature, "max_tokens": 40, "n": 3, "seeds": 11}
    together = texts(generator.generate(CHATS, **options))
    assert together == [texts(generator.generate([chat], **options))[0] for chat in CHATS]
    assert together[::-1] == texts(LocalGenerator(loaded, batch_tokens=900).generate(CHATS[::-1], **options))


def test_greedy_answers_are_those_of_transformers_own_generate(loaded: models.Loaded) -> None:
    ours = LocalGenerator(loaded).generate(CHATS, max_tokens=24)
    for chat, (answer,) in zip(CHATS, ours, strict=True):
        inputs = loaded.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(loaded.model.device)
        ids = loaded.model.generate(**inputs, max_new_tokens=24, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert answer.text == loaded.tokenizer.decode(ids, skip_special_tokens=True)
        assert answer.prompt_tokens == inputs["input_ids"].shape[1]
        assert answer.completion_tokens == len(ids)


def test_mixed_settings_in_one_batch_are_each_requests_own(loaded: models.Loaded) -> None:
    generator = LocalGenerator(loaded)
    requests = [
        Request(CHATS[1], n=1, temperature=0.0, max_tokens=30),
        Request(CHATS[1], n=4, temperature=1.2, max_tokens=5, seed=3),
        Request(CHATS[3], n=2, temperature=0.5, max_tokens=17, seed=4),
        Request(CHATS[1], n=2, temperature=1.2, max_tokens=9, seed=5),
    ]
    together = texts(generator.run(requests))
    assert together == [texts(generator.run([request]))[0] for request in requests]
    assert [len(one) for one in together] == [1, 4, 2, 2]


def test_fewer_samples_are_the_first_of_more_and_another_seed_gives_others(loaded: models.Loaded) -> None:
    generator = LocalGenerator(loaded)
    options: dict[str, Any] = {"temperature": 1.3, "max_tokens": 12}
    (many,) = texts(generator.generate([CHATS[5]], n=8, seeds=1, **options))
    (few,) = texts(generator.generate([CHATS[5]], n=3, seeds=1, **options))
    (other,) = texts(generator.generate([CHATS[5]], n=8, seeds=2, **options))
    assert few == many[:3]
    assert len(set(many)) > 1
    assert other != many


def test_a_seed_that_was_drawn_is_recorded_and_repeats_the_sample(loaded: models.Loaded) -> None:
    generator = LocalGenerator(loaded)
    ((first,),) = generator.generate([CHATS[5]], temperature=1.5, max_tokens=20)
    ((second,),) = generator.generate([CHATS[5]], temperature=1.5, max_tokens=20, seeds=first.seed)
    assert first.seed is not None
    assert first.text == second.text


def test_sampling_follows_the_models_own_probabilities(loaded: models.Loaded) -> None:
    chat, temperature, n = CHATS[5], 1.5, 1500
    (answers,) = LocalGenerator(loaded).generate([chat], n=n, temperature=temperature, max_tokens=1, seeds=0)
    inputs = loaded.tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(loaded.model.device)
    with torch.inference_mode():
        shares = (loaded.model(**inputs).logits[0, -1] / temperature).softmax(-1)
    seen = Counter(item.text for item in answers)
    expected: Counter[str] = Counter()
    for token, share in enumerate(shares.tolist()):
        expected[loaded.tokenizer.decode([token], skip_special_tokens=True)] += share
    for text, share in expected.most_common(5):
        assert abs(seen[text] / n - share) < 4 * (share * (1 - share) / n) ** 0.5 + 1e-3


def test_the_prompt_of_n_samples_is_read_once(loaded: models.Loaded) -> None:
    read: list[int] = []
    hook = loaded.model.get_input_embeddings().register_forward_pre_hook(
        lambda _module, inputs: read.append(inputs[0].numel())
    )
    try:
        (answers,) = LocalGenerator(loaded).generate([CHATS[3]], n=8, temperature=1.0, max_tokens=4, seeds=9)
    finally:
        hook.remove()
    assert read[0] == answers[0].prompt_tokens
    assert sum(read[1:]) <= 8 * 3 + answers[0].prompt_tokens  # the steps, and at most one tie that is scored alone


def test_ties_are_decided_as_if_each_sample_were_alone(loaded: models.Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    from adaptlab import decoding

    generator = LocalGenerator(loaded)
    options: dict[str, Any] = {"temperature": [0.0, 1.0] * 3, "max_tokens": 6, "seeds": 8}
    monkeypatch.setattr(decoding, "CLOSE", 0.0)
    never = texts(generator.generate(CHATS, **options))
    monkeypatch.setattr(decoding, "CLOSE", 1e9)
    assert texts(generator.generate(CHATS, **options)) == never


def test_batching_moves_scores_far_less_than_what_counts_as_a_tie(loaded: models.Loaded) -> None:
    from adaptlab import decoding

    worst = 0.0

    class Watched(decoding._Batch):
        def _choose(self, scores: Any, alive: list[int]) -> list[int]:
            nonlocal worst
            for place in alive:
                row = self.rows[place]
                ids = torch.tensor([[*row.prompt, *row.ids]], device=self.device)
                alone = self.model(input_ids=ids, use_cache=False).logits[0, -1]
                worst = max(worst, (alone - scores[place]).abs().max().item())
            return super()._choose(scores, alive)

    generator = LocalGenerator(loaded)
    rows = [decoding.Row(i, 0, generator.prompt_ids(Request(chat)), 8, 1.0, 5) for i, chat in enumerate(CHATS)]
    rows.sort(key=lambda row: (len(row.prompt), row.prompt))
    with torch.inference_mode():
        Watched(loaded, rows, lambda *_: None, None).run()
    assert 0 < worst < decoding.CLOSE / 4


def test_a_prompt_over_the_window_is_one_error_and_the_others_are_answered(loaded: models.Loaded) -> None:
    long = [Message(role="user", content="crown " * 2 * loaded.window)]
    done: list[int] = []
    answers = LocalGenerator(loaded).generate(
        [CHATS[0], long, []], n=2, temperature=0.8, seeds=[1, 2, 3], on_item=lambda index, _: done.append(index)
    )
    assert [item.status for item in answers[0]] == ["ok", "ok"]
    for one, word in ((answers[1], "window"), (answers[2], "empty")):
        assert [(item.status, item.finish_reason, item.text) for item in one] == [("error", "refused", "")] * 2
        assert word in (one[0].error or "")
        assert (one[0].error or "").endswith(".")
    assert sorted(done) == [0, 1, 2]


def test_a_prompt_that_just_fits_the_window_is_answered(loaded: models.Loaded) -> None:
    generator = LocalGenerator(loaded)
    room = loaded.window - len(generator.prompt_ids(Request(CHATS[3])))
    ((fits,),) = generator.generate([CHATS[3]], max_tokens=room)
    ((over,),) = generator.generate([CHATS[3]], max_tokens=room + 1)
    assert (fits.status, over.status) == ("ok", "error")


def test_answers_end_at_stop_strings_and_at_max_tokens(loaded: models.Loaded) -> None:
    generator = LocalGenerator(loaded)
    ((whole,),) = generator.generate([CHATS[2]], max_tokens=40)
    mark = whole.text.split()[-1]
    ((stopped,),) = generator.generate([CHATS[2]], max_tokens=40, stop=[mark, "never said"])
    ((short,),) = generator.generate([CHATS[2]], max_tokens=1)
    assert stopped.text == whole.text.partition(mark)[0]
    assert (stopped.finish_reason, short.finish_reason, short.completion_tokens) == ("stop", "length", 1)
    assert whole.text.startswith(short.text)


def test_on_item_tells_of_every_chat_once_and_shares_of_time_add_up(loaded: models.Loaded) -> None:
    done: list[int] = []
    began = time.perf_counter()
    answers = LocalGenerator(loaded, batch_size=2).generate(
        CHATS, n=2, temperature=0.0, on_item=lambda index, items: done.append(index) or None
    )
    took = time.perf_counter() - began
    assert sorted(done) == list(range(len(CHATS)))
    assert all(one[0].text == one[1].text for one in answers)
    assert 0.5 * took < sum(item.seconds for one in answers for item in one) <= took


def test_nothing_to_do_is_nothing_done(loaded: models.Loaded) -> None:
    assert LocalGenerator(loaded).generate([]) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n": 0}, "n is 0"),
        ({"temperature": -1.0}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seeds": [1]}, "seeds has 1 values for 6 chats"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(loaded: models.Loaded, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError, match=said):
        LocalGenerator(loaded).generate(CHATS, **wrong)


def test_batches_keep_to_their_budget_and_lose_no_row() -> None:
    from adaptlab.decoding import Row, batches

    rows = [Row(i, 0, (1,) * length, 10 + i % 3, 0.0, None) for i, length in enumerate((3, 3, 5, 40, 41, 90, 2000))]
    cut = batches(rows, 200, 3)
    assert [row for batch in cut for row in batch] == rows
    for batch in cut:
        size = max(len(row.prompt) for row in batch) + max(row.max_tokens for row in batch)
        assert len(batch) == 1 or (len(batch) * size <= 200 and len(batch) <= 3)


# ------------------------------------------------------------------------------------------- loading and freeing


def test_miniatures_are_loaded_in_float32_and_padded_on_the_left(loaded: models.Loaded) -> None:
    assert loaded.model.dtype == torch.float32
    assert loaded.tokenizer.padding_side == "left"
    assert loaded.name == "mini-granite"
    assert loaded.window >= 1024


def test_free_really_lets_go_of_the_model() -> None:
    other = models.load(STUDENT)
    generator = LocalGenerator(other)
    generator.generate([CHATS[0]], max_tokens=2)
    ghost = weakref.ref(other.model)
    models.free(other)
    gc.collect()
    assert ghost() is None
    with pytest.raises(LabError, match="freed"):
        generator.generate([CHATS[0]])


@pytest.mark.parametrize("name", models.NEEDED_FILES)
def test_missing_weights_are_one_sentence_that_says_how_to_get_them(tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(STUDENT.location, tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises(LabError, match=f"lacks {name}") as caught:
        models.load(folder)
    assert "\n" not in str(caught.value)


def test_missing_shipped_weights_name_the_command() -> None:
    spec = ModelSpec("mini-nothing", path="prebuilt/models/mini-nothing")
    with pytest.raises(LabError, match=r"git checkout -- prebuilt/models/mini-nothing.*adaptlab\.miniature"):
        models.load(spec)


def test_broken_weights_are_one_sentence(tmp_path: Path) -> None:
    folder = shutil.copytree(STUDENT.location, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LabError, match="cannot be read") as caught:
        models.load(folder)
    assert "\n" not in str(caught.value)


def test_unknown_models_and_folders_without_an_adapter_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="choose one of mini-granite"):
        models.load("no-such-model")
    with pytest.raises(LabError, match=r"adapter_config\.json is missing"):
        models.load(STUDENT, adapter=tmp_path)
    (tmp_path / "adapter_config.json").write_text("{not json")
    with pytest.raises(LabError, match="cannot be read"):
        models.load(STUDENT, adapter=tmp_path)


def make_adapter(folder: Path) -> Path:
    """A LoRA adapter of random weights that changes what the student says."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    base = models.load(STUDENT).model
    adapted = get_peft_model(base, LoraConfig(r=4, lora_alpha=32, target_modules="all-linear"))
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.05)
    adapted.save_pretrained(folder)
    return folder


def test_adapters_change_the_answers_and_say_the_same_merged_and_not(loaded: models.Loaded, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "adapter")
    answers = [
        texts(LocalGenerator(models.load(STUDENT, adapter=folder, merge=merge)).generate(CHATS, max_tokens=12))
        for merge in (True, False)
    ]
    assert answers[0] == answers[1]
    assert answers[0] != texts(LocalGenerator(loaded).generate(CHATS, max_tokens=12))


def test_a_quantised_model_keeps_its_gradients_after_generating() -> None:
    from bitsandbytes.nn import Linear4bit

    quantised = models.load(STUDENT, quantised=True)
    layers = [module for module in quantised.model.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 7 * quantised.model.config.num_hidden_layers
    if next(quantised.model.parameters()).device.type == "cpu":
        assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    generator = LocalGenerator(quantised)
    ids = torch.tensor([generator.prompt_ids(Request(CHATS[2]))], device=quantised.model.device)
    vectors = quantised.model.get_input_embeddings()(ids).detach().requires_grad_()

    def gradient() -> Any:
        loss = quantised.model(inputs_embeds=vectors, labels=ids).loss
        return torch.autograd.grad(loss, vectors)[0]

    before = gradient()
    together = texts(generator.generate(CHATS, max_tokens=10, n=2, temperature=0.8, seeds=1))
    assert torch.allclose(gradient(), before, rtol=1e-4, atol=1e-6)
    assert together[0] == texts(generator.generate(CHATS[:1], max_tokens=10, n=2, temperature=0.8, seeds=1))[0]
