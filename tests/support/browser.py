"""A headless Chromium for tests of pages, by playwright; where there is none, tests are skipped loudly."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW = "install one with `playwright install chromium`, or Debian's package chromium"


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser: playwright's own, else ``$SAFETEXT_CHROMIUM``, else one on the path."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        _skip("playwright is not installed (extra dev)")
    with sync_playwright() as driver:
        installed = os.environ.get("SAFETEXT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
        own = os.path.exists(driver.chromium.executable_path)
        if not own and installed is None:
            _skip(f"no Chromium to test the report's page in; {HOW}")
        try:
            # A container has no user namespaces for a sandbox, and the page is our own.
            browser = driver.chromium.launch(
                executable_path=None if own else installed, args=["--no-sandbox", "--disable-gpu"]
            )
        except Error as error:
            _skip(f"Chromium does not start: {str(error).splitlines()[0]}; {HOW}")
        try:
            yield browser
        finally:
            browser.close()


def _skip(why: str) -> None:
    # Loudly: a skipped test is one letter, a warning is a line of the summary. In CI it is a failure.
    if os.environ.get("SAFETEXT_NEEDS_BROWSER") == "1":
        pytest.fail(why)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"NOT TESTED: {why}", stacklevel=3)
    pytest.skip(why)
