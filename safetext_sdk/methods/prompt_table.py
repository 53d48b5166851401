"""All prompts of a hardening as rows of one token table, from which a step picks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..device import on_device
from ..models.families import Tokens
from .sampling import Part


class Pair(NamedTuple):
    """An unsafe prompt, the safe prompt that it is redirected to, and the id of the policy's concept.

    ``source``: what wrote it, "" = the prompt book. ``reach``: how far the target lies from the empty prompt
    (0) towards the anchor (1).
    """

    unsafe: str
    anchor: str
    concept: str = ""
    source: str = ""
    reach: float = 1.0


@dataclass(frozen=True)
class PromptTable:
    """Unsafe prompts with their anchors, and safe texts, all as rows of one token table.

    ``texts``: a row's prompt. ``tokens``: of every row, on the CPU. ``lengths``: tokens of every row, by
    encoder, without padding.
    ``unsafe``, ``anchor``, ``concept``: [n], pairwise: two row numbers, and an index into ``concepts``.
    ``safe``: [m] row numbers. ``fixed``: rows that every step holds (the empty prompt). ``negative``: rows of
    common negative prompts.
    ``pair_parts``, ``safe_parts``: how draws are shared out where texts were added to the book's, as indices
    of pairs and as rows of safe texts; without any, all are drawn equally often.
    ``importance``: of ``concepts``, how much an unsafe prompt of each counts, 1 on average over all pairs;
    None = all alike.
    ``reach``: [n], see `Pair`; None = 1 throughout. ``kept_as``: of every row, the row whose conditioning
    it must have as a safe text; None = its own throughout.
    """

    texts: list[str]
    tokens: Tokens
    lengths: Mapping[str, Tensor]
    unsafe: np.ndarray
    anchor: np.ndarray
    concept: np.ndarray
    concepts: tuple[str, ...]
    safe: np.ndarray
    fixed: np.ndarray
    negative: np.ndarray
    pair_parts: tuple[Part, ...] = ()
    safe_parts: tuple[Part, ...] = ()
    importance: np.ndarray | None = None
    reach: np.ndarray | None = None
    kept_as: np.ndarray | None = None

    @property
    def safe_targets(self) -> np.ndarray:
        """Rows that safe texts are held to: what a method announces with `MethodContext.keep`."""
        return self.safe if self.kept_as is None else self.kept_as[self.safe]

    def pick(self, rows: np.ndarray, lengths: Mapping[str, int], device: torch.device) -> Tokens:
        """Tokens of some rows on ``device``, cut to ``lengths`` (by encoder; all positions where absent)."""
        index = torch.from_numpy(rows)
        return {
            name: {
                key: on_device(t[index, : lengths.get(name, t.shape[1])], device) for key, t in parts.items()
            }
            for name, parts in self.tokens.items()
        }


@dataclass(frozen=True)
class StepRows:
    """The prompts of one step.

    ``pair``: [b] indices into the table's pairs; ``unsafe``, ``anchor``: [b] their rows in the table;
    ``concept``: [b] index of each into ``table.concepts``. ``safe``: [m] rows. ``reach``: [b], see `Pair`;
    None = 1 throughout. ``kept_as``: [m] rows whose conditioning the safe ones must have; None = their own.
    """

    step: int
    pair: np.ndarray
    unsafe: np.ndarray
    anchor: np.ndarray
    concept: np.ndarray
    safe: np.ndarray
    reach: np.ndarray | None = None
    kept_as: np.ndarray | None = None

    @staticmethod
    def of(table: PromptTable, step: int, pair: np.ndarray, safe: np.ndarray) -> StepRows:
        """The rows of the chosen pairs and safe texts."""
        unsafe, anchor, concept = table.unsafe[pair], table.anchor[pair], table.concept[pair]
        return StepRows(
            step,
            pair,
            unsafe,
            anchor,
            concept,
            safe,
            None if table.reach is None else table.reach[pair],
            None if table.kept_as is None else table.kept_as[safe],
        )

    def share(self, rank: int, world: int) -> StepRows:
        """What one of ``world`` processes takes of it."""
        part = slice(rank, None, world)
        return StepRows(
            self.step,
            self.pair[part],
            self.unsafe[part],
            self.anchor[part],
            self.concept[part],
            self.safe[part],
            None if self.reach is None else self.reach[part],
            None if self.kept_as is None else self.kept_as[part],
        )
