"""Synthetic rows: seed passages, generation through SDG Hub, filters that keep count, and training rows."""

from adaptlab.synthesis.driver import Generated, Plan, generate, load_flow, plan
from adaptlab.synthesis.filters import STAGES, apply_filters, fact_ids_of, funnel, reanswer_prompts
from adaptlab.synthesis.flows import KNOWLEDGE_TUNING, find_flow, flow_seeds, own_flows, paraphrase_seeds
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
    "KNOWLEDGE_TUNING",
    "QA_FLOW",
    "STAGES",
    "Generated",
    "Piece",
    "Plan",
    "against_facts",
    "apply_filters",
    "coverage",
    "fact_ids_of",
    "find_flow",
    "flow_seeds",
    "funnel",
    "generate",
    "load_flow",
    "own_flows",
    "paraphrase_seeds",
    "parse_pairs",
    "plan",
    "read_pairs_csv",
    "read_training_jsonl",
    "reanswer_prompts",
    "seed_rows",
    "to_training_rows",
    "write_pairs_csv",
    "write_training_jsonl",
]
