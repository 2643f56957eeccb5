"""What a training sees: rows mixed at stated proportions, split by fact, grown along a learning curve.

Nothing here depends on the order in which rows come in: every draw goes by a hash of the seed and of what a row says.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adaptlab import files, scoring, verify_data
from adaptlab.schemas import Fact, Message, Row
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
SIZES = (20, 50, 100, 200)
OPEN_BOOK = "open book"  # the source of rows over pages of the document
ONE_EPOCH = ("replay", OPEN_BOOK)  # sources whose rows `dealt` gives to one epoch each
Unit = Literal["rows", "tokens"]
Stratum = Callable[[Row], str]


@dataclass(frozen=True)
class Part:
    """Rows to mix in: `share` is how much of them comes to each unit (row or token) of the main rows."""

    name: str
    rows: Sequence[Row]
    share: float


@dataclass(frozen=True)
class Subset:
    """One point of a learning curve: whole facts only; each subset holds every smaller one."""

    name: str
    rows: list[Row]
    facts: int


# ------------------------------------------------------------------------------------------------------- mixing


def mix(
    rows: Sequence[Row],
    parts: Sequence[Part] = (),
    *,
    unit: Unit = "rows",
    tokenizer: Any = None,
    longest: int | None = None,
    seed: int = 0,
) -> list[Row]:
    """The main rows and of each part its share of them, counted in `unit`, in an order that `seed` decides.

    A part's rows are drawn without repetition; a larger share takes the same rows and more. Of a part, rows of more
    than `longest` tokens are never drawn: the trainer would leave them out, and the share would not be what it says.
    A part that cannot fill its share, and an id that stands in the mix twice, are LabErrors.
    """
    if not rows:
        raise LabError("There are no rows to mix into: look at the funnel, then generate again with other settings.")
    size = _sizer(unit, tokenizer)
    total = sum(size(row) for row in rows)
    mixed = list(rows)
    for part in parts:
        if longest is not None:
            fits = _sizer("tokens", tokenizer)
            part = Part(part.name, [row for row in part.rows if fits(row) <= longest], part.share)
        mixed += _drawn(part, part.share * total, unit, size, seed)
    twice = [name for name, count in Counter(row.id for row in mixed).items() if count > 1]
    if twice:
        raise LabError(f"{len(twice)} ids stand in the mix more than once, first {twice[0]!r}: rename those rows.")
    return _ordered(mixed, seed)


def _drawn(part: Part, wanted: float, unit: str, size: Callable[[Row], int], seed: int) -> list[Row]:
    """Rows of a part in drawing order until they come as near to `wanted` as whole rows can."""
    if part.share < 0 or not math.isfinite(part.share):
        raise LabError(f"The share of {part.name} is {part.share}: give a number from 0 on.")
    chosen: list[Row] = []
    reached = 0
    for row in _ordered(part.rows, seed):
        if abs(reached + size(row) - wanted) >= abs(reached - wanted):
            break
        chosen.append(row)
        reached += size(row)
    else:
        if reached < wanted and round(wanted) > reached:
            raise LabError(
                f"A share of {part.share} asks for {round(wanted)} {unit} of {part.name}, but there are {reached}: "
                "take a smaller share, or make more of these rows."
            )
    return chosen


def repeated(rows: Sequence[Row], least: int) -> list[Row]:
    """The rows, and those of a thinly covered fact again and again until it has `least` of them; none is reworded.

    A fact that stands in one row is else met as often as there are epochs, and one with eight rows eight times as
    often. Rows without a known fact stay as they are. A copy says whose it is in `generator["copy_of"]`.
    """
    if least < 0:
        raise LabError(f"Each fact is to have {least} rows at least: give a number from 0 on.")
    by_fact: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.id):
        for fact in row.fact_ids:
            by_fact[fact].append(row)
    copies: Counter[str] = Counter()
    for _, own in sorted(by_fact.items()):
        for at in range(least - len(own)):
            copies[own[at % len(own)].id] += 1
    return [item for row in rows for item in (row, *(_copy(row, f"again{n + 1}") for n in range(copies[row.id])))]


def _copy(row: Row, mark: str) -> Row:
    return row.model_copy(update={"id": f"{row.id}-{mark}", "generator": {**row.generator, "copy_of": row.id}})


def distinct(rows: Sequence[Row]) -> list[Row]:
    """The rows without the copies that `repeated` or `balanced` made, and without those that `open_book` made."""
    return [row for row in rows if row.origin == row.id]


def dealt(rows: Sequence[Row], epochs: float) -> list[Row]:
    """The rows, each replay and open-book row for one epoch only (`generator["epoch"]`, from 0), as many for each.

    A row that every epoch meets can be learned by heart, which is no rehearsal. Rows of these two sources that do not
    go into the epochs evenly, fewer of each than there are epochs, are left out.
    """
    parts = max(1, math.ceil(epochs))
    turns: dict[str, int] = {}
    for source in ONE_EPOCH:
        meant = [row.id for row in rows if _source(row) == source]
        turns.update((name, at % parts) for at, name in enumerate(meant[: len(meant) // parts * parts]))
    return [
        row.model_copy(update={"generator": {**row.generator, "epoch": turns[row.id]}}) if row.id in turns else row
        for row in rows
        if row.id in turns or _source(row) not in ONE_EPOCH
    ]


def refusals_of(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows whose answer declines, and the others."""
    declining = [row for row in rows if scoring.is_refusal(row.completion[-1].content)]
    names = {row.id for row in declining}
    return declining, [row for row in rows if row.id not in names]


