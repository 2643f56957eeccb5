"""The batched decoding loop behind `generation.LocalGenerator`: one prefill for each prompt, one cache, many samples.

Batching changes a model's scores in the last float digits, because other shapes take other paths through the kernels.
Two things keep the words the same all the same. The noise of a sample comes from its seed, its number and its prompt
alone; and where the two best tokens are closer than any such difference, the sample is scored again by itself.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers.cache_utils import DynamicCache

from adaptlab.attention import GROUPED, slot_cache, slot_layers
from adaptlab.generation import Completion, FinishReason

if TYPE_CHECKING:
    from adaptlab.models import Loaded

CLOSE = 2e-4  # scores nearer to each other than this are a tie; float32 batches differ by about a tenth of it
PREFILL_TOKENS = 2048
ALONE_TOKENS = (
    256  # a longer prompt is read by itself on a CPU: no padding, and no mask, so half the attention is skipped
)
SHORTEST_HEAD = 16  # tokens; a shorter common head costs more to share than to read again
Finish = Callable[[int, int, Completion], None]


@dataclass
class Row:
    """One sample while it is being decoded."""

    index: int
    sample: int
    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float
    seed: int | None
    stop: tuple[str, ...] = ()
    on_text: Callable[[int, str], None] | None = None
    wanted: Callable[[], bool] | None = None
    ids: list[int] = field(default_factory=list)
    seconds: float = 0.0
    noise: np.random.Generator | None = None
    done: bool = False

    def start(self) -> None:
        """Forget what was decoded and set the noise to its beginning."""
        self.ids = []
        if self.temperature <= 0:
            return
        digest = hashlib.blake2b(np.asarray(self.prompt, np.int32).tobytes(), digest_size=8).digest()
        entropy = [(self.seed or 0) % 2**64, self.sample, int.from_bytes(digest, "little")]
        self.noise = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def decode(
    loaded: Loaded,
    rows: list[Row],
    finish: Finish,
    batch_tokens: int,
    batch_size: int,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Decode every row, shortest prompts first, and hand over each completion through `finish`."""
    ordered = sorted(rows, key=lambda row: (len(row.prompt), row.prompt, row.index, row.sample))
    model = loaded.model
    before = model.config._attn_implementation
    was_training = model.training
    model.eval()
    if before == "sdpa":
        model.set_attn_implementation(GROUPED)
    try:
        for batch in batches(ordered, batch_tokens, batch_size):
            _run_batch(loaded, batch, finish, should_stop)
    finally:
        if before == "sdpa":
            model.set_attn_implementation(before)
        model.train(was_training)


def batches(rows: list[Row], batch_tokens: int, batch_size: int) -> list[list[Row]]:
    """Cut rows, sorted by length, into batches whose caches stay within `batch_tokens`; a row alone always may."""
    done: list[list[Row]] = []
    batch: list[Row] = []
    answer = 0
    for row in rows:
        answer = max(answer, row.max_tokens)
        if batch and ((len(batch) + 1) * (len(row.prompt) + answer) > batch_tokens or len(batch) >= batch_size):
            done.append(batch)
            batch, answer = [], row.max_tokens
        batch.append(row)
    return [*done, batch] if batch else done


def prefill_parts(prompts: list[tuple[int, ...]], alone: float = math.inf) -> list[list[tuple[int, ...]]]:
    """Cut prompts, sorted by length, into parts that need little padding and little memory at once.

    A prompt of more than `alone` tokens is a part of its own.
    """
    parts: list[list[tuple[int, ...]]] = []
    for prompt in prompts:
        part = parts[-1] if parts else []
        small = (len(part) + 1) * len(prompt) <= PREFILL_TOKENS and len(prompt) <= alone
        if part and small and len(prompt) <= 1.25 * len(part[0]) + 8:
            part.append(prompt)
        else:
            parts.append([prompt])
    return parts


