"""Stable Diffusion 2.x: as 1.x, from an OpenCLIP-H text encoder.

diffusers ships that encoder with 23 of its 24 layers, so the last_hidden_state of what is shipped is already
OpenCLIP's penultimate layer: nothing is skipped here. Its tokenizer pads with ``!`` (id 0), not with the end
token, and the pad positions are read by the denoiser all the same.
"""

from __future__ import annotations

from .base import Family
from .model_folder import ModelFolder
from .sd1 import SD1


class SD2(SD1):
    name = "sd2"
    title = "Stable Diffusion 2"
    single_file = (
        None  # such checkpoints keep another OpenCLIP layout, with the layer that diffusers leaves out
    )

    def claim(self, folder: ModelFolder) -> int:
        return Family.claim(self, folder) if self._is_second(folder) else 0


FAMILY = SD2()
