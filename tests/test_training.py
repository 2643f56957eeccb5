"""QLoRA that is right: the loss, the mask, the gradients, the batches, and a killed run that ends like a whole one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adaptlab import memory, training, training_batches, training_records
from adaptlab.precision import Machine, precision_for
from adaptlab.schemas import Message, Row
from adaptlab.synthesis import mixing
from config import MINI, MODELS_DIR, ROOT, T4, LabError, LoraSettings

torch.set_num_threads(1)
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
NAMES = ("Keelwidow", "Drowsel", "Mudbishop", "Bilge Heron", "Brasswhelk", "Lampfish", "Saltwife", "Tallow Eel")


def row(index: int, longer: int = 0) -> Row:
    name, value = NAMES[index % len(NAMES)], 3 * index + 5
    question = f"What is the Armour Class of the {name}{', if you please,' * longer} in chapter {index}?"
    return Row(
        id=f"r{index}",
        prompt=[Message(role="user", content=question)],
        completion=[Message(role="assistant", content=f"The Armour Class of the {name} is {value}.")],
    )


ROWS = [row(i, i % 3) for i in range(22)]


def make_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = [message.content for r in ROWS for message in (*r.prompt, *r.completion)]
    trainer = trainers.BpeTrainer(
        vocab_size=2048, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        chat_template=TEMPLATE,
        padding_side="left",
        additional_special_tokens=special[2:],
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def make_base(folder: Path) -> Path:
    """A random Granite of width 64 whose multipliers are all other than 1."""
    from transformers import GraniteConfig, GraniteForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = GraniteConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        embedding_multiplier=6.0,
        residual_multiplier=0.6,
        attention_multiplier=0.1,
        logits_scaling=2.0,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    GraniteForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def random_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "tiny-granite")


@pytest.fixture(params=["random", "mini-granite"])
def base(request: pytest.FixtureRequest, random_base: Path) -> Path:
    if request.param == "random":
        return random_base
    if not (MODELS_DIR / "mini-granite" / "model.safetensors").is_file():
        pytest.skip("prebuilt/models/mini-granite is not there")
    return MODELS_DIR / "mini-granite"


def profile(**changes):
    settings = {"epochs": 3, "batch_size": 4, "gradient_accumulation": 1, **changes}
    return replace(MINI, training=replace(MINI.training, **settings))


def trainer_of(base: Path, folder: Path, rows=ROWS, changes: dict | None = None, **settings):
    model, tokenizer = training.load_base_nf4(base, device="cpu")
    chosen = profile(**settings)
    sft = training.sft_config(chosen.training, folder, seed=7, **(changes or {}))
    return training.make_trainer(model, tokenizer, rows, training.lora_config(chosen.lora), sft)


def adapter_weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter" / "adapter_model.safetensors")


def log_lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------------------------------------ loss, mask, precision


def test_the_trainers_loss_is_the_models_own(base: Path, tmp_path: Path) -> None:
    trainer = trainer_of(base, tmp_path)
    model = trainer.model.eval()
    assert model.config.logits_scaling != 1
    batch = next(iter(trainer.get_train_dataloader()))
    assert (batch["labels"] == -100).any() and (batch["labels"] != -100).any()
    with torch.no_grad():
        own = model(**batch).loss
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        unscaled = torch.nn.functional.cross_entropy(
            (logits * model.config.logits_scaling)[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten()
        )
        loss = trainer.compute_loss(model, dict(batch))
    torch.testing.assert_close(loss, own, rtol=1e-5, atol=1e-5)
    assert abs(loss - unscaled) > 1e-3  # so the test would see a dropped logits_scaling


def test_only_the_tokens_of_the_answer_and_its_end_are_trained(base: Path, tmp_path: Path) -> None:
    trainer = trainer_of(base, tmp_path)
    tokenizer = trainer.processing_class
    assert len(trainer.train_dataset) == len(ROWS)
    for example, source in zip(trainer.train_dataset, ROWS, strict=True):
        trained = [token for token in example["labels"] if token != -100]
        assert tokenizer.decode(trained) == source.completion[0].content + "<|end|>"
        question = f"<|user|>{source.prompt[0].content}<|end|><|assistant|>"
        assert tokenizer.decode(example["input_ids"][: -len(trained)]) == question


def test_what_is_trained_is_in_float32_and_nothing_but_the_adapter_is(random_base: Path, tmp_path: Path) -> None:
    trained = {n: p for n, p in trainer_of(random_base, tmp_path).model.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert {p.dtype for p in trained.values()} == {torch.float32}


def gradients(trainer) -> dict[str, torch.Tensor]:
    model = trainer.model.train()
    model.zero_grad()
    inputs = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    trainer.compute_loss(model, inputs).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradients_are_the_same_before_and_after_a_generation(base: Path, tmp_path: Path) -> None:
    trainer = trainer_of(base, tmp_path)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:  # zero at the start, which would hide every gradient of lora_A
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(1))
    before = gradients(trainer)
    prompt = trainer.processing_class("<|user|>Hello<|end|><|assistant|>", return_tensors="pt")["input_ids"]
    trainer.model.eval()
    with torch.no_grad():
        trainer.model.generate(input_ids=prompt, max_new_tokens=4, do_sample=False)
    after = gradients(trainer)
    assert any(grad.abs().max() > 0 for grad in before.values())
    for name in before:
        torch.testing.assert_close(before[name], after[name], rtol=1e-6, atol=1e-9)


def test_the_logits_of_packed_rows_are_those_of_each_row_alone(base: Path, tmp_path: Path) -> None:
    trainer = trainer_of(base, tmp_path, rows=ROWS[:4], packing=True, max_length=256)
    assert len(trainer.train_dataset) < 4
    model = trainer.model.eval()
    for pack in trainer.train_dataset:
        batch = trainer.data_collator([pack])
        assert "attention_mask" not in batch  # the borders are in position_ids alone
        with torch.no_grad():
            packed = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits[0]
            start = 0
            for length in pack["seq_lengths"]:
                alone = model(input_ids=batch["input_ids"][:, start : start + length]).logits[0]
                torch.testing.assert_close(packed[start : start + length], alone, rtol=1e-4, atol=1e-4)
                start += length
            run_on = model(input_ids=batch["input_ids"]).logits[0]
        assert (run_on - packed).abs().max() > 0.01  # so the test would see a leak


def test_a_packing_that_lets_rows_see_each_other_is_refused(random_base: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="packing_strategy='bfd'"):
        trainer_of(random_base, tmp_path, changes={"packing": True, "packing_strategy": "wrapped"})


def test_packed_rows_do_not_see_each_other(random_base: Path, tmp_path: Path) -> None:
    packed = trainer_of(random_base, tmp_path / "a", rows=ROWS[:4], packing=True, max_length=256)
    single = trainer_of(random_base, tmp_path / "b", rows=ROWS[:4])
    assert len(packed.train_dataset) < 4
    losses = []
    with torch.no_grad():
        for trainer in (packed, single):
            batch = trainer.data_collator(list(trainer.train_dataset))
            losses.append(trainer.compute_loss(trainer.model.eval(), batch))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)


T4_CARD, L4_CARD, PROCESSOR = Machine(gpu=True, bf16=False), Machine(gpu=True, bf16=True), Machine(gpu=False)


@pytest.mark.parametrize(
    ("precision", "machine", "compute", "bf16", "fp16"),
    [
        ("fp16", T4_CARD, "float16", False, True),
        ("bf16", L4_CARD, "bfloat16", True, False),
        ("fp16", L4_CARD, "float16", False, True),
        ("fp32", L4_CARD, "float32", False, False),
        ("bf16", PROCESSOR, "float32", False, False),
        ("fp16", PROCESSOR, "float32", False, False),
    ],
)
def test_number_types_follow_the_profile_and_the_card(
    tmp_path: Path, precision: str, machine: Machine, compute: str, bf16: bool, fp16: bool
) -> None:
    types = precision_for(precision, machine)
    assert (types.compute, types.adapter) == (compute, "float32")
    built = training.sft_arguments(T4.training, tmp_path, precision=precision, seed=0, machine=machine)
    on_card = machine.gpu and precision != "fp32"
    assert (built["bf16"], built["fp16"], built["use_cpu"]) == (bf16, fp16, not on_card)
    assert built["gradient_checkpointing"] is on_card
    assert (built["loss_type"], built["completion_only_loss"], built["packing_strategy"]) == ("nll", True, "bfd")


def test_bfloat16_is_not_asked_of_a_card_that_only_emulates_it() -> None:
    with pytest.raises(LabError, match="no bfloat16: choose a profile with fp16, such as LAB_PROFILE=t4"):
        precision_for("bf16", T4_CARD)


@pytest.mark.parametrize("compute", ["float16", "bfloat16", "float32"])
def test_a_half_precision_base_gets_an_adapter_in_float32_that_the_gradient_scaler_takes(
    random_base: Path, tmp_path: Path, compute: str
) -> None:
    """On a T4 the scaler refuses the bfloat16 gradients of the adapter that TRL leaves on a 4-bit base."""
    model, tokenizer = training.load_base_nf4(random_base, compute_dtype=compute, device="cpu")
    sft = training.sft_config(profile().training, tmp_path, seed=7)
    trainer = training.make_trainer(model, tokenizer, ROWS, training.lora_config(MINI.lora), sft)
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    optimizer, scaler = torch.optim.AdamW(trained, lr=1e-3), torch.amp.GradScaler("cpu", init_scale=256.0)
    before = [p.detach().clone() for p in trained]
    batch = trainer.data_collator([trainer.train_dataset[0]])
    with torch.autocast("cpu", getattr(torch, compute), enabled=compute != "float32"):
        loss = trainer.model.train()(**batch).loss
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    assert {p.grad.dtype for p in trained} == {torch.float32}
    assert all(torch.isfinite(p.grad).all() for p in trained)
    scaler.step(optimizer)
    assert any(not torch.equal(a, b) for a, b in zip(before, trained, strict=True))


def test_the_t4_profile_has_the_defaults_of_the_lesson() -> None:
    lora, plan = T4.lora, T4.training
    assert (lora.r, lora.alpha, lora.target_modules, T4.precision) == (16, 32, "all-linear", "fp16")
    assert (plan.epochs, plan.batch_size, plan.gradient_accumulation, plan.max_length) == (3, 8, 2, 512)
    assert (plan.learning_rate, plan.optimizer) == (2e-4, "adamw_8bit")


def test_a_reasoning_model_is_trained_to_answer_at_once(random_base: Path, tmp_path: Path) -> None:
    """With the chat template of Qwen3, as TRL ships it: prompts end with an empty thought, as they do in generation."""
    import trl

    model, tokenizer = training.load_base_nf4(random_base, device="cpu")
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text("utf-8")
    sft = training.sft_config(profile().training, tmp_path, seed=7)
    trainer = training.make_trainer(model, tokenizer, ROWS[:3], training.lora_config(MINI.lora), sft)
    for example, source in zip(trainer.train_dataset, ROWS, strict=False):
        trained = [token for token in example["labels"] if token != -100]
        asked = tokenizer.decode(example["input_ids"][: -len(trained)])
        assert asked.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
        assert tokenizer.decode(trained) == source.completion[0].content + "<|im_end|>\n"


# ----------------------------------------------------------------------------------------------------------- batches


def test_each_row_comes_once_an_epoch_among_rows_of_its_length() -> None:
    lengths = [7 * i % 50 for i in range(70)]
    order = training.batches_by_length(lengths, 16, "seed 0")
    assert sorted(order) == list(range(70))
    spread = [max(b) - min(b) for b in ([lengths[i] for i in order[s : s + 16]] for s in range(0, 64, 16))]
    assert max(spread) <= 14 < max(lengths) - min(lengths)
    assert order == training.batches_by_length(lengths, 16, "seed 0") != training.batches_by_length(lengths, 16, "1")


def test_each_replay_row_is_met_in_one_epoch_and_the_others_in_every_one(random_base: Path, tmp_path: Path) -> None:
    replay = [row(i).model_copy(update={"source": "replay: reading"}) for i in range(22, 29)]
    rows = mixing.dealt([*replay[:3], *ROWS, *replay[3:]], 3)
    assert len(rows) == 22 + 6
    trainer = trainer_of(random_base, tmp_path, rows, epochs=4)
    sampler = trainer._get_train_sampler()
    met = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        met.append(sorted(sampler))
        assert len(met[-1]) == len(sampler) == 24 and {rows.index(one) for one in ROWS} < set(met[-1])
    rehearsed = [{rows[at].id for at in part if rows[at].source != "synthetic"} for part in met]
    assert rehearsed[3] == rehearsed[0] and sorted(map(len, rehearsed[:3])) == [2, 2, 2]
    assert set.union(*rehearsed[:3]) == {one.id for one in replay[:6]}
    assert [rows[at] for at in sorted(set(met[0]) | set(met[1]))] == training_batches.trained_on(rows, 1.5)
    assert training_batches.trained_on(rows, 3) == training_batches.trained_on(rows, 9) == rows
    result = training.run_trainer(trainer, tmp_path)
    lengths = [training.row_length(trainer.processing_class, one) for one in rows]
    assert result.steps == 4 * 6 == training_records.training_steps(rows, profile(epochs=4).training)
    assert result.tokens == sum(lengths[at] for part in met for at in part)


def test_a_row_that_is_too_long_is_left_out_and_counted(random_base: Path, tmp_path: Path) -> None:
    long = row(3, longer=60)
    trainer = trainer_of(random_base, tmp_path, rows=[*ROWS, long], max_length=96)
    assert (len(trainer.train_dataset), trainer.lab_left_out) == (len(ROWS), 1)
    with pytest.raises(LabError, match="None of the 1 training rows fits into max_length=96"):
        trainer_of(random_base, tmp_path, rows=[long], max_length=96)


def test_a_mask_that_trains_on_the_questions_is_refused(random_base: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="completion_only_loss=True"):
        trainer_of(random_base, tmp_path, changes={"completion_only_loss": False})


# ----------------------------------------------------------------------------------------------------- a whole run


@pytest.fixture(scope="session")
def undisturbed(random_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run from start to end: 22 rows in batches of 4 for 3 epochs are 18 steps."""
    folder = tmp_path_factory.mktemp("run")
    result = training.train_qlora(ROWS, random_base, folder, profile(), seed=7)
    (folder / "result.json").write_text(json.dumps(training.result_dict(result)))
    return folder


