"""Synthetic rows: seed passages, generation through SDG Hub, filters that keep count, and training rows."""

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
from adaptlab.synthesis.driver import Generated, flow_fingerprint, generate, load_flow
from adaptlab.synthesis.edits import edited_flow, prompt_changes
from adaptlab.synthesis.estimate import estimate, trial
from adaptlab.synthesis.filters import STAGES, apply_filters, fact_ids_of, reanswer_prompts
from adaptlab.synthesis.pairs import Piece, parse_pairs
from adaptlab.synthesis.rows import (
    against_facts,
    read_pairs_csv,
    read_training_jsonl,
    to_training_rows,
    write_pairs_csv,
    write_training_jsonl,
)
from adaptlab.synthesis.seeds import seed_rows
from config import DOCUMENT_FOLDER

QA_FLOW = DOCUMENT_FOLDER / "flows" / "question_answer_pairs" / "flow.yaml"

__all__ = [
    "CHECKS",
    "OUTCOMES",
    "QA_FLOW",
    "STAGES",
    "Generated",
    "Piece",
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
    "flow_fingerprint",
    "funnel",
    "generate",
    "load_flow",
    "outcome_of",
    "outcomes",
    "parse_pairs",
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
