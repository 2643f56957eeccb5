"""The README says what the captured results say."""

from __future__ import annotations

import re

import config
from adaptlab import readme


def test_the_ladder_in_the_readme_is_the_one_of_the_prebuilt_run() -> None:
    text = readme.README.read_text("utf-8")
    assert readme.BLOCK.search(text)
    assert readme.with_ladder(text, readme.ladder()) == text


def test_the_picture_of_the_ladder_is_there() -> None:
    assert readme.PICTURE.read_bytes().startswith(b"\x89PNG")


def test_every_local_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", readme.README.read_text("utf-8"))
    assert links and [link for link in links if not (config.ROOT / link).exists()] == []
