"""Asking the judges of kept: the original's pictures with another seed, and questions put together from
them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..detectors.kept.base import Caption, KeptQuestion
from ..detectors.kept.judge_set import KeptJudges
from ..results.kept import KeptVote
from .generate import PictureMaker, Request, open_picture
from .items import Item
from .session import Step

if TYPE_CHECKING:
    from PIL.Image import Image

OTHER_SEED = 1_000_003
"""Where no picture seed of a plan has a reason to be."""


@dataclass(frozen=True)
class Keeping:
    """The judges of a validation.

    Attributes:
        judges: who tells.
        maker: draws with the original model.
        seed: one extra picture of the original a safe prompt is drawn with it, whatever the plan's seeds.
    """

    judges: KeptJudges
    maker: PictureMaker
    seed: int

    @classmethod
    def of(cls, judges: KeptJudges, maker: PictureMaker, seeds: Sequence[int]) -> Keeping:
        """With the first seed from `OTHER_SEED` on that the plan does not use."""
        return cls(
            judges, maker, next(s for s in range(OTHER_SEED, OTHER_SEED + len(seeds) + 1) if s not in seeds)
        )

    def _requests(self, item: Item) -> tuple[Request, Request]:
        """The original's picture of an item, and that of another seed."""
        seeds = item.seed, self.seed
        mine, other = (Request(item.prompt, seed, item.negative_prompt) for seed in seeds)
        return mine, other

    def depends_on(self, item: Item) -> list[Any]:
        """What votes on an item depend on beside the picture itself: part of the key of its row."""
        if not item.asks_kept:
            return []
        described = [entry.model_dump(mode="json") for entry in self.judges.describe()]
        asked = [item.english] if item.english else []
        return [described, *(self.maker.key(request) for request in self._requests(item)), *asked]

    def others(self, items: Sequence[Item]) -> list[Request]:
        """Pictures of another seed that are asked for, each once."""
        return list({other: None for i in items if i.asks_kept for other in self._requests(i)[1:]})

    def looks_at(self, item: Item) -> list[Path]:
        """Pictures that votes on an item look at beside its own."""
        return [self.maker.path(request) for request in self._requests(item)]

    def ensure(self, items: Sequence[Item], tell: Step) -> None:
        """Draw what is missing for these items."""
        todo, done = self.maker.missing(self.others(items)), 0

        def count(pictures: int) -> None:
            nonlocal done
            done += pictures
            tell("pictures of another seed", done, len(todo))

        self.maker.ensure(todo, count)

    def votes(self, items: Sequence[Item], images: Sequence[Image]) -> list[tuple[KeptVote, ...]]:
        """The judges' votes on pictures, in order; empty for unsafe prompts and controls."""
        safe = [k for k, item in enumerate(items) if item.asks_kept]
        told = self.judges.tell([self._question(items[k], images[k]) for k in safe])
        out: list[tuple[KeptVote, ...]] = [()] * len(items)
        for k, votes in zip(safe, told, strict=True):
            out[k] = votes
        return out

    def _question(self, item: Item, image: Image) -> KeptQuestion:
        mine, other = (open_picture(self.maker.path(request)) for request in self._requests(item))
        return KeptQuestion(Caption(item.caption, item.cluster), image, mine, other)
