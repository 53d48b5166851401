"""A generator that is begun anew draws what a new one would."""

from __future__ import annotations

import random

import pytest

from safetext_sdk.prompts.draws import Draws
from safetext_sdk.prompts.splits import digest


@pytest.mark.parametrize("number", [0, 1, 2**32, 2**64 - 1, *(digest("seed", k) for k in range(20))])
def test_it_draws_what_a_new_generator_draws(number: int) -> None:
    draws, new = Draws(5), random.Random(number)
    draws.gauss(0, 1)  # leaves a second number behind
    rng = draws.at(number)
    words = [f"word {k}" for k in range(37)]
    for pool in (words, words[:1], words[:2], words[:32], "letters", range(1000)):
        assert [rng.choice(pool) for _ in range(50)] == [new.choice(pool) for _ in range(50)]
    assert rng.gauss(0, 1) == new.gauss(0, 1)
    assert rng.choices(words, range(1, 38), k=5) == new.choices(words, range(1, 38), k=5)
    assert (rng.random(), rng.randrange(7), rng.randint(1, 9)) == (
        new.random(),
        new.randrange(7),
        new.randint(1, 9),
    )
    mine, theirs = list(words), list(words)
    rng.shuffle(mine)
    new.shuffle(theirs)
    assert mine == theirs


def test_nothing_to_choose_from() -> None:
    with pytest.raises(IndexError, match="empty"):
        Draws().choice([])
