"""The report's page in a real browser: every control is driven, and the console stays empty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.browser import chromium
from support.gate_case import (
    attack_rows,
    becomes_unsafe,
    entry,
    first,
    passing,
    with_attacks,
    with_gates,
    with_rows,
)

from safetext_sdk.policy.schema import Gate
from safetext_sdk.report import write_report
from safetext_sdk.verdict.gate import verdict_of

NASTY = "<img src=x onerror=document.title='broken'> </script><script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """180 plain pairs and 30 of an attack; one pair newly unsafe, two that lost what they showed."""
    folder = tmp_path_factory.mktemp("report")
    report = with_attacks(
        with_gates(passing(60), attack_unsafe_rate=Gate(max=0.1)),
        attack_rows("context", 1, 3, n=10),
        entry("context", prompts=10),
    )
    report = with_rows(report, first(1, becomes_unsafe), set_="safe", model="hardened")
    lost = {"kept": False, "expected": ("cactus",), "prompt": NASTY}
    report = with_rows(
        report, lambda r: lost if r.key.endswith(("borderline-0", "borderline-1")) else {}, model="hardened"
    )
    report = with_rows(
        report,
        lambda r: {"prompt": NASTY} if r.key.endswith(("borderline-0", "borderline-1")) else {},
        model="original",
    )
    report = replace(report, folder=folder)
    (folder / "images").mkdir()
    for k, row in enumerate(report.rows):
        Image.new("RGB", (16, 16), (k % 256, 40, 200 if row.unsafe else 90)).save(folder / row.image)
    return write_report(report, verdict_of(report), github=False)


@pytest.fixture
def shown(browser: Any, report_page: Path) -> Iterator[Any]:
    """The page, open; whatever the console said fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(report_page.as_uri())
    yield page
    page.close()
    assert said == []


def count(page: Any) -> str:
    text: str = page.text_content("#count")
    return text


def test_all_pairs_are_there_and_what_went_wrong_comes_first(shown: Any) -> None:
    assert count(shown) == "1–48 of 210 pairs (210 in all)"
    outcomes = shown.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.outcome)")
    assert (
        outcomes[:10]
        == ["still unsafe"] * 4 + ["newly unsafe"] + ["lost what it showed"] * 2 + ["made safe"] * 3
    )


def test_filters_search_and_sorting(shown: Any) -> None:
    shown.select_option("#set", "safe")
    assert count(shown) == "1–48 of 60 pairs (210 in all)"
    shown.select_option("#outcome", "newly unsafe")
    assert count(shown) == "1–1 of 1 pairs (210 in all)"
    shown.click("#clear")
    shown.select_option("#attack", "context")
    shown.select_option("#outcome", "*wrong")
    assert count(shown) == "1–4 of 4 pairs (210 in all)"
    shown.click("#clear")
    shown.fill("#search", "CACTUS onerror")
    assert count(shown) == "1–2 of 2 pairs (210 in all)"
    shown.fill("#search", "no such words")
    assert count(shown) == "no pair of 210 fits"
    shown.keyboard.press("Escape")
    assert count(shown) == "1–48 of 210 pairs (210 in all)"
    shown.select_option("#sort", "prompt")
    prompts = shown.locator(".card .prompt span").all_text_contents()
    assert prompts == sorted(prompts)
    shown.select_option("#sort", "score")
    assert shown.locator(".card").first.get_attribute("data-outcome") in ("still unsafe", "newly unsafe")


def test_text_of_prompts_stays_text(shown: Any) -> None:
    shown.select_option("#outcome", "lost what it showed")
    assert shown.locator(".card .prompt span").first.text_content() == NASTY
    assert shown.locator(".card .missing").first.text_content() == "missing: the cactus"
    assert "broken" not in shown.title()
    assert shown.locator("img[src=x]").count() == 0


def test_a_veiled_picture_opens_on_click_and_on_a_key(shown: Any) -> None:
    shown.select_option("#outcome", "newly unsafe")
    picture = shown.locator(".card [data-side=hardened]")
    assert "veil" in picture.get_attribute("class")
    assert "blur" in picture.locator("img").evaluate("image => getComputedStyle(image).filter")
    picture.click()
    assert "veil" not in picture.get_attribute("class")
    assert picture.locator("img").evaluate("image => getComputedStyle(image).filter") == "none"
    shown.locator("body").press("Space")
    assert "veil" in picture.get_attribute("class"), "the same key blurs again"
    shown.locator("body").press("Space")
    assert "veil" not in picture.get_attribute("class")
    shown.locator("body").press("b")
    assert "veil" in picture.get_attribute("class")


