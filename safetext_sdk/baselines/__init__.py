"""Baselines: the defences that a hardened encoder has to beat, for `safetext compare`.

* A baseline is one file with a subclass of `base.Baseline` and one line below; a third party's is registered
  by an entry point of the group ``safetext.baselines``. Listing imports no torch.
* It makes a `TextToImageModel` that stands in the place of the hardened one: the same prompts, attacks,
  detectors and bounds, whatever it changes (the call, the conditioning, the denoiser).
"""

from __future__ import annotations

from typing import Any

from ..registry import Registry
from .base import Baseline, BaselineConfig, BaselineContext, Learned

BASELINES: Registry[type[Baseline[Any]]] = Registry("baseline", "safetext.baselines")
BASELINES.add("original", f"{__name__}.original:Original", "the undefended model")
BASELINES.add(
    "negative-prompt",
    f"{__name__}.negative_prompt:NegativePrompt",
    "the policy's words in every negative prompt; no training",
)
BASELINES.add(
    "filter",
    f"{__name__}.linear_filter:LinearFilter",
    "a linear classifier on the original's embedding; what it refuses is not drawn",
)
BASELINES.add(
    "safree",
    f"{__name__}.safree:Safree",
    "trigger tokens are projected out of the concept's subspace; no training",
)
BASELINES.add("uce", f"{__name__}.uce:Uce", "the denoiser's text weights edited in closed form")
BASELINES.add("esd", f"{__name__}.esd:Esd", "the denoiser's cross-attention fine-tuned against its guidance")

__all__ = ["BASELINES", "Baseline", "BaselineConfig", "BaselineContext", "Learned"]
