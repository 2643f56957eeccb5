"""The shipped rulebook is cut as it was when the captured results were made: ids, offsets and titles, byte by byte."""

from __future__ import annotations

import hashlib

import pytest

import config
from adaptlab.documents import chunks, load, running_heads

PINNED = {  # of `id start end title`, a line a chunk; computed when the captured results were made
    (800, 0): "2a7cdedf7a3e7c41978beb4ea1e7235d305c4bdae1cb9e598bfdf76de12002e2",
    (700, 0): "e65257474ace25abe452743aa2453117b423f3ff8d91b7a7e20a3f30eb38af50",
    (1200, 100): "45831319dcd47fe715111c04231aae63a4e69ff856a942a3f7b6dbb09bc3166e",
    (1600, 160): "487c03725bae9a44a64f716171adff09ecb2ce5e75ac0527e599f9d901e7eba9",
    (400, 0): "8c34e732b7550cdadc2adb9d8c38690319149a0cf87a0864c7548ec2d649a4ee",
    (800, 120): "1cb90735061601e55b75785b81726c2fc33896bfca311ac435efe651c96f019f",
}


@pytest.fixture(scope="module")
def rulebook() -> str:
    return load(config.DOCUMENT_FOLDER / str(config.RULEBOOK))


@pytest.mark.parametrize(("size", "overlap"), PINNED)
def test_the_shipped_rulebook_is_cut_as_when_its_results_were_captured(rulebook: str, size: int, overlap: int) -> None:
    lines = [f"{chunk.id} {chunk.start} {chunk.end} {chunk.title}" for chunk in chunks(rulebook, size, overlap)]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PINNED[size, overlap]


def test_the_shipped_rulebook_has_no_page_furniture_to_leave_out(rulebook: str) -> None:
    assert not running_heads(rulebook)
    kept = [chunk.id for chunk in chunks(rulebook, 800, keep_furniture=True)]
    assert kept == [chunk.id for chunk in chunks(rulebook, 800)]
