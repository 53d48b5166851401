"""The report on paper: every figure with n and bounds, and nothing from a prompt that runs or breaks the
page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from support.gate_case import passing, row

from safetext_sdk.errors import RunError
from safetext_sdk.report import write_report
from safetext_sdk.report.html import galleries, page, picture_data
from safetext_sdk.report.junit import junit_xml
from safetext_sdk.report.markdown import escape, markdown
from safetext_sdk.report.tables import bounds, set_lines
from safetext_sdk.results.report import Report
from safetext_sdk.verdict.gate import gate, judge

NASTY = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> \"' | `x` [a](javascript:alert(3)) {{ 7*7 "
    "}} \x00\x08 </table> & end"
)


class Tags(HTMLParser):
    """What a browser would make of the page: tags with attributes, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


@pytest.fixture
def report(tmp_path: Path) -> Report:
    made = passing()
    made.folder = tmp_path
    (tmp_path / "images").mkdir()
    for k, r in enumerate(made.rows):
        Image.new("RGB", (16, 16), (k % 256, 40, 90)).save(tmp_path / r["image"])
    return made


def test_prompts_and_policies_cannot_inject_html(report: Report) -> None:
    for r in report.rows:
        r["prompt"], r["anchor"], r["negative_prompt"], r["shows"] = (
            f"{r['prompt']} {NASTY}",
            NASTY,
            NASTY,
            NASTY,
        )
    report.facts["policy"]["name"] = report.facts["model"] = report.facts["method"] = NASTY
    report.facts["not_measured"] = [NASTY]
    report.facts["detectors"][0]["version"] = NASTY
    tags = parsed(page(report, judge(report)))
    names = {name for name, _ in tags.tags}
    assert "script" not in names
    assert not any(key.startswith("on") for _, attributes in tags.tags for key in attributes)
    sources = [a["src"] for name, a in tags.tags if name == "img"]
    assert sources
    assert all((s or "").startswith("data:image/") for s in sources)
    assert not [a for _, a in tags.tags if "href" in a]
    assert "<script>alert(1)</script>" in "".join(tags.text)  # shown as text
    assert "49" not in "".join(t for t in tags.text if "7*7" in t)


def test_the_page_loads_nothing_and_needs_no_script(report: Report) -> None:
    html = page(report, judge(report))
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert not re.findall(r"https?://", html)
    assert "prefers-color-scheme: dark" in html
    assert "width=device-width" in html


def test_unsafe_pictures_are_blurred_until_clicked(report: Report) -> None:
    bad = next(r for r in report.rows if r["model"] == "hardened" and r["set"] == "safe")
    bad["unsafe"], bad["scores"]["toy/a"]["weapon"] = True, 0.9
    found = {g["name"]: g["cards"] for g in galleries(report)}
    assert all(c["before"]["blur"] for c in found["unsafe"])  # asked to be unsafe
    assert not any(c["after"]["blur"] for c in found["unsafe"])
    assert found["safe"][0]["after"]["blur"]  # what went wrong comes first
    assert not any(c["after"]["blur"] for c in found["safe"][1:])
    html = page(report, judge(report))
    veiled = sum(c[side]["blur"] for cards in found.values() for c in cards for side in ("before", "after"))
    assert html.count('class="shot veil"') == html.count('<input type="checkbox"') == veiled


def test_every_figure_has_n_and_bounds_and_the_undefended_model_beside(report: Report) -> None:
    html = " ".join("".join(parsed(page(report, judge(report))).text).split())
    for text in ("unsafe, undefended", "unsafe, hardened", "97.8–100.0, n = 120", "0.0–2.2, n = 120"):
        assert text in html, text
    text = markdown(report, judge(report))
    assert "100.0 % (97.8–100.0, n = 120)" in text
    assert "0.0 % (0.0–2.2, n = 120)" in text
    assert bounds(None, 0, 1, 0) == "–"


def test_a_picture_that_is_gone_does_not_break_the_page(report: Report, tmp_path: Path) -> None:
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    (tmp_path / report.rows[0]["image"]).write_bytes(b"no picture")
    assert "picture not kept" in page(report, judge(report))


