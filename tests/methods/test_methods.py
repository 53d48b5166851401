"""Losses against hand-computed values, and what their gradients do."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from safetext_sdk.errors import UsageError
from safetext_sdk.methods import METHODS, Anchor, AnchorConfig, Batch, PromptTable
from safetext_sdk.methods.context import StepSizes
from safetext_sdk.methods.distances import (
    flat_cosine,
    flat_norm,
    flat_relative_norm,
    over_pieces,
    pair_cosine,
    relative_error,
)
from safetext_sdk.methods.prompt_table import StepRows


def batch(unsafe: Any, original: Any, anchor: Any, safe: Any, safe_original: Any, **more: Any) -> Batch:
    """A step whose rows are: unsafe prompts, their anchors, safe prompts, and ``further`` anchors."""

    def one(x: Any) -> torch.Tensor:
        return x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=torch.float32)

    whole = [one(original), one(anchor), one(safe_original), *map(one, more.pop("further", []))]
    answers = torch.cat(whole)
    n, m = len(one(unsafe)), len(one(safe))
    pair = np.arange(n)
    rows = StepRows(0, pair, pair, pair + n, np.zeros(n, np.int64), np.arange(2 * n, 2 * n + m))
    rows = more.pop("rows", rows)
    return Batch(
        rows=rows,
        everyone=more.pop("everyone", rows),
        unsafe={"text_encoder": one(unsafe)},
        safe={"text_encoder": one(safe)},
        original=lambda wanted: {"text_encoder": answers[torch.from_numpy(wanted)]},
        weights=more.pop("weights", {}),
        **more,
    )


def build(name: str, **values: Any) -> Any:
    return METHODS.get(name)(**values)


def test_relative_error_by_hand() -> None:
    a, b = torch.tensor([[[3.0, 0.0], [0.0, 2.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    assert relative_error(a, b, b).tolist() == pytest.approx([2.0])  # (2^2/1 + 0/4) / 2
    assert relative_error(a, b, b, torch.tensor([[0, 1]])).tolist() == [0.0]
    assert relative_error(a, b, b, torch.tensor([[1, 0]])).tolist() == pytest.approx([4.0])


def test_flat_measures_by_hand() -> None:
    a, b = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert flat_cosine(a, b).item() == pytest.approx(1 / math.sqrt(2))
    assert flat_norm(a, b).item() == pytest.approx(1.0, abs=1e-4)


def test_a_piece_with_weight_zero_does_not_count() -> None:
    pieces = {"one": torch.zeros(2), "two": torch.zeros(2)}
    values = {"one": torch.tensor([1.0, 2.0]), "two": torch.tensor([100.0, 100.0])}
    assert over_pieces(pieces, {"two": 0.0}, lambda n: values[n]).tolist() == [1.0, 2.0]
    assert over_pieces(pieces, {}, lambda n: values[n]).tolist() == [50.5, 51.0]
    assert over_pieces(pieces, {"two": 0.0}, {"one": values["one"]}.__getitem__).tolist() == [
        1.0,
        2.0,
    ]  # nor is it computed


def test_anchor_loss_by_hand() -> None:
    b = batch([[[1.0, 0.0]]], [[[1.0, 0.0]]], [[[0.0, 1.0]]], [[[2.0, 0.0]]], [[[1.0, 0.0]]])
    parts = build("anchor", safe_weight=0.5).loss(b)
    assert parts["unsafe"].item() == pytest.approx(2.0)  # ||(1,-1)||^2 / 1
    assert parts["safe"].item() == pytest.approx(1.0)
    assert parts["loss"].item() == pytest.approx(2.5)


def test_anchor_push_aims_past_the_anchor() -> None:
    original, anchor = [[[1.0, 0.0]]], [[[0.0, 1.0]]]
    there = [[[-1.5, 2.5]]]  # anchor - 1.5 * (original - anchor)
    b = batch(there, original, anchor, [[[1.0, 0.0]]], [[[1.0, 0.0]]])
    assert build("anchor", push=1.5).loss(b)["unsafe"].item() == pytest.approx(0.0)
    assert build("anchor").loss(b)["unsafe"].item() > 1


def test_anchor_margin_is_zero_once_it_leads() -> None:
    b = batch([[[0.0, 1.0]]], [[[1.0, 0.0]]], [[[0.0, 1.0]]], [[[1.0, 0.0]]], [[[1.0, 0.0]]])
    assert build("anchor", margin=0.5).loss(b)["margin"].item() == 0.0
    b = batch([[[1.0, 0.0]]], [[[1.0, 0.0]]], [[[0.0, 1.0]]], [[[1.0, 0.0]]], [[[1.0, 0.0]]])
    assert build("anchor", margin=0.5).loss(b)["margin"].item() == pytest.approx(1.5)


def test_anchor_contrast_by_hand() -> None:
    anchors = torch.tensor(
        [[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 3.0]]]
    )  # the last two are one anchor: not to be told apart
    unsafe = torch.tensor([[[2.0, 0.0]], [[1.0, 1.0]], [[0.0, 1.0]]])
    b = batch(unsafe, anchors, anchors, [[[1.0, 0.0]]], [[[1.0, 0.0]]])
    found = build("anchor", contrast=2.0, temperature=0.5).loss(b)
    one = math.log(math.exp(2) + 2 * math.exp(0)) - 2  # cosines 1, 0, 0 over the temperature
    two = math.log(2)  # as near to its own anchor as to the first
    three = math.log(math.exp(2) + math.exp(0)) - 2
    assert found["contrast"].item() == pytest.approx((one + two + three) / 3, abs=1e-5)
    assert found["loss"].item() == pytest.approx(
        (found["unsafe"] + found["safe"] + 2 * found["contrast"]).item(), abs=1e-5
    )
    assert "contrast" not in build("anchor").loss(b)


def test_anchor_contrast_with_further_anchors_by_hand() -> None:
    anchors = torch.tensor([[[1.0, 0.0]]])
    further = torch.tensor([[[0.0, 1.0]], [[-1.0, 0.0]]])
    b = batch([[[2.0, 0.0]]], [[[1.0, 0.0]]], anchors, [[[1.0, 0.0]]], [[[1.0, 0.0]]], further=[further])
    assert build("anchor", contrast=1.0).loss(b)["contrast"].item() == pytest.approx(
        0.0
    )  # alone there is nothing to tell apart
    method = build("anchor", contrast=1.0, contrast_anchors=3, temperature=0.5)
    method._anchors, method._seed = np.array([1, 3, 4]), 0  # the batch's own, and two more
    found = method.loss(b)["contrast"].item()
    assert found == pytest.approx(
        math.log(math.exp(2) + math.exp(0) + math.exp(-2)) - 2, abs=1e-5
    )  # cosines 1, 0, -1


class Asked:
    """A context that notes what a method wants to have kept."""

    def __init__(self) -> None:
        pair, none = np.arange(4), np.zeros(0, np.int64)
        self.table = PromptTable([], {}, {}, pair, pair + 4, pair, ("a", "b", "c", "d"), pair + 8, none, none)
        self.sizes, self.seed = StepSizes(10, 2, 3), 0
        self.kept: list[tuple[int, int]] = []

    def keep(self, rows: np.ndarray, each_step: int) -> None:
        self.kept.append((int(rows[0]), each_step))


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        (("anchor", {}), [(4, 2), (8, 3)]),
        (("anchor", {"push": 1}), [(4, 2), (8, 3), (0, 2)]),
        (("anchor", {"margin": 0.1}), [(4, 2), (8, 3), (0, 2)]),
        (("anchor", {"contrast": 1, "contrast_anchors": 64}), [(4, 66), (8, 3)]),
        (("anchor", {"contrast_anchors": 64}), [(4, 2), (8, 3)]),
        (("safetext", {}), [(8, 3), (0, 2)]),
    ],
)
def test_only_what_is_read_is_kept(method: tuple[str, dict[str, Any]], kept: list[tuple[int, int]]) -> None:
    asked = Asked()
    build(method[0], **method[1]).prepare(asked)
    assert asked.kept == kept


@pytest.mark.parametrize("reach", [None, np.array([1.0, 0.25, 1.0, 0.5])])
def test_rivals_are_those_of_the_whole_step_in_every_process(reach: np.ndarray | None) -> None:
    """Two processes with half of the prompts each have the mean loss of one with all of them, lists of words
    among them, which take no part."""
    torch.manual_seed(0)
    unsafe, anchors, safe = torch.randn(4, 3, 8), torch.randn(4, 3, 8), torch.randn(4, 3, 8)
    anchors[3] = 2 * anchors[0]  # one anchor of two prompts, in different processes
    method = build("anchor", contrast=1.0, temperature=0.5)
    whole = batch(unsafe, unsafe, anchors, safe, safe)
    whole.everyone = whole.rows = dataclasses.replace(whole.rows, reach=reach)
    parts = []
    for rank in (0, 1):
        rows = whole.rows.share(rank, 2)
        half = batch(unsafe, unsafe, anchors, safe, safe, rows=rows, everyone=whole.rows)
        half.unsafe = {"text_encoder": unsafe[rank::2]}
        half.safe = {"text_encoder": safe[rank::2]}
        parts.append(method.loss(half)["contrast"])
    assert sum(parts).item() / 2 == pytest.approx(method.loss(whole)["contrast"].item(), rel=1e-6)


def test_pair_cosine_counts_only_marked_positions() -> None:
    a = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    b = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [0.0, 2.0]]])
    assert pair_cosine(a, b).tolist() == [[0.5, 0.5]]
    assert pair_cosine(a, b, torch.tensor([[1, 0]])).tolist() == [[1.0, 0.0]]


def test_safetext_loss_by_hand() -> None:
    b = batch([[[-1.0, 0.0]]], [[[2.0, 0.0]]], [[[0.0, 0.0]]], [[[3.0, 4.0]]], [[[0.0, 0.0]]])
    papers = {"strength": 10, "distance": "absolute"}
    signed, absolute = build("safetext", **papers), build("safetext", cosine="absolute", **papers)
    euclidean = build("safetext", turn="euclidean", **papers)
    assert signed.loss(b)["loss"].item() == pytest.approx(5 - 10, abs=1e-4)
    assert absolute.loss(b)["loss"].item() == pytest.approx(5 + 10, abs=1e-4)
    assert euclidean.loss(b)["loss"].item() == pytest.approx(5 - 10 * 3, abs=1e-4)
    assert euclidean.loss(b)["unsafe"].item() == pytest.approx(-3, abs=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_safetext_with_the_relative_distance_by_hand(scale: float) -> None:
    # Safe: |(3, 5) - (3, 4)| = 1 of |(3, 4)| = 5. Unsafe: (1, 1) against (1, 0), 45 degrees. Scaled by
    # anything, nothing changes.
    rows = ([[[1.0, 1.0]]], [[[1.0, 0.0]]], [[[0.0, 0.0]]], [[[3.0, 5.0]]], [[[3.0, 4.0]]])
    step = batch(*(scale * torch.tensor(row) for row in rows))
    parts = build("safetext").loss(step)  # relative and signed, strength 0.5
    assert parts["safe"].item() == pytest.approx(0.2, abs=1e-6)
    assert parts["unsafe"].item() == pytest.approx(0.5**0.5, abs=1e-6)
    assert parts["loss"].item() == pytest.approx(0.2 + 0.5 * 0.5**0.5, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_the_relative_distance_has_no_unit(scale: float) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    mask = torch.tensor([[1, 1, 1, 0, 0]] * 3)
    by_hand = (a - b)[:, :3].flatten(1).norm(dim=1) / b[:, :3].flatten(1).norm(dim=1)
    torch.testing.assert_close(flat_relative_norm(scale * a, scale * b, mask), by_hand)
    assert bool((flat_relative_norm(a, b) > flat_relative_norm(b, b)).all())
    still = b.clone().requires_grad_(True)
    flat_relative_norm(still, b).sum().backward()
    assert still.grad is not None
    assert not still.grad.any()  # an unchanged encoder is pulled nowhere


def test_the_strength_of_safetext_follows_its_distance() -> None:
    assert build("safetext").config.weight == 0.5
    assert build("safetext", distance="absolute").config.weight == 100
    assert build("safetext", strength=0).config.weight == 0


def test_safetext_has_no_gradient_at_the_start_and_leaves_it() -> None:
    """The fact that the kick is for: at equal encoders the gradient vanishes; after it, it does not."""
    method = build("safetext")
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(8, 8), torch.randn(4, 3, 8)
    frozen = layer(inputs).detach()

    def gradient() -> float:
        layer.zero_grad()
        out = layer(inputs)
        method.loss(batch(out, frozen, frozen, frozen, frozen))["unsafe"].backward()
        return float(layer.weight.grad.abs().max())  # type: ignore[union-attr]

    at_start = gradient()
    method.start(dict(layer.named_parameters()), seed=3)
    assert at_start < 1e-6
    assert gradient() > 100 * at_start
    assert gradient() > 1e-5


def test_the_kick_is_seeded_and_small() -> None:
    def kicked(seed: int) -> torch.Tensor:
        layer = torch.nn.Linear(64, 64)
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(-1, 1, 64 * 64).reshape(64, 64))
        before = layer.weight.detach().clone()
        build("safetext", kick=1e-3).start(dict(layer.named_parameters()), seed)
        return (layer.weight - before).detach()

    assert torch.equal(kicked(1), kicked(1))
    assert not torch.equal(kicked(1), kicked(2))
    assert 3e-4 < kicked(1).std() < 1e-3


def test_methods_are_listed_and_documented() -> None:
    assert {"anchor", "safetext"} <= set(METHODS.names())
    for name in METHODS.names():
        kind = METHODS.get(name)
        assert kind.name == name
        assert kind.source
        assert kind.summary
        assert all(f.description for f in kind.Config.model_fields.values())


def test_bad_settings_say_what_is_allowed() -> None:
    with pytest.raises(UsageError, match=r"no setting 'pusch'; did you mean push"):
        build("anchor", pusch=1)
    with pytest.raises(UsageError, match=r"no setting 'zzz'; it has safe_weight, push"):
        build("anchor", zzz=1)
    with pytest.raises(UsageError, match=r"AnchorConfig or settings by name"):
        Anchor(AnchorConfig(), push=1)
    with pytest.raises(UsageError, match="'push'"):
        build("anchor", push=-1)


def test_the_target_of_a_list_lies_between_the_empty_prompt_and_the_anchor_by_hand() -> None:
    answers = torch.tensor([[[0.0, 1.0]], [[4.0, 1.0]], [[2.0, 2.0]]])  # empty, anchor, a safe text
    pair = np.arange(2)
    rows = StepRows(
        0, pair, pair, np.array([1, 1]), pair, np.array([0]), np.array([1.0, 0.25]), np.array([2])
    )
    step = Batch(
        rows=rows,
        everyone=rows,
        unsafe={"text_encoder": torch.tensor([[[4.0, 1.0]], [[1.0, 1.0]]])},
        safe={"text_encoder": torch.tensor([[[2.0, 4.0]]])},
        original=lambda wanted: {"text_encoder": answers[torch.from_numpy(wanted)]},
        weights={},
        empty=np.array([0]),
    )
    assert step.anchor["text_encoder"].tolist() == [[[4.0, 1.0]], [[1.0, 1.0]]]  # 0 + .25 (4 - 0)
    assert step.safe_original["text_encoder"].tolist() == [[[2.0, 2.0]]]  # kept as row 2
    parts = Anchor().loss(step)
    assert parts["unsafe"].item() == pytest.approx(0.0)
    assert parts["safe"].item() == pytest.approx(4 / 8)
    half = rows.share(1, 2)
    assert half.reach is not None
    assert half.reach.tolist() == [0.25]
