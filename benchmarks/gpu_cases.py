"""What `make gpu-check` measures: cases by name, each of which builds its own model and hands back a plain record."""

from __future__ import annotations

import importlib
import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from adaptlab import engines, fit, fit_plans, memory, training
from adaptlab.generation import LocalGenerator, Request
from adaptlab.models import Loaded
from adaptlab.precision import precision_for, this_machine
from adaptlab.quiet import quiet
from benchmarks import random_weights, recipes
from benchmarks.flops import useful
from config import L4, L40S, MINI, MODELS, MODELS_DIR, PROFILES, T4, LabError, Profile

GB = 1e9
SAMPLES, TEMPERATURE = 16, 0.8
ROWS = 512
SECONDS = 3600  # a measurement that takes longer is given up
TOKENIZER = MODELS_DIR / "mini-granite"  # no hub is needed: it stands in for the students' own
Record = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One thing to measure under a cap of `cap` gigabytes (10^9 bytes); `under` is what its peak should stay below.

    `batch` and `length` are for rows of full length; the other recipes take the profile's batch. `prompt` and `new`
    are a generation's tokens. `rows` are how many rows a recipe gets.
    """

    kind: str
    cap: int
    profile: str
    engine: str = "plain"
    recipe: str = ""
    batch: int = 0
    length: int = 0
    under: int = 0
    prompt: int = 512
    new: int = 64
    rows: int = ROWS

    @property
    def name(self) -> str:
        """What tells it from the others."""
        student = PROFILES[self.profile].student
        if self.kind == "generation":
            return f"{self.cap} GB, {student}, {SAMPLES} samples of one prompt"
        shape = f" ({self.batch} x {self.length:,} tokens)" if self.length else ""
        return f"{self.cap} GB, {student}, {self.engine}, {self.recipe}{shape}"


def cases(tiny: bool = False) -> list[Case]:
    """All cases, in order; `tiny` ones go the same ways on the miniature student within seconds."""
    full = recipes.AS_IS.name
    if tiny:
        packed = Case("training", 16, MINI.name, recipe=recipes.PACKED.name, rows=3)
        return [
            Case("training", 16, MINI.name, recipe=full, batch=2, length=64, under=12, rows=2),
            replace(packed, recipe=recipes.TEXTBOOK.name),
            replace(packed, recipe=recipes.TO_LONGEST.name),
            packed,
            replace(packed, engine="unsloth"),
            Case("generation", 16, MINI.name, prompt=24, new=4),
        ]
    found = [
        Case("training", 16, L4.name, engine, full, batch=batch, length=1024, under=under)
        for batch, under in ((4, 12), (1, 8))
        for engine in engines.ENGINES
    ]
    for cap, profile in ((16, T4), (24, L4), (46, L40S)):
        names = (recipes.TEXTBOOK.name, recipes.TO_LONGEST.name, recipes.BY_LENGTH.name, recipes.PACKED.name)
        found += [Case("training", cap, profile.name, recipe=name) for name in names]
        found.append(Case("training", cap, profile.name, "unsloth", recipes.PACKED.name))
        if profile is not L4:  # whose own batch is the first case
            sizes = profile.training
            found.append(
                Case("training", cap, profile.name, recipe=full, batch=sizes.batch_size, length=sizes.max_length)
            )
        found.append(Case("generation", cap, profile.name))
    return found


def obstacle(case: Case, total: float | None) -> str | None:
    """Why a case cannot be measured here; `total` are the card's bytes, None on a processor."""
    if case.engine == "unsloth" and (why := engines.unsloth_obstacle()):
        return why
    if total is not None and total < 0.9 * case.cap * GB:  # a 24 GB card shows itself with 23.7
        return f"the card has {total / GB:.1f} GB"
    return None


def measure(case: Case, device: str) -> Record:
    """Measure one case in this process; running out of memory is a result, any other error is the caller's."""
    if case.engine == "unsloth":
        if why := engines.unsloth_obstacle():
            return {"status": "not possible", "why": why}
        importlib.import_module("unsloth")  # it has to come before transformers
    if device != "cpu":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, case.cap * GB / total), 0)
    try:
        found = generation(case, device) if case.kind == "generation" else qlora(case, device)
    except torch.OutOfMemoryError:
        return {"status": "out of memory", "why": f"it does not fit into {case.cap} GB"}
    return {"status": "measured", **found}


# ----------------------------------------------------------------------------------------------------------- training


def profile_of(case: Case) -> Profile:
    """The profile as the case trains it: on a card without bfloat16 in float16."""
    found = replace(PROFILES[case.profile], engine=case.engine)
    if found.precision == "bf16" and this_machine().gpu and not this_machine().bf16:
        found = replace(found, precision="fp16")
    if case.length:
        sizes = replace(found.training, batch_size=case.batch, gradient_accumulation=1, max_length=case.length)
        found = replace(found, training=sizes)
    return found


