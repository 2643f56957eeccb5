"""Will it fit: predictions against what torch, PEFT and bitsandbytes really allocate, on models that fit here.

The configs of hub models below are typed from their public config.json files, since no hub is reached; the parameter
counts beside them are those that their model cards state.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GraniteConfig, LlamaConfig, Phi3Config, Qwen2Config, Qwen3Config

from adaptlab import fit, fit_report, training
from adaptlab.models import nf4
from adaptlab.precision import Machine, Precision
from config import L4, L40S, MINI, MODELS_DIR, ROOT, T4, LabError

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
    "Llama-3.1-8B": (shape(LlamaConfig, 4096, 32, 32, 8, 14336, 128256, False), 8_030_261_248),
    "Phi-3-mini-4k": (shape(Phi3Config, 3072, 32, 32, 32, 8192, 32064, False), 3_821_079_552),
    "Qwen2.5-3B": (shape(Qwen2Config, 2048, 36, 16, 2, 11008, 151936, True), 3_085_938_688),
    "Qwen3-1.7B": (shape(Qwen3Config, 2048, 28, 16, 8, 6144, 151936, True, head_dim=128), 1_720_574_976),
    "Granite-3.2-8B": (shape(GraniteConfig, 4096, 40, 32, 8, 12800, 49155, True), 8_170_848_256),
}
SMALL = {
    "llama": shape(LlamaConfig, 64, 3, 4, 2, 160, 300, False),
    "phi3": shape(Phi3Config, 64, 3, 4, 4, 160, 300, False),
    "qwen2": shape(Qwen2Config, 64, 3, 4, 2, 160, 300, True),
    "qwen3": shape(Qwen3Config, 64, 3, 4, 2, 160, 300, True, head_dim=32),
    "granite": shape(GraniteConfig, 64, 3, 4, 2, 160, 300, True),
}


def adapted(config, dtype=torch.float32):
    from peft import get_peft_model

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    model = get_peft_model(model, training.lora_config(MINI.lora), autocast_adapter_dtype=True)
    for parameter in model.parameters():
        parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    return model.train()


# ------------------------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("name", HUB)
def test_a_published_architecture_has_its_published_number_of_parameters(name: str) -> None:
    config, published = HUB[name]
    assert fit.architecture(config).parameters == published


@pytest.mark.parametrize("name", SMALL)
def test_parameters_and_adapter_counted_without_memory_are_those_of_the_real_model(name: str) -> None:
    counted = fit.architecture(SMALL[name])
    real = AutoModelForCausalLM.from_config(SMALL[name])
    assert counted.parameters == sum(p.numel() for p in real.parameters())
    assert counted.other + sum(layer.weights for layer in counted.inner) == counted.parameters
    trained, _ = adapted(SMALL[name]).get_nb_trainable_parameters()
    assert fit.adapter_parameters(counted.inner, MINI.lora.r) == trained


@needs_base
@pytest.mark.parametrize("double", [False, True])
def test_the_weights_part_is_exactly_what_bitsandbytes_holds(double: bool) -> None:
    from transformers import AutoConfig

    quantised = nf4(torch.float32)
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


def test_the_optimisers_part_is_what_adam_holds() -> None:
    model = adapted(SMALL["granite"])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    model(input_ids=torch.arange(8)[None], labels=torch.arange(8)[None]).loss.backward()
    optimizer.step()
    held = sum(v.nbytes for state in optimizer.state.values() for name, v in state.items() if name != "step")
    counted = fit.architecture(SMALL["granite"])
    assert fit.optimizer_bytes(counted.inner, MINI.lora.r, "adamw_torch") == held
    large = fit.architecture(HUB["Granite-3.2-8B"][0]).inner
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
@pytest.mark.parametrize("name", SMALL)
def test_activations_are_those_that_autograd_keeps(name: str, half: bool) -> None:
    model = adapted(SMALL[name], torch.bfloat16 if half else torch.float32)
    ids = torch.randint(1, 300, (8, 128))
    counted = fit.architecture(SMALL[name])
    predicted = fit.layer_activations(counted, ON_CARD if half else ON_CPU, MINI.lora.r) * ids.numel() * counted.layers
    assert predicted == pytest.approx(kept_for_backward(model, ids, half), rel=0.15)


@pytest.mark.parametrize("name", SMALL)
def test_the_caches_part_is_what_the_cache_holds(name: str) -> None:
    model = AutoModelForCausalLM.from_config(SMALL[name]).eval()
    with torch.no_grad():
        cache = model(input_ids=torch.ones(3, 20, dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert fit.cache_bytes(fit.architecture(SMALL[name]), ON_CPU, 3 * 20) == held


@pytest.mark.parametrize("name", ["granite", "llama"])
def test_flops_are_those_that_torch_counts(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, ids = adapted(SMALL[name]), torch.randint(1, 300, (4, 96))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    predicted = fit.training_flops(fit.architecture(SMALL[name]), ON_CPU, MINI.lora.r, ids.numel(), 96)
    assert predicted == pytest.approx(counter.get_total_flops(), rel=0.15)


# ----------------------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(("profile", "name"), [(T4, "Qwen3-1.7B"), (L4, "Granite-3.2-8B"), (L40S, "Granite-3.2-8B")])
def test_every_gpu_profile_is_predicted_to_fit_its_card_and_a_far_larger_batch_is_not(profile, name: str) -> None:
    config = HUB[name][0]
    found = fit.predict(config, profile)
    assert found.fits and "it fits" in fit_report.verdict(found)
    assert found.seconds[0] < found.seconds[1]
    huge = replace(profile, training=replace(profile.training, batch_size=4096))
    assert fit.predict(config, huge).fits is False
    best = fit.largest_batch(config, profile, found.card)
    assert profile.training.batch_size <= best < 4096


def test_checkpointing_quantisation_and_rank_move_their_own_parts() -> None:
    config = HUB["Granite-3.2-8B"][0]
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
    found = fit.predict(HUB["Qwen3-1.7B"][0], T4)
    [ax] = fit_report.figure(found).axes
    names = {text.get_text() for text in ax.get_legend().get_texts()}
    assert names == {*found.training, *found.generation}
    drawn = sum(bar.get_width() for group in ax.containers for bar in group)
    assert drawn * 1e9 == pytest.approx(sum(found.training.values()) + sum(found.generation.values()))
    assert any(line.get_xdata()[0] * 1e9 == found.card.memory for line in ax.lines)


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
lengths = [training._length(tokenizer, r) for r in rows]
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
    HUB["Granite-3.2-8B"][0].save_pretrained(tmp_path)
    asked = adaptlab_command("train", "fit", "--config", str(tmp_path), "--profile", "l4", "--json")
    answer = json.loads(asked.stdout)
    assert (asked.returncode, answer["fits"], answer["card"]) == (0, True, "NVIDIA L4")
    assert answer["parameters"] == HUB["Granite-3.2-8B"][1]
    small = adaptlab_command("train", "fit", "--config", str(tmp_path), "--profile", "t4")
    assert small.returncode == 1 and "does not fit" in small.stdout
    missing = adaptlab_command("train", "fit", "--config", str(tmp_path / "nothing"), "--profile", "l4")
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1 and "There is no config of" in missing.stderr
