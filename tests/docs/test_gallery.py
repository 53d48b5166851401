"""The gallery of reports: every page is there and linked, small, alone, and blurred where it must be."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "gallery").glob("*.html"))
KINDS = {"pass", "fail", "inconclusive", "audit", "compare", "attack", "diff"}
MOST_BYTES = 1_500_000
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def test_every_kind_of_report_is_there_and_linked() -> None:
    linked = re.findall(r"\]\(gallery/([\w-]+)\.html\)", (DOCS / "gallery.md").read_text(encoding="utf-8"))
    assert set(linked) == {page.stem for page in PAGES} == KINDS
    assert len(linked) == len(set(linked))
    assert sum(page.stat().st_size for page in PAGES) < MOST_BYTES


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_stands_alone(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in html
    assert not re.findall(r'(?:src|href)="(?!data:)', html), "nothing that is not beside it"
    assert not re.findall(r"https?://(?!www\.w3\.org)", html)
    assert not re.findall(r"[\s\"'>](?:/home|/root|/tmp|/work|/Users)/", html), "where it was made"
    for script in re.findall(r"<script>(.*?)</script>", html, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in html, "its script is the one that it allows"


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem != "compare"], ids=lambda p: p.stem)
def test_what_a_page_blurs_is_blurred_in_the_file(page: Path) -> None:
    found = DATA.search(page.read_text(encoding="utf-8"))
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    sides = [side for pair in data["pairs"] for side in (pair["before"], pair["after"])]
    veiled = {side["picture"] for side in sides if side["veil"]}
    clear = {side["picture"] for side in sides} - veiled
    assert veiled
    assert all(sharpness(data["pictures"][k]["data"]) < 3 for k in veiled)
    assert np.mean([sharpness(data["pictures"][k]["data"]) for k in clear]) > 4, "the measure sees edges"


def sharpness(data: str) -> float:
    """Mean difference of neighbouring pixels, in grey levels."""
    with Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))) as image:
        grey = np.asarray(image.convert("L"), np.float64)
    return float((np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2)
