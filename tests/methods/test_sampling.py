"""Draws are functions of seed and step; several parts keep their shares."""

from __future__ import annotations

import numpy as np
import pytest

from safetext_sdk.methods.sampling import Part, mixed_at, rows_at

PARTS = [Part(np.arange(10), 0.75), Part(np.arange(100, 103), 0.25)]


def draws(parts: list[Part], steps: int, count: int) -> np.ndarray:
    return np.concatenate([mixed_at(step, count, parts, 0, 1) for step in range(steps)])


def test_each_row_comes_equally_often() -> None:
    rows = np.concatenate([rows_at(step, 4, 10, 0, 1) for step in range(25)])
    assert np.bincount(rows).tolist() == [10] * 10


@pytest.mark.parametrize("count", [16, 7])
def test_parts_keep_their_shares_in_every_step(count: int) -> None:
    rows = draws(PARTS, 100, count)
    for step in rows.reshape(100, count):
        assert abs((step >= 100).sum() - count / 4) <= 1
    assert abs((rows >= 100).mean() - 0.25) < 0.005
    for low, high in ((0, 10), (100, 103)):  # in rounds: no row is ahead of another by more than one
        drawn = np.bincount(rows[(rows >= low) & (rows < high)] - low)
        assert drawn.max() - drawn.min() <= 1


def test_a_step_needs_no_other_and_blocks_join_without_a_seam() -> None:
    whole = draws(PARTS, 1, 5000)
    assert (draws(PARTS, 500, 10) == whole).all()
    assert (mixed_at(3, 1000, PARTS, 0, 1) == whole[3000:4000]).all()
    assert (draws(PARTS, 1, 5000) != np.concatenate([mixed_at(0, 5000, PARTS, 1, 1)])).any()


def test_shares_are_relative_and_a_part_of_no_share_is_never_drawn() -> None:
    parts = [Part(part.rows, 8 * part.share) for part in PARTS]
    assert (draws(parts, 10, 8) == draws(PARTS, 10, 8)).all()
    none = draws([*PARTS, Part(np.array([999]), 0.0)], 200, 8)
    assert (none == draws(PARTS, 200, 8)).all()