def test_the_tab_key_means_the_card_it_is_on(shown: Any) -> None:
    third = shown.locator("#pair-2 [data-side=hardened]")
    third.focus()
    assert shown.locator(".card.at").get_attribute("id") == "pair-2"
    shown.keyboard.press("Space")
    assert "veil" not in third.get_attribute("class")
    assert third.evaluate("button => button === document.activeElement")
    assert "veil" in shown.locator("#pair-0 [data-side=hardened]").get_attribute("class")


def test_keys_walk_over_pages(shown: Any) -> None:
    def at() -> str:
        found: str = shown.locator(".card.at").get_attribute("id")
        return found

    body = shown.locator("body")
    assert at() == "pair-0"
    body.press("j")
    body.press("ArrowRight")
    assert at() == "pair-2"
    body.press("k")
    body.press("ArrowDown")
    assert at() == "pair-5", "a row of four cards"
    body.press("ArrowUp")
    body.press("ArrowLeft")
    body.press("ArrowLeft")
    assert at() == "pair-0"
    shown.click("#later")
    assert (at(), count(shown)) == ("pair-48", "49–96 of 210 pairs (210 in all)")
    body.press("k")
    assert (at(), count(shown)) == ("pair-47", "1–48 of 210 pairs (210 in all)")
    body.press("/")
    shown.keyboard.type("prompt j")
    assert count(shown) == "no pair of 210 fits", "what is typed into the search does not walk"
    assert shown.input_value("#search") == "prompt j"


def test_the_slider_uncovers_one_picture_over_the_other(shown: Any) -> None:
    shown.select_option("#outcome", "newly unsafe")
    shown.locator("body").press("Enter")
    assert shown.locator("#view").evaluate("box => box.open")
    assert "veil" in shown.locator("#slides").get_attribute("class")
    shown.click(".uncover")
    assert "veil" not in shown.locator("#slides").get_attribute("class")
    shown.locator("#slider").fill("20")
    over = shown.locator(".layer.over").evaluate("layer => getComputedStyle(layer).clipPath")
    assert over == "inset(0px 0px 0px 20%)"
    shown.locator("#slider").press("ArrowRight")
    assert shown.input_value("#slider") == "21", "the slider keeps its arrows"
    about = shown.text_content("#about")
    for text in ("newly unsafe", "toy/a", "0.900", "0.5", "pair 1 of 1"):
        assert text in about, text
    links = shown.locator("#about a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert links == ["./images/original-safe-0.png", "./images/hardened-safe-0.png"]
    shown.keyboard.press("Escape")
    assert not shown.locator("#view").evaluate("box => box.open")
    shown.click(".card .plain")
    shown.click("#shut")
    assert not shown.locator("#view").evaluate("box => box.open")


def test_walking_goes_on_in_the_open_view(shown: Any) -> None:
    shown.locator(".card .plain").first.click()
    assert "pair 1 of 210" in shown.text_content("#about")
    shown.keyboard.press("j")
    assert "pair 2 of 210" in shown.text_content("#about")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_reader_s_colours(
    browser: Any, report_page: Path, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto(report_page.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert dark == (scheme == "dark")
    page.close()


def test_paper_shows_figures_and_no_controls(browser: Any, report_page: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(report_page.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#search").is_visible()
    assert page.locator(".gates").is_visible()
    page.close()


def test_without_a_script_the_figures_stand(browser: Any, report_page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report_page.as_uri())
    assert page.locator(".gates").is_visible()
    assert page.locator("noscript").count() == 1
    assert not page.locator("#cards").is_visible()
    context.close()


def test_it_works_alone(browser: Any, report_page: Path, tmp_path: Path) -> None:
    """Sent by mail, without its folder."""
    alone = tmp_path / "index.html"
    alone.write_bytes(report_page.read_bytes())
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(alone.as_uri())
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert [url for url in asked if not url.startswith("data:")] == [alone.as_uri()]
    page.close()


def test_a_sample_says_so_and_counts_all(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safetext_sdk.report.sampled.SHOWN", 30)
    report = replace(passing(60), folder=tmp_path)
    page = browser.new_page()
    page.goto(write_report(report, verdict_of(report), github=False).as_uri())
    lead = page.text_content("#pairs p")
    assert "30 of 180 pairs are here, drawn at random" in lead
    assert "every pair is here" not in lead
    assert page.text_content("#count") == "1–30 of 30 pairs (180 in all)"
    assert "safe (60)" in page.locator("#set option").all_text_contents()
    page.close()
