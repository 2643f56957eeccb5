"""Chunks of a real document through generation with the teacher and all filters: the funnel as it is, nothing stored.

`python benchmarks/document_funnel.py` takes 25 chunks of the real rules, spread evenly over the book; another document
may be named. Whatever the teacher makes of them is printed: a low figure is a finding, not a failure.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
REAL = ROOT.parent / "shared" / "data" / "basic-fantasy" / "Basic-Fantasy-RPG-Rules-r142.md"


def spread(items: list[Any], count: int) -> list[Any]:
    """`count` items at even distances, or all where there are fewer."""
    if len(items) <= count:
        return items
    return [items[(2 * at + 1) * len(items) // (2 * count)] for at in range(count)]


def column_of(row: dict[str, Any]) -> str:
    """Whether a row about a table's entry states the cell under the column that it names.

    `right`, `wrong`, or `no table` where the passage has no table with that entry and column. Stricter and simpler than
    the filter for cells (`synthesis.tables`), and apart from it, so that it can be held against it.
    """
    from adaptlab.synthesis.wording import name_of, plain, value_of

    lines = [
        line.strip().strip("|").split("|") for line in row["document"].split("\n") if line.lstrip().startswith("|")
    ]
    attribute, name = plain(row["subject"].rpartition(":")[2]), plain(name_of(row["subject"]))
    heads = [plain(cell).rstrip(".") for cell in lines[0]] if lines else []
    entry = next((cells for cells in lines[2:] if name and name in map(plain, cells)), None)
    at = next((i for i, head in enumerate(heads) if head and head == attribute.rstrip(".")), None)
    if entry is None or at is None or at >= len(entry):
        return "no table"
    return "right" if plain(entry[at]) == plain(value_of(row["subject"], row["answer"])) else "wrong"


def run(path: Path, count: int, passes: int) -> dict[str, Any]:
    """Generate and filter; counts, the funnel, the rows, and seconds."""
    import config
    from adaptlab import synthesis, workbench
    from adaptlab.artifacts import Lab
    from adaptlab.stats import wilson

    with tempfile.TemporaryDirectory(prefix="lab-funnel-") as folder:
        places = {"LAB_PROFILE": "mini", "LAB_DOCUMENT": str(path), "LAB_OUTPUTS": folder}
        lab = Lab(config.settings(places), notebook="benchmark")
        text = workbench.document(lab)
        chosen = spread(workbench.chunks(lab, text), count)
        seeds = synthesis.seed_rows(text, chosen, table_rows=lab.profile.table_rows)
        started = perf_counter()
        with workbench.teacher_endpoint(lab) as teacher:
            made = synthesis.generate(
                synthesis.SHORT_FLOW,
                seeds,
                **teacher,
                temperature=0.7,
                max_tokens=lab.profile.reply_tokens,
                out_dir=Path(folder) / "work",
                seeds=range(lab.settings.seeds.synthesis, lab.settings.seeds.synthesis + passes),
                max_concurrency=16,
            )
        generated = perf_counter() - started
        rows = made.rows.fillna("")
        prompts = synthesis.reanswer_prompts(rows)
        unique = sorted({prompt for prompt in prompts if prompt})
        chats = [[{"role": "user", "content": prompt}] for prompt in unique]
        replies = workbench.generator(lab, "judge").generate(chats, max_tokens=48, seeds=0) if chats else []
        said = {prompt: reply[0].text for prompt, reply in zip(unique, replies, strict=True)}
        checked = synthesis.apply_filters(rows, reanswers=[said.get(prompt, "") for prompt in prompts])
        seconds = perf_counter() - started
    kept = checked[checked.kept]
    return {
        "document": path.name,
        "chunks": len(chosen),
        "seed_rows": len(seeds),
        "calls": len(seeds) * passes,
        "documents": made.documents.status.value_counts().to_dict(),
        "rows": len(checked),
        "kept": len(kept),
        "kept_rate": wilson(len(kept), len(checked))._asdict() if len(checked) else None,
        "chunks_with_a_kept_row": sum(any(f"{i}-".startswith(f"{c.id}-") for i in kept.chunk_id) for c in chosen),
        "columns": Counter(column_of(row) for row in checked.to_dict("records") if row["question"]),
        "columns_kept": Counter(column_of(row) for row in kept.to_dict("records")),
        "funnel": synthesis.funnel(checked).to_dict("records"),
        "kept_rows": kept[["chunk_id", "question", "answer"]].to_dict("records"),
        "seconds_generating": generated,
        "seconds": seconds,
    }


def main(argv: list[str] | None = None) -> int:
    """Print the funnel; the exit code is 0 whatever it says."""
    parser = argparse.ArgumentParser(description="The funnel of a real document with the miniature teacher.")
    parser.add_argument("file", nargs="?", type=Path, default=REAL, help="the document (the real rules)")
    parser.add_argument("--chunks", type=int, default=25, help="so many chunks, spread over the document (25)")
    parser.add_argument("--passes", type=int, default=1, help="calls for each seed row, with different seeds (1)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args(argv)
    if not options.file.is_file():
        print(f"{options.file.name} is not here: name a document to take instead.", file=sys.stderr)
        return 2
    found = run(options.file.resolve(), options.chunks, options.passes)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    ended = ", ".join(f"{count} {status}" for status, count in found["documents"].items())
    print(
        f"{found['document']}: {found['chunks']} chunks, {found['seed_rows']} seed rows, "
        f"{found['calls']} calls: {ended}"
    )
    for line in found["funnel"]:
        print(f"  {line['rows']:5d}  {line['stage']}{': ' + line['reason'] if line['reason'] else ''}")
    if found["kept_rate"]:
        rate = found["kept_rate"]
        print(f"kept {rate['rate']:.0%} of the rows (95 % interval {rate['low']:.0%} to {rate['high']:.0%});", end=" ")
    print(f"{found['chunks_with_a_kept_row']} of {found['chunks']} chunks have a kept row;", end=" ")
    print(f"{found['seconds']:.0f} s, {found['seconds_generating']:.0f} s of them generating")
    for which, words in (("columns", "of all rows"), ("columns_kept", "of the kept rows")):
        seen = found[which]
        decided = seen["right"] + seen["wrong"]
        print(
            f"{words}, {decided} name a column of their table: "
            f"{seen['right']} state its cell, {seen['wrong']} something else"
        )
    for row in found["kept_rows"][:10]:
        print(f"  kept: {row['question']!r} {row['answer']!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