def qlora(case: Case, device: str) -> Record:
    """Train with a recipe: speed, memory beside the prediction, and useful FLOPs."""
    recipe = recipes.RECIPES[case.recipe]
    profile = sized(profile_of(case), recipe)
    config = fit_plans.student_config(MODELS[profile.student])
    shape = fit.architecture(config)
    tokenizer = _tokenizer()
    if case.length:
        count = min(case.rows, max(8, 4 * case.batch))
        rows = [recipes.long_row(tokenizer, case.length, number) for number in range(count)]
    else:
        rows = recipes.captured_rows(tokenizer, case.rows)
    with tempfile.TemporaryDirectory(prefix="lab-gpu-") as folder:
        model, tokenizer = _base(profile, config, tokenizer, device, Path(folder))
        trainer = recipes.trainer_for(recipe, model, tokenizer, rows, profile, Path(folder))
        timed = recipes.measure(recipe, trainer, tokenizer, rows)
    work = timed.work
    return {
        "seconds": timed.seconds,
        "work": asdict(work),
        "trained tokens/s": work.answers / timed.seconds,
        "labels/s": work.trained / timed.seconds,
        "tokens/s": work.real / timed.seconds,
        "FLOPs/s": useful(shape, profile.lora.r, work) / timed.seconds,
        "peak": timed.peak,
        "reserved": timed.reserved,
        "predicted": predicted(config, profile, recipe, [training.row_length(tokenizer, row) for row in rows]),
        "setting": setting(profile, trainer.args, device),
    }


def setting(profile: Profile, args: Any, device: str) -> str:
    """What a trainer was set to, in a line."""
    how = "NF4" if profile.quantisation == "nf4" else "unquantised"
    batch = f"{args.per_device_train_batch_size} x {args.gradient_accumulation_steps} rows of at most {args.max_length}"
    checkpointing = "with" if args.gradient_checkpointing else "without"
    compute = precision_for(profile.precision).compute
    parts = (how, compute, f"rank {profile.lora.r}", args.optim, f"{batch} tokens", f"{checkpointing} checkpointing")
    return ", ".join([*parts, device])


def sized(profile: Profile, recipe: recipes.Recipe) -> Profile:
    """The profile with the batch and the longest row of a recipe, by which a base is loaded and a peak predicted."""
    changes, sizes = recipe.changes, profile.training
    batch = changes.get("per_device_train_batch_size", sizes.batch_size)
    longest = changes.get("max_length", sizes.max_length)
    return replace(profile, training=replace(sizes, batch_size=batch, max_length=longest))


def predicted(config: Any, profile: Profile, recipe: recipes.Recipe, lengths: list[int]) -> float:
    """Bytes at the peak of training, as `adaptlab train fit` predicts them for the batches of a recipe."""
    profile = sized(profile, recipe)
    longest = profile.training.max_length
    if recipe.changes.get("packing"):
        lengths = [longest] * max(1, math.ceil(sum(lengths) / longest))
    elif "pad_to_multiple_of" in recipe.changes:
        lengths = [longest] * len(lengths)
    return sum(fit.predict(config, profile, lengths=lengths).training.values())


def _tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TOKENIZER)


def _base(profile: Profile, config: Any, tokenizer: Any, device: str, folder: Path) -> tuple[Any, Any]:
    """The base with random weights; unsloth loads its own from a folder, in which it is first saved."""
    dtype, quantised = precision_for(profile.precision).compute, profile.quantisation == "nf4"
    model = random_weights.build(config, dtype=dtype, device=device, quantised=quantised)
    if profile.engine == "plain":
        return model, tokenizer
    saved = folder / "base"
    with quiet():
        model.save_pretrained(saved)
        tokenizer.save_pretrained(saved)
    del model
    torch.cuda.empty_cache()
    return engines.load_unsloth(profile, saved)


# --------------------------------------------------------------------------------------------------------- generation


def generation(case: Case, device: str) -> Record:
    """Tokens a second of sixteen samples of one prompt: the lab's decoding, `num_return_sequences`, and one by one."""
    profile = profile_of(case)
    config = fit_plans.student_config(MODELS[profile.student])
    tokenizer = _tokenizer()
    compute = precision_for(profile.precision).compute
    model = random_weights.build(config, dtype=compute, device=device, quantised=False)
    loaded = Loaded(model, tokenizer, profile.student, int(config.max_position_embeddings))
    generator = LocalGenerator(loaded)
    chat = [{"role": "user", "content": " the" * case.prompt}]
    ids = torch.tensor([generator.prompt_ids(Request(chat, max_tokens=case.new))], device=device)

    def shared(new: int) -> int:
        done = generator.generate([chat], n=SAMPLES, temperature=TEMPERATURE, max_tokens=new, seeds=0)[0]
        if failed := [item.error for item in done if item.status == "error"]:
            raise LabError(str(failed[0]))
        return sum(item.completion_tokens for item in done)

    def together(new: int) -> int:
        return _plainly(model, ids, new, SAMPLES)

    def apart(new: int) -> int:
        return sum(_plainly(model, ids, new, 1) for _ in range(SAMPLES))

    memory.reset_peak()
    speeds = {name: _speed(way, case.new) for name, way in (("ours", shared), ("together", together), ("apart", apart))}
    return {
        "tokens/s": speeds,
        "prompt": ids.shape[1],
        "peak": memory.peak(),
        "setting": f"unquantised, {compute}, {SAMPLES} samples of {case.new} tokens at {TEMPERATURE}, {device}",
    }


def _plainly(model: Any, ids: torch.Tensor, new: int, count: int) -> int:
    """Tokens that transformers' own sampling wrote; it is not let end before `new` tokens."""
    with torch.inference_mode(), quiet():
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=0,
            num_return_sequences=count,
            max_new_tokens=new,
            min_new_tokens=new,
            use_cache=True,
        )
    return int(count * (made.shape[1] - ids.shape[1]))


def _speed(way: Callable[[int], int], new: int) -> float:
    """Tokens a second of one way of generating, after a short call that warms up."""
    way(2)
    began = perf_counter()
    tokens = way(new)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return tokens / (perf_counter() - began)
