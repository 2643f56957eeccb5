"""Will it fit: predictions against what torch, PEFT and bitsandbytes really allocate, on models that fit here.

The shapes of hub models below were read from copies of their config.json, since no hub is reached: Llama 3.1 8B and
Qwen2.5 3B in `sglang/Model_Config.md` of citsjtu2020/LLM-Prof; Phi-3 mini in omi-health/sum-small
and ehartford/phi3-4k, which name it; Qwen3 1.7B and Granite 3.2 8B as `03ModelAdaptation/configs/README.md` says. Their
parameters are summed from these shapes by hand; Granite's can be held against the size of its published files as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, GraniteConfig, LlamaConfig, Phi3Config, Qwen2Config, Qwen3Config

from adaptlab import base_weights, figures_training, fit, fit_plans, fit_report, training
from adaptlab.precision import Machine, Precision
from config import L4, L40S, MINI, MODELS, MODELS_DIR, ROOT, T4, LabError, LoraSettings

torch.set_num_threads(1)
BASE = MODELS_DIR / "mini-granite"
needs_base = pytest.mark.skipif(not (BASE / "model.safetensors").is_file(), reason="prebuilt/models is not there")
ON_CPU, ON_CARD = Precision("float32", gpu=False), Precision("bfloat16", gpu=True, bf16=True)


def shape(kind, hidden, layers, heads, kv_heads, feed_forward, vocabulary, tied, **more):
    return kind(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=feed_forward,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
        pad_token_id=0,
        **more,
    )


HUB = {
    "Llama-3.1-8B": shape(LlamaConfig, 4096, 32, 32, 8, 14336, 128256, False),
    "Phi-3-mini-4k": shape(Phi3Config, 3072, 32, 32, 32, 8192, 32064, False),
    "Qwen2.5-3B": shape(Qwen2Config, 2048, 36, 16, 2, 11008, 151936, True),
    "Qwen3-1.7B": shape(Qwen3Config, 2048, 28, 16, 8, 6144, 151936, True, head_dim=128),
    "Granite-3.2-8B": shape(GraniteConfig, 4096, 40, 32, 8, 12800, 49155, True),
}
GRANITE_FILES = 4.97e9 + 4.99e9 + 4.97e9 + 1.41e9  # the four bf16 files of granite-3.1-8b-instruct, of the same shape
SMALL = {
    "llama": shape(LlamaConfig, 64, 3, 4, 2, 160, 300, False),
    "phi3": shape(Phi3Config, 64, 3, 4, 4, 160, 300, False),
    "qwen2": shape(Qwen2Config, 64, 3, 4, 2, 160, 300, True),
    "qwen3": shape(Qwen3Config, 64, 3, 4, 2, 160, 300, True, head_dim=32),
    "granite": shape(GraniteConfig, 64, 3, 4, 2, 160, 300, True),
}


def summed(config) -> int:
    """The parameters of a decoder, from its shape alone: attention, gated feed-forward, norms, embeddings."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    wide, narrow = config.num_attention_heads * width, config.num_key_value_heads * width
    biases = wide + 2 * narrow if isinstance(config, Qwen2Config) else 0
    head_norms = 2 * width if isinstance(config, Qwen3Config) else 0
    attention = config.hidden_size * (2 * wide + 2 * narrow) + biases + head_norms
    layer = attention + 3 * config.hidden_size * config.intermediate_size + 2 * config.hidden_size
    embeddings = config.vocab_size * config.hidden_size * (1 if config.tie_word_embeddings else 2)
    return config.num_hidden_layers * layer + embeddings + config.hidden_size


TARGETS = ("all-linear", MINI.lora.target_modules)
RANK = 16


def adapted(config, dtype=torch.float32, targets="all-linear"):
    from peft import get_peft_model

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    model = get_peft_model(
        model, training.lora_config(LoraSettings(RANK, 2 * RANK, target_modules=targets)), autocast_adapter_dtype=True
    )
    for parameter in model.parameters():
        parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    return model.train()


# ------------------------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("name", HUB)
def test_a_published_architecture_has_the_parameters_that_its_shape_adds_up_to(name: str) -> None:
    assert fit.architecture(HUB[name]).parameters == summed(HUB[name])


def test_granites_parameters_are_those_of_its_published_files() -> None:
    assert 2 * fit.architecture(HUB["Granite-3.2-8B"]).parameters == pytest.approx(GRANITE_FILES, rel=0.002)


