"""Encoder-tier figures on tensors whose answer is known by hand."""

from __future__ import annotations

import pytest
import torch

from safetext_sdk.results.facts import EncoderTier
from safetext_sdk.validation import encoder_tier as tier


def unit(*degrees: float) -> torch.Tensor:
    angle = torch.tensor(degrees) * torch.pi / 180
    return torch.stack([angle.cos(), angle.sin()], -1)


def test_redirected_share_by_hand() -> None:
    original, anchor = unit(0, 0, 0, 0), unit(90, 90, 90, 90)
    hardened = unit(90, 46, 44, 0) * torch.tensor([[3.0], [0.1], [7.0], [1.0]])  # length does not matter
    assert tier.redirected(hardened, original, anchor).tolist() == [True, True, False, False]
    assert tier.redirected_share(hardened, original, anchor) == 0.5
    assert tier.oracle_share(original, anchor) == 1.0
    assert tier.redirected_share(original, original, anchor) == 0.0


def test_nan_is_not_redirected_and_nothing_has_no_share() -> None:
    original, anchor = unit(0, 0), unit(90, 90)
    assert tier.redirected_share(torch.full((2, 2), torch.nan), original, anchor) == 0.0
    with pytest.raises(ValueError, match="no prompts"):
        tier.redirected_share(original[:0], original[:0], original[:0])
    with pytest.raises(ValueError, match="one shape"):
        tier.redirected_share(original, original[:1], anchor)


def test_collapse_scores_high_and_is_caught() -> None:
    """All prompts to one caption: the share is 1, as the collapse score says; one nearest anchor where the
    oracle has three."""
    original, anchors = unit(0, 5, 10), unit(80, 100, 120)
    collapsed = unit(100, 100, 100)
    assert tier.redirected_share(collapsed, original, anchors) == 1.0
    assert tier.collapse_score(original, anchors, unit(100)[0]) == 1.0
    assert tier.distinct_nearest(collapsed, anchors) == 1
    assert tier.distinct_nearest(anchors, anchors) == 3
    assert tier.distinct_nearest(collapsed[:0], anchors) == 0


def test_bank_without_pairs_and_its_hash() -> None:
    original = unit(0, 0)
    assert tier.nearest_is_safe(unit(50, 10), original, unit(60, 200)).tolist() == [True, False]
    assert tier.bank_hash(["a", "b"]) != tier.bank_hash(["b", "a"])
    assert len(tier.bank_hash([])) == 64


def test_drift() -> None:
    same = tier.drift(unit(0, 30), unit(0, 30))
    assert same["cosine_mean"] == pytest.approx(1)
    assert same["l2_change"] == pytest.approx(0)
    turned = tier.drift(unit(90, 30), unit(0, 30))
    assert turned["cosine_mean"] == pytest.approx(0.5, abs=1e-6)
    assert turned["l2_change"] == pytest.approx(2**0.5 / 2)


def test_half_precision_is_compared_in_float32() -> None:
    base = torch.randn(4, 4096, generator=torch.Generator().manual_seed(0))
    assert tier.cosine(base.half(), base.half()).min() > 0.99999


def test_prompts_without_anchors_are_measured_against_the_fixed_bank() -> None:
    from types import SimpleNamespace

    from safetext_sdk.validation.embeddings import measure_encoders, safe_bank
    from safetext_sdk.validation.items import Item

    bank = safe_bank()
    assert len(bank) == len(set(bank)) == 256
    # 256 directions of the bank, and two more for the prompts before hardening.
    place = {text: k for k, text in enumerate([*bank, "zork", "blarg"])}

    class Model:
        def __init__(self, moved: dict[str, str]) -> None:
            self.moved = moved

        def encode(self, prompts: list[str]) -> SimpleNamespace:
            rows = torch.stack([torch.eye(258)[place[self.moved.get(p, p)]] for p in prompts])
            return SimpleNamespace(flat=lambda: rows)

    items = [Item("custom", p, s, "unsafe", p) for p in ("zork", "blarg") for s in (0, 1)]
    found = measure_encoders(Model({}), Model({"zork": bank[7]}), [], [], [], unpaired=items)  # type: ignore[arg-type]
    assert found.redirection is None
    assert found.unpaired is not None
    assert found.unpaired.n == 2, "each prompt counts once, whatever its seeds"
    assert found.unpaired.nearer_to_bank.value == 0.5
    assert found.unpaired.bank_sha256 == tier.bank_hash(bank)
    still = measure_encoders(Model({}), Model({}), [], [], [], unpaired=items)  # type: ignore[arg-type]
    assert still.unpaired is not None
    assert still.unpaired.nearer_to_bank.value == 0.0
    assert measure_encoders(Model({}), Model({}), [], [], []) == EncoderTier()  # type: ignore[arg-type]


def test_an_encoder_that_returns_no_numbers_can_still_be_written_down() -> None:
    from types import SimpleNamespace

    from safetext_sdk.validation.embeddings import measure_encoders
    from safetext_sdk.validation.items import Item

    class Model:
        def __init__(self, fill: float) -> None:
            self.fill = fill

        def encode(self, prompts: list[str]) -> SimpleNamespace:
            rows = torch.stack([torch.full((4,), self.fill + len(p)) for p in prompts])
            return SimpleNamespace(flat=lambda: rows)

    unsafe = [Item("unsafe", "a gun", 0, "unsafe", "gun", anchor="a flower")]
    safe = [Item("safe", "a cat", 0, "safe", "cat")]
    found = measure_encoders(Model(0.0), Model(float("nan")), unsafe, safe, [])  # type: ignore[arg-type]
    assert found.redirection is not None
    assert (found.redirection.finite, found.redirection.share.value) == (False, 0.0)
    assert found.safe is not None
    assert (found.safe.cosine_mean, found.safe.l2_change) == (None, None)
    assert EncoderTier.model_validate_json(found.model_dump_json()) == found


def test_borderline_prompts_that_become_no_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-precision export that overflows on some words: nothing of those prompts is left."""
    from safetext_sdk.validation import embeddings
    from safetext_sdk.validation.items import Item

    made = {"old": unit(0, 10, 20, 30), "new": unit(0, 10, 20, 30)}
    made["new"][2:] = torch.nan
    monkeypatch.setattr(embeddings, "_encode", lambda model, texts: made[model])
    items = [Item("borderline", f"prompt {k}", 0, "borderline", f"{k}") for k in range(4)]
    drift = embeddings._kept("old", "new", items, unit(90), 4)  # type: ignore[arg-type]
    assert (drift.redirected.value, drift.cosine_mean) == (0.5, None)
