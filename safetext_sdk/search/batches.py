"""Work in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Batches:
    """Splits rows into batches; where memory runs out, batches are halved from then on.

    Args:
        size: rows of the first batch.
    """

    def __init__(self, size: int) -> None:
        self.size = max(1, size)

    def run(self, work: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """Results of all rows, joined.

        Args:
            work: indices of rows [b] -> [b, ...]; a row's result must not depend on the others.
            rows: indices [r], at least one.
        """
        parts: list[Tensor] = []
        start = 0
        while start < len(rows):
            part = rows[start : start + self.size]
            try:
                parts.append(work(part))
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise
                self.size //= 2
                torch.cuda.empty_cache()
                continue
            start += len(part)
        return torch.cat(parts)