@pytest.mark.parametrize(
    ("name", "folder"), [("Qwen3-1.7B", "qwen3-1.7b"), ("Granite-3.2-8B", "granite-3.2-8b-instruct")]
)
def test_the_sizes_kept_for_a_gpu_profile_are_those_of_its_student(name: str, folder: str) -> None:
    kept = fit.architecture(fit_plans.student_config(MODELS[folder]))
    assert replace(kept, name="") == replace(fit.architecture(HUB[name]), name="")


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", SMALL)
def test_parameters_and_adapter_counted_without_memory_are_those_of_the_real_model(name: str, targets: str) -> None:
    counted = fit.architecture(SMALL[name], targets)
    real = AutoModelForCausalLM.from_config(SMALL[name])
    assert counted.parameters == sum(p.numel() for p in real.parameters())
    assert counted.other + sum(layer.weights for layer in counted.inner) == counted.parameters
    trained, _ = adapted(SMALL[name], targets=targets).get_nb_trainable_parameters()
    assert fit.adapter_parameters(counted.adapted, RANK) == trained


@needs_base
@pytest.mark.parametrize("double", [False, True])
def test_the_weights_part_is_exactly_what_bitsandbytes_holds(double: bool) -> None:
    from transformers import AutoConfig

    quantised = base_weights.FourBits().config(torch.float32)
    quantised.bnb_4bit_use_double_quant = double
    model, _ = training.load_base(BASE, quantization_config=quantised)
    packed = constants = 0
    for parameter in model.parameters():
        packed += parameter.nbytes
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            constants += state.absmax.nbytes + state.code.nbytes
            constants += state.offset.nbytes + state.state2.absmax.nbytes + state.state2.code.nbytes if double else 0
    counted = fit._weights(fit.architecture(AutoConfig.from_pretrained(BASE)), ON_CPU, True, double)
    assert counted == {"weights": packed, "quantisation constants": constants}


# ---------------------------------------------------------------------------------------- optimiser, activations, cache


@pytest.mark.parametrize("targets", TARGETS)
def test_the_optimisers_part_is_what_adam_holds(targets: str) -> None:
    model = adapted(SMALL["granite"], targets=targets)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    model(input_ids=torch.arange(8)[None], labels=torch.arange(8)[None]).loss.backward()
    optimizer.step()
    held = sum(v.nbytes for state in optimizer.state.values() for name, v in state.items() if name != "step")
    counted = fit.architecture(SMALL["granite"], targets)
    assert fit.optimizer_bytes(counted.adapted, RANK, "adamw_torch") == held
    large = fit.architecture(HUB["Granite-3.2-8B"], targets).adapted
    in_8_bits, in_32 = (fit.optimizer_bytes(large, 16, name) for name in ("adamw_8bit", "adamw_torch"))
    assert 0.25 < in_8_bits / in_32 < 0.27  # a quarter, and the constants
    with pytest.raises(LabError, match="does not know the optimizer 'lion'"):
        fit.optimizer_bytes(large, 16, "lion")


