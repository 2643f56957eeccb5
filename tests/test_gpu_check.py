"""`make gpu-check` without a GPU: what it counts, the models it builds, its ways on the miniature student, its report.

Nothing here stands for a card's figures. What a report says of a card is checked on made-up measurements.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from test_training import ROWS, make_base, profile, random_base  # noqa: F401 (a fixture)
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from adaptlab import fit, training
from benchmarks import gpu_cases, gpu_check, gpu_report, random_weights, recipes, training_speed
from benchmarks.flops import Work, peak_of, useful
from config import MODELS_DIR, ROOT, LabError, LoraSettings

torch.set_num_threads(1)
TINY = MODELS_DIR / "mini-granite"
needs_tiny = pytest.mark.skipif(not (TINY / "model.safetensors").is_file(), reason="prebuilt/models is not there")
no_card = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
CARD = "NVIDIA L4"


@pytest.fixture(scope="module")
def tokenizer(random_base: Path):  # noqa: F811
    return AutoTokenizer.from_pretrained(random_base)


# ------------------------------------------------------------------------------------------------------------- counting


def test_useful_flops_are_those_that_torch_counts_without_what_checkpointing_repeats(random_base: Path) -> None:  # noqa: F811
    from peft import get_peft_model
    from torch.utils.flop_counter import FlopCounterMode

    config = AutoConfig.from_pretrained(random_base)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model.enable_input_require_grads()  # as checkpointing does, so that the first layer has a gradient to hand on
    lora = LoraSettings(r=16)  # thin beside the layers, as at full scale
    model = get_peft_model(model, training.lora_config(lora)).train()
    ids = torch.randint(1, 300, (3, 80))
    counted = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        with FlopCounterMode(display=False) as counter:
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        counted.append(counter.get_total_flops())
    shape, tokens, pairs = fit.architecture(config), ids.numel(), 3 * 80 * 80  # eager attention looks at every pair
    work = Work(real=tokens, trained=tokens, pairs=pairs)
    assert useful(shape, lora.r, work) == pytest.approx(counted[0], rel=1e-4)
    weights = sum(layer.weights for layer in shape.inner) + fit.adapter_parameters(shape.inner, lora.r)
    forward = 2 * tokens * weights + 4 * shape.layers * shape.heads * shape.head_dim * pairs
    assert counted[1] - counted[0] == pytest.approx(forward, rel=0.02)  # all of it but the layers' last product


@pytest.mark.parametrize(
    ("card", "teraflops"),
    [("Tesla T4", 65), ("NVIDIA L4", 121), ("NVIDIA L40S", 362), ("NVIDIA L40", 181), ("NVIDIA A100-SXM4-80GB", 312),
     ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA H100 NVL", 835), ("NVIDIA H200", 989),
     ("NVIDIA H200 NVL", 835), ("NVIDIA A10", 125), ("NVIDIA A10G", None), ("Tesla V100-SXM2-16GB", 125),
     ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None), ("NVIDIA GeForce RTX 4060", None)],
)  # fmt: skip
def test_a_card_has_its_own_peak_or_none(card: str, teraflops: int | None) -> None:
    peak = peak_of(card)
    assert (peak and round(peak.flops / 1e12)) == teraflops


@pytest.mark.parametrize("profile_name", ["t4", "l4", "l40s"])
def test_the_peak_of_a_profiles_card_is_the_one_that_its_time_is_predicted_with(profile_name: str) -> None:
    card = fit.CARDS[profile_name]
    assert peak_of(card.name).flops == card.flops


def test_every_recipe_processes_what_its_rows_say(random_base: Path, tmp_path: Path) -> None:  # noqa: F811
    rows = [replace_id(row, f"x{i}") for i, row in enumerate(ROWS[:8])]
    model, tok = training.load_base_nf4(random_base, device="cpu")
    lengths = [training.row_length(tok, row) for row in rows]
    answers = [recipes.answer_tokens(tok, row) for row in rows]
    pairs = sum(n * (n + 1) // 2 for n in lengths)
    found = {}
    for recipe in (replace(recipes.TEXTBOOK, times=1), recipes.TO_LONGEST, recipes.BY_LENGTH, recipes.PACKED):
        model, tok = training.load_base_nf4(random_base, device="cpu")
        trainer = recipes.trainer_for(recipe, model, tok, rows, profile(batch_size=4), tmp_path)
        found[recipe.name] = recipes.measure(recipe, trainer, tok, rows).work
    assert found["pad to 512"] == Work(2, 8, 8 * 512, sum(lengths), sum(lengths) - 8, sum(answers), pairs)
    shortest = sum(4 * max(part) for part in (sorted(lengths)[:4], sorted(lengths)[4:]))
    assert found["by length"] == Work(2, 8, shortest, sum(lengths), sum(answers), sum(answers), pairs)
    assert shortest <= found["pad to longest"].slots <= 8 * max(lengths)
    assert replace(found["pad to longest"], slots=shortest) == found["by length"]
    twice = [2 * n for n in (sum(lengths), sum(lengths), sum(answers), sum(answers), pairs)]
    assert found["packed"] == Work(1, 16, *twice)


def replace_id(row, name: str):
    return row.model_copy(update={"id": name})


@pytest.mark.parametrize("length", [64, 301])
def test_a_row_of_full_length_has_exactly_that_many_tokens(length: int) -> None:
    tok = AutoTokenizer.from_pretrained(TINY)
    assert training.row_length(tok, recipes.long_row(tok, length, 7)) == length
    with pytest.raises(LabError, match="A row needs at least"):
        recipes.long_row(tok, 5)


# --------------------------------------------------------------------------------------------------------------- models


def test_a_model_with_random_weights_is_one_that_could_have_been_loaded(random_base: Path, tmp_path: Path) -> None:  # noqa: F811
    config = AutoConfig.from_pretrained(random_base)
    built = random_weights.build(config, dtype="float32", device="cpu", quantised=True)
    loaded, tok = training.load_base_nf4(random_base, device="cpu")
    assert kinds(built) == kinds(loaded)
    assert all(torch.equal(a, b) for a, b in zip(built.buffers(), loaded.buffers(), strict=True))
    assert built.get_output_embeddings().weight is built.get_input_embeddings().weight
    assert built.is_loaded_in_4bit and built.hf_quantizer.is_trainable
    built.save_pretrained(tmp_path)  # as for unsloth, which loads from a folder
    tok.save_pretrained(tmp_path)
    again, _ = training.load_base_nf4(tmp_path, device="cpu")
    ids = torch.arange(5, 25)[None]
    assert torch.equal(built(input_ids=ids).logits, again(input_ids=ids).logits)
    spread = again.model.embed_tokens.weight.std().item()
    assert spread == pytest.approx(config.initializer_range, rel=0.1)


def kinds(model) -> dict:
    return {n: (type(p), p.shape, p.dtype, p.requires_grad) for n, p in model.named_parameters()}


def test_no_layer_is_left_without_weights_where_nothing_is_quantised(random_base: Path) -> None:  # noqa: F811
    config = AutoConfig.from_pretrained(random_base)
    built = random_weights.build(config, dtype="bfloat16", device="cpu", quantised=False)
    assert {p.dtype for p in built.parameters()} == {torch.bfloat16}
    assert not any(p.is_meta for p in (*built.parameters(), *built.buffers()))
    assert torch.isfinite(built(input_ids=torch.arange(5, 25)[None]).logits).all()


# -------------------------------------------------------------------------------------------------- the whole way, tiny


@needs_tiny
@no_card
def test_all_ways_run_on_the_miniature_student_and_a_second_run_goes_on(tmp_path: Path, capsys) -> None:
    command = ["--device", "cpu", "--tiny", "--out", str(tmp_path)]
    assert gpu_check.main([*command, "--only", "rows of full length"]) == 1
    [path] = tmp_path.glob("*.json")
    first = json.loads(path.read_text("utf-8"))
    assert len(first["measurements"]) == 1 and "not measured yet" in path.with_suffix(".md").read_text("utf-8")
    assert gpu_check.main(command) == 0
    record = json.loads(path.read_text("utf-8"))
    plan = gpu_cases.cases(tiny=True)
    status = {name: one["status"] for name, one in record["measurements"].items()}
    assert list(status) == [case.name for case in plan]
    assert list(status.values()) == ["measured"] * 4 + ["not possible", "measured"]
    assert first["measurements"].items() <= record["measurements"].items()
    assert gpu_check.unfinished(record) == [] and path.name.startswith("tiny-")
    told = capsys.readouterr().out
    assert "unsloth is not installed (requirements-unsloth.txt)" in told and "measures no card" in told
    assert path.with_suffix(".md").read_text("utf-8") in told
    assert {target.verdict for target in gpu_report.targets(record, plan)} == {"not judged"}
    assert record["versions"]["unsloth"] == "not installed" and record["versions"]["trl"]
    speeds = record["measurements"][plan[-1].name]["tokens/s"]
    assert set(speeds) == {"ours", "together", "apart"} and min(speeds.values()) > 0


def test_a_finished_or_foreign_record_is_not_gone_on_with(tmp_path: Path) -> None:
    plan = gpu_cases.cases(tiny=True)
    fresh = gpu_check.new_record("cpu", True, [], plan)
    path, _ = gpu_check.file_for(tmp_path, fresh)
    begun = {**fresh, "date": "2026-01-01", "measurements": {plan[0].name: {"status": "measured"}}}
    path.write_text(json.dumps(begun), "utf-8")
    assert gpu_check.file_for(tmp_path, fresh) == (path, begun)
    for change in ({"versions": {**fresh["versions"], "trl": "0"}}, {"code": "other"}):
        path.write_text(json.dumps({**begun, **change}), "utf-8")
        other, found = gpu_check.file_for(tmp_path, fresh)
        assert other != path and other.name.endswith("-2.json") and found == fresh
    failed = {case.name: {"status": "failed", "why": "x"} for case in plan}
    assert gpu_check.unfinished({**fresh, "measurements": failed}) == [case.name for case in plan]
    path.write_text(json.dumps({**fresh, "measurements": {n: {"status": "measured"} for n in failed}}), "utf-8")
    assert gpu_check.file_for(tmp_path, fresh)[0].name.endswith("-2.json")


@needs_tiny
def test_a_process_for_one_case_leaves_its_answer(tmp_path: Path) -> None:
    answer, case = tmp_path / "answer.json", json.dumps(asdict(gpu_cases.cases(tiny=True)[-1]))
    assert gpu_check.main(["--device", "cpu", "--case", case, "--answer", str(answer)]) == 0
    assert json.loads(answer.read_text("utf-8"))["status"] == "measured"


def test_a_case_whose_process_breaks_says_why() -> None:
    broken = replace(gpu_cases.cases(tiny=True)[-1], profile="l5")
    assert gpu_check.apart(broken, "cpu") == {"status": "failed", "why": "KeyError: 'l5'"}


def test_nothing_imports_transformers_before_unsloth_could_be() -> None:
    code = "import sys; from benchmarks import gpu_check; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@no_card
def test_without_a_gpu_there_is_one_sentence_and_nothing_is_written(capsys) -> None:
    before = sorted(gpu_check.RESULTS.parent.rglob("*.json"))
    assert gpu_check.main([]) == 2
    said = capsys.readouterr()
    assert said.err == "gpu-check: There is no NVIDIA GPU that PyTorch can use here, so nothing was measured.\n"
    assert said.out == "" and sorted(gpu_check.RESULTS.parent.rglob("*.json")) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [(["--device", "cpu"], "add --tiny"), (["--device", "cpu", "--tiny"], "needs --out"),
     (["--device", "cpu", "--tiny", "--out", str(gpu_check.RESULTS)], "for what a card did"),
     (["--device", "cpu", "--tiny", "--out", "x", "--only", "T9"], "No case has 'T9'")],
)  # fmt: skip
def test_what_does_not_go_together_is_one_sentence(options: list[str], says: str, capsys) -> None:
    assert gpu_check.main(options) == 2
    assert says in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------------- the real plan


def test_the_plan_covers_every_cap_engine_and_recipe_and_each_case_is_predicted_to_fit() -> None:
    plan = gpu_cases.cases()
    assert len({case.name for case in plan}) == len(plan)
    assert {(case.cap, case.profile) for case in plan} == {(16, "l4"), (16, "t4"), (24, "l4"), (46, "l40s")}
    under = [(case.batch, case.length, case.under, case.engine) for case in plan if case.under]
    assert under == [(b, 1024, u, e) for b, u in ((4, 12), (1, 8)) for e in ("plain", "unsloth")]
    largest = (recipes.AS_IS.name, recipes.TEXTBOOK.name, recipes.PACKED.name)
    for case in [case for case in plan if case.recipe in largest and case.engine == "plain"]:
        trained, recipe = gpu_cases.profile_of(case), recipes.RECIPES[case.recipe]
        config = gpu_cases.fit_plans.student_config(gpu_cases.MODELS[trained.student])
        lengths = [case.length or recipes.LONGEST] * 64
        assert gpu_cases.predicted(config, trained, recipe, lengths) < (case.under or case.cap) * gpu_cases.GB


def test_a_card_that_is_too_small_or_has_no_unsloth_says_so() -> None:
    large = next(case for case in gpu_cases.cases() if case.cap == 46)
    assert gpu_cases.obstacle(large, 23.7e9) == "the card has 23.7 GB"
    assert gpu_cases.obstacle(replace(large, cap=24), 23.7e9) is None
    if gpu_cases.engines.unsloth_obstacle():
        assert "unsloth" in gpu_cases.obstacle(replace(large, engine="unsloth"), 80e9)


def made_up(card: str = CARD, **changes) -> dict:
    """A record of a card in which every case was measured, with figures that are easy to see through."""
    record = {"date": "2026-01-01", "card": card, "memory": 23.7e9, "command": "c", "tiny": False, "versions": {}}
    work = {"real": 900, "slots": 1000}
    training_run = {"status": "measured", "work": work, "tokens/s": 900.0, "FLOPs/s": 40e12, "setting": "s"}
    training_run |= {"peak": 7e9, "reserved": 7.9e9, "predicted": 7.7e9}
    sampled = {"status": "measured", "tokens/s": {"ours": 120.0, "together": 60.0, "apart": 10.0}}
    sampled |= {"peak": 5e9, "prompt": 520, "setting": "s"}
    speeds = {"packed": 600.0, "pad to longest": 300.0, "pad to 512": 101.0}
    found = {}
    for case in gpu_cases.cases():
        speed = {"trained tokens/s": speeds.get(case.recipe, 1.0), "labels/s": speeds.get(case.recipe, 1.0)}
        found[case.name] = dict(sampled) if case.kind == "generation" else {**training_run, **speed}
    return {**record, "measurements": {**found, **changes}}


def verdicts(record: dict) -> dict[str, str]:
    return {target.what: target.verdict for target in gpu_report.targets(record, gpu_cases.cases())}


def test_each_figure_is_judged_against_its_own_target() -> None:
    told = verdicts(made_up())
    first, batch_1 = (c for c in gpu_cases.cases() if c.under and c.engine == "plain")
    assert told[f"memory: {first.name}"] == told[f"memory: {batch_1.name}"] == "met"  # 7.9 GB, under 12 and under 8
    assert {v for what, v in told.items() if what.startswith("model FLOP utilisation")} == {"met"}  # 40 of 121
    assert {v for what, v in told.items() if what.endswith("pad to longest")} == {"met"}
    assert {v for what, v in told.items() if what.endswith("pad to 512")} == {"missed"}  # 5.94 times
    assert {v for what, v in told.items() if what.startswith("generation")} == {"met"}
    assert told["memory, as adaptlab train fit predicts it: the farthest off"] == "met"  # 10 % over
    assert {v for what, v in verdicts(made_up("NVIDIA L40S")).items() if "utilisation" in what} == {"missed"}
    assert {v for what, v in verdicts(made_up("NVIDIA RTX 9")).items() if "utilisation" in what} == {"not judged"}


def test_what_ran_out_of_memory_is_missed_and_what_could_not_be_measured_is_not_judged() -> None:
    first, batch_1 = (case for case in gpu_cases.cases() if case.under and case.engine == "plain")
    changes = {first.name: {"status": "out of memory", "why": "it does not fit into 16 GB"}}
    changes[batch_1.name] = {"status": "not possible", "why": "the card has 4.0 GB"}
    record = made_up(**changes)
    told = verdicts(record)
    assert told[f"memory: {first.name}"] == "missed" and told[f"memory: {batch_1.name}"] == "not judged"
    text = gpu_report.report(record, gpu_cases.cases())
    assert "it does not fit into 16 GB" in text and "not possible: the card has 4.0 GB" in text
    far = made_up(**{first.name: {**record["measurements"][gpu_cases.cases()[4].name], "predicted": 5.9e9}})
    assert verdicts(far)["memory, as adaptlab train fit predicts it: the farthest off"] == "missed"  # 16 % under


def test_the_report_has_a_line_for_every_case_with_columns_that_match() -> None:
    text = gpu_report.report(made_up("NVIDIA RTX 9"), gpu_cases.cases())
    assert "| dense peak | not in benchmarks/flops.py |" in text and "peak not known" in text
    assert text.count("unsloth") >= 5 and "frozen weights" in text
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1
    for case in gpu_cases.cases():
        assert f"| {case.name} |" in text


# ----------------------------------------------------------------------------------------------------- on the processor


@needs_tiny
def test_the_benchmark_on_the_processor_compares_speed_on_the_same_rows() -> None:
    ours, tokens = training_speed.timed(recipes.BY_LENGTH, 2)
    assert ours.work.rows == 2 and ours.work.real == tokens and ours.work.answers == ours.work.trained
    other = replace(ours, seconds=3 * ours.seconds, work=replace(ours.work, trained=2 * ours.work.trained))
    told = training_speed.ratio(recipes.TO_LONGEST, ours, other, 2.0)
    assert told.ratio == pytest.approx(3) and told.verdict == "reached" and "1.50 in tokens with a label" in told.note
    assert training_speed.ratio(recipes.TEXTBOOK, ours, other, 6.0).verdict == "missed"
