"""Which parts of the document the kept rows cover, which are thin, and more rows for these alone.

Where a registry names the facts, a part is covered as far as kept rows state its facts. Anywhere else the number of
different kept questions for 1,000 characters stands in for that. Held-out facts never count, and never steer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab import documents
from adaptlab.schemas import Chunk, Fact
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

    from adaptlab.synthesis.driver import Generated

PER = 1000  # characters that a density is counted over
SECTION_COLUMNS = (
    "section",
    "passages",
    "characters",
    "generated",
    "kept",
    "questions",
    "per 1,000 characters",
    "facts",
    "covered",
    "share",
)


def coverage(kept: pd.DataFrame, facts: Sequence[Fact]) -> pd.DataFrame:
    """How many of the visible facts at least one row names, by the form in which the document states them."""
    import pandas as pd

    named = covered_facts(kept)
    visible = [fact for fact in facts if fact.split == "visible"]
    forms = sorted({fact.form for fact in visible})
    groups = [(form, [fact for fact in visible if fact.form == form]) for form in forms] + [("all", visible)]
    lines = [(form, sum(fact.id in named for fact in group), len(group)) for form, group in groups]
    return pd.DataFrame(lines, columns=["form", "covered", "facts"]).assign(
        share=[covered / count if count else 0.0 for _, covered, count in lines]
    )


def covered_facts(rows: pd.DataFrame) -> set[str]:
    """The ids of the facts that the rows are about; with a column `kept` or `right`, only rows that are both."""
    good = rows
    for name in ("kept", "right"):
        if name in good.columns:
            good = good[good[name].eq(True)]
    return {fact_id for ids in good["fact_ids"] for fact_id in str(ids).split()}


def passage_chunk(chunk_id: str, known: Iterable[str]) -> str:
    """The chunk that a seed passage was made of: its own id, less the number of a table that was dealt out."""
    return chunk_id if chunk_id in known else chunk_id.rpartition("-")[0]


def by_chunk(
    rows: pd.DataFrame, chunks: Sequence[Chunk], facts: Sequence[Fact] = (), read: Iterable[str] = ()
) -> pd.DataFrame:
    """One line a chunk, in the order of the document: what was generated and kept, and the facts covered.

    `rows` went through `apply_filters`; `read` are the ids of seed passages, so that one without a row counts as read
    too. `share` is unknown (NaN) for a chunk that states no visible fact.
    """
    import pandas as pd

    ids = {chunk.id for chunk in chunks}
    of = [passage_chunk(str(name), ids) for name in rows["chunk_id"]]
    seen = set(of) | {passage_chunk(str(name), ids) for name in read}
    named = covered_facts(rows)
    parts = dict(tuple(rows.groupby(pd.Series(of, index=rows.index), sort=False)))
    lines = []
    for chunk in chunks:
        part = parts.get(chunk.id, rows.iloc[:0])
        kept = part[part["kept"].eq(True)]
        inside = [f for f in facts if f.split == "visible" and chunk.start <= f.start < chunk.end]
        covered = sum(fact.id in named for fact in inside)
        questions = int(kept["question"].str.casefold().nunique())
        lines.append(
            {
                "chunk_id": chunk.id,
                "section": chunk.title,
                "start": chunk.start,
                "characters": len(chunk.text),
                "read": chunk.id in seen,
                "generated": len(part),
                "kept": len(kept),
                "questions": questions,
                "per 1,000 characters": PER * questions / max(1, len(chunk.text)),
                "facts": len(inside),
                "covered": covered,
                "share": covered / len(inside) if inside else float("nan"),
            }
        )
    return pd.DataFrame(lines)


def by_section(per_chunk: pd.DataFrame, depth: int | None = None) -> pd.DataFrame:
    """The lines of `by_chunk` that were read, added up by heading; `depth` counts the headings from the top."""
    import pandas as pd

    read = per_chunk[per_chunk["read"]]
    names = [" > ".join(str(title).split(" > ")[:depth]) for title in read["section"]]
    lines = []
    for name, part in read.groupby(pd.Series(names, index=read.index), sort=False):
        sums = {key: int(part[key].sum()) for key in ("characters", "generated", "kept", "questions")}
        facts, covered = int(part["facts"].sum()), int(part["covered"].sum())
        density = PER * sums["questions"] / max(1, sums["characters"])
        share = covered / facts if facts else float("nan")
        lines.append((name, len(part), *sums.values(), density, facts, covered, share))
    return pd.DataFrame(lines, columns=list(SECTION_COLUMNS))


def worst(sections: pd.DataFrame, count: int | None = None) -> pd.DataFrame:
    """The thinnest sections first: by the share of their facts where facts are known, else by questions a length.

    With a registry, sections that state no fact, and those that lack none, are left out.
    """
    if sections["facts"].sum():
        found = sections[sections["share"] < 1].sort_values(["share", "per 1,000 characters"], kind="stable")
    else:
        found = sections.sort_values("per 1,000 characters", kind="stable")
    return found.head(len(found) if count is None else count)


def by_section_and_form(
    rows: pd.DataFrame, facts: Sequence[Fact], chunks: Sequence[Chunk], depth: int = 2
) -> pd.DataFrame:
    """Visible facts and how many are covered, one line for each section (at `depth` headings) and form of statement."""
    import pandas as pd

    named = covered_facts(rows)
    titles = [(chunk.start, chunk.end, " > ".join(chunk.title.split(" > ")[:depth])) for chunk in chunks]
    found = []
    for fact in facts:
        section = next((title for start, end, title in titles if start <= fact.start < end), None)
        if fact.split == "visible" and section is not None:
            found.append((section, fact.form, fact.id in named, fact.start))
    table = pd.DataFrame(found, columns=["section", "form", "covered", "start"])
    grouped = table.groupby(["section", "form"], sort=False)
    sums = grouped.agg(facts=("covered", "size"), covered=("covered", "sum"), start=("start", "min")).reset_index()
    sums = sums.sort_values("start", kind="stable").drop(columns="start").reset_index(drop=True)
    return sums.assign(share=sums["covered"].astype(float) / sums["facts"])


# ------------------------------------------------------------------------------------------------ generate more here


def thin_passages(
    rows: pd.DataFrame,
    seeds: pd.DataFrame,
    chunks: Sequence[Chunk],
    facts: Sequence[Fact] = (),
    *,
    sections: Sequence[str] | None = None,
    count: int = 10,
) -> pd.DataFrame:
    """The seed passages of the `count` thinnest sections, or of the `sections` whose names contain one of these.

    Where a registry names the facts, a passage stays only if it holds a sentence or table line with an uncovered one.
    """
    per_chunk = by_chunk(rows, chunks, facts, read=seeds["chunk_id"])
    if sections is None:
        names = list(worst(by_section(per_chunk), count)["section"])
    else:
        known = list(dict.fromkeys(per_chunk.loc[per_chunk["read"], "section"]))
        names = [name for name in known if any(wanted.casefold() in name.casefold() for wanted in sections)]
        if not names:
            choices = "; ".join(name.split(" > ")[-1] for name in known[:8])
            raise LabError(f"No section that was read is called {', '.join(sections)}: take one such as {choices}.")
    chosen = set(per_chunk.loc[per_chunk["section"].isin(names), "chunk_id"])
    ids = {chunk.id for chunk in chunks}
    inside = seeds[[passage_chunk(str(name), ids) in chosen for name in seeds["chunk_id"]]]
    return _with_open_facts(inside, rows, facts) if facts and sections is None else inside


def _with_open_facts(seeds: pd.DataFrame, rows: pd.DataFrame, facts: Sequence[Fact]) -> pd.DataFrame:
    """The passages that hold the quote of a visible fact which no kept row covers."""
    named = covered_facts(rows)
    quotes = [fact.quote.strip() for fact in facts if fact.split == "visible" and fact.id not in named]
    return seeds[[any(quote in text for quote in quotes) for text in seeds["document"]]]


def smaller_passages(seeds: pd.DataFrame, pieces: int = 2) -> pd.DataFrame:
    """Each seed passage cut at sentence ends into `pieces` of about one length, under its title; tables stay whole.

    A teacher that writes about a part of a passage only, as small ones do, finds less to leave out in a shorter one.
    """
    import pandas as pd

    lines = []
    for seed in seeds.to_dict("records"):
        parts = _cut(str(seed["document"]), pieces)
        names = [seed["chunk_id"]] if len(parts) == 1 else [f"{seed['chunk_id']}-{n}" for n in range(1, len(parts) + 1)]
        lines += [{**seed, "chunk_id": name, "document": part} for name, part in zip(names, parts, strict=True)]
    return pd.DataFrame(lines, columns=seeds.columns)


def _cut(text: str, pieces: int) -> list[str]:
    """`text` cut at the sentence ends that lie nearest to equal parts; whole if it holds a table or no such end."""
    ends = [match.end() for match in documents.SENTENCE_END.finditer(text)]
    if not ends or pieces < 2 or any(line.lstrip().startswith("|") for line in text.split("\n")):
        return [text]
    wanted = [len(text) * number / pieces for number in range(1, pieces)]
    cuts = sorted({min(ends, key=lambda end: abs(end - place)) for place in wanted})
    parts = [text[start:end].strip() for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [part for part in parts if part]


def top_up(
    flow_path: str | Path,
    rows: pd.DataFrame,
    seeds: pd.DataFrame,
    chunks: Sequence[Chunk],
    facts: Sequence[Fact] = (),
    *,
    sections: Sequence[str] | None = None,
    count: int = 10,
    pieces: int = 2,
    passes: int = 2,
    **how: Any,
) -> Generated:
    """Generate more on the thin sections only, cut into `pieces`; `how` goes to `generate` (teacher, `out_dir`, ...).

    `rows` are the checked rows so far. Every pass draws with a seed that none of them used, through the same driver
    and folder: what is finished is never asked for again, and the same call made twice gives the same rows. Where no
    section is thin, nothing is asked and no row comes back.
    """
    from adaptlab.synthesis.driver import Generated, generate

    thin = thin_passages(rows, seeds, chunks, facts, sections=sections, count=count)
    if thin.empty:
        return Generated(thin.reindex(columns=["chunk_id", "seed", "status", "error"]), rows.iloc[:0])
    first = next_seed(rows)
    return generate(flow_path, smaller_passages(thin, pieces), seeds=range(first, first + passes), **how)


def next_seed(rows: pd.DataFrame) -> int:
    """The first sampling seed that no row was drawn with."""
    return int(rows["seed"].astype(int).max()) + 1 if len(rows) else 0