def kept_for_backward(model, ids: torch.Tensor, half: bool) -> int:
    """Bytes of the distinct tensors that autograd keeps of a forward pass through the decoder, parameters excepted."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}
    alive = []

    def keep(tensor):
        alive.append(tensor)
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16, enabled=half)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        model.base_model.model.model(input_ids=ids, use_cache=False)
    return sum(size for address, size in sizes.items() if address not in weights)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", SMALL)
def test_activations_are_those_that_autograd_keeps(name: str, targets: str, half: bool) -> None:
    model = adapted(SMALL[name], torch.bfloat16 if half else torch.float32, targets)
    ids = torch.randint(1, 300, (8, 128))
    counted = fit.architecture(SMALL[name], targets)
    predicted = fit.layer_activations(counted, ON_CARD if half else ON_CPU, RANK) * ids.numel() * counted.layers
    assert predicted == pytest.approx(kept_for_backward(model, ids, half), rel=0.15)


@pytest.mark.parametrize("name", SMALL)
def test_the_caches_part_is_what_the_cache_holds(name: str) -> None:
    model = AutoModelForCausalLM.from_config(SMALL[name]).eval()
    with torch.no_grad():
        cache = model(input_ids=torch.ones(3, 20, dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert fit.cache_bytes(fit.architecture(SMALL[name]), ON_CPU, 3 * 20) == held


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", ["granite", "llama"])
def test_flops_are_those_that_torch_counts(name: str, targets: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, ids = adapted(SMALL[name], targets=targets), torch.randint(1, 300, (4, 96))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    predicted = fit.training_flops(fit.architecture(SMALL[name], targets), ON_CPU, RANK, ids.numel(), 96)
    assert predicted == pytest.approx(counter.get_total_flops(), rel=0.15)


# ----------------------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(("profile", "name"), [(T4, "Qwen3-1.7B"), (L4, "Granite-3.2-8B"), (L40S, "Granite-3.2-8B")])
def test_every_gpu_profile_is_predicted_to_fit_its_card_and_a_far_larger_batch_is_not(profile, name: str) -> None:
    config = HUB[name]
    found = fit.predict(config, profile)
    assert found.fits and "it fits" in fit_report.verdict(found)
    assert found.seconds[0] < found.seconds[1]
    huge = replace(profile, training=replace(profile.training, batch_size=4096))
    assert fit.predict(config, huge).fits is False
    best = fit.largest_batch(config, profile, found.card)
    assert profile.training.batch_size <= best < 4096


def test_checkpointing_quantisation_and_rank_move_their_own_parts() -> None:
    config = HUB["Granite-3.2-8B"]
    card = fit.predict(config, L4).training
    processor = fit.predict(config, L4, machine=Machine(gpu=False)).training
    assert card["checkpoints"] + card["activations of one layer"] < 0.1 * processor["activations"]
    plain = fit.predict(config, replace(L4, quantisation=None)).training
    assert 3 < plain["weights"] / (card["weights"] + card["quantisation constants"]) < 4
    double = fit.predict(config, replace(L4, lora=replace(L4.lora, r=32))).training
    assert double["adapter"] == 2 * card["adapter"] and double["weights"] == card["weights"]


def test_a_batch_is_as_large_as_its_longest_row_and_rows_over_the_limit_do_not_count() -> None:
    profile = replace(MINI, training=replace(MINI.training, batch_size=2, max_length=50, epochs=2))
    load = fit.load_of(profile, [10, 40, 12, 44, 99])
    assert (load.rows, load.longest, load.tokens_in_batch, load.tokens) == (4, 44, 88, 2 * (2 * 12 + 2 * 44))
    with pytest.raises(LabError, match="No row has at most 50 tokens"):
        fit.load_of(profile, [99])


def test_what_is_not_known_is_said() -> None:
    from transformers import BertConfig, MixtralConfig, ViTConfig

    with pytest.raises(LabError, match="mixture of experts"):
        fit.architecture(MixtralConfig())
    for config in (ViTConfig(),):
        with pytest.raises(LabError, match="give a causal language model's"):
            fit.architecture(config)
    assert fit.architecture(BertConfig(is_decoder=True, num_hidden_layers=1)).layers == 1


def test_the_figure_shows_every_part_and_the_cards_memory() -> None:
    found = fit.predict(HUB["Qwen3-1.7B"], T4)
    [ax] = figures_training.memory_bars([{"profile": "t4", **fit_plans.record(found, "Qwen3-1.7B")}]).axes
    names = {text.get_text() for text in ax.get_legend().get_texts()}
    assert names == {*found.training, *found.generation}
    drawn = sum(bar.get_width() for group in ax.containers for bar in group)
    both = sum(found.training.values()) + sum(found.generation.values())
    assert drawn * found.card.memory == pytest.approx(both)
    assert any(line.get_xdata()[0] == 1.0 for line in ax.lines)


@needs_base
def test_a_plan_of_own_rows_stands_beside_the_gpu_profiles_and_survives_being_stored() -> None:
    from test_training import row

    rows = [row(i, 5) for i in range(20)]
    found = json.loads(json.dumps(fit_plans.plans(MINI, rows)))
    assert [plan["profile"] for plan in found] == ["mini", "t4", "l4", "l40s"]
    assert found[0]["exact rows"] and not found[1]["exact rows"] and found[0]["card"] == fit_plans.THIS_MACHINE
    _, tokenizer = training.load_base(BASE)
    longest = max(training.row_length(tokenizer, r) for r in rows)
    assert found[0]["tokens"] <= 20 * longest * MINI.training.epochs and found[1]["tokens"] == 20 * 512 * 3
    table = fit_plans.table(found).set_index("profile")
    assert list(table["fits"]) == ["yes"] * 4 and table.loc["l4", "student"] == "granite-3.2-8b-instruct"
    larger = replace(MINI, lora=replace(MINI.lora, r=2 * MINI.lora.r))
    assert fit_plans.plans(larger, rows)[0]["trained"] == 2 * found[0]["trained"]


def test_predicted_and_measured_stand_beside_each_other_less_what_the_process_held_before() -> None:
    plan = fit_plans.record(fit.predict(HUB["Qwen3-1.7B"], T4), "Qwen3-1.7B")
    cost = {"trainable weights": plan["trained"], "weights": plan["parameters"], "tokens": 6000}
    cost |= {"peak memory (GB)": 5.5, "memory before (GB)": 0.5}
    table = fit_plans.beside_measured(plan, cost, [{"seconds": 3.0}, {"seconds": 120.0}]).set_index("what")
    assert table.loc["trained weights", "measured / predicted"] == 1
    assert table.loc["peak memory (GB)", "measured"] == 5.0
    assert table.loc["peak memory (GB)", "predicted, to"] == pytest.approx(sum(plan["training"].values()) / 1e9)
    assert table.loc["minutes", "measured"] == 2 and table.loc["tokens per second", "measured"] == 50
    assert table.loc["minutes", "predicted, from"] < table.loc["minutes", "predicted, to"]


def test_the_training_log_is_drawn_with_its_validation_loss() -> None:
    lines = [
        {"step": s, "loss": 1 / s, "learning_rate": 1e-3, "tokens_per_second": 9.0, "memory_bytes": 1e9} for s in (1, 2)
    ]
    drawn = figures_training.training_run(pd.DataFrame([*lines, {"step": 2, "eval_loss": 0.7, "memory_bytes": 1e9}]))
    labels = [ax.get_ylabel() for ax in drawn.axes]
    assert labels == ["cross-entropy (nats a token)", "learning rate", "tokens a second", "memory in use (GB)"]
    assert 0.7 in drawn.axes[0].lines[-1].get_ydata()


RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
from dataclasses import replace
from pathlib import Path
import transformers
from adaptlab import fit, fit_report, memory, training
from config import MINI, MODELS_DIR
from tests.test_training import row
base, folder = MODELS_DIR / "mini-granite", Path(sys.argv[2])
rows = [row(i, 60) for i in range(32)]
profile = replace(MINI, training=replace(MINI.training, batch_size=16, epochs=1))
tiny = replace(MINI, training=replace(MINI.training, batch_size=1, epochs=1))
training.train_qlora(rows[:1], base, folder / "first", tiny)  # what is imported on the way belongs to no prediction
_, tokenizer = training.load_base(base)
lengths = [training.row_length(tokenizer, r) for r in rows]
resting = memory.in_use()
found = fit.predict(transformers.AutoConfig.from_pretrained(base), profile, lengths=lengths)
result = training.train_qlora(rows, base, folder / "run", profile)
table = fit_report.compare(found, result, resting)
print(json.dumps(table.set_index("what")[["predicted", "measured"]].T.to_dict()))
"""


