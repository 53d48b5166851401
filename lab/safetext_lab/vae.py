"""Stage 1: the image codec, a stock AutoencoderKL with f=8 and 8 latent channels.

Flat icons have hard edges, so the loss is L1 (plus a weak KL). No adversary: a discriminator invents texture
that a 64 px icon does not have. After the denoiser has started, only the decoder may still be trained
(``decoder_only``): the latents are fixed by then.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from .common import Budget, load_state, optimiser_tensors, picture_batch, restore_optimiser, save_state
from .scenes import Icons

LATENT_CHANNELS = 8
PEAK = float(os.environ.get("VAE_LR", "2e-3"))
"""Peak learning rate; it falls to nearly nothing over the minutes that a call is given."""

NOISE = 0.25
"""Most noise on the latents in the decoder's own training, as a share of a channel's spread."""


def build() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 48, 96, 160),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


def train(
    icons: Icons, folder: Path, minutes: float, seed: int = 1, decoder_only: bool = False, batch: int = 12
) -> AutoencoderKL:
    """Train or continue; the state in ``folder`` is the only memory."""
    torch.manual_seed(seed)
    model = build()
    if decoder_only:
        for p in (*model.encoder.parameters(), *model.quant_conv.parameters()):
            p.requires_grad_(False)
    opt = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=1e-4, betas=(0.9, 0.99)
    )
    step = 0
    state = load_state(folder)
    if state is not None:
        tensors, meta = state
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        if not decoder_only or meta.get("decoder_only"):
            restore_optimiser(model, opt, tensors)
        step = meta["step"]
    rng = random.Random(seed * 1000003 + step)
    budget, last, mean = Budget(minutes), time.monotonic(), None

    def save() -> None:
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        save_state(
            folder, {**tensors, **optimiser_tensors(model, opt)}, {"step": step, "decoder_only": decoder_only}
        )

    while not budget.over:
        lr = (
            PEAK
            * min(1.0, (step + 1) / 100)
            * max(0.02, 1 - budget.used) ** 0.8
            * (0.5 if decoder_only else 1.0)
        )
        for group in opt.param_groups:
            group["lr"] = lr
        # What the denoiser will ask for is what its decoder should do best.
        x, _ = picture_batch(
            rng,
            icons,
            batch,
            two_share=0.55 if decoder_only else 0.45,
            house=batch * 3 // 4 if decoder_only else 0,
        )
        with torch.autocast("cpu", torch.bfloat16):
            with torch.set_grad_enabled(not decoder_only):
                posterior = model.encode(x).latent_dist
            z = posterior.sample()
            if decoder_only:  # a denoiser's latents are a little off; a decoder can be taught to forgive that
                z = z + NOISE * z.std((0, 2, 3), keepdim=True) * torch.rand(
                    batch, 1, 1, 1
                ) * torch.randn_like(z)
            y = model.decode(z).sample.float()
        # A little mean squared error keeps the first steps, where everything is grey, from stalling.
        rec = F.l1_loss(y, x) + 0.5 * F.mse_loss(y, x)
        loss = rec + (0 if decoder_only else 4e-6 * posterior.kl().float().mean())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        step += 1
        mse = F.mse_loss(y.detach(), x).item()
        mean = mse if mean is None else 0.99 * mean + 0.01 * mse
        if step % 100 == 0:
            psnr = 10 * torch.log10(torch.tensor(4.0 / mean)).item()
            print(
                f"vae step {step} used {budget.used:.2f} l1 {rec.item():.4f} psnr {psnr:.1f} dB kl "
                f"{posterior.kl().mean().item():.0f}",
                flush=True,
            )
        if time.monotonic() - last > 120:
            save()
            last = time.monotonic()
    save()
    return model


def continue_decoder(source: Path, folder: Path) -> None:
    """Start the decoder's own training from the codec, unless it has begun already."""
    if load_state(folder) is None:
        loaded = load_state(source)
        assert loaded is not None, "train the codec first"
        save_state(
            folder,
            {k: v for k, v in loaded[0].items() if k.startswith("model.")},
            {"step": loaded[1]["step"]},
        )


if __name__ == "__main__":  # one stage alone: python -m safetext_lab.vae ICONS FOLDER MINUTES [decoder]
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    train(
        Icons(sys.argv[1]),
        Path(sys.argv[2]),
        float(sys.argv[3]),
        decoder_only="decoder" in sys.argv[4:],
        seed=1 + ("decoder" in sys.argv[4:]),
    )