def common_head(prompts: list[tuple[int, ...]]) -> int:
    """How many first tokens different prompts share, short of a whole prompt; 0 where sharing them does not pay."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)  # in the order of tuples, these two share the least
    shortest = min(len(prompt) for prompt in prompts)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), shortest)
    shared = min(same, shortest - 1)
    return shared if shared >= SHORTEST_HEAD else 0


def _run_batch(loaded: Loaded, rows: list[Row], finish: Finish, should_stop: Callable[[], bool] | None) -> None:
    """Decode one batch; a batch that does not fit into memory becomes errors instead of an exception."""
    try:
        with torch.inference_mode():
            _Batch(loaded, rows, finish, should_stop).run()
    except torch.OutOfMemoryError:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        problem = f"A batch of {len(rows)} samples does not fit into the GPU's memory: lower batch_tokens."
        for row in rows:
            if not row.done:
                finish(row.index, row.sample, _failed(row, problem))


class _Batch:
    """Rows that are decoded together, with their cache; finished rows are dropped from it."""

    def __init__(self, loaded: Loaded, rows: list[Row], finish: Finish, should_stop: Callable[[], bool] | None) -> None:
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        self.device = next(self.model.parameters()).device
        self.exact = self.model.dtype == torch.float32
        self.ends = end_tokens(loaded)
        self.rows, self.finish, self.should_stop = rows, finish, should_stop
        self.width = max(len(row.prompt) for row in rows)
        self.capacity = self.width + max(row.max_tokens for row in rows)
        self.mask = torch.ones(len(rows), self.capacity, dtype=torch.long, device=self.device)
        self.clock = perf_counter()
        for row in rows:
            row.start()

    def run(self) -> None:
        """Prefill, then one step after another until every row is done."""
        cache, scores = self._prefill()
        alive = list(range(len(self.rows)))  # places in the cache of the rows that still grow
        while True:
            if self.should_stop is not None and self.should_stop():
                raise KeyboardInterrupt
            chosen = self._choose(scores, alive)
            self._tick(alive)
            still = [place for place, token in zip(alive, chosen, strict=True) if not self._ended(place, token)]
            if not still:
                return
            if len(still) <= 0.85 * len(self.rows):
                self._compact(cache, still)
                still = list(range(len(still)))
            alive = still
            scores = self._step(cache)

    def _prefill(self) -> tuple[DynamicCache, torch.Tensor]:
        """Run each different prompt once, and the head that all share once; samples share the result.

        Returns the cache and the first scores.
        """
        copies = Counter(row.prompt for row in self.rows)  # rows are sorted: equal prompts lie side by side
        cache = slot_cache(self.model, self.capacity)
        shared = common_head(list(copies))
        apart = self.device.type == "cpu" and shared < self.width / 4  # a long head is worth more than no padding
        shared = 0 if apart and self.width > ALONE_TOKENS else shared
        head = slot_cache(self.model, max(1, shared))
        if shared:
            ids = torch.tensor([self.rows[0].prompt[:shared]], device=self.device)
            self._forward(ids, torch.ones_like(ids), head)
        scores = []
        at = 0
        for part in prefill_parts(list(copies), ALONE_TOKENS if apart else math.inf):
            width = len(part[-1])
            padded = [[0] * (width - len(prompt)) + list(prompt) for prompt in part]
            mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in part]).to(self.device)
            prefix = slot_cache(self.model, width)
            if shared:
                pads = [width - len(prompt) for prompt in part]
                for layer, filled in zip(slot_layers(prefix), slot_layers(head), strict=True):
                    layer.lead(filled, pads)
            last = self._forward(torch.tensor(padded)[:, shared:].to(self.device), mask, prefix)
            repeats = torch.tensor([copies[prompt] for prompt in part])
            repeat = torch.arange(len(part)).repeat_interleave(repeats).to(self.device)
            for layer, filled in zip(slot_layers(cache), slot_layers(prefix), strict=True):
                layer.take(filled, repeat, at, len(self.rows), self.width)
            self.mask[at : at + len(repeat), : self.width - width] = 0
            self.mask[at : at + len(repeat), self.width - width : self.width] = mask[repeat]
            scores.append(last[repeat])
            at += len(repeat)
        return cache, torch.cat(scores)

    def _step(self, cache: DynamicCache) -> torch.Tensor:
        """The scores of the next token of every row in the cache."""
        last = torch.tensor([[row.ids[-1]] for row in self.rows], device=self.device)
        return self._forward(last, self.mask[:, : cache.get_seq_length() + 1], cache)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """Scores after the last token; positions count from each row's first real token.

        One row alone has no padding, so it needs no mask: attention then skips what causality forbids anyway.
        """
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        whole = len(ids) == 1 and ids.shape[1] == mask.shape[1]
        output = self.model(
            input_ids=ids,
            attention_mask=None if whole else mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()

    def _choose(self, scores: torch.Tensor, alive: list[int]) -> list[int]:
        """The next token of each living row: the best one, with noise where the row has a temperature."""
        if len(alive) < len(scores):
            scores = scores[torch.tensor(alive, device=self.device)]
        rows = [self.rows[place] for place in alive]
        scores, noise = self._with_noise(scores, rows)
        best, tokens = scores.topk(2)
        gaps = (best[:, 0] - best[:, 1]).tolist()
        chosen = tokens[:, 0].tolist()
        for number, (row, gap) in enumerate(zip(rows, gaps, strict=True)):
            if math.isnan(gap):  # the scores overflowed
                chosen[number] = -1
            elif self.exact and gap < CLOSE / min(row.temperature or 1.0, 1.0):
                chosen[number] = self._alone(row, None if noise is None else noise[number])
        return chosen

    def _with_noise(self, scores: torch.Tensor, rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Scores over temperature plus Gumbel noise, whose maximum is a sample; greedy rows are left as they are."""
        if all(row.noise is None for row in rows):
            return scores, None
        waits = np.ones(tuple(scores.shape), np.float32)
        for number, row in enumerate(rows):
            if row.noise is not None:
                row.noise.standard_exponential(dtype=np.float32, out=waits[number])
        noise = -torch.from_numpy(waits).to(self.device).log()  # zero for a greedy row
        return scores / self._heat(rows) + noise, noise

    def _heat(self, rows: list[Row]) -> torch.Tensor:
        """The temperatures as a column; 1 stands for greedy."""
        return torch.tensor([[row.temperature if row.temperature > 0 else 1.0] for row in rows], device=self.device)

    def _alone(self, row: Row, noise: torch.Tensor | None) -> int:
        """The next token of a row scored by itself from its first token on: the same in whatever batch it is."""
        ids = torch.tensor([[*row.prompt, *row.ids]], device=self.device)
        scores = self.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1].float()
        if noise is not None:
            scores = scores / self._heat([row]) + noise
        return int(scores[0].cpu().numpy().argmax())

    def _tick(self, alive: list[int]) -> None:
        """Share the time since the last call among the living rows."""
        now = perf_counter()
        share = (now - self.clock) / len(alive)
        self.clock = now
        for place in alive:
            self.rows[place].seconds += share

    def _ended(self, place: int, token: int) -> bool:
        """Add a token to a row; if that ends it, hand over its completion."""
        row = self.rows[place]
        if token < 0:
            row.ids.append(0)
            row.done = True
            problem = "The model's scores are not numbers: use another precision."
            self.finish(row.index, row.sample, _failed(row, problem))
            return True
        row.ids.append(token)
        if row.wanted is not None and not row.wanted():
            row.done = True
            self.finish(row.index, row.sample, _failed(row, "Nobody waits for this answer any more."))
            return True
        text: str | None = None
        reason: FinishReason | None = None
        if token in self.ends:
            text, reason = self._text(row.ids[:-1]), "stop"
        elif row.stop:
            text = cut(self._text(row.ids), row.stop)
            reason = "stop" if text is not None else None
        if not reason and len(row.ids) >= row.max_tokens:
            text, reason = self._text(row.ids), "length"
        if not reason:
            if row.on_text is not None:
                row.on_text(row.sample, self._text(row.ids))
            return False
        completion = Completion(
            text=text or "",
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.ids),
            finish_reason=reason,
            seconds=row.seconds,
            seed=row.seed,
            status="ok" if (text or "").strip() else "empty",
        )
        row.done = True
        self.finish(row.index, row.sample, completion)
        return True

    def _text(self, ids: list[int]) -> str:
        """The words of an answer."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _compact(self, cache: DynamicCache, still: list[int]) -> None:
        """Drop finished rows from the batch and from the cache."""
        places = torch.tensor(still, device=self.device)
        for layer in slot_layers(cache):
            layer.keep(places)
        self.mask = self.mask[places]
        self.rows = [self.rows[place] for place in still]


def end_tokens(loaded: Loaded) -> set[int]:
    """The tokens after which an answer is over."""
    listed = getattr(loaded.model.generation_config, "eos_token_id", None)
    ends = set(listed) if isinstance(listed, list | tuple) else {listed}
    return {token for token in ends | {loaded.tokenizer.eos_token_id} if token is not None}


def cut(text: str, stops: tuple[str, ...]) -> str | None:
    """`text` up to the first stop string in it, or None where there is none."""
    found = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return text[: min(found)] if found else None


def _failed(row: Row, problem: str) -> Completion:
    """The completion of a row that broke off."""
    return Completion(
        prompt_tokens=len(row.prompt),
        completion_tokens=len(row.ids),
        finish_reason="error",
        seconds=row.seconds,
        seed=row.seed,
        status="error",
        error=problem,
    )
