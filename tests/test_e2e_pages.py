"""The site and the report in a headless Chromium: they fit, they work from disk, and hostile text stays text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from e2e_helpers import WIDTHS, browser, console_errors, missing, resize, shoot
from hostile_helpers import FORBIDDEN, SHOWN, hostile_site

import config
from adaptlab import website
from adaptlab.artifacts import Lab

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
PICTURES = "return [...document.images].map(i => [i.alt, i.complete && i.naturalWidth > 0])"
LINKS = "return [...document.querySelectorAll('a[href]')].map(a => a.href)"
LOADED = "return performance.getEntriesByType('resource').map(e => e.name)"
ANCHORS = "return [...document.querySelectorAll('[id]')].map(e => e.id)"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The site of the notebooks in the repository."""
    settings = config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"})
    return website.build(settings, tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_its_window_without_an_error_or_a_remote_asset(driver, site, tmp_path, width):
    resize(driver, width)
    console_errors(driver)
    faults = []
    for path in site:
        driver.get(path.as_uri())
        wide = driver.execute_script(OVERFLOW)
        remote = [name for name in driver.execute_script(LOADED) if not name.startswith(("data:", "file:"))]
        pictures = driver.execute_script(PICTURES)
        blind = [words for words, shown in pictures if not (shown and words) or "No description" in words]
        found = {"wider by": wide, "console": console_errors(driver), "remote": remote, "pictures": blind}
        found["title"] = "" if driver.title else "none"
        faults += [f"{path.name}, {what}: {value}" for what, value in found.items() if value]
        shoot(driver, f"{path.stem}-{width}", tmp_path)
    assert faults == []


def test_every_link_between_pages_leads_somewhere(driver, site):
    found: dict[str, tuple[list[str], list[str]]] = {}
    for path in site:
        driver.get(path.as_uri())
        found[path.as_uri()] = (driver.execute_script(LINKS), driver.execute_script(ANCHORS))
    broken = []
    for page, (links, _) in found.items():
        for link in links:
            place, _, anchor = link.partition("#")
            if urlsplit(link).scheme in ("http", "https", "mailto"):
                continue
            if place not in found or (anchor and unquote(anchor) not in found[place][1]):
                broken.append((page, link))
    assert broken == []
    assert len(found) > len(website.sections.NOTEBOOKS)


def test_the_next_link_leads_through_all_pages(driver, site):
    driver.get(site[0].as_uri())
    driver.find_element("css selector", f'a[href="{site[1].name}"]').click()
    seen = []
    while True:
        seen.append(Path(unquote(urlsplit(driver.current_url).path)).name)
        onward = driver.find_elements("css selector", "a[rel=next]")
        if not onward:
            break
        onward[0].click()
    assert seen == [path.name for path in site[1:]]


def test_hostile_text_is_shown_and_does_nothing(driver, make_lab: Callable[..., Lab], tmp_path):
    files = hostile_site(make_lab, tmp_path)
    resize(driver, WIDTHS[0])
    console_errors(driver)
    for path in files:
        driver.get(path.as_uri())
        time.sleep(0.5)  # what would reload the page, or run late, has had its time
        assert driver.current_url == path.as_uri()
        assert driver.execute_script("return typeof window.pwned") == "undefined", path.name
        assert driver.execute_script("return document.querySelectorAll('script, iframe, form, base').length") == 0
        text = driver.execute_script("return document.documentElement.textContent")
        assert not set(FORBIDDEN) & set(text), path.name
        assert all(words in text for words in SHOWN), path.name
        for link in driver.find_elements("xpath", "//a[contains(text(), 'prize')]"):
            link.click()
        assert driver.execute_script("return typeof window.pwned") == "undefined", path.name
        assert console_errors(driver) == [], path.name
        shoot(driver, f"hostile-{path.parent.name}-{path.stem}", tmp_path)
