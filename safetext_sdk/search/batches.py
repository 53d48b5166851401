"""Work in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Batches:
    """Splits rows into batches; where memory runs out, batches are halved from then on.

    Args:
        size: passes of the first batch.
    """

    def __init__(self, size: int) -> None:
        self.size = max(1, size)

    def run(self, work: Callable[[Tensor], Tensor], rows: Tensor, passes: int = 1) -> Tensor:
        """Results of all rows, joined.

        Args:
            work: indices of rows [b] -> [b, ...]; a row's result must not depend on the others.
            rows: indices [r], at least one.
            passes: that a row takes together.
        """
        parts: list[Tensor] = []
        start = 0
        while start < len(rows):
            count = max(1, self.size // passes)
            part = rows[start : start + count]
            try:
                parts.append(work(part))
            except torch.OutOfMemoryError:
                if count == 1:
                    raise
                self.size //= 2
                torch.cuda.empty_cache()
                continue
            start += len(part)
        return torch.cat(parts)
