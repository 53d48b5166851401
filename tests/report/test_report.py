"""The report on paper: every figure with n and bounds, and nothing from a prompt that runs or breaks the
page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from support.bound_case import bound_to, make_run, published
from support.gate_case import (
    add_rows,
    becomes_unsafe,
    first,
    passing,
    row,
    with_facts,
    with_policy,
    with_rows,
)

from safetext_sdk import gate
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.policy.schema import Gate
from safetext_sdk.report import report_text, write_report
from safetext_sdk.report.html import page, script_hash
from safetext_sdk.report.junit import junit_xml
from safetext_sdk.report.markdown import escape, markdown
from safetext_sdk.report.model_card import model_card
from safetext_sdk.report.pairs import page_data
from safetext_sdk.report.thumbnails import PAGE_BYTES, Thumbnails, picture_data
from safetext_sdk.results.attack_entry import AttackEntry
from safetext_sdk.results.facts import AuditedEncoder
from safetext_sdk.results.kept import KeptVote
from safetext_sdk.results.report import Report
from safetext_sdk.results.summary import Summary
from safetext_sdk.verdict.gate import verdict_of

NASTY = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> \"' | `x` [a](javascript:alert(3)) {{ 7*7 }} "
    "\x00\x08 </table> & end"
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
        if self.tags[-1:] and self.tags[-1][0] != "script":
            self.text.append(data)


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


def judged(report: Report) -> Summary:
    verdict = verdict_of(report)
    return summarise(report, verdict.gates, verdict.verdict)


def shown(report: Report) -> str:
    assert report.folder is not None
    return page(judged(report), report.rows, report.folder)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    made = replace(passing(), folder=tmp_path)
    (tmp_path / "images").mkdir()
    for k, r in enumerate(made.rows):
        Image.new("RGB", (16, 16), (k % 256, 40, 90)).save(tmp_path / r.image)
    return made


@pytest.fixture
def sound(tmp_path: Path) -> Report:
    """A report in a run, with evidence."""
    run = make_run(tmp_path / "run")
    return published(bound_to(run, passing(), run.report_dir))


def test_prompts_and_policies_cannot_inject_html(report: Report) -> None:
    nasty = dict.fromkeys(("anchor", "negative_prompt", "shows"), NASTY)
    report = with_rows(report, lambda r: {"prompt": f"{r.prompt} {NASTY}", **nasty})
    first_detector, second = report.facts.detectors
    detectors = (first_detector.model_copy(update={"version": NASTY}), second)
    report = with_policy(
        with_facts(report, model=NASTY, method=NASTY, not_measured=(NASTY,), detectors=detectors), name=NASTY
    )
    html = shown(report)
    tags = parsed(html)
    scripts = [attributes for name, attributes in tags.tags if name == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}], "the data and the page's own script"
    assert html.count("</script") == 2
    assert not any(key.startswith("on") for _, attributes in tags.tags for key in attributes)
    assert not [a for name, a in tags.tags if name == "img"], "pictures come from the data alone"
    assert not [a for _, a in tags.tags if "href" in a]
    assert "<script>alert(1)</script>" in "".join(tags.text)  # shown as text
    assert "49" not in "".join(t for t in tags.text if "7*7" in t)
    data = data_of(html)
    assert data["pairs"][0]["anchor"] == NASTY, "the very text, for a script that shows it as text"
    assert all(p["data"].startswith("data:image/") for p in data["pictures"])


def data_of(html: str) -> dict[str, Any]:
    """The page's block of JSON."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_loads_nothing_and_runs_its_own_script_alone(report: Report) -> None:
    html = shown(report)
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script_hash()}'"
    assert policy in html
    assert not re.findall(r"https?://", html)
    assert "prefers-color-scheme: dark" in html
    assert "width=device-width" in html
    assert "<noscript>" in html


def test_unsafe_pictures_are_veiled(report: Report, tmp_path: Path) -> None:
    report = with_rows(report, first(1, becomes_unsafe), set_="safe", model="hardened")
    pairs = page_data(report.rows, report.facts, tmp_path)["pairs"]
    unsafe = [p for p in pairs if p["set"] == "unsafe"]
    safe = [p for p in pairs if p["set"] == "safe"]
    assert all(p["before"]["veil"] for p in unsafe)  # asked to be unsafe
    assert not any(p["after"]["veil"] for p in unsafe)
    assert pairs[0]["outcome"] == "newly unsafe"  # what went wrong comes first
    assert pairs[0]["set"] == "safe"
    assert pairs[0]["after"]["veil"]
    assert not any(p["after"]["veil"] for p in safe[1:])


