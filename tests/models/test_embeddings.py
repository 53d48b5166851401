"""Which of the tokenized positions an encoder was given."""

from __future__ import annotations

import pytest
import torch

from safetext_sdk.models.embeddings import beginning


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_pads_may_be_left_out_on_either_side(start: int) -> None:
    whole = torch.tensor([[7, 1, 2, 3, 4, 7], [7, 7, 5, 6, 7, 7]])
    assert beginning(whole[:, start : start + 2], whole) == start
    assert beginning(whole, whole) == 0


def test_other_tokens_are_no_part() -> None:
    with pytest.raises(ValueError, match="other tokens"):
        beginning(torch.tensor([[9, 9]]), torch.tensor([[1, 2, 3]]))
