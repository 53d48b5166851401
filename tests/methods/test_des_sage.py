"""DES and SAGE against values computed by hand, and what they prepare on a miniature model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.method_case import inputs_of, trainer_of

from safetext_sdk.methods import Batch, Des, Sage
from safetext_sdk.methods.prompt_table import StepRows
from safetext_sdk.methods.sage.loss import spread, structure
from safetext_sdk.policy.concept import Concept

PIECE = "text_encoder"


def toy(method: Any, safe: Any, importance: Any = None) -> dict[str, float]:
    """One unsafe prompt, two safe ones, two positions of one number each. Rows of the original: unsafe 0,
    the opposite 1, "" 2, safe 3 and 4."""
    original = torch.tensor([[5.0, 1.0], [0.0, 2.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]).unsqueeze(-1)
    method.direction, method.step = {PIECE: torch.tensor([[[1.0], [0.0]]])}, {PIECE: 2.0}
    method.opposite, method._blank = np.array([1]), np.array([2])
    rows = StepRows(0, np.array([0]), np.array([0]), np.array([1]), np.array([0]), np.array([3, 4]))
    parts = method.loss(
        Batch(
            rows,
            rows,
            {PIECE: torch.tensor([[[3.0], [4.0]]])},
            {PIECE: torch.tensor(safe).unsqueeze(-1)},
            lambda wanted: {PIECE: original[torch.from_numpy(wanted)]},
            {},
            extra={PIECE: torch.tensor([[[1.0], [0.0]]])},
            importance=importance,
        )
    )
    return {name: value.item() for name, value in parts.items()}


def test_des_by_hand() -> None:
    parts = toy(Des(), [[1.0, 0.0], [0.0, 1.0]])
    # t = (0, 2) - 2 (1, 0) = (-2, 2); cos((3, 4), t) = 2 / (5 sqrt 8)
    assert parts["unsafe"] == pytest.approx(1 - 2 / (5 * 8**0.5))
    # both stay; (1, 0) + (2, 0) still points there, (0, 1) + (2, 0) has cosine 1 / sqrt 5 to (0, 1)
    assert parts["safe"] == pytest.approx((0 + 1 - 1 / 5**0.5) / 2)
    assert parts["word"] == pytest.approx(1 - 1 / 2**0.5)  # (1, 0) against ""'s (1, 1)
    assert parts["loss"] == pytest.approx(0.3 * parts["safe"] + 0.7 * (parts["unsafe"] + parts["word"]))
    doubled = toy(Des(), [[1.0, 0.0], [0.0, 1.0]], torch.tensor([2.0]))
    assert doubled["unsafe"] == pytest.approx(2 * parts["unsafe"])


def test_sage_adds_two_terms_and_only_lost_spread_costs() -> None:
    before = toy(Des(), [[1.0, 0.0], [0.0, 1.0]])
    same = toy(Sage(), [[1.0, 0.0], [0.0, 1.0]])
    assert same["loss"] == pytest.approx(before["loss"])  # two safe prompts have no neighbours to compare
    lost = toy(Sage(), [[1.0, 0.0], [1.0, 0.0]])
    assert lost["spread"] == pytest.approx(0.5)  # of (1, 0) and (0, 1): each 1/2 away from their mean
    assert lost["loss"] == pytest.approx(toy(Des(), [[1.0, 0.0], [1.0, 0.0]])["loss"] + 2 * 0.5)
    assert toy(Sage(), [[1.0, 0.0], [-1.0, 0.0]])["spread"] == 0  # further apart than before costs nothing


def test_spread_and_structure_by_hand() -> None:
    assert spread(torch.tensor([[3.0, 0.0], [0.0, 5.0]])).item() == pytest.approx(0.5)
    assert spread(torch.tensor([[1.0, 0.0], [-7.0, 0.0]])).item() == pytest.approx(1.0)
    before = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 0.5]])
    assert structure(before, before, 3).tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    moved = before.clone()
    moved[3] = torch.tensor([0.9, 0.1])
    cosines = [torch.cosine_similarity(x[:1], x[1:]).numpy() for x in (before, moved)]
    assert structure(moved, before, 3)[0].item() == pytest.approx(np.corrcoef(*cosines)[0, 1], abs=1e-5)
    two = cosines[0].argsort()[-2:]  # its two nearest: any two points correlate by 1 or -1
    expected = np.corrcoef(cosines[0][two], cosines[1][two])[0, 1]
    assert structure(moved, before, 2)[0].item() == pytest.approx(expected, abs=1e-4)


def test_the_concept_word_is_one_that_training_reads(mini_sd1: Path) -> None:
    concepts = {
        "weapon": Concept.model_validate({"id": "weapon", "terms": ["rifle", "knife", "gun"]}),
        "blade": Concept.model_validate({"id": "blade", "terms": ["axe"]}),
    }
    trainer = trainer_of(mini_sd1, Des(), concepts=concepts)
    method, context = trainer.method, trainer.context
    for prompt, got in zip(("knife", "blade"), method.direction[PIECE], strict=True):
        whole = context.original_of([prompt])[PIECE][0]
        torch.testing.assert_close(got, whole / whole.norm())  # "rifle" is held out: nothing reads it
    rows = context.table.safe
    mean = context.original(rows)[PIECE].flatten(1).norm(dim=1).mean()
    assert method.step[PIECE] == pytest.approx(0.8 * float(mean), rel=1e-5)


def test_the_opposite_is_the_least_similar_safe_prompt(mini_sd1: Path) -> None:
    trainer = trainer_of(mini_sd1, Des())
    table, original = trainer.context.table, trainer.context.original
    for pair, row in enumerate(trainer.method.opposite):
        unsafe = original(table.unsafe[pair : pair + 1])[PIECE].flatten(1)
        likeness = torch.cosine_similarity(unsafe, original(table.safe)[PIECE].flatten(1))
        assert row == table.safe[int(likeness.argmin())]
    step = trainer.method.inputs(inputs_of(trainer))
    assert len(step.extra[PIECE]["input_ids"]) == 2  # a word for each concept of the step


def test_the_papers_settings_are_the_defaults() -> None:
    wanted = Sage().wanted_training()
    assert (wanted["learning_rate"], wanted["epochs"], wanted["batch_size"]) == (1e-5, 2, 128)
    assert wanted["train_embeddings"] is True
    assert (Des().config.strength, Sage().config.strength) == (200 / 250, 205 / 250)
    assert (Sage().config.spread_weight, Sage().config.structure_weight, Sage().config.neighbours) == (
        2,
        0.1,
        15,
    )
