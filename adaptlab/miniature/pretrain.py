"""Pre-training from generated worlds, in stages, each continuing from the last checkpoint.

Hidden matrices are trained with Muon (Jordan et al. 2024) where bfloat16 is fast, embeddings and norms with AdamW.
Batches hold whole conversations sorted by length, so that no conversation sees another and little is padded. The
schedule is warm-up, constant, then a linear decay over the last part of the stage (Hu et al. 2024, MiniCPM).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch.nn import functional
from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from adaptlab import memory
from adaptlab.miniature import architecture, attention
from adaptlab.miniature.corpus import conversations
from adaptlab.miniature.tokenizer import ASSISTANT, END, WINDOW, render


@dataclass(frozen=True)
class Stage:
    """One stage of pre-training; `decay` is the share of its steps over which the rate falls to zero."""

    name: str
    mix: str
    tokens: int
    seed: int = 0
    step_tokens: int = 6_144
    micro_tokens: int = 4_096
    learning_rate: float = 2e-3
    embedding_rate: float = 3e-3
    warmup: int = 100
    decay: float = 0.3
    text_share: float = 0.12
    text_weight: float = 0.5
    save_seconds: int = 240
    max_length: int = WINDOW


def encode(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> list[tuple[np.ndarray, np.ndarray]]:
    """Token ids and a mask of the assistant's words (its closing mark included) for each rendered conversation."""
    marks: Any = tokenizer.convert_tokens_to_ids([ASSISTANT, END])
    start, end = marks
    encoded = []
    for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
        array = np.asarray(ids, dtype=np.int64)
        opened = np.cumsum(array == start)
        turns_closed = np.cumsum(array == end) - (array == end)
        mask = (opened > 0) & (array != start) & (turns_closed == 2 * opened - 1)
        encoded.append((array, mask))
    return encoded


def step_conversations(stream: Iterator, tokenizer: PreTrainedTokenizerFast, tokens: int, max_length: int) -> list:
    """Encoded conversations of about `tokens` tokens together; those longer than `max_length` are dropped."""
    batch: list = []
    total = 0
    while total < tokens:
        for ids, mask in encode([render(c) for c in islice(stream, 2)], tokenizer):
            if len(ids) <= max_length:
                batch.append((ids, mask))
                total += len(ids)
    return batch


