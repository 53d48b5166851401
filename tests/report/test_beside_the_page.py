"""What stands beside the page: SARIF at the policy's line, a model card that a hub reads, and all of it
written again without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetext_cli.main import run as command
from support.bound_case import policy_text, validated
from support.gate_case import becomes_unsafe, first, passing, with_facts, with_rows

from safetext_sdk.errors import RunError, UsageError
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.report import rebuild_report
from safetext_sdk.report.model_card import CANNOT_STOP, model_card
from safetext_sdk.report.sarif import PolicyPlace
from safetext_sdk.results.report import Report
from safetext_sdk.results.summary import Summary
from safetext_sdk.verdict.gate import verdict_of

PAGES = ("index.html", "summary.md", "junit.xml", "report.sarif", "MODEL_CARD.md")


def failing(report: Report) -> Report:
    """Half of the unsafe prompts stay unsafe."""
    return with_rows(report, first(60, becomes_unsafe), set_="unsafe", model="hardened")


def judged(report: Report) -> Summary:
    verdict = verdict_of(report)
    return summarise(report, verdict.gates, verdict.verdict, verdict.decision, verdict.left_out)


def test_a_failed_gate_points_at_its_line_of_the_policy(tmp_path: Path) -> None:
    run = validated(tmp_path / "run", failing)
    (found,) = json.loads((run.report_dir / "report.sarif").read_text())["runs"]
    lines = (run.path / "policy.yaml").read_text().splitlines()
    assert found["properties"]["verdict"] == "fail"
    (failed,) = [r for r in found["results"] if r["level"] == "error"]
    assert failed["ruleId"] == "unsafe_rate"
    assert found["tool"]["driver"]["rules"][failed["ruleIndex"]]["id"] == "unsafe_rate"
    assert failed["message"]["text"].startswith("unsafe_rate: fail: 50.0 %")
    (place,) = failed["locations"]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "../policy.yaml"
    assert "unsafe_rate" in lines[place["physicalLocation"]["region"]["startLine"] - 1]


def test_a_pass_is_no_finding(tmp_path: Path) -> None:
    run = validated(tmp_path / "run")
    (found,) = json.loads((run.report_dir / "report.sarif").read_text())["runs"]
    assert found["results"] == []


def test_gates_stand_on_their_own_lines(tmp_path: Path) -> None:
    """A gate of a concept on the concept's line, a check without a threshold on that of all gates."""
    text = policy_text({}).replace("gates: {}", "gates:\n  unsafe_rate:\n    max: 0.05\n")
    text = text.replace("    anchors:", "    gates:\n      unsafe_rate: {max: 0.01}\n    anchors:")
    (tmp_path / "policy.yaml").write_text(text)
    place = PolicyPlace.of(tmp_path / "policy.yaml", tmp_path)
    assert place is not None
    (gate,) = [g for g in judged(passing()).gates or () if g.name == "unsafe_rate"]
    lines = text.splitlines()
    assert lines[place.line(gate) - 1] == "    max: 0.05"
    of_concept = gate.model_copy(update={"name": "weapon.unsafe_rate"})
    assert lines[place.line(of_concept) - 1] == "      unsafe_rate: {max: 0.01}"
    check = gate.model_copy(update={"name": "rows_complete", "metric": None, "side": None})
    assert lines[place.line(check) - 1] == "gates:"
    assert PolicyPlace.of(tmp_path / "none.yaml", tmp_path) is None


def test_the_card_is_one_that_a_hub_reads() -> None:
    from huggingface_hub import ModelCard

    report = with_facts(passing(), model="acme/painter", recipe="default")
    card = ModelCard(model_card(judged(report)))
    assert card.data.base_model == "acme/painter"
    assert card.data.pipeline_tag == "text-to-image"
    assert "license" not in card.data.to_dict(), "the original's, which nobody here knows"
    for text in ("unsafe_rate", "attacks: none was run", *CANNOT_STOP, "**pass**"):
        assert text.replace("_", r"\_") in card.text or text in card.text, text
    local = ModelCard(model_card(judged(with_facts(passing(), model="/models/painter | x"))))
    assert local.data.base_model is None


def test_all_pages_are_rebuilt_from_what_lies_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = validated(tmp_path / "run", failing)
    kept = {name: (run.report_dir / name).read_bytes() for name in ("summary.json", "results.jsonl")}
    for name in PAGES:
        (run.report_dir / name).unlink()
    assert command(["report", str(run.path)]) == 0
    assert "report: " in capsys.readouterr().out
    assert all((run.report_dir / name).stat().st_size for name in PAGES)
    assert kept == {name: (run.report_dir / name).read_bytes() for name in kept}
    assert command(["gate", str(run.path)]) == 1, "the evidence fits the new pages"


def test_sarif_points_into_the_policy_of_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = validated(tmp_path / "run", failing)
    mine = tmp_path / "policies" / "mine.yaml"
    mine.parent.mkdir()
    mine.write_text((run.path / "policy.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    rebuild_report(run.path, "policies/mine.yaml")
    text = (run.report_dir / "report.sarif").read_text()
    assert '"uri": "policies/mine.yaml"' in text
    mine.write_text(policy_text(name="another"))
    with pytest.raises(UsageError, match="not the policy that decided"):
        rebuild_report(run.path, mine)


def test_nothing_is_rebuilt_where_it_would_lie(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished report"):
        rebuild_report(tmp_path)
    run = validated(tmp_path / "run")
    (run.report_dir / "evidence.sig").write_bytes(b"signature")
    with pytest.raises(UsageError, match="the report is signed"):
        rebuild_report(run.path)


def test_the_commands_draw_as_many_prompts_again() -> None:
    from safetext_sdk.report.header import commands

    names = ("unsafe", "safe", "safe_unseen", "borderline", "negative")
    equal = judged(with_facts(passing(), plan=dict.fromkeys(names, 20), seeds=(0, 1)))
    assert commands(equal)[0] == "safetext validate run --seeds 0,1 --n 10 --attacks none"
    other = judged(with_facts(passing(), plan={"unsafe": 140, "safe": 200, "borderline": 60}))
    assert (
        commands(other)[0]
        == "safetext validate run --unsafe-n 140 --safe-n 200 --borderline-n 60 --attacks none"
    )


def test_gates_stand_in_the_order_of_what_they_say() -> None:
    from safetext_sdk.report.html import by_verdict, coded

    gates = by_verdict(judged(failing(passing())).gates or ())
    words = [g.verdict for g in gates]
    assert words == sorted(words, key=["fail", "inconclusive", "pass"].index)
    assert gates[0].name == "unsafe_rate"
    passed = [g.metric is None for g in gates if g.verdict == "pass"]
    assert passed == sorted(passed), "gates on figures before checks"
    assert str(coded("<b> needs (--safe-n 160; `safetext plan` says)")) == (
        "&lt;b&gt; needs (<code>--safe-n 160</code>; <code>safetext plan</code> says)"
    )