@needs_base
@pytest.mark.slow
def test_predicted_memory_is_near_the_measured_peak_of_a_miniature_run(tmp_path: Path) -> None:
    """glibc keeps freed blocks in its heap; told to hand them back, the process's peak is that of the tensors."""
    settings = {"MALLOC_MMAP_THRESHOLD_": "131072", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(ROOT), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
    )
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout[done.stdout.index("{") :])
    assert table["trained weights"]["predicted"] == table["trained weights"]["measured"]
    assert table["weights of the base"]["predicted"] == table["weights of the base"]["measured"]
    peak = table["peak memory of training (bytes)"]
    assert 0.6 < peak["predicted"] / peak["measured"] < 1.6


# ------------------------------------------------------------------------------------------------------- command line


@pytest.mark.slow
def test_the_command_answers_for_a_config_and_says_what_is_wrong(adaptlab_command, tmp_path: Path) -> None:
    HUB["Granite-3.2-8B"].save_pretrained(tmp_path)
    asked = adaptlab_command("train", "fit", "--config", str(tmp_path), "--profile", "l4", "--json")
    answer = json.loads(asked.stdout)
    assert (asked.returncode, answer["fits"], answer["card"]) == (0, True, "NVIDIA L4")
    assert answer["parameters"] == summed(HUB["Granite-3.2-8B"])
    small = adaptlab_command("train", "fit", "--config", str(tmp_path), "--profile", "t4")
    assert small.returncode == 1 and "does not fit" in small.stdout
    missing = adaptlab_command("train", "fit", "--config", str(tmp_path / "nothing"), "--profile", "l4")
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1 and "There is no config of" in missing.stderr
