"""Chroma: FLUX.1's denoiser on T5 alone; last_hidden_state (512 positions by default).

The denoiser reads the prompt and one pad position after it; all further ones are masked.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .conditioning import Tokens
from .t5_alone import T5Alone


class Chroma(T5Alone):
    name = "chroma"
    title = "Chroma"
    pipelines = ("Chroma",)
    length = 512

    def masks(self, tokens: Tokens) -> dict[str, Tensor]:
        mask = tokens["text_encoder"]["attention_mask"]
        places = torch.arange(mask.shape[1], device=mask.device)
        return {"text_encoder": (places <= mask.sum(dim=1, keepdim=True)).to(mask.dtype)}


FAMILY = Chroma()
