"""Embeddings for the retriever: one computed from the document itself, and one from a text encoder on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from adaptlab.retrieval import Embed, terms
from config import LabError

DIMENSIONS = 192


def lsa(texts: Sequence[str], dimensions: int = DIMENSIONS) -> Embed:
    """Latent semantic analysis of `texts` (Deerwester et al. 1990): an embedding that needs no model.

    Term weights are tf-idf (logarithmic counts); a text is folded in by projecting it on the leading singular vectors.
    Words that no text holds count nothing, so a query of such words only becomes a row of zeros.
    """
    counts = [Counter(terms(text)) for text in texts]
    seen = Counter(word for count in counts for word in count)
    words = {word: at for at, word in enumerate(sorted(seen))}
    if not words:
        raise LabError("There are no words to make an embedding of: give a document with text in it.")
    rarity = np.array([np.log((1 + len(texts)) / (1 + seen[word])) + 1 for word in words])

    def weigh(many: Sequence[Counter[str]]) -> csr_matrix:
        """Sparse tf-idf, a row each."""
        cells = [
            (row, words[word], 1 + np.log(n)) for row, c in enumerate(many) for word, n in c.items() if word in words
        ]
        rows, columns, values = zip(*cells, strict=True) if cells else ((), (), ())
        return csr_matrix((np.array(values, float) * rarity[list(columns)], (rows, columns)), (len(many), len(words)))

    rank = min(dimensions, len(texts) - 1, len(words) - 1)
    table = weigh(counts)
    axes = svds(table, k=rank, v0=np.ones(min(table.shape)))[2] if rank > 0 else np.eye(len(words))

    def embed(some: Sequence[str]) -> np.ndarray:
        """One row for each text, of `rank` numbers."""
        return np.asarray(weigh([Counter(terms(text)) for text in some]) @ axes.T)

    return embed


def encoder(location: str | Path, batch: int = 32, longest: int = 512) -> Embed:
    """Mean-pooled last hidden states of a text encoder that transformers can load from `location` (folder or name)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(location))
        model = AutoModel.from_pretrained(str(location), dtype=torch.float32).eval()
    except (OSError, ValueError) as error:
        raise LabError(f"{location} holds no encoder that transformers can load: name a model folder.") from error
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side = "right"

    def embed(some: Sequence[str]) -> np.ndarray:
        """One row for each text, of the encoder's width; a text over `longest` tokens counts with its head."""
        rows = []
        for at in range(0, len(some), batch):
            options = {"padding": True, "truncation": True, "max_length": longest, "return_tensors": "pt"}
            tokens = tokenizer(list(some[at : at + batch]), **options)
            inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                states = model(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"].unsqueeze(-1)
            rows.append(((states * mask).sum(1) / mask.sum(1).clamp(min=1)).numpy())
        return np.concatenate(rows)

    return embed
