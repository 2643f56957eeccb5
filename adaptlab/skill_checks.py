"""General skills before and after training: asked of a model on worlds that no training has seen, and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from adaptlab.stats import mcnemar_exact, verdict, wilson

if TYPE_CHECKING:
    from adaptlab.artifacts import Lab


def ask_skills(
    lab: Lab, adapter: Path | None, count: int, progress: Any, model: Any | None = None
) -> list[dict[str, Any]]:
    """Right or wrong on `count` items of each general skill, from worlds that no training has seen.

    `model` is a generator to ask in place of the student with its adapter.
    """
    from adaptlab import workbench
    from adaptlab.miniature.skills import is_right, skill_items

    items = skill_items(count, "forgetting")
    name = "adapter" if adapter else "base"
    with progress(total=len(items), desc=f"Skills of the {name}") as bar:
        replies = (model or workbench.generator(lab, "student", adapter)).generate(
            [item.messages for item in items],
            max_tokens=lab.profile.sampling.max_new_tokens,
            seeds=0,
            on_item=lambda at, completions: bar.update(1),
        )
    return [
        {
            "model": name,
            "skill": item.skill,
            "group": item.group,
            "item": number,
            "text": reply[0].text,
            "right": is_right(item, reply[0].text),
        }
        for number, (item, reply) in enumerate(zip(items, replies, strict=True))
    ]


def skill_scores(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Rates of each skill before and after, with intervals, the paired test and its verdict."""
    rows = []
    for skill, part_of in verdicts.groupby("skill", sort=False):
        wide = part_of.pivot(index="item", columns="model", values="right").astype(bool)
        base, adapter = (wilson(int(wide[m].sum()), len(wide)) for m in ("base", "adapter"))
        gained, lost = int((~wide.base & wide.adapter).sum()), int((wide.base & ~wide.adapter).sum())
        p, change = mcnemar_exact(gained, lost), adapter.rate - base.rate
        rows.append(
            {
                "skill": skill,
                "n": len(wide),
                "base": base.rate,
                "base low": base.low,
                "base high": base.high,
                "adapter": adapter.rate,
                "adapter low": adapter.low,
                "adapter high": adapter.high,
                "change": change,
                "p": p,
                "verdict": verdict(p, change),
            }
        )
    return pd.DataFrame(rows)
