"""PixArt-Sigma: T5's last_hidden_state (300 positions by default), its pad positions masked in the denoiser.

The pipeline cleans captions before it tokenizes them, thoroughly where beautifulsoup4 and ftfy are installed,
else by lower case alone; its own function does it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ...quiet import quiet
from .t5_alone import T5Alone


class PixArt(T5Alone):
    name = "pixart"
    title = "PixArt-Sigma"
    pipelines = ("PixArtSigma",)
    length = 300

    @cached_property
    def _cleaner(self) -> Any:
        from diffusers import PixArtSigmaPipeline

        return object.__new__(PixArtSigmaPipeline)  # cleaning needs no part of a pipeline

    def cleaned(self, prompts: Sequence[str]) -> list[str]:
        with quiet():  # it says at each call what is not installed
            texts: list[str] = self._cleaner._text_preprocessing(list(prompts), clean_caption=True)
        return texts


FAMILY = PixArt()
