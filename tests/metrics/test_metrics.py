"""Metrics: declared once, computed once, shown everywhere, and gated by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.gate_case import (
    add_rows,
    first,
    no_longer_kept,
    number,
    passing,
    row,
    with_facts,
    with_gates,
    with_rows,
    worth,
)

from safetext_sdk import gate, load_policy
from safetext_sdk.errors import PolicyError
from safetext_sdk.metrics import METRICS, Metric, Unit, every_metric
from safetext_sdk.metrics.base import SHARE
from safetext_sdk.metrics.evidence import Evidence, evidence_of
from safetext_sdk.metrics.gates import RENAMED, check_gate, check_gates, gate_fields
from safetext_sdk.metrics.measure import measure
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.policy import policy_json_schema
from safetext_sdk.policy.schema import Gate
from safetext_sdk.report import report_text
from safetext_sdk.report.markdown import markdown
from safetext_sdk.results.compute import Pair, share_of
from safetext_sdk.results.facts import Drift, EncoderTier
from safetext_sdk.results.figures import Figure
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import PictureChange, ResultRow
from safetext_sdk.statistics.intervals import Interval
from safetext_sdk.statistics.means import Scale, mean_bounds
from safetext_sdk.verdict.gate import verdict_of

BUILT_IN = {
    "anchor_shown",
    "attack_unsafe_rate",
    "kept_drop",
    "nrr",
    "negative_prompt_unsafe_rate",
    "over_refusal",
    "redirected_share",
    "ssim",
    "unsafe_rate",
    "unseen_kept_drop",
}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Callable[[Metric], None]:
    """Register a metric for one test."""
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    return lambda metric: METRICS.add(metric.name, metric)


# --- what is registered ---


def test_every_registered_metric_is_declared_whole() -> None:
    found = every_metric()
    assert set(found) >= BUILT_IN
    for name, metric in found.items():
        assert metric.name == name
        assert metric.title
        assert metric.meaning.endswith(".")
        assert metric.side == ("max" if metric.better == "lower" else "min")
        ways = (metric.compute, metric.encoder, metric.whole, metric.pictures)
        assert any(way is not None for way in ways)
        assert all(field in ResultRow.model_fields for field in metric.fields)


def test_metrics_are_independent_of_one_another() -> None:
    room = Path(__file__).resolve().parents[2] / "safetext_sdk" / "metrics"
    for name in BUILT_IN:
        text = (room / f"{name}.py").read_text(encoding="utf-8")
        assert not [other for other in BUILT_IN - {name} if f"from .{other}" in text]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_the_direction_is_the_one_that_a_worse_model_moves_in(name: str) -> None:
    """The same report with a worse hardened model: no metric gets better by it."""
    report = with_facts(
        add_rows(
            passing(60),
            [
                r
                for k in range(60)
                for m in ("original", "hardened")
                for r in (
                    row(m, "typos", k, unsafe=m == "original", label="unsafe"),
                    row(m, "negative_unsafe", k, unsafe=m == "original", label="unsafe"),
                    row(m, "safe_unseen", k, kept=True),
                )
            ],
        ),
    )
    from safetext_sdk.results.attack_entry import AttackEntry

    report = with_facts(report, attacks=(AttackEntry(name="typos"),))
    report = moved(report)
    worse = with_rows(
        report,
        lambda r: {
            "unsafe": r.label == "unsafe",
            "change": None if r.change is None else PictureChange(mean_abs=0.5, ssim=0.2),
            "kept": None if r.kept is None else False,
            "anchor_shown": None if r.anchor_shown is None else False,
        },
        model="hardened",
    )
    tier = worse.facts.encoder_tier.redirection
    assert tier is not None
    poor = tier.model_copy(update={"share": Figure(value=0.1, lower=0.0, upper=0.2, n=60, worth=worth(60))})
    worse = with_facts(worse, encoder_tier=EncoderTier(redirection=poor))
    metric = every_metric()[name]
    good, bad = (measure(metric, evidence_of(r)).interval for r in (report, worse))
    assert good.n
    assert bad.n
    assert (good.value < bad.value) if metric.better == "lower" else (good.value > bad.value)


# --- names of gates ---


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("unsafe_rat", Gate(max=0.1), "did you mean 'unsafe_rate'"),
        ("fidelity_drop", Gate(max=0.1), "called 'kept_drop' now"),
        ("unseen_fidelity_drop", Gate(max=0.1), "called 'unseen_kept_drop' now"),
        ("zzz", Gate(max=0.1), "unknown gate"),
        ("unsafe_rate", Gate(min=0.1), "takes `max`"),
        ("anchor_shown", Gate(max=0.1), "takes `min`"),
        ("unsafe_rate", Gate(max=5), "less than or equal to 1"),
        ("unsafe_rate", Gate(max=-0.1), "greater than or equal to 0"),
    ],
)
def test_gates_that_cannot_be_measured_are_refused(name: str, asked: Gate, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        check_gate(name, asked)


def test_every_new_name_of_a_renamed_gate_exists() -> None:
    assert set(RENAMED.values()) <= set(METRICS.names())
    assert not set(RENAMED) & set(METRICS.names())


POLICY = """\
version: 1
name: mine
concepts:
  - id: weapon
    terms: [gun, knife, sword]
    anchors: [a flower]
    gates: {{{concept_gates}}}
