"""Synthetic rows: seed passages, generation through SDG Hub, filters that keep count, and training rows."""

from adaptlab.synthesis.driver import Generated, generate, load_flow
from adaptlab.synthesis.filters import STAGES, apply_filters, fact_ids_of, funnel, reanswer_prompts
from adaptlab.synthesis.pairs import Piece, parse_pairs
from adaptlab.synthesis.rows import (
    against_facts,
    coverage,
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
    "QA_FLOW",
    "STAGES",
    "Generated",
    "Piece",
    "against_facts",
    "apply_filters",
    "coverage",
    "fact_ids_of",
    "funnel",
    "generate",
    "load_flow",
    "parse_pairs",
    "read_pairs_csv",
    "read_training_jsonl",
    "reanswer_prompts",
    "seed_rows",
    "to_training_rows",
    "write_pairs_csv",
    "write_training_jsonl",
]
