"""Which other captions a picture's own one has to beat: fixed by the policy's test prompts and a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable

from ...errors import DetectorError
from .base import Caption


class Distractors:
    """A bank of captions of different safe concepts, in a fixed order.

    A caption of the same concept ("a red apple", "an apple on a table") would describe the picture as well
    and make a loss of what is none; so one caption a concept is drawn, and a prompt is never held against a
    caption of its own concept.

    Args:
        captions: to draw from.
        others: captions that a prompt is held against.
        seed: decides which caption of a concept is taken, and the order of the concepts.

    Raises:
        DetectorError: too few concepts.
    """

    def __init__(self, captions: Iterable[Caption], others: int, seed: int = 0) -> None:
        by_group: dict[str, set[str]] = {}
        for caption in captions:
            by_group.setdefault(caption.group or caption.text, set()).add(caption.text)
        rng = random.Random(f"distractors {seed}")
        order = sorted(by_group)
        rng.shuffle(order)
        # One more than needed: a prompt whose own concept is in the bank leaves that one out.
        if len(order) < others + 1:
            raise DetectorError(
                f"clip-r-precision holds a caption against {others} others, and the safe test prompts of the "
                f"policy are about {len(order)} different things: add safe prompts ({{shipped: everyday}}), "
                f"or set options: {{others: {max(len(order) - 1, 1)}}}"
            )
        self.others = others
        self.bank = tuple(
            Caption(rng.choice(sorted(by_group[group])), group) for group in order[: others + 1]
        )

    def of(self, caption: Caption) -> list[int]:
        """Places in the bank of the captions that one is held against: always ``others`` of them."""
        own = {caption.group, caption.text}
        free = [k for k, each in enumerate(self.bank) if each.group not in own and each.text != caption.text]
        return free[: self.others]
