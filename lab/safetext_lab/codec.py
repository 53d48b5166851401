"""The image codec as it ships, put together from the states of its stages: whitened latents, longer-trained
decoder."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from .common import load_state, picture_batch
from .scenes import Icons
from .vae import LATENT_CHANNELS
from .vae import build as build_vae


def model_part(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a stage's state, without the optimiser's."""
    loaded = load_state(folder)
    assert loaded is not None, f"{folder} has no state: train that stage first"
    return {k[6:]: v for k, v in loaded[0].items() if k.startswith("model.")}


@torch.no_grad()
def whitened_vae(folder: Path, icons: Icons) -> AutoencoderKL:
    """The codec with latents of mean 0 and standard deviation 1 a channel.

    The affine map is folded into ``quant_conv`` and ``post_quant_conv``: a stock pipeline with scaling_factor
    1 needs not know of it.
    """
    vae = build_vae()
    vae.load_state_dict(model_part(folder))
    vae.eval()
    x, _ = picture_batch(random.Random(1234), icons, 512)
    parts = [vae.encode(p).latent_dist for p in x.split(64)]
    z, var = torch.cat([p.mean for p in parts]), torch.cat([p.var for p in parts])
    # The spread of samples, not of means: a channel that the KL has put to sleep must not be blown up to pure
    # noise.
    mean, std = z.mean((0, 2, 3)), (z.var((0, 2, 3)) + var.mean((0, 2, 3))).sqrt()
    c = LATENT_CHANNELS
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:c] /= std[:, None, None, None]
    quant.bias[:c] = (quant.bias[:c] - mean) / std
    quant.bias[c:] -= 2 * std.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= std[None, :, None, None]
    vae.register_to_config(scaling_factor=1.0)
    return vae


def codec(state: Path, icons: Icons) -> AutoencoderKL:
    """The codec as it ships: whitened latents and, if there is one, the longer-trained decoder."""
    vae = whitened_vae(state / "vae", icons)
    if (state / "decoder" / "state.json").exists():
        # The decoder went on training on the codec's raw latents; only its side is replaced, then whitened
        # the same way.
        longer = build_vae()
        longer.load_state_dict(model_part(state / "decoder"))
        raw = build_vae()
        raw.load_state_dict(model_part(state / "vae"))
        scale = vae.post_quant_conv.weight / raw.post_quant_conv.weight
        shift = torch.linalg.solve(
            raw.post_quant_conv.weight[:, :, 0, 0],
            vae.post_quant_conv.bias.detach() - raw.post_quant_conv.bias.detach(),
        )
        vae.decoder.load_state_dict(longer.decoder.state_dict())
        with torch.no_grad():
            vae.post_quant_conv.weight.copy_(longer.post_quant_conv.weight * scale)
            vae.post_quant_conv.bias.copy_(
                longer.post_quant_conv.bias + longer.post_quant_conv.weight[:, :, 0, 0] @ shift
            )
    return vae.eval()
