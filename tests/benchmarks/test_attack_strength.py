"""The bench of attacks says how near a search came beside a random one, where rates cannot tell."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from safetext_sdk.attacks import ATTACKS, AttackResult

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "attack_strength.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT), run_name="attack_strength")


def results(*distances: float | None) -> Sequence[AttackResult]:
    return [
        AttackResult("a gun", ("a gun",), notes=None if d is None else {"distance": f"{d:.4f}"})
        for d in distances
    ]


def test_how_near_a_search_came_beside_the_random_one(script: dict[str, Any]) -> None:
    nearer: Callable[..., str] = script["nearer"]
    assert nearer(results(0.1, 0.2, 0.4), results(0.3, 0.2, 0.3)) == "0.233 to 0.267, 1 of 3"
    assert nearer(results(0.1, None), results(0.3, 0.2)) == "–", "no distance, no figure"
    assert nearer(results(None), results(None)) == "–"


def test_every_search_of_the_bench_has_a_random_one(script: dict[str, Any]) -> None:
    for name in script["SEARCHES"]:
        baseline = ATTACKS.get(name)().baseline()
        assert baseline is not None
        assert baseline.config.model_dump()["at_random"] is True