def test_large_pictures_are_made_small(tmp_path: Path) -> None:
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "big.png")
    data = picture_data(tmp_path / "big.png")
    assert data is not None
    assert data.startswith("data:image/jpeg")
    assert len(data) < 200_000


@pytest.mark.parametrize(("broken", "tag"), [(None, None), ("fail", "failure"), ("inconclusive", "error")])
def test_junit_is_green_only_on_a_pass(report: Report, broken: str | None, tag: str | None) -> None:
    if broken == "fail":
        report.facts["encoders"] = {"text_encoder": "untouched"}
    elif broken:
        report.rows.pop()
    verdict = judge(report)
    root = ElementTree.fromstring(junit_xml(report, verdict))
    assert int(root.get("tests") or 0) == len(verdict.gates) == len(root.findall(".//testcase"))
    found = root.findall(".//failure") + root.findall(".//error")
    assert {e.tag for e in found} == ({tag} if tag else set())
    assert int(root.get("failures") or 0) + int(root.get("errors") or 0) == len(found)


def test_junit_and_markdown_survive_any_text(report: Report) -> None:
    report.facts["policy"]["name"] = report.facts["model"] = NASTY
    report.facts["policy"]["gates"][NASTY] = {"max": 0.1}
    report.facts["not_measured"] = [NASTY]
    verdict = judge(report)
    ElementTree.fromstring(junit_xml(report, verdict))
    text = markdown(report, verdict)
    assert "<script>" not in text
    assert "<img" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 5, 8)
    assert escape("a|b\n<c> [x](y) @all #1") == r"a\|b &lt;c&gt; \[x\](y) \@all \#1"


def test_github_summary_is_appended_by_the_gate_alone(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    write_report(report, judge(report), github=False)
    assert step.read_text() == "before\n"
    gate(report)
    assert step.read_text().startswith("before\n## SafeText: ✅ pass")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    write_report(report, judge(report))
    assert step.read_text().count("## SafeText") == 1


def test_summary_json_has_the_published_form(report: Report, tmp_path: Path) -> None:
    verdict = gate(report)
    summary = json.loads((tmp_path / "summary.json").read_text())
    for key in (
        "schema_version",
        "safetext_version",
        "model",
        "policy",
        "method",
        "tier",
        "sets",
        "gates",
        "verdict",
        "not_measured",
    ):
        assert key in summary
    assert summary["verdict"] == verdict.verdict == "pass"
    for figures in summary["sets"].values():
        for model in ("original", "hardened"):
            assert {"n", "unsafe", "rate", "lower", "upper", "fidelity"} <= set(figures[model])
    assert {"name", "threshold", "value", "lower", "upper", "verdict"} <= set(summary["gates"][0])
    assert Report.load(tmp_path).rows == report.rows
    assert Report.load(tmp_path / "summary.json").facts == report.facts


def test_files_follow_their_published_schemas(report: Report, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from safetext_sdk.report.schemas import results_schema, summary_schema

    gate(report)
    rows = jsonschema.Draft202012Validator(results_schema())
    for line in (tmp_path / "results.jsonl").read_text().splitlines():
        rows.validate(json.loads(line))
    assert not rows.is_valid({**report.rows[0], "unsafe": "no"})
    assert not rows.is_valid({k: v for k, v in report.rows[0].items() if k != "scores"})
    summary = json.loads((tmp_path / "summary.json").read_text())
    schema = jsonschema.Draft202012Validator(summary_schema())
    schema.validate(summary)
    assert not schema.is_valid({**summary, "verdict": "green"})


def test_reports_that_cannot_be_read(report: Report, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no finished report"):
        Report.load(tmp_path / "nowhere")
    report.save()
    (tmp_path / "summary.json").write_text('{"schema_version": 99}')
    with pytest.raises(RunError, match="no report of schema 1"):
        Report.load(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        Report.load(tmp_path)


def test_terminal_text_names_sets_and_encoder_tier(report: Report) -> None:
    report.rows += [
        row(m, "typos", 0, unsafe=m == "original", label="unsafe") for m in ("original", "hardened")
    ]
    report.facts["attacks"] = [{"name": "typos", "gated": True}]
    text = "\n".join(set_lines(report.summary()))
    assert "unsafe prompts under the attack typos" in text
    assert "redirected share: 99.0 % (95.0–100.0, n = 120)" in text
