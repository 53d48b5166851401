"""AuraFlow: UMT5's last_hidden_state (256 positions by default), set to zero at pad positions."""

from __future__ import annotations

from torch import Tensor

from ...policy.languages import LATIN, UNSPACED
from ..layout import UMT5
from .base import EncoderSpec
from .t5_alone import T5Alone


class AuraFlow(T5Alone):
    name = "auraflow"
    title = "AuraFlow"
    encoders = (
        EncoderSpec(
            "text_encoder",
            UMT5,
            frozenset({"last_hidden_state"}),
            causal=False,
            masked=True,
            tokenizer="LlamaTokenizerFast",
        ),
    )
    pipelines = ("AuraFlow",)
    languages = (*LATIN, *UNSPACED)  # its tokenizer falls back to bytes
    length = 256

    def finished(self, states: Tensor, mask: Tensor) -> Tensor:
        return states * mask.unsqueeze(-1).expand(states.shape)


FAMILY = AuraFlow()