@pytest.mark.parametrize(
    "nothing_hardened",
    [
        {"encoders": {"text_encoder": "untouched"}},
        {"run": None, "bound": None, "method": None},  # a baseline, whatever it changes
    ],
)
def test_where_nothing_was_hardened_both_pictures_of_unsafe_prompts_are_veiled(
    report: Report, nothing_hardened: dict[str, Any], tmp_path: Path
) -> None:
    report = with_facts(report, **nothing_hardened)
    pairs = page_data(report.rows, report.facts, tmp_path)["pairs"]
    asked = [p for p in pairs if p["set"] == "unsafe"]
    assert asked
    assert not any(p["after"]["unsafe"] for p in asked)
    assert all(p["before"]["veil"] and p["after"]["veil"] for p in asked)
    assert not any(p["after"]["veil"] for p in pairs if p["set"] == "safe")


@pytest.mark.parametrize("by", ["name", "bytes"])
def test_the_undefended_picture_is_veiled_on_both_sides(report: Report, by: str, tmp_path: Path) -> None:
    """A hardened model's row can have it: a probe put the undefended encoder back."""
    before = next(r for r in report.rows if (r.set, r.model) == ("unsafe", "original"))
    after = next(r for r in report.rows if (r.model, r.prompt) == ("hardened", before.prompt))
    if by == "bytes":
        (tmp_path / after.image).write_bytes((tmp_path / before.image).read_bytes())
    else:
        same = after.model_copy(update={"image": before.image})
        report = replace(report, rows=[same if row is after else row for row in report.rows])
    pairs = page_data(report.rows, report.facts, tmp_path)["pairs"]
    veiled = [p["prompt"] for p in pairs if p["set"] == "unsafe" and p["after"]["veil"]]
    assert veiled == [before.prompt]


def test_every_pair_is_in_the_page(report: Report, tmp_path: Path) -> None:
    data = page_data(report.rows, report.facts, tmp_path)
    assert len(data["pairs"]) == 360
    assert len(data["pictures"]) == 720
    assert {p["outcome"] for p in data["pairs"]} == {"made safe", "as before"}
    scores = data["pairs"][0]["after"]["scores"]
    assert set(scores) == {"toy/a", "toy/b"}, "per detector"


def test_a_picture_says_what_is_missing_from_it(report: Report, tmp_path: Path) -> None:
    """In the words of labels where a detector can tell, else by the judge's name."""
    votes = [("toy/a", 0.2, "at least", 0.5), ("clip-r-precision", 3.0, "at most", 0.0)]
    kept_by = tuple(KeptVote(judge=j, value=v, rule=r, limit=x) for j, v, r, x in votes)  # type: ignore[arg-type]
    lost = {"kept": False, "expected": ("palm_tree", "dog"), "kept_by": kept_by}
    scores = {"toy/a": {"weapon": 0.1, "palm_tree": 0.2, "dog": 0.9}, "toy/b": {"weapon": 0.0}}
    report = with_rows(report, first(1, lambda _: {**lost, "scores": scores}), set_="safe", model="hardened")
    no_anchor = {"anchor_shown": False, "scores": {"toy/a": {"weapon": 0.1, "cactus": 0.01}, "toy/b": {}}}
    report = with_rows(report, first(1, lambda _: no_anchor), set_="unsafe", model="hardened")
    data = page_data(report.rows, report.facts, tmp_path)
    found = {p["outcome"]: p["after"]["missing"] for p in data["pairs"] if p["after"]["missing"]}
    assert found == {
        "lost what it showed": ("the palm tree", "its prompt, says clip-r-precision"),
        "anchor incomplete": ("the cactus",),
    }


def test_many_pictures_get_smaller_and_none_is_read_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    Image.effect_noise((300, 300), 60).convert("RGB").save(tmp_path / "report" / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "outside.png")
    few, many = Thumbnails(tmp_path / "report"), Thumbnails(tmp_path / "report")
    for thumbnails, count in ((few, 1), (many, 5_000)):
        thumbnails.index("a.png")
        for k in range(count - 1):
            thumbnails.index(f"{k}.png")
        assert thumbnails.index("a.png") == 0, "once, however often it is shown"
    sizes = [len(t.made()[0].data or "") for t in (few, many)]
    assert sizes[1] < sizes[0]
    assert sizes[1] * 5_000 < 2 * PAGE_BYTES
    outside = Thumbnails(tmp_path / "report")
    outside.index("../outside.png")
    assert outside.made()[0].data is None


def test_every_figure_has_n_and_bounds_and_the_undefended_model_beside(report: Report) -> None:
    html = " ".join("".join(parsed(shown(report)).text).split())
    for text in ("unsafe, undefended", "unsafe, hardened", "96.8–100.0, n = 120", "0.0–3.2, n = 120"):
        assert text in html, text
    text = markdown(judged(report))
    assert "100.0 % (96.8–100.0, n = 120)" in text
    assert "0.0 % (0.0–3.2, n = 120)" in text


def test_every_registered_metric_is_shown_everywhere(report: Report) -> None:
    summary = judged(report)
    measured = [m for m in summary.metrics.values() if m.n]
    assert len(measured) >= 5
    for text in (shown(report), markdown(summary)):
        assert all(m.title in text for m in measured)
    terminal = report_text(report)
    assert all(name in terminal for name, m in summary.metrics.items() if m.n)


