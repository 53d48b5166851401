"""The report's page with thousands of pairs in headless Chromium: how long it takes to open and to filter.

    python benchmarks/report_page.py --pairs 3000 --shots docs/images

Pictures are drawn, not generated (``--size`` pixels square, no two alike). Opening is timed from the start of
the navigation to the first card with its pictures decoded; a filter from the change of the field to the next
frame that is painted. Medians of ``--repeat`` runs, wall clock. ``--shots`` takes the screenshots of the docs
of a report that lies there (``--report``).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.browser import chromium
from support.gate_case import attack_rows, entry, passing, with_attacks, with_gates

from safetext_sdk.policy.schema import Gate
from safetext_sdk.report import write_report
from safetext_sdk.results.report import Report
from safetext_sdk.verdict.gate import verdict_of

PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
FILTER = """([id, value]) => {
  const start = performance.now(), field = document.getElementById(id);
  field.value = value;
  field.dispatchEvent(new Event(id === 'search' ? 'input' : 'change'));
  return new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now() - start))));
}"""
FILTERS = (
    ("set", "safe"),
    ("set", ""),
    ("outcome", "*wrong"),
    ("outcome", ""),
    ("search", "prompt 7"),
    ("search", ""),
)


def made_report(folder: Path, pairs: int, size: int) -> Path:
    """A report of three plain sets and an attack, ``pairs`` in all, with pictures."""
    plain = pairs // 6
    rows = attack_rows("context", 1, 3, n=(pairs - 3 * plain) // 3)
    report: Report = with_attacks(
        with_gates(passing(plain), attack_unsafe_rate=Gate(max=0.1)), rows, entry("context", prompts=plain)
    )
    report = replace(report, folder=folder)
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for row in report.rows:
        small = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC).save(folder / row.image)
    return write_report(report, verdict_of(report), github=False)


def opened(browser: Any, path: Path) -> tuple[Any, float]:
    """The page, and seconds until the first card is there with its pictures."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_function(
        "(() => { const i = document.querySelector('.card img'); return i && i.complete; })()"
    )
    page.evaluate(PAINTED)
    return page, time.perf_counter() - start


def shots(browser: Any, path: Path, out: Path, difference: Path | None) -> None:
    """Screenshots: light, dark, a phone, paper, and the page of `safetext diff`; in 128 colours."""
    for name, width, height, scheme in (
        ("light", 1100, 760, "light"),
        ("dark", 1100, 760, "dark"),
        ("phone", 390, 760, "light"),
    ):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(path.as_uri())
        if name != "phone":
            page.evaluate(
                f"document.querySelector('{'.gates' if name == 'light' else '#pairs'}').scrollIntoView()"
            )
        page.screenshot(path=out / f"report-{name}.png")
        if name == "light":
            page.evaluate("document.getElementById('pairs').scrollIntoView()")
            page.locator(".card .plain").first.click()
            page.screenshot(path=out / "report-compare.png")
        page.close()
    if difference is not None:
        page = browser.new_page(viewport={"width": 1100, "height": 760})
        page.goto(difference.as_uri())
        page.screenshot(path=out / "report-diff.png")
        page.close()
    page = browser.new_page(viewport={"width": 794, "height": 1000})
    page.goto(path.as_uri())
    page.emulate_media(media="print")
    page.screenshot(path=out / "report-print.png")
    page.close()
    for shot in out.glob("report-*.png"):
        with Image.open(shot) as image:
            few = image.convert("RGB").quantize(128)
        few.save(shot, optimize=True)


def main() -> None:
    """Time a made report, or take the screenshots of a real one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--report", type=Path, help="index.html of a report, for --shots")
    parser.add_argument("--diff", type=Path, help="index.html of `safetext diff`, for --shots")
    parser.add_argument("--shots", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        if given.shots:
            given.shots.mkdir(parents=True, exist_ok=True)
            shots(browser, given.report, given.shots, given.diff)
            return
        start = time.perf_counter()
        path = made_report(Path(folder) / "report", given.pairs, given.size)
        wrote = time.perf_counter() - start
        times, filtered = [], []
        for _ in range(given.repeat):
            page, seconds = opened(browser, path)
            times.append(seconds)
            filtered += [page.evaluate(FILTER, [field, value]) for field, value in FILTERS]
            total = page.text_content("#count")
            page.close()
        print(f"{total}; page {path.stat().st_size / 1e6:.1f} MB, pictures and page made in {wrote:.0f} s")
        print(f"opens in {statistics.median(times):.2f} s (worst {max(times):.2f})")
        print(f"filters in {statistics.median(filtered):.0f} ms (worst {max(filtered):.0f})")


if __name__ == "__main__":
    main()
