"""Each baseline's formula against a toy that was worked out by hand."""

from __future__ import annotations

import pytest
import torch

from safetext_sdk.baselines import BASELINES
from safetext_sdk.baselines.esd import erased
from safetext_sdk.baselines.linear_filter import discriminant
from safetext_sdk.baselines.safree import outside, span, triggers
from safetext_sdk.baselines.uce import UceConfig, edit
from safetext_sdk.errors import UsageError


def test_uce_of_two_by_two() -> None:
    # W0 = [[1, 2], [3, 4]], c = (1, 0) becomes g = (0, 1), lambda = 1/2, scale 1:
    # goal = l I + g c' = [[.5, 0], [1, .5]], seen = l I + c c' = diag(1.5, .5), so
    # W0 goal = [[2.5, 1], [5.5, 2]], and W = W0 goal seen^-1 = [[5/3, 2], [11/3, 4]].
    old = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    c, g, none = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.zeros(0, 2)
    new = edit(old, (c, g), none, UceConfig())
    assert torch.allclose(new, torch.tensor([[5 / 3, 2.0], [11 / 3, 4.0]]))


def test_uce_without_old_weights_sends_a_word_to_its_guide_exactly() -> None:
    torch.manual_seed(0)
    old, c, g, k = torch.randn(3, 4), torch.randn(1, 4), torch.randn(1, 4), torch.randn(2, 4)
    new = edit(old, (c, g), k, UceConfig(regularisation=1e-9))
    assert torch.allclose(new @ c.T, old @ g.T, atol=1e-4)
    assert torch.allclose(new @ k.T, old @ k.T, atol=1e-4)


def test_projection_leaves_nothing_of_the_concept() -> None:
    torch.manual_seed(0)
    words, x = torch.randn(3, 8), torch.randn(5, 8)
    basis = span(torch.cat([words, words[:1] * 2]))  # a word said twice adds no direction
    assert basis.shape == (8, 3)
    left = outside(x, basis)
    assert torch.allclose(left @ words.T, torch.zeros(5, 3), atol=1e-5)
    assert torch.allclose(outside(left, basis), left, atol=1e-6)


def test_a_trigger_is_the_token_whose_absence_takes_the_prompt_away() -> None:
    basis = torch.tensor([[1.0], [0.0]])
    # Without token 0 the prompt is at (0, 3), far from the axis of the concept; without the others near it.
    masked = torch.tensor([[0.0, 3.0], [3.0, 1.0], [3.0, 1.0]])
    assert triggers(masked, basis, 0.01).tolist() == [True, False, False]
    assert triggers(torch.ones(3, 2), basis, 0.01).tolist() == [False] * 3


def test_discriminant_of_two_clouds() -> None:
    # Within-kind covariance: diag(1, 4) for both; means (2, 0) and (0, 0): w = (2, 0).
    cloud = torch.tensor([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]])
    weight = discriminant(cloud + torch.tensor([2.0, 0.0]), cloud, 0.0)
    assert torch.allclose(weight, torch.tensor([2.0, 0.0], dtype=torch.float64))


def test_esd_leads_away_by_as_much_as_guidance_led_there() -> None:
    empty, concept = torch.tensor([1.0, 1.0]), torch.tensor([3.0, 0.0])
    assert erased(empty, concept, 1.0).tolist() == [-1.0, 2.0]
    assert erased(empty, concept, 0.5).tolist() == [0.0, 1.5]


def test_settings_are_checked() -> None:
    with pytest.raises(UsageError, match="baseline uce has no setting 'guid'; did you mean guide"):
        BASELINES.get("uce")(guid="anchor")
    with pytest.raises(UsageError, match="baseline esd, setting 'steps'"):
        BASELINES.get("esd")(steps=0)
