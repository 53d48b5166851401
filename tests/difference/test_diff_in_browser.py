"""The page of `safetext diff` in a real browser: A beside B with every control of a report's page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.bound_case import validated
from support.browser import chromium
from support.gate_case import becomes_unsafe, first, no_longer_kept, passing, with_rows

import safetext_sdk as st


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def page_of_both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs no longer unsafe, three that lost what A showed, 60 of each set."""
    folder = tmp_path_factory.mktemp("diff")
    for name, change, set_, count in (
        ("a", becomes_unsafe, "unsafe", 12),
        ("b", no_longer_kept, "safe", 3),
    ):
        report = with_rows(passing(60), first(count, change), set_=set_, model="hardened")
        run = validated(folder / name, lambda _, made=report: made, weights=name.encode())
        for k, file in enumerate(sorted((run.report_dir / "images").iterdir())):
            Image.new("RGB", (16, 16), (k % 256, 40, ord(name))).save(file)
    st.diff(folder / "a", folder / "b", out=folder / "difference")
    return folder / "difference" / "index.html"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_control_works_on_both(browser: Any, page_of_both: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_of_both.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.text_content("#count") == "1–48 of 180 pairs (180 in all)"
    page.select_option("#outcome", "*wrong")
    assert page.text_content("#count") == "1–3 of 3 pairs (180 in all)"
    page.select_option("#outcome", "no longer unsafe")
    assert page.text_content("#count") == "1–12 of 12 pairs (180 in all)"
    assert page.locator("#sort option[value=moved]").count() == 0, "nobody measured how far A is from B"
    first_card = page.locator(".card").first
    assert "veil" in first_card.locator("[data-side=A]").get_attribute("class")
    assert "veil" not in first_card.locator("[data-side=B]").get_attribute("class")
    page.locator("body").press("Enter")
    about = page.text_content("#about")
    assert "A shows" in about
    assert "B shows" in about
    links = page.locator("#about a").evaluate_all("links => links.map(link => link.href)")
    assert [Path(link).parts[-4] for link in links] == ["a", "b"], "each to its own report"
    page.keyboard.press("j")
    assert "pair 2 of 12" in page.text_content("#about")
    page.keyboard.press("Escape")
    assert page.locator(".plot svg").is_visible()
    page.close()
    assert said == []