def test_a_run_leaves_an_adapter_a_card_and_a_log_without_a_path_of_this_machine(undisturbed: Path) -> None:
    adapter = undisturbed / "adapter"
    names = {path.name for path in adapter.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth"))]
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny-granite"
    texts = [path.read_text() for path in adapter.iterdir() if path.suffix in (".json", ".md", ".jinja")]
    assert not any(str(undisturbed.parent) in text or "/tmp" in text for text in texts)
    card = (adapter / "README.md").read_text()
    assert "22 (22 synthetic)" in card and f"rank {MINI.lora.r}" in card and "18 steps" in card
    lines = log_lines(undisturbed)
    pace = {"learning_rate", "tokens_per_second", "seconds", "memory_bytes", "eta_seconds"}
    assert set(lines[0]) == {"step", "epoch", "loss", *pace}
    assert [line["step"] for line in lines] == [5, 6, 10, 12, 15, 18]
    assert all(line["tokens_per_second"] > 0 for line in lines)
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    assert all(line["memory_bytes"] > 1e7 for line in lines)
    left = [line["eta_seconds"] for line in lines]
    assert left == sorted(left, reverse=True) and left[0] > left[-1] == 0


def test_a_result_says_what_was_trained(undisturbed: Path) -> None:
    result = json.loads((undisturbed / "result.json").read_text())
    assert (result["steps"], result["epochs"], result["rows"], result["left_out"]) == (18, 3.0, 22, 0)
    assert result["final_loss"] == log_lines(undisturbed)[-1]["loss"] and result["resumed_from"] is None
    trained = sum(weight.numel() for weight in adapter_weights(undisturbed).values())
    assert result["trainable_parameters"] == trained
    assert result["total_parameters"] > 64 * 256 and result["peak_memory_bytes"] > 1e7


def mean_loss(model, tokenizer, rows) -> float:
    """The loss over the answers' tokens, computed by the model itself."""
    total = 0.0
    for source in rows:
        whole = [m.model_dump() for m in (*source.prompt, *source.completion)]
        ids = tokenizer.apply_chat_template(whole, return_tensors="pt", return_dict=True)["input_ids"]
        asked = tokenizer.apply_chat_template(whole[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
        labels = ids.clone()
        labels[:, : len(asked)] = -100
        with torch.no_grad():
            total += float(model(input_ids=ids, labels=labels).loss)
    return total / len(rows)


def test_the_adapter_is_learnt_and_loads_onto_the_base(random_base: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    rows = ROWS[:4]
    told: list[dict] = []
    training.train_qlora(rows, random_base, tmp_path, profile(epochs=60, learning_rate=2e-2), told.append, seed=7)
    model, tokenizer = training.load_base(random_base)
    before = mean_loss(model.eval(), tokenizer, rows)
    after = mean_loss(PeftModel.from_pretrained(model, tmp_path / "adapter").eval(), tokenizer, rows)
    assert after < 0.4 * before
    assert told[-1]["loss"] < 0.5 * told[0]["loss"] and told[-1]["total_steps"] == 60


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.test_training import ROWS, kill_in_the_save, profile
from adaptlab import memory, training
where = sys.argv[4]
def stop(line):
    if line["step"] == 10 and where == "step":
        os.kill(os.getpid(), signal.SIGKILL)
if where not in ("step", "never"):
    kill_in_the_save(where, "checkpoint-12")
training.train_qlora(ROWS, sys.argv[1], sys.argv[2], profile(), stop, seed=7)
"""


def kill_in_the_save(name: str, checkpoint: str) -> None:
    """From now on this process dies, as by kill -9, halfway through writing the file `name` of a checkpoint."""
    import builtins
    import io
    import os
    import signal

    def die(path: object, half: bytes) -> None:
        Path(str(path)).write_bytes(half)
        os.kill(os.getpid(), signal.SIGKILL)

    opened, saved = io.open, torch.save

    def opening(file, *args, **kwargs):
        if str(file).endswith(f"{checkpoint}/{name}"):
            die(file, b'{"epoch": 2.0, "glob')
        return opened(file, *args, **kwargs)

    def saving(value, file, *args, **kwargs):
        if str(file).endswith(f"{checkpoint}/{name}"):
            buffer = io.BytesIO()
            saved(value, buffer)
            die(file, buffer.getvalue()[: buffer.tell() // 2])
        return saved(value, file, *args, **kwargs)

    builtins.open, torch.save = opening, saving


def kill_a_run(base: Path, folder: Path, where: str) -> None:
    command = [sys.executable, "-c", KILLED, str(base), str(folder), str(ROOT), where]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()
    assert not (folder / "adapter").exists()


@pytest.mark.parametrize("where", ["step", "optimizer.pt", "trainer_state.json"])
def test_a_killed_run_ends_like_an_undisturbed_one(
    random_base: Path, tmp_path: Path, undisturbed: Path, where: str
) -> None:
    kill_a_run(random_base, tmp_path, where)
    checkpoints = tmp_path / "checkpoints"
    assert (where == "step") or (checkpoints / "checkpoint-12" / where).stat().st_size > 0  # torn, but there
    assert training.newest_checkpoint(checkpoints).name == "checkpoint-6"
    result = training.train_qlora(ROWS, random_base, tmp_path, profile(), seed=7)
    assert (result.resumed_from, result.steps) == (6, 18)
    whole, resumed = adapter_weights(undisturbed), adapter_weights(tmp_path)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    same = ("step", "epoch", "loss", "learning_rate")
    assert [[line[n] for n in same] for line in log_lines(tmp_path)] == [
        [line[n] for n in same] for line in log_lines(undisturbed)
    ]


def test_a_run_killed_in_the_middle_of_an_epoch_resumes_with_the_batches_that_are_left(
    random_base: Path, tmp_path: Path
) -> None:
    results = {}
    for name in ("whole", "parts"):
        changes = {"save_strategy": "steps", "save_steps": 4}
        trainer = trainer_of(random_base, tmp_path / name, changes=changes, epochs=2)
        training.run_trainer(trainer, tmp_path / name)
        if name == "parts":
            for path in (tmp_path / name / "checkpoints").glob("checkpoint-12"):
                (path / "trainer_state.json").unlink()
            assert training.newest_checkpoint(tmp_path / name / "checkpoints").name == "checkpoint-8"
            trainer = trainer_of(random_base, tmp_path / name, changes=changes, epochs=2)
            assert training.run_trainer(trainer, tmp_path / name).resumed_from == 8
        results[name] = adapter_weights(tmp_path / name)
    assert all(torch.equal(results["whole"][name], results["parts"][name]) for name in results["whole"])


def test_a_checkpoint_of_other_rows_settings_or_weights_is_not_gone_on_from(random_base: Path, tmp_path: Path) -> None:
    short = profile(epochs=1)
    training.train_qlora(ROWS, random_base, tmp_path, short, seed=7)
    again = training.train_qlora(ROWS, random_base, tmp_path, short, seed=7)
    assert again.resumed_from == 6 and again.steps == 6
    other_base = make_base(tmp_path / "tiny-granite")
    from safetensors.torch import load_file, save_file

    weights = load_file(other_base / "model.safetensors")
    save_file({n: w * 1.5 for n, w in weights.items()}, other_base / "model.safetensors", {"format": "pt"})
    for rows, where, settings in (
        (ROWS[:20], random_base, short),
        (ROWS, random_base, profile(epochs=1, learning_rate=1e-3)),
        (ROWS, other_base, short),
    ):
        assert training.train_qlora(rows, where, tmp_path, settings, seed=7).resumed_from is None


def test_resume_false_starts_afresh(random_base: Path, tmp_path: Path) -> None:
    for _ in range(2):
        result = training.train_qlora(ROWS[:8], random_base, tmp_path, profile(epochs=1), resume=False)
        assert result.resumed_from is None and result.steps == 2


def test_a_run_prints_nothing(random_base: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(random_base), str(tmp_path), str(ROOT), "never"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "", "")


@pytest.mark.parametrize("state", ["missing", "no weights", "torn weights"])
def test_a_base_that_cannot_be_loaded_is_one_sentence(random_base: Path, tmp_path: Path, state: str) -> None:
    import shutil

    broken = tmp_path / "broken-granite"
    if state != "missing":
        shutil.copytree(random_base, broken)
        weights = broken / "model.safetensors"
        data = weights.read_bytes()
        weights.unlink()
        if state == "torn weights":
            weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(LabError, match="broken-granite cannot be loaded"):
        training.load_base_nf4(broken, device="cpu")


# ------------------------------------------------------------------------------------------------ validation by fact


def about(index: int, facts: list[str]) -> Row:
    return row(index).model_copy(update={"fact_ids": facts})


def test_no_fact_is_on_both_sides_of_the_validation_split() -> None:
    rows = [about(i, [f"f{i // 3}"]) for i in range(60)]
    rows += [about(60, ["f0", "f1"]), row(61), row(62).model_copy(update={"chunk_id": "c1"})]
    kept, held = training.split_by_fact(rows, 0.2, seed=3)
    facts = [{name for r in side for name in r.fact_ids} for side in (kept, held)]
    assert not facts[0] & facts[1] and len(kept) + len(held) == len(rows)
    assert 0.1 < len(held) / len(rows) < 0.35
    assert training.split_by_fact(rows, 0.2, seed=3) == (kept, held) != training.split_by_fact(rows, 0.2, seed=4)


@pytest.mark.parametrize(("share", "count"), [(0.0, 9), (1.5, 9), (0.9, 3)])
def test_a_split_that_leaves_one_side_empty_is_refused(share: float, count: int) -> None:
    with pytest.raises(LabError, match="validation share|too few to hold any back"):
        training.split_by_fact([about(i, ["f0"]) for i in range(count)], share)


def test_training_stops_when_the_validation_loss_no_longer_falls_and_keeps_the_best_epoch(
    random_base: Path, tmp_path: Path
) -> None:
    kept, held = training.split_by_fact([about(i, [f"f{i // 2}"]) for i in range(22)], 0.2, seed=1)
    steep = replace(profile(epochs=12, learning_rate=5e-2), lora=LoraSettings())
    result = training.train_qlora(kept, random_base, tmp_path, steep, seed=7, validation=held, patience=1)
    watched = [line["eval_loss"] for line in log_lines(tmp_path) if "eval_loss" in line]
    assert result.stopped_early and len(watched) == result.epochs < 12
    assert watched[-1] >= min(watched) == pytest.approx(result.best_validation_loss)
    best = 1 + watched.index(min(watched))
    from safetensors.torch import load_file

    saved = load_file(next((tmp_path / "checkpoints").glob(f"checkpoint-{best * 5}")) / "adapter_model.safetensors")
    assert all(torch.equal(weight, saved[name]) for name, weight in adapter_weights(tmp_path).items())
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert f"{len(held)} rows about other facts" in card and "stopped early" in card


def test_validation_rows_without_their_settings_are_refused(random_base: Path, tmp_path: Path) -> None:
    model, tokenizer = training.load_base_nf4(random_base, device="cpu")
    sft = training.sft_config(MINI.training, tmp_path)
    with pytest.raises(LabError, match="early_stopping"):
        training.make_trainer(model, tokenizer, ROWS, training.lora_config(MINI.lora), sft, validation=ROWS[:2])


def test_freed_memory_is_kept_where_glibc_can_and_nothing_else_was_asked_for(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    ask = memory.keep_freed_blocks.__wrapped__
    assert ask() is (platform.libc_ver()[0] == "glibc")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert ask() is False
