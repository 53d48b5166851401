"""Stage 4: the denoiser, a stock UNet2DConditionModel on 8x8 latents, v-prediction with zero terminal SNR.

Plain backgrounds have a mean brightness that ordinary schedules cannot reach from pure noise; rescaling the
betas to zero terminal SNR with trailing time steps lets twelve steps start from noise alone. Several
processes may train together (``torchrun``-style environment variables, gloo): gradients are averaged,
pictures differ.
"""

from __future__ import annotations

import copy
import os
import random
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import sample_pair
from .codec import model_part, whitened_vae
from .common import (
    Budget,
    load_state,
    optimiser_tensors,
    restore_optimiser,
    save_state,
    to_tensor,
)
from .scenes import Icons, draw
from .tower import WIDTH, build_tower
from .vae import LATENT_CHANNELS

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "steps_offset": 1,
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "final_sigmas_type": "zero",
}


FRESH = 0.25
"""Share of steps on new pictures. Drawing and encoding cost half as much as the denoiser's own step, and an
old picture with new noise teaches nearly as much as a new one."""


def build() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(128, 256),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=(4, 8),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        norm_num_groups=32,
    )


def conditioning(tower: CLIPTextModel, tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    ids = tokenizer(
        captions, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        return tower(input_ids=ids).last_hidden_state


def train(
    icons: Icons,
    vae_folder: Path,
    tokenizer_folder: Path,
    tower_folder: Path,
    folder: Path,
    minutes: float,
    size: int = 32,
    used0: float | None = None,
) -> None:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if world > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(5)
    vae = whitened_vae(vae_folder, icons).requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    tower = build_tower(tokenizer)
    tower.load_state_dict({k[6:]: v for k, v in model_part(tower_folder).items() if k.startswith("tower.")})
    tower.eval().requires_grad_(False)
    unet = build()
    ema = copy.deepcopy(unet).requires_grad_(False)
    opt = torch.optim.AdamW(unet.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99))
    step, seen, state = 0, 0, load_state(folder)
    if state is not None:
        unet.load_state_dict({k[6:]: v for k, v in state[0].items() if k.startswith("model.")})
        ema.load_state_dict({k[4:]: v for k, v in state[0].items() if k.startswith("ema.")})
        restore_optimiser(unet, opt, state[0])
        step, seen = state[1]["step"], state[1]["seen"]
    # The share of the whole training that earlier runs used up: the learning rate goes on from there.
    begin = (state[1].get("used", 0.0) if state is not None else 0.0) if used0 is None else used0
    alphas = DPMSolverMultistepScheduler(**SCHEDULER).alphas_cumprod
    # The solver keeps a floor under the last alpha; training does the same.
    alphas = alphas.clamp(min=2.0**-24)
    rng, budget, last = random.Random(5000 + step * 97 + rank * 1_000_003), Budget(minutes), time.monotonic()
    torch.manual_seed(5000 + step * 97 + rank)
    mean, used, t_log, seen_log = None, begin, time.monotonic(), seen

    def save() -> None:
        if rank == 0:
            tensors = {f"model.{k}": v for k, v in unet.state_dict().items()} | {
                f"ema.{k}": v for k, v in ema.state_dict().items()
            }
            save_state(
                folder,
                {**tensors, **optimiser_tensors(unet, opt)},
                {"step": step, "seen": seen, "used": used},
            )

    pool: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=800)
    unet.train()
    while True:
        used = begin + (1 - begin) * budget.used
        if world > 1:  # all processes must take the same number of steps
            flag = torch.tensor([used])
            dist.broadcast(flag, 0)
            used = flag.item()
        if used >= 1.0:
            break
        lr = 6e-4 * min(1.0, (step + 1) / 200) * (1.0 if used < 0.4 else max(0.01, (1 - used) / 0.6))
        for group in opt.param_groups:
            group["lr"] = lr
        if len(pool) < 40 or rng.random() < FRESH:
            pairs = [sample_pair(rng, icons, house=True) for _ in range(size)]
            x = to_tensor(np.stack([draw(s, icons) for _, s, _ in pairs]))
            captions = [c if rng.random() > 0.1 else "" for c, _, _ in pairs]
            with torch.no_grad():
                z = vae.encode(x).latent_dist.mean
            cond = conditioning(tower, tokenizer, captions)
            pool.append((z, cond))
        else:
            z, cond = rng.choice(pool)
        # Slightly more noise than uniform: what is drawn, and where, is decided there.
        t = (1000 * torch.rand(size).pow(0.8)).long().clamp(max=999)
        a = alphas[t].view(-1, 1, 1, 1)
        noise = torch.randn_like(z)
        out = unet(a.sqrt() * z + (1 - a).sqrt() * noise, t, cond).sample
        loss = F.mse_loss(out, a.sqrt() * noise - (1 - a).sqrt() * z)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        if world > 1:
            flat = torch.cat([p.grad.reshape(-1) for p in unet.parameters()])
            dist.all_reduce(flat)
            flat /= world
            i = 0
            for p in unet.parameters():
                p.grad.copy_(flat[i : i + p.numel()].view_as(p))
                i += p.numel()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        opt.step()
        step += 1
        seen += size * world
        if rank == 0 and step % 4 == 0:
            decay = min(0.998, (step + 10) / (step + 100)) ** 4
            with torch.no_grad():
                torch._foreach_lerp_(list(ema.parameters()), list(unet.parameters()), 1 - decay)
        mean = loss.item() if mean is None else 0.99 * mean + 0.01 * loss.item()
        if rank == 0 and step % 100 == 0:
            now = time.monotonic()
            print(
                f"unet step {step} seen {seen} used {used:.3f} lr {lr:.1e} loss {mean:.4f} "
                f"{(seen - seen_log) / (now - t_log):.1f} pictures/s",
                flush=True,
            )
            t_log, seen_log = now, seen
        if time.monotonic() - last > 180:
            save()
            last = time.monotonic()
    save()


if __name__ == "__main__":  # python -m safetext_lab.unet ICONS VAE TOKENIZER TOWER FOLDER MINUTES
    torch.set_num_threads(1)
    train(Icons(sys.argv[1]), *(Path(a) for a in sys.argv[2:6]), float(sys.argv[6]))
