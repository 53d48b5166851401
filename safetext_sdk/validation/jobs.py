"""One picture to make and score, of one model: what a plan is made of."""

from __future__ import annotations

from dataclasses import dataclass

from ..results.rows import Model
from .generate import Request
from .items import Item


def request_of(item: Item) -> Request:
    """What a maker is asked for."""
    return Request(item.prompt, item.seed, item.negative_prompt, item.guidance)


@dataclass(frozen=True)
class Job:
    """One picture to make and score."""

    key: str
    model: Model
    item: Item

    @property
    def request(self) -> Request:
        """What its maker is asked for."""
        return request_of(self.item)
