"""`adaptlab sdg top-up`: more rows for the sections of a document that the rows so far cover least."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from adaptlab.commands import add, show
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

MORE = "top_up.jsonl"


def top_up_verb(verbs: Any) -> None:
    """Add the verb to the group `sdg`."""
    from adaptlab.commands_sdg import options

    help_text = "generate more where a finished run is thin; name the options of that run again"
    parser = add(verbs, "top-up", help_text, sdg_top_up, example="adaptlab sdg top-up --count 5 --more 2")
    options(parser)
    parser.add_argument("--section", action="append", help="only sections whose name holds this; may be repeated")
    parser.add_argument("--count", type=int, default=10, help="else so many of the thinnest sections (10)")
    parser.add_argument("--pieces", type=int, default=2, help="cut each passage into so many (2)")
    parser.add_argument("--more", type=int, default=1, help="so many further passes over them (1)")


def sdg_top_up(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Generate more on thin sections; exit code 1 if a document ended in an error, which the next call asks again.

    The rows so far are those of the run and of earlier top-ups; what is new is added to `top_up.jsonl` beside them.
    """
    import pandas as pd

    from adaptlab import commands_sdg, files, synthesis, workbench

    if min(arguments.count, arguments.pieces, arguments.more) < 1:
        raise LabError("--count, --pieces and --more are numbers from 1 on.")
    made = commands_sdg.chosen(arguments)
    lab, text = made.lab, workbench.document(made.lab)
    facts, chunks = workbench.facts(lab, text), workbench.chunks(lab, text)
    with files.exclusive(made.out / ".lock", f"rows in {made.out}"), workbench.teacher_endpoint(lab) as teacher:
        plan = commands_sdg.plan_of(arguments, made, teacher)
        earlier = files.read_jsonl(made.out / MORE) if (made.out / MORE).is_file() else []
        rows = pd.DataFrame([*plan.rows(made.records), *earlier])
        if rows.empty:
            raise LabError(f"There are no rows in {made.out} yet: run adaptlab sdg run with the same options first.")
        judged = looked_over(rows.fillna(""), facts)
        thin = synthesis.thin_passages(
            judged, made.seeds, chunks, facts, sections=arguments.section, count=arguments.count
        )
        total = len(synthesis.smaller_passages(thin, arguments.pieces)) * arguments.more
        with lab.progress(total=total, desc="top-up") as bar:
            found = synthesis.top_up(
                made.flow, judged, made.seeds, chunks, facts, sections=arguments.section, count=arguments.count,
                pieces=arguments.pieces, passes=arguments.more, **teacher, temperature=arguments.temperature,
                max_tokens=arguments.max_tokens, out_dir=plan.folder, max_concurrency=plan.max_concurrency,
                on_done=lambda *_: bar.update(),
            )  # fmt: skip
        failed = int((found.documents["status"] == "error").sum())
        if not failed:  # else the next call draws with the same seeds and asks for the failed ones only
            lines = [*earlier, *found.rows.to_dict("records")]
            files.atomic_write_text(made.out / MORE, "".join(files.to_json(line, MORE) + "\n" for line in lines))
    whole = int((found.rows["problem"] == "").sum()) if len(found.rows) else 0
    value = {"sections": list(dict.fromkeys(thin["title"])), "documents": total, "errors": failed, "rows": whole}
    said = f"{total} documents on {len(thin)} thin passages gave {whole} whole rows; {failed} ended in an error."
    show(arguments, value, said if failed else f"{said}\nThe rows are in {made.out / MORE}.")
    return 1 if failed else 0


def looked_over(rows: pd.DataFrame, facts: Any) -> pd.DataFrame:
    """The rows with `kept` and `fact_ids` by the checks that need no model; without subjects, by their form alone."""
    from adaptlab import synthesis

    if rows["subject"].astype(bool).any():
        return synthesis.apply_filters(rows, facts=facts)
    return rows.assign(kept=rows["problem"] == "", fact_ids=synthesis.fact_ids_of(rows, facts))