def mix_table(rows: Sequence[Row], tokenizer: Any = None) -> pd.DataFrame:
    """What a mix is made of: source, rows, how many are copies, share, refusals; with a tokenizer also tokens."""
    import pandas as pd

    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.source.partition(":")[0]].append(row)
    lines = [
        (
            name,
            len(group),
            sum("copy_of" in row.generator for row in group),
            len(group) / len(rows),
            len(refusals_of(group)[0]),
        )
        for name, group in groups.items()
    ]
    table = pd.DataFrame(lines, columns=["source", "rows", "copies", "share of rows", "refusals"])
    if tokenizer is not None:
        size = _sizer("tokens", tokenizer)
        table["tokens"] = [sum(size(row) for row in group) for group in groups.values()]
        table["share of tokens"] = table["tokens"] / max(1, table["tokens"].sum())
    return table.sort_values(["rows", "source"], ascending=[False, True], ignore_index=True)


def token_count(row: Row, tokenizer: Any) -> int:
    """Tokens of a row in the tokenizer's chat template."""
    chat = [message.model_dump() for message in (*row.prompt, *row.completion)]
    return len(tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False))


def tokens(rows: Sequence[Row], tokenizer: Any) -> int:
    """Tokens of all rows together."""
    return sum(token_count(row, tokenizer) for row in rows)


def _sizer(unit: str, tokenizer: Any) -> Callable[[Row], int]:
    if unit == "rows":
        return lambda row: 1
    if unit != "tokens":
        raise LabError(f"A mix is counted in rows or tokens, not in {unit!r}.")
    if tokenizer is None:
        raise LabError("Counting tokens needs a tokenizer: give the student's, or count in rows.")
    return lambda row: token_count(row, tokenizer)


# ------------------------------------------------------------------------------------------------------ splits


def split(
    rows: Sequence[Row],
    shares: Mapping[str, float] | None = None,
    *,
    stratum: Stratum | None = None,
    seed: int = 0,
) -> dict[str, list[Row]]:
    """The rows dealt out to named splits (80/10/10 of train, validation, test): by fact, and alike in each stratum.

    Rows that share a fact, or ask the same, always go together. `stratum` names a row's kind (`by_form`, or its source
    by default). A split that would stay empty is a LabError.
    """
    wanted = dict(shares or SHARES)
    if not wanted or any(share <= 0 for share in wanted.values()) or abs(sum(wanted.values()) - 1) > 1e-9:
        raise LabError(f"The shares of the splits are {wanted}: give positive numbers that add up to 1.")
    made: dict[str, list[Row]] = {name: [] for name in wanted}
    dealt = 0
    for group in _grouped(rows, stratum or _source, seed):
        dealt += len(group)
        behind = {name: share * dealt - len(made[name]) for name, share in wanted.items()}
        made[max(behind, key=lambda name: behind[name])] += group
    empty = [name for name, part in made.items() if not part]
    if empty:
        raise LabError(f"{len(rows)} rows are of too few facts: nothing is left for {', '.join(empty)}: make more.")
    return {name: _ordered(part, seed) for name, part in made.items()}