def test_a_picture_that_is_gone_does_not_break_the_page(report: Report, tmp_path: Path) -> None:
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    (tmp_path / report.rows[0].image).write_bytes(b"no picture")
    assert {picture["data"] for picture in data_of(shown(report))["pictures"]} == {None}


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
        report = with_facts(report, encoders={"text_encoder": "untouched"})
    elif broken:
        report = replace(report, rows=report.rows[:-1])
    summary = judged(report)
    root = ElementTree.fromstring(junit_xml(summary))
    assert summary.gates
    assert int(root.get("tests") or 0) == len(summary.gates) == len(root.findall(".//testcase"))
    found = root.findall(".//failure") + root.findall(".//error")
    assert {e.tag for e in found} == ({tag} if tag else set())
    assert int(root.get("failures") or 0) + int(root.get("errors") or 0) == len(found)


def test_junit_and_markdown_survive_any_text(report: Report) -> None:
    gates = {**report.facts.policy.gates, NASTY: Gate(max=0.1)}
    report = with_policy(with_facts(report, model=NASTY, not_measured=(NASTY,)), name=NASTY, gates=gates)
    summary = judged(report)
    ElementTree.fromstring(junit_xml(summary))
    text = markdown(summary)
    assert "<script>" not in text
    assert "<img" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 4, 5, 8)
    assert escape("a|b\n<c> [x](y) @all #1") == r"a\|b &lt;c&gt; \[x\](y) \@all \#1"


def test_github_summary_is_appended_by_the_gate_alone(
    sound: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    write_report(sound, verdict_of(sound), github=False)
    assert step.read_text() == "before\n"
    gate(sound)
    assert step.read_text().startswith("before\n## SafeText: ✅ pass")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    write_report(sound, verdict_of(sound))
    assert step.read_text().count("## SafeText") == 1


def test_summary_json_says_what_the_gate_said(sound: Report, tmp_path: Path) -> None:
    verdict = gate(sound)
    assert sound.folder is not None
    summary = json.loads((sound.folder / "summary.json").read_text())
    assert summary["verdict"] == verdict.verdict == "pass"
    assert [g["name"] for g in summary["gates"]] == [g.name for g in verdict.gates]
    assert {"name", "threshold", "value", "lower", "upper", "verdict"} <= set(summary["gates"][0])
    figure = summary["sets"]["unsafe"]["hardened"]["unsafe"]
    assert figure.pop("worth") == {
        "pictures": 120,
        "prompts": 120,
        "clusters": 60,
        "design_effect": 1.3,
        "effective": 90.84,
        "assumed_correlation": 0.3,
    }
    assert figure == {"value": 0.0, "lower": 0.0, "upper": 0.03244, "n": 120}
    assert summary["bounds"] == {"confidence": 0.95, "assumed_correlation": 0.3}
    again = Report.load(sound.folder)
    assert (again.rows, again.facts) == (sound.rows, sound.facts)


def test_terminal_text_names_sets_and_encoder_tier(report: Report) -> None:
    rows = [row(m, "typos", 0, unsafe=m == "original", label="unsafe") for m in ("original", "hardened")]
    text = report_text(with_facts(add_rows(report, rows), attacks=(AttackEntry(name="typos"),)))
    assert "attack typos (black box): no gate asks about attacks" in text
    assert text.count("typos") == 1, "once, not as a set as well"
    assert "redirected share: 99.0 % (95.0–100.0, n = 120)" in text


def test_an_audit_says_what_was_audited(report: Report) -> None:
    """Above all figures: the encoder by path or id, its kind and hash, the original, and no run of ours."""
    found = AuditedEncoder(
        ref="owner/name/rival & co",
        form="LoRA",
        revision="c" * 40,
        encoders=("text_encoder",),
        files={"../rival.safetensors": "a" * 64},
        original={"text_encoder/model.safetensors": "b" * 64},
        notes=("its tokenizer splits prompts differently",),
    )
    audit = with_facts(report, audited=found, bound=None, run=None, method=None)
    html = shown(audit)
    assert "<h1>Audit of owner/name/rival &amp; co on toy, policy weapons</h1>" in html
    head = "".join(parsed(html[: html.index("<h2>Gates</h2>")]).text)
    for text in (
        f"owner/name/rival & co (LoRA, commit {'c' * 16})",
        "none of SafeText's: nobody recorded what this encoder was trained on",
        f"../rival.safetensors, sha256 {'a' * 16}",
        "toy, in the place of text_encoder",
        f"text_encoder/model.safetensors, sha256 {'b' * 16}",
        "its tokenizer splits prompts differently",
        "safetext validate --original toy --encoder 'owner/name/rival & co' --policy weapons --out AUDIT",
        "safetext gate AUDIT",
    ):
        assert text in head, text
    assert "not bound to a run" not in head
    summary = judged(audit)
    assert "an audit of owner/name/rival &amp; co (LoRA" in markdown(summary)
    assert "an audit of owner/name/rival & co (LoRA" in report_text(audit)
    card = model_card(summary)
    assert "audited against: weapon" in card
    assert "Hardened with SafeText" not in card