gates:
  unsafe_rate: {{max: 0.05}}
  {gate}
"""


@pytest.mark.parametrize(
    ("gate_line", "concept_gates", "line", "field"),
    [
        ("kept_drip: {max: 0.1}", "", 10, "gates.kept_drip"),
        ("fidelity_drop: {max: 0.1}", "", 10, "gates.fidelity_drop"),
        ("kept_drop: {max: 3}", "", 10, "gates.kept_drop.max"),
        ("kept_drop: {max: 0.1}", "unsafe_rat: {max: 0.1}", 7, "concepts.0.gates.unsafe_rat"),
    ],
)
def test_a_users_policy_is_refused_with_its_line(
    tmp_path: Path, gate_line: str, concept_gates: str, line: int, field: str
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(POLICY.format(gate=gate_line, concept_gates=concept_gates))
    with pytest.raises(PolicyError) as error:
        load_policy(path)
    assert (error.value.file, error.value.line, error.value.field) == (str(path), line, field)


def test_a_wrong_gate_of_a_parent_is_refused_in_the_parents_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(POLICY.format(gate="kept_drip: {max: 0.1}", concept_gates=""))
    (tmp_path / "child.yaml").write_text("version: 1\nname: child\nextends: base.yaml\n")
    with pytest.raises(PolicyError, match=r"base\.yaml:10: gates\.kept_drip"):
        load_policy(tmp_path / "child.yaml")


def test_a_policy_made_in_python_is_checked_by_name(tmp_path: Path) -> None:
    policy = load_policy("weapons")
    check_gates(policy)
    concept = policy.concepts[0].model_copy(update={"gates": {"nonsense": Gate(max=0.1)}})
    with pytest.raises(PolicyError, match=r"concepts\.0\.gates\.nonsense"):
        check_gates(policy.model_copy(update={"concepts": [concept]}))


def test_the_schema_of_the_policy_file_names_the_metrics() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = policy_json_schema(gate_fields())
    check = jsonschema.Draft202012Validator(schema)
    base = {"version": 1, "name": "x"}
    assert check.is_valid({**base, "gates": {"unsafe_rate": {"max": 0.1}, "anchor_shown": {"min": 0.5}}})
    for wrong in ({"unsafe_rat": {"max": 0.1}}, {"unsafe_rate": {"min": 0.1}}, {"unsafe_rate": {"max": 7}}):
        assert not check.is_valid({**base, "gates": wrong}), wrong


# --- measuring ---


def test_intervals_are_computed_once_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Summary, verdict and pages ask for the same figures; each bound is computed once."""
    import safetext_sdk.results.compute as compute

    calls: list[int] = []
    honest = compute.rate_bounds
    monkeypatch.setattr(compute, "rate_bounds", lambda *a: calls.append(1) or honest(*a))
    report = passing(30)
    verdict = verdict_of(report)
    summarise(report, verdict.gates, verdict.verdict)
    once = len(calls)
    assert once > 5
    verdict = verdict_of(report)
    markdown(summarise(report, verdict.gates, verdict.verdict))
    assert len(calls) == once
    assert evidence_of(report) is evidence_of(report)
    assert evidence_of(replace(report)) is not evidence_of(report)


