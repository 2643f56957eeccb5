"""Synthetic rows: seed passages, generation through SDG Hub, filters that keep count, and training rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import config
from adaptlab.synthesis.accounting import (
    CHECKS,
    OUTCOMES,
    check_errors,
    compare_runs,
    faithfulness,
    funnel,
    outcome_of,
    outcomes,
    rejected,
)
from adaptlab.synthesis.cleaning import changes as cleaning_changes, cleaned
from adaptlab.synthesis.coverage import (
    by_chunk,
    by_section,
    by_section_and_form,
    coverage,
    covered_facts,
    smaller_passages,
    thin_passages,
    top_up,
    worst,
)
from adaptlab.synthesis.driver import Generated, Plan, generate, load_flow, plan
from adaptlab.synthesis.edits import edited_flow, opening_words, prompt_changes
from adaptlab.synthesis.estimate import estimate, trial
from adaptlab.synthesis.filters import STAGES, apply_filters, fact_ids_of, reanswer_prompts
from adaptlab.synthesis.flows import (
    FLOWS_FOLDER,
    KNOWLEDGE_TUNING,
    find_flow,
    flow_fingerprint,
    flow_seeds,
    own_flows,
    paraphrase_seeds,
)
from adaptlab.synthesis.mixing import (
    Part,
    by_form,
    dealt,
    mix,
    mix_table,
    repeated,
    split,
    split_table,
    token_count,
    tokens,
)
from adaptlab.synthesis.open_book import open_book
from adaptlab.synthesis.pairs import Piece, parse_pairs
from adaptlab.synthesis.quality import contaminated_texts, few_shot_texts, report as quality_report, screen
from adaptlab.synthesis.rows import (
    against_facts,
    read_pairs_csv,
    read_training_jsonl,
    to_training_rows,
    write_pairs_csv,
    write_training_jsonl,
)
from adaptlab.synthesis.seeds import seed_rows

SHORT_FLOW = FLOWS_FOLDER / config.SHORT_FLOW / "flow.yaml"
if TYPE_CHECKING:
    QA_FLOW: Path
else:

    def __getattr__(name: str) -> Any:
        """`QA_FLOW` is the flow of the profile and teacher in force, so that a notebook's cells suit every scale."""
        if name != "QA_FLOW":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return find_flow(config.settings(need_document=False).flow)


__all__ = [
    "Part",
    "by_form",
    "dealt",
    "mix",
    "mix_table",
    "open_book",
    "repeated",
    "split",
    "split_table",
    "token_count",
    "tokens",
    "few_shot_texts",
    "screen",
    "quality_report",
    "cleaned",
    "cleaning_changes",
    "contaminated_texts",
    "CHECKS",
    "KNOWLEDGE_TUNING",
    "OUTCOMES",
    "QA_FLOW",
    "SHORT_FLOW",
    "STAGES",
    "Generated",
    "Piece",
    "Plan",
    "against_facts",
    "apply_filters",
    "by_chunk",
    "by_section",
    "by_section_and_form",
    "check_errors",
    "compare_runs",
    "coverage",
    "covered_facts",
    "edited_flow",
    "estimate",
    "fact_ids_of",
    "faithfulness",
    "find_flow",
    "flow_fingerprint",
    "flow_seeds",
    "funnel",
    "generate",
    "load_flow",
    "opening_words",
    "outcome_of",
    "outcomes",
    "own_flows",
    "paraphrase_seeds",
    "parse_pairs",
    "plan",
    "prompt_changes",
    "read_pairs_csv",
    "read_training_jsonl",
    "reanswer_prompts",
    "rejected",
    "seed_rows",
    "smaller_passages",
    "thin_passages",
    "to_training_rows",
    "top_up",
    "trial",
    "worst",
    "write_pairs_csv",
    "write_training_jsonl",
]