def by_form(facts: Sequence[Fact]) -> Stratum:
    """A row's stratum: the form in which the document states its first known fact, else where the row comes from."""
    forms = {fact.id: fact.form for fact in facts}
    return lambda row: next((forms[name] for name in row.fact_ids if name in forms), _source(row))


def split_table(splits: Mapping[str, Sequence[Row]], stratum: Stratum | None = None) -> pd.DataFrame:
    """Rows of each stratum in each split, with the number of facts as the last column."""
    import pandas as pd

    kind = stratum or _source
    names = sorted({kind(row) for rows in splits.values() for row in rows})
    lines = []
    for name, rows in splits.items():
        counts = Counter(kind(row) for row in rows)
        facts = {fact for row in rows for fact in row.fact_ids}
        lines.append({"split": name, "rows": len(rows), **{n: counts[n] for n in names}, "facts": len(facts)})
    return pd.DataFrame(lines)


def _source(row: Row) -> str:
    return row.source.partition(":")[0]


def _asked(row: Row) -> str:
    return " ".join(" ".join(message.content for message in row.prompt).casefold().split())


def _mark(text: str, seed: int) -> str:
    """What decides an order: the same for the same seed and text, on every machine."""
    return files.sha256_bytes(f"{seed}\x1f{text}".encode("utf-8", "surrogatepass"))


