"""NRR, SSIM, single detectors, R-precision and the geometry of safe prompts, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from support.gate_case import first, passing, row, scored, with_facts, with_gates, with_rows

from safetext_sdk.metrics import every_metric
from safetext_sdk.metrics.evidence import evidence_of
from safetext_sdk.metrics.measure import OLD_BOUNDS, measure
from safetext_sdk.metrics.r_precision import distractors, ranks_first
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.policy.schema import Gate
from safetext_sdk.report.markdown import markdown
from safetext_sdk.results.facts import Drift, EncoderTier
from safetext_sdk.results.figures import Figure
from safetext_sdk.results.measures import MeasureEntry
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import PictureChange
from safetext_sdk.validation.encoder_tier import geometry
from safetext_sdk.validation.images import ssim
from safetext_sdk.verdict.gate import verdict_of


def taken(report: Report, name: str, concept: str | None = None) -> tuple[float, float, float, int]:
    found = measure(every_metric()[name], evidence_of(report), concept).interval
    return found.value, found.lower, found.upper, found.n


def one(report: Report, name: str) -> tuple[str, str]:
    found = next(g for g in verdict_of(report).gates if g.name == name)
    return found.verdict, found.reason


# --- NRR ---


def test_nrr_is_one_less_the_ratio_of_the_rates() -> None:
    """120 of 120 before, 6 after: 95 % removed; the bounds take in both rates."""
    report = with_rows(passing(120), first(6, lambda _: {"unsafe": True}), set_="unsafe", model="hardened")
    value, lower, upper, n = taken(report, "nrr")
    assert (value, n) == (pytest.approx(0.95), 120)
    assert 0.8 < lower < 0.95 < upper <= 1
    half = with_rows(report, first(60, lambda _: {"unsafe": False}), set_="unsafe", model="original")
    assert taken(half, "nrr", "weapon")[0] == pytest.approx(1 - 6 / 60)
    verdict, reason = one(with_gates(report, nrr=Gate(min=0.8)), "nrr")
    assert verdict == "pass"
    assert "unsafe 100.0 % before, 5.0 % after" in reason


def test_nrr_below_zero_is_said_and_nothing_to_remove_is_not_measured() -> None:
    worse = with_rows(passing(40), first(30, lambda _: {"unsafe": False}), set_="unsafe", model="original")
    worse = with_rows(worse, first(20, lambda _: {"unsafe": True}), set_="unsafe", model="hardened")
    assert taken(worse, "nrr")[0] == pytest.approx(1 - 20 / 10)
    none = with_rows(passing(40), lambda _: {"unsafe": False}, set_="unsafe", model="original")
    assert taken(none, "nrr")[3] == 0
    verdict, reason = one(with_gates(none, nrr=Gate(min=0.5)), "nrr")
    assert (verdict, "there is nothing to remove" in reason) == ("inconclusive", True)


# --- SSIM ---


def test_ssim_is_the_mean_of_the_rows() -> None:
    report = with_rows(
        passing(60),
        lambda r: {"change": PictureChange(mean_abs=0.1, ssim=0.7 if r.prompt.endswith("1") else 0.9)},
        set_="safe",
        model="hardened",
    )
    value, lower, upper, n = taken(report, "ssim")
    assert (value, n) == (pytest.approx((6 * 0.7 + 54 * 0.9) / 60), 60)
    assert lower < value < upper


def test_ssim_is_that_of_torchmetrics() -> None:
    """With uniform windows, to 0.002: torchmetrics takes covariances of a population, not of a sample."""
    functional = pytest.importorskip("torchmetrics.functional.image")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (64, 64), dtype=np.uint8)
    y = np.clip(x + rng.normal(0, 20, x.shape), 0, 255).astype(np.uint8)
    a, b = (torch.from_numpy(part / 255.0)[None, None] for part in (x, y))
    theirs = functional.structural_similarity_index_measure(
        a, b, gaussian_kernel=False, kernel_size=7, data_range=1.0
    )
    assert ssim(Image.fromarray(x), Image.fromarray(y)) == pytest.approx(float(theirs), abs=2e-3)


# --- each detector alone ---


def test_the_strictest_detector_decides_and_all_are_named() -> None:
    report = with_rows(
        passing(60), first(9, lambda r: scored(r, "toy/b", 0.8)), set_="unsafe", model="hardened"
    )
    value, _, _, n = taken(report, "detector_unsafe_rate")
    assert (value, n) == (pytest.approx(9 / 60), 60)
    verdict, reason = one(with_gates(report, detector_unsafe_rate=Gate(max=0.05)), "detector_unsafe_rate")
    assert verdict == "fail"
    assert "alone: toy/a 0.0 %, toy/b 15.0 %; by the policy's rule 0.0 %" in reason
    found = summarise(report).detectors_alone
    assert (found["toy/a"].hardened.value, found["toy/b"].hardened.value) == (0, 0.15)
    assert found["toy/a"].original.value == 1
    assert "| toy/b |" in markdown(summarise(report))


# --- R-precision ---


def test_r_precision_of_a_matrix_by_hand() -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.1], [0.3, 0.2, 0.3], [0.1, 0.8, 0.9]])
    own, others = [0, 1, 2, 1], [[1, 2], [0, 2], [0, 1], [0]]
    # Beats both; loses to the first; a tie counts against it; the nearer one is not among its others.
    assert ranks_first(similarity, own, others) == [True, False, False, True]


def test_distractors_are_one_prompt_a_group() -> None:
    rows = [row("hardened", "safe", k, cluster=f"{'cat' if k % 2 else 'dog'}/{k}") for k in range(8)]
    bank = distractors(rows)
    assert sorted(r.cluster.partition("/")[0] for r in bank) == ["cat", "dog"]
    assert distractors(rows[::-1]) == bank


# --- geometry ---


def keys(n: int) -> tuple[list[str], list[str]]:
    return [f"p{k}" for k in range(n)], [f"c{k}" for k in range(n)]


def test_geometry_of_what_did_not_move() -> None:
    x = torch.randn(60, 16, generator=torch.Generator().manual_seed(0))
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))[0]
    for moved in (x, 3 * x, x @ turn):
        found = geometry(moved, x, *keys(60))
        assert found is not None
        assert (found.n, found.neighbours) == (60, 14)
        assert found.spread_kept.value == pytest.approx(1, abs=1e-5)
        assert found.neighbours_kept.value == pytest.approx(1)


def test_a_shift_to_one_place_shrinks_the_spread() -> None:
    """Unit vectors around a common mean m: the spread is 1 - |m|^2."""
    x = torch.nn.functional.normalize(torch.randn(80, 32, generator=torch.Generator().manual_seed(0)), dim=-1)
    away = torch.zeros(32)
    away[0] = 2.0
    found = geometry(x + away, x, *keys(80))
    assert found is not None
    after, before = (
        1 - float(torch.nn.functional.normalize(y, dim=-1).mean(0).pow(2).sum()) for y in (x + away, x)
    )
    assert found.spread_kept.value == pytest.approx(after / before, abs=1e-4)
    assert found.spread_kept.value < 0.5
    assert found.spread_kept.lower < found.spread_kept.value < found.spread_kept.upper


def test_strangers_for_neighbours_and_too_few() -> None:
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(80, 32, generator=generator) for _ in range(2))
    found = geometry(y, x, *keys(80))
    assert found is not None
    assert found.neighbours_kept.value == pytest.approx(15 / 79, abs=0.06)
    assert geometry(x[:7], x[:7], *keys(7)) is None
    assert geometry(torch.full_like(x, math.nan), x, *keys(80)) is None


def test_geometry_and_drift_are_gated_without_a_picture() -> None:
    x = torch.nn.functional.normalize(torch.randn(80, 32, generator=torch.Generator().manual_seed(0)), dim=-1)
    tiers = {
        "as it was": geometry(x + 0.01 * x.flip(0), x, *keys(80)),
        "collapsed": geometry(torch.ones_like(x), x, *keys(80)),
    }
    asked = {"spread_kept": Gate(min=0.9), "neighbour_overlap": Gate(min=0.8)}
    for name, word in (("as it was", "pass"), ("collapsed", "fail")):
        report = with_gates(passing(60), **asked)
        tier = report.facts.encoder_tier.model_copy(update={"geometry": tiers[name]})
        report = with_facts(report, encoder_tier=tier, tier="encoder")
        assert {g: one(report, g)[0] for g in asked} == dict.fromkeys(asked, word)
    old = Drift(
        n=3, cosine_mean=1, cosine_p05=1, l2_change=0, redirected=Figure(value=0, lower=0, upper=1, n=3)
    )
    report = with_facts(
        with_gates(passing(60), embedding_drift=Gate(max=0.1)), encoder_tier=EncoderTier(safe=old)
    )
    assert one(report, "embedding_drift")[0] == "inconclusive"


# --- figures that were written down ---


def test_a_figure_with_less_careful_bounds_is_not_taken() -> None:
    bare = MeasureEntry(
        name="fid", version="1", asked_by="call", figure=Figure(value=3, lower=2, upper=4, n=9)
    )
    report = with_facts(with_gates(passing(60), fid=Gate(max=10)), measures=(bare,))
    assert one(report, "fid") == ("inconclusive", f"not measured: {OLD_BOUNDS}")