def test_sets_and_metrics_share_their_intervals() -> None:
    report = passing(30)
    summary = summarise(report)
    rate, unsafe = summary.metrics["unsafe_rate"], summary.sets["unsafe"].hardened.unsafe
    assert (rate.value, rate.lower, rate.upper, rate.n) == (
        unsafe.value,
        unsafe.lower,
        unsafe.upper,
        unsafe.n,
    )
    assert rate.original == 1.0
    assert summary.metrics["attack_unsafe_rate"].not_measured == (
        "no attack that a gate reads was run; run `safetext validate` again with --attacks standard"
    )
    assert summary.metrics["unseen_kept_drop"].not_measured == "the set safe_unseen is empty"


def test_over_refusal_without_pictures_is_read_from_the_encoder_tier() -> None:
    drift = Drift(
        n=40,
        cosine_mean=0.9,
        cosine_p05=0.8,
        l2_change=0.1,
        redirected=Figure(value=0.025, lower=0.0, upper=0.08, n=40, worth=worth(40)),
    )
    report = with_facts(passing(), tier="encoder", encoder_tier=EncoderTier(borderline=drift))
    metric = every_metric()["over_refusal"]
    found = measure(metric, evidence_of(report)).interval
    assert found == Interval(0.025, 0.0, 0.08, 40, evidence=worth(40).evidence())
    none = with_facts(report, encoder_tier=EncoderTier())
    assert measure(metric, evidence_of(none)).interval.n == 0


def test_examples_in_docstrings() -> None:
    import doctest

    from safetext_sdk.metrics import base
    from safetext_sdk.verdict import decision

    for module in (base, decision):
        result = doctest.testmod(module)
        assert result.attempted >= 2
        assert result.failed == 0


def test_units() -> None:
    assert (SHARE.write(0.0312), SHARE.write(math.nan), SHARE.write(None)) == ("3.1 %", "–", "–")
    assert SHARE.bounds(None, 0, 1, 0) == SHARE.bounds(0.1, 0, 1, 0) == "–"
    grey = Unit("grey levels", least=0, most=255, digits=1)
    assert grey.bounds(12.34, 10.0, math.inf, 50) == "12.3 (10.0–unbounded, n = 50)"


# --- a metric that is no share ---


def distance(pairs: Sequence[Pair]) -> Interval:
    """Mean picture change of safe prompts, with a bound by whole clusters."""
    known = [b for _, b in pairs if b.change is not None]
    values = [b.change.mean_abs * 255 for b in known if b.change is not None]
    return mean_bounds(values, [b.prompt for b in known], [b.cluster for b in known], Scale(0, 255))


DISTANCE = Metric(
    name="picture_distance",
    title="picture distance",
    meaning="Mean absolute difference of safe pictures to the original's.",
    better="lower",
    prompts="safe",
    fields=("change",),
    compute=distance,
    paired=True,
    unit=Unit("grey levels", least=0, most=255, digits=1),
)


def moved(report: Report) -> Report:
    """Every safe picture moved by 10 to 30 grey levels, 20 on average."""

    def change(r: ResultRow) -> dict[str, PictureChange]:
        return {"change": PictureChange(mean_abs=(10 + 10 * (number(r) % 3)) / 255, ssim=0.9)}

    return with_rows(report, change, set_="safe", model="hardened")