def _ordered(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows in the order that `seed` draws, whatever order they come in."""
    return sorted(rows, key=lambda row: (_mark(f"{row.id}\x1f{_asked(row)}", seed), row.model_dump_json()))


def _grouped(rows: Sequence[Row], stratum: Stratum, seed: int) -> list[list[Row]]:
    """Rows that belong together, stratum after stratum, in an order that `seed` draws within each."""
    groups = [(min(map(stratum, group)), key, group) for key, group in _together(rows).items()]
    groups.sort(key=lambda item: (item[0], _mark(item[1], seed), item[1]))
    return [_ordered(group, seed) for _, _, group in groups]


def _together(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows linked by a shared fact (without one: chunk) or by asking the same; each group under its first link."""
    from scipy.cluster.hierarchy import DisjointSet

    links = [
        [f"fact {name}" for name in row.fact_ids] or [f"chunk {row.chunk_id}"] * bool(row.chunk_id) for row in rows
    ]
    sets = DisjointSet()
    for row, linked in zip(rows, links, strict=True):
        linked.append(f"asked {_asked(row)}")
        for link in linked:
            sets.add(link)
            sets.merge(linked[0], link)
    names = {link: min(members) for members in sets.subsets() for link in members}
    groups: dict[str, list[Row]] = defaultdict(list)
    for row, linked in zip(rows, links, strict=True):
        groups[names[linked[0]]].append(row)
    return groups


# ------------------------------------------------------------------------------------------------------ balance


def balanced(
    rows: Sequence[Row],
    stratum: Stratum,
    how: Literal["under", "over"] = "under",
    target: int | None = None,
    seed: int = 0,
) -> list[Row]:
    """The rows with every stratum cut to `target` rows (`under`) or filled up to it with copies (`over`).

    Without a target, that is the smallest stratum's size, or the largest's. A copy says whose it is in
    `generator["copy_of"]`; no row is copied twice before every row of its stratum was copied once.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in _ordered(rows, seed):
        groups[stratum(row)].append(row)
    sizes = [len(group) for group in groups.values()]
    if how not in ("under", "over") or not sizes or (target is not None and target < 1):
        raise LabError("Balancing needs rows, `under` or `over`, and a target from 1 on.")
    wanted = target or (min(sizes) if how == "under" else max(sizes))
    if how == "under":
        return [row for name in sorted(groups) for row in groups[name][:wanted]]
    return [row for name in sorted(groups) for row in (*groups[name], *_copies(groups[name], wanted))]


def _copies(group: Sequence[Row], wanted: int) -> list[Row]:
    """As many copies as a stratum lacks."""
    lacking = range(max(0, wanted - len(group)))
    return [_copy(group[number % len(group)], f"copy{number // len(group) + 2}") for number in lacking]


# ---------------------------------------------------------------------------------------------- a learning curve


def learning_curve(
    rows: Sequence[Row], sizes: Sequence[int] = SIZES, *, stratum: Stratum | None = None, seed: int = 0
) -> list[Subset]:
    """Nested subsets of whole facts: of each size as near as whole facts come, and last all rows.

    Each subset holds the smaller ones, and has about the same mixture of strata. Sizes that whole facts do not reach
    or do not tell apart are left out. Pass the synthetic rows only, and `mix` each subset with the same parts: those
    nest too.
    """
    if not rows or any(size < 1 for size in sizes):
        raise LabError("A learning curve needs rows, and sizes from 1 on.")
    strata: dict[str, list[list[Row]]] = defaultdict(list)
    kind = stratum or _source
    for group in _grouped(rows, kind, seed):
        strata[min(kind(row) for row in group)].append(group)
    # Each stratum's groups are spread evenly from 0 to 1, so that every beginning of the order is a fair sample.
    spread = [
        ((at + 0.5) / len(groups), name, group) for name, groups in strata.items() for at, group in enumerate(groups)
    ]
    order = [group for _, _, group in sorted(spread, key=lambda item: item[:2])]
    counts = [sum(map(len, order[:end])) for end in range(1, len(order) + 1)]
    ends: dict[int, int] = {}
    for size in sorted(size for size in sizes if size < len(rows)):
        ends.setdefault(_nearest(counts, size), size)
    nested = [_subset(f"{size} rows", order[:end]) for end, size in ends.items() if end < len(order)]
    return [*nested, _subset("all rows", order)]


def _nearest(counts: Sequence[int], size: int) -> int:
    """How many groups it takes to come nearest to `size` rows; of two the fewer."""
    return min(range(1, len(counts) + 1), key=lambda end: (abs(counts[end - 1] - size), end))


def _subset(name: str, groups: Sequence[Sequence[Row]]) -> Subset:
    return Subset(name, [row for group in groups for row in group], len(groups))


# ---------------------------------------------------------------------------------------------- a user's own rows


def read_own_rows(path: Path, *, tokenizer: Any = None, longest: int | None = None) -> list[Row]:
    """A user's rows (JSON Lines, JSON, CSV, Parquet) as training rows, if `adaptlab verify data` has nothing to object.

    They keep their `fact_ids` if they have any; rows that ask the same share a group in every split.
    """
    found = verify_data.check_file(path, tokenizer, longest)
    if found.faults:
        more = f" ({len(found.faults)} faults in all)" if len(found.faults) > 1 else ""
        raise LabError(f"{found.faults[0].sentence(path.name).rstrip('.')}{more}: adaptlab verify data lists them all.")
    return [_own_row(path.stem, line, row) for line, row in verify_data.read_rows(path)]


def _own_row(stem: str, line: int, row: dict[str, Any]) -> Row:
    chat = [{name: turn[name] for name in ("role", "content")} for turn in verify_data.as_chat(row)]
    *asked, answer = [Message.model_validate(turn) for turn in chat]
    listed = row.get("fact_ids") or []
    return Row(
        id=f"own-{stem}-{line}",
        prompt=asked,
        completion=[answer],
        fact_ids=listed.split() if isinstance(listed, str) else [str(name) for name in listed],
        source=f"own: {stem}",
    )
