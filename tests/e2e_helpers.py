"""A headless Chromium for the tests that look at pages as a person does; needs selenium and the system's Chromium."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ASKED = os.environ.get("E2E", "")  # `make e2e` sets it: prebuilt or live
WIDTHS = (1280, 400)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> tuple[str | None, str | None]:
    """The paths of Chromium and of its driver."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None), shutil.which("chromedriver")


def missing() -> str:
    """Why these tests cannot run here; empty if they can, or if `make e2e` asked for them and has to fail."""
    lacks = [name for name, path in zip(("Chromium", "chromedriver"), chromium(), strict=True) if not path]
    lacks += [] if importlib.util.find_spec("selenium") else ["selenium"]
    return f"no {', '.join(lacks)} here: make e2e runs this" if lacks and not ASKED else ""


@contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """A driver with an empty profile, whose console is recorded."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary, driver_path = chromium()
    assert binary and driver_path, "install Chromium and its driver (Debian: chromium, chromium-driver)"
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    driver.set_page_load_timeout(300)
    try:
        yield driver
    finally:
        driver.quit()


def resize(driver: Any, width: int, height: int = 900) -> None:
    """The window's size in CSS pixels; narrower than a real window can be, too."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def console_errors(driver: Any) -> list[str]:
    """What the console was told since the last time, errors only."""
    return [line["message"] for line in driver.get_log("browser") if line["level"] == "SEVERE"]


def shoot(driver: Any, name: str, fallback: Path) -> Path:
    """A screenshot for a person to look at, in the folder that E2E_SHOTS names."""
    folder = Path(os.environ.get("E2E_SHOTS") or fallback)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    driver.save_screenshot(str(path))
    return path