def micro_batches(batch: list, limit: int) -> Iterator[list]:
    """Split a step's conversations, sorted by length, into groups whose padded size is at most `limit` tokens."""
    group: list = []
    for item in sorted(batch, key=lambda pair: len(pair[0])):
        if group and (len(group) + 1) * len(item[0]) > limit:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def collate(group: list, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and assistant mask, both (batch, length)."""
    length = max(len(ids) for ids, _ in group)
    ids = torch.full((len(group), length), pad)
    mask = torch.zeros((len(group), length), dtype=torch.bool)
    for row, (tokens, assistant) in enumerate(group):
        ids[row, : len(tokens)] = torch.from_numpy(tokens)
        mask[row, : len(tokens)] = torch.from_numpy(assistant)
    return ids, mask


def weighted_loss(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, stage: Stage, pad: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Summed loss over the assistant's words and a weighted share of the rest; also the answers' own sum and count."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets, assistant = ids[:, 1:], mask[:, 1:]
    sampled = torch.rand(targets.shape, generator=generator) < stage.text_share
    chosen = assistant | (sampled & (targets != pad))
    logits = model.lm_head(hidden[chosen]).float() / getattr(model.config, "logits_scaling", 1.0)  # Granite has one
    losses = functional.cross_entropy(logits, targets[chosen], reduction="none")
    answers = assistant[chosen]
    total = torch.where(answers, losses, losses * stage.text_weight).sum()
    return total, losses[answers].detach().sum(), int(answers.sum())


def working_type() -> torch.dtype:
    """bfloat16 where the processor multiplies in it, or on a GPU; elsewhere it is forty times slower than float32."""
    return torch.bfloat16 if torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported() else torch.float32


def optimisers(masters: dict[str, torch.Tensor], stage: Stage) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings and norms; `masters` are the float32 weights.

    PyTorch's Muon always multiplies in bfloat16: without it, AdamW takes the matrices too, at the same rate.
    """
    matrices = [p for name, p in masters.items() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in masters.items() if p.ndim != 2 or "embed" in name]
    hidden: torch.optim.Optimizer = (
        torch.optim.Muon(matrices, lr=stage.learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        if working_type() is torch.bfloat16
        else torch.optim.AdamW(matrices, lr=stage.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    )
    return [hidden, torch.optim.AdamW(rest, lr=stage.embedding_rate, betas=(0.9, 0.95), weight_decay=0.0)]


def rate_at(step: int, steps: int, stage: Stage) -> float:
    """The learning rate's factor at `step`: warm-up, constant, linear decay."""
    decay_start = int(steps * (1 - stage.decay))
    if step < stage.warmup:
        return (step + 1) / stage.warmup
    return 1.0 if step < decay_start else max(0.02, (steps - step) / max(1, steps - decay_start))


def _save(folder: Path, masters: dict, optims: list, step: int, seen: int) -> None:
    temporary = folder / "checkpoint.pt.tmp"
    state = {"model": masters, "optimisers": [o.state_dict() for o in optims], "step": step, "seen": seen}
    torch.save(state, temporary)
    os.replace(temporary, folder / "checkpoint.pt")


class Trainer:
    """A model in `working_type` with float32 master weights: bfloat16 halves the memory traffic that costs the time."""

    def __init__(
        self,
        stage: Stage,
        tokenizer_folder: Path,
        folder: Path,
        start_from: Path | None = None,
        rank: int = 0,
        workers: int = 1,
    ):
        """Build the model, or take up `folder`'s checkpoint, or start from another stage's."""
        self.stage, self.folder, self.rank, self.workers = stage, folder, rank, workers
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder)
        torch.manual_seed(stage.seed)
        self.model = architecture.build(stage.name, self.tokenizer).train()
        self.model.set_attn_implementation(attention.NAME)
        self.masters = {name: p.detach().clone().float() for name, p in self.model.named_parameters()}
        self.optims = optimisers(self.masters, stage)
        self.step = self.seen = 0
        own = folder / "checkpoint.pt"
        source = own if own.exists() else start_from
        if source:
            self._load(source, own)
        self.model.to(working_type())
        self._publish()

    def _load(self, source: Path, own: Path) -> None:
        if source.is_dir():  # a shipped model: weights alone
            state: dict[str, Any] = {"model": load_file(source / "model.safetensors"), "optimisers": []}
        else:
            state = torch.load(source, weights_only=True)
        weights = state["model"]
        same_size = weights.keys() == self.masters.keys()
        if not same_size:
            weights = architecture.fitted(self.stage.name, weights, self.masters)
        for name, saved in weights.items():
            self.masters[name].copy_(saved)
        if same_size and state["optimisers"]:
            for optim, saved in zip(self.optims, state["optimisers"], strict=True):
                optim.load_state_dict(saved)
        if source == own:
            self.step, self.seen = state["step"], state["seen"]

    @torch.no_grad()
    def _publish(self) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(self.masters[name])

    @torch.no_grad()
    def _collect_gradients(self) -> None:
        for name, parameter in self.model.named_parameters():
            master, gradient = self.masters[name], parameter.grad.float()
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            parameter.grad = None

    def _average_gradients(self) -> None:
        if self.workers == 1:
            return
        flat = torch.cat([master.grad.flatten() for master in self.masters.values()])
        dist.all_reduce(flat)
        parts = (flat / self.workers).split([master.numel() for master in self.masters.values()])
        for master, part in zip(self.masters.values(), parts, strict=True):
            master.grad = part.view_as(master)

    def run_step(self, steps: int) -> tuple[int, float]:
        """One optimiser step; returns the tokens seen and the mean loss on the assistant's words."""
        stage, pad = self.stage, self.tokenizer.pad_token_id
        stream = conversations(stage.mix, f"{stage.seed} {self.step} {self.rank}", self.step / steps)
        batch = step_conversations(stream, self.tokenizer, stage.step_tokens // self.workers, stage.max_length)
        generator = torch.Generator().manual_seed(stage.seed * 1_000_003 + self.step * 16 + self.rank)
        weight = sum(int(m[1:].sum()) + stage.text_share * stage.text_weight * len(m) for _, m in batch)
        answer_loss, answer_count = 0.0, 0
        for group in micro_batches(batch, stage.micro_tokens):
            ids, mask = collate(group, pad)
            total, answers, count = weighted_loss(self.model, ids, mask, stage, pad, generator)
            (total / weight).backward()
            self._collect_gradients()
            answer_loss, answer_count = answer_loss + float(answers), answer_count + count
        self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self.masters.values(), 1.0)
        for optim, base in zip(self.optims, (stage.learning_rate, stage.embedding_rate), strict=True):
            optim.param_groups[0]["lr"] = base * rate_at(self.step, steps, stage)
            optim.step()
            optim.zero_grad(set_to_none=True)
        self._publish()
        self.step += 1
        tokens = sum(len(ids) for ids, _ in batch) * self.workers
        self.seen += tokens
        return tokens, answer_loss / max(1, answer_count)

    def run(self) -> Path:
        """Train to the stage's end, saving every `save_seconds`; returns the checkpoint's path."""
        steps = self.stage.tokens // self.stage.step_tokens
        bar = tqdm(
            total=self.stage.tokens,
            initial=self.seen,
            unit="tok",
            unit_scale=True,
            mininterval=10,
            disable=self.rank > 0,
        )
        saved_at = started = time.monotonic()
        with (self.folder / f"log{self.rank or ''}.jsonl").open("a") as log:
            while self.step < steps:
                tokens, loss = self.run_step(steps)
                bar.update(tokens)
                bar.set_postfix(answer_loss=f"{loss:.3f}", refresh=False)
                if self.step % 10 == 0:
                    seconds = round(time.monotonic() - started, 1)
                    line = {"step": self.step, "tokens": self.seen, "answer_loss": round(loss, 4), "seconds": seconds}
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                if self.rank == 0 and time.monotonic() - saved_at > self.stage.save_seconds:
                    _save(self.folder, self.masters, self.optims, self.step, self.seen)
                    saved_at = time.monotonic()
        if self.rank == 0:
            _save(self.folder, self.masters, self.optims, self.step, self.seen)
        bar.close()
        return self.folder / "checkpoint.pt"


@torch.inference_mode()
def losses_by_layers(name: str, trunk: Path, seed: str = "layers", conversations_read: int = 24) -> list[tuple]:
    """The mean answer loss of the member `name` with each choice of the `trunk`'s layers, before any training."""
    tokenizer: Any = AutoTokenizer.from_pretrained(trunk)
    weights = load_file(trunk / "model.safetensors")
    depth = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith("model.layers."))
    model: Any = architecture.build(name, tokenizer).eval()
    texts = [render(c) for c in islice(conversations("student", seed), conversations_read)]
    batch = [pair for pair in encode(texts, tokenizer) if len(pair[0]) <= WINDOW]
    stage, pad = Stage(name, "student", 0, text_share=0.0), tokenizer.pad_token_id
    found = []
    for layers in combinations(range(depth), model.config.num_hidden_layers):
        model.load_state_dict(architecture.shrink(weights, name, layers), strict=False)
        sums = [
            weighted_loss(model, *collate(group, pad), stage, pad, torch.Generator())[1:]
            for group in micro_batches(batch, stage.micro_tokens)
        ]
        found.append((float(sum(s for s, _ in sums)) / sum(n for _, n in sums), layers))
    return sorted(found)


def export(checkpoint: Path, name: str, tokenizer_folder: Path, folder: Path) -> None:
    """Write a checkpoint as a bfloat16 safetensors model with its tokenizer, ready for `from_pretrained`."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    model = architecture.build(name, tokenizer)
    weights = torch.load(checkpoint, weights_only=True)["model"]
    fresh = {key: p.detach() for key, p in model.named_parameters()}
    weights = weights if weights.keys() == fresh.keys() else architecture.fitted(name, weights, fresh)
    model.load_state_dict(weights, strict=False)
    model.tie_weights()
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _work(
    rank: int,
    workers: int,
    threads: int,
    stage: Stage,
    tokenizer_folder: Path,
    folder: Path,
    start_from: Path | None,
    fused: bool,
) -> None:
    memory.keep_freed_blocks()
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    if fused:
        attention.fuse_elementwise()
    if workers > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder.resolve()}/rendezvous", rank=rank, world_size=workers
        )
    Trainer(stage, tokenizer_folder, folder, start_from, rank, workers).run()
    if workers > 1:
        dist.destroy_process_group()


def train(
    stage: Stage,
    tokenizer_folder: Path,
    folder: Path,
    start_from: Path | None = None,
    workers: int = 1,
    threads: int = 1,
    fused: bool = False,
) -> Path:
    """Run (or resume) one stage in `folder`; `start_from` is an earlier stage's checkpoint or a model's folder.

    Several single-threaded workers, each with its own conversations and averaged gradients, use a CPU better than
    one worker with several threads. `fused` compiles Granite's element-wise code, for the rest of the process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rendezvous").unlink(missing_ok=True)
    (folder / "stage.json").write_text(json.dumps(asdict(stage), indent=1))
    arguments = (workers, threads, stage, tokenizer_folder, folder, start_from, fused)
    if workers == 1:
        _work(0, *arguments)
    else:
        mp.spawn(_work, arguments, nprocs=workers)
    return folder / "checkpoint.pt"