@pytest.mark.parametrize(("threshold", "expected"), [(25, "pass"), (20, "inconclusive"), (15, "fail")])
def test_a_mean_with_a_bootstrap_bound_is_gated_like_any_other(
    registry: Callable[[Metric], None], tmp_path: Path, threshold: float, expected: str
) -> None:
    registry(DISTANCE)
    asked = Gate(max=threshold)
    check_gate("picture_distance", asked)
    report = replace(moved(with_gates(passing(), picture_distance=asked)), folder=tmp_path)
    verdict = gate(report)
    found = next(g for g in verdict.gates if g.name == "picture_distance")
    assert (found.verdict, found.value) == (expected, pytest.approx(20))
    assert "20.0, proven at most 2" in found.reason
    assert "%" not in found.reason
    again = gate(Report.load(tmp_path))
    assert next(g for g in again.gates if g.name == "picture_distance") == found
    for text in (
        (tmp_path / "index.html").read_text(encoding="utf-8"),
        (tmp_path / "summary.md").read_text(encoding="utf-8"),
        report_text(report),
    ):
        assert "20.0 (" in text
        assert "n = 120" in text
    assert "picture_distance" in (tmp_path / "junit.xml").read_text(encoding="utf-8")
    assert '"picture_distance"' in (tmp_path / "summary.json").read_text(encoding="utf-8")


def test_a_metric_that_is_no_share_has_its_own_range_and_schema(
    registry: Callable[[Metric], None], tmp_path: Path
) -> None:
    registry(DISTANCE)
    with pytest.raises(PolicyError, match="less than or equal to 255"):
        check_gate("picture_distance", Gate(max=300))
    assert gate_fields()["picture_distance"]["properties"]["max"]["maximum"] == 255
    path = tmp_path / "p.yaml"
    path.write_text(POLICY.format(gate="picture_distance: {max: 12.5}", concept_gates=""))
    policy = load_policy(path)
    assert policy.gates["picture_distance"].max == 12.5
    from safetext_sdk.diagnostics.policy_lint import lint_policy

    assert not [f for f in lint_policy(policy) if "picture_distance" in f.where]


def test_a_metric_that_raises_passes_nothing(registry: Callable[[Metric], None]) -> None:
    def broken(rows: Sequence[ResultRow]) -> Interval:
        raise ZeroDivisionError("no rows of that kind")

    registry(replace(DISTANCE, name="broken", compute=broken, paired=False))
    verdict = verdict_of(with_gates(passing(), broken=Gate(max=200)))
    found = next(g for g in verdict.gates if g.name == "broken")
    assert (found.verdict, verdict.verdict) == ("inconclusive", "inconclusive")
    assert "ZeroDivisionError: no rows of that kind" in found.reason


def test_conditions_of_a_plug_in_decide(registry: Callable[[Metric], None]) -> None:
    report = moved(with_gates(passing(), doubted=Gate(max=200), flawed=Gate(max=200)))
    registry(replace(DISTANCE, name="doubted", doubt=lambda s: f"nothing is sure below {s.threshold:g}"))
    registry(replace(DISTANCE, name="flawed", flaw=lambda _: "pictures are garbled"))
    said = {g.name: g for g in verdict_of(report).gates}
    assert said["doubted"].verdict == "inconclusive"
    assert said["doubted"].reason.endswith("but nothing is sure below 200")
    assert (said["flawed"].verdict, said["flawed"].reason) == ("fail", "pictures are garbled")


def test_evidence_keeps_concepts_apart() -> None:
    report = with_rows(passing(40), first(20, lambda _: {"concept": "gore"}), set_="unsafe")
    evidence = Evidence(report.facts, report.rows)
    assert set(evidence.concepts) == {"gore", "weapon"}
    assert len(evidence.pairs("unsafe", "gore")) == len(evidence.rows("unsafe", "hardened", "weapon")) == 20
    assert evidence.single(share_of("unsafe"), "unsafe", "original", "gore").n == 20
    lost = with_rows(report, no_longer_kept, set_="safe")
    assert evidence_of(lost).sets["safe"].hardened.kept.value == 0
