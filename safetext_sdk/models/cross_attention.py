"""Distances between prompts as a denoiser's cross-attention sees them.

A U-Net reads the sequence part of its conditioning x [L, d] through nothing but the keys xK' and values xV'
of its cross-attention layers. So ||xK'||^2 + ||xV'||^2, summed over the layers, is x G x' with G = sum of
K'K + V'V (the matrices that UCE, Gandikota et al., arXiv 2308.14761, solves with), and a difference that G
does not see reaches no picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .model import TextToImageModel


def text_metric(model: TextToImageModel) -> Tensor:
    """R [d, d] with R R' = G / trace(G): ||x R|| is the length of x [..., d] as the denoiser reads it.

    Raises:
        ModelError: the model has no denoiser, or one that reads text otherwise than by cross-attention alone
            (Stable Diffusion 3 and FLUX attend to text and picture jointly).
    """
    pipe = model.pipeline()
    gram = read_by(getattr(pipe, "unet", None) or getattr(pipe, "transformer", None))
    if gram is None:
        raise ModelError(
            f"the denoiser of {model.id} does not read text by cross-attention alone, so there is no "
            "attention metric for it; take another distance"
        )
    values, vectors = torch.linalg.eigh(gram / gram.trace())
    root = vectors * values.clamp_min(0).sqrt()
    found: Tensor = root.to(device=model.device, dtype=torch.float32)
    return found


def read_by(denoiser: nn.Module | None) -> Tensor | None:
    """G [d, d] in double precision, on the CPU; None where text is read in another way."""
    if denoiser is None or getattr(denoiser, "encoder_hid_proj", None) is not None:
        return None
    gram: Tensor | None = None
    for module in denoiser.modules():
        layer: Any = module
        if not getattr(layer, "is_cross_attention", False) or not hasattr(layer, "to_k"):
            continue
        for weight in (layer.to_k.weight, layer.to_v.weight):
            w = weight.detach().to("cpu", torch.float64)
            gram = w.T @ w if gram is None else gram + w.T @ w
    return gram
