"""What a denoiser predicts, and what it should: for probes that train through it.

U-Nets that predict noise, velocity or the sample (Stable Diffusion 1, 2, XL) and the flow transformer of
Stable Diffusion 3. Others are refused with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.families import Conditioning
from ..models.model import TextToImageModel
from ..models.pipelines import pictures_of
from ..quiet import quiet_pipelines

FLOWS = ("SD3Transformer2DModel",)
UNETS = ("UNet2DConditionModel",)


def why_not(model: TextToImageModel) -> str | None:
    """Why no training goes through this model's denoiser; None if it does."""
    denoiser: Any = model.denoiser
    kind = type(denoiser).__name__
    if kind not in (*FLOWS, *UNETS):
        return f"how a {kind} is trained is not known here"
    if getattr(denoiser.config, "time_cond_proj_dim", None):
        return "guidance is an input of this denoiser"
    if denoiser.config.in_channels != denoiser.config.out_channels:
        return "this denoiser reads more than the latents"
    return None


class Denoising:
    """The loss that a denoiser is trained with.

    Args:
        model: whose denoiser and scheduler; `why_not` must be None.
    """

    def __init__(self, model: TextToImageModel) -> None:
        pipe = model.pipeline()
        self.denoiser: Any = model.denoiser
        self.flow = type(self.denoiser).__name__ in FLOWS
        self.device, self.dtype = model.device, model.dtype
        config = pipe.scheduler.config
        self.steps = int(config.num_train_timesteps)
        self.predicts = getattr(config, "prediction_type", "epsilon")
        self.kept = None if self.flow else pipe.scheduler.alphas_cumprod.to(self.device)
        self.pixels = getattr(pipe, "vae_scale_factor", 8)

    def loss(
        self, latents: Tensor, noise: Tensor, steps: Tensor, conditioning: Conditioning, denoiser: Any = None
    ) -> Tensor:
        """Mean squared error of each row [r].

        Args:
            latents, noise: [r, c, h, w]; steps: [r], of `draw_steps`; conditioning: r rows.
            denoiser: a changed copy to train, in the model's own place.
        """
        noised, wanted = self.mixed(latents, noise, steps)
        got = self.predict(noised, steps, conditioning, denoiser)
        return (got.float() - wanted.float()).square().flatten(1).mean(1)

    def draw_steps(self, rows: int, generator: torch.Generator) -> Tensor:
        """Training steps, evenly distributed [rows]."""
        return torch.randint(self.steps, (rows,), generator=generator).to(self.device)

    def mixed(self, latents: Tensor, noise: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """The noised latents and what is to be predicted from them."""
        if self.kept is None:
            share = (steps.float() / self.steps).view(-1, 1, 1, 1)
            return (1 - share) * latents + share * noise, noise - latents
        kept = self.kept[steps].view(-1, 1, 1, 1).to(latents.dtype)
        noised = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        if self.predicts == "v_prediction":
            return noised, kept.sqrt() * noise - (1 - kept).sqrt() * latents
        return noised, latents if self.predicts == "sample" else noise

    def predict(
        self, noised: Tensor, steps: Tensor, conditioning: Conditioning, denoiser: Any = None
    ) -> Tensor:
        """What the denoiser says, in its own terms [r, c, h, w]."""
        denoiser = self.denoiser if denoiser is None else denoiser
        tensors, noised = conditioning.tensors, noised.to(self.dtype)
        given: dict[str, Any] = {"encoder_hidden_states": tensors["prompt_embeds"]}
        if self.flow:
            given["pooled_projections"] = tensors["pooled_prompt_embeds"]
            answer = denoiser(hidden_states=noised, timestep=steps, return_dict=False, **given)[0]
        else:
            if "pooled_prompt_embeds" in tensors:
                side = [noised.shape[2] * self.pixels, noised.shape[3] * self.pixels]
                sizes = torch.tensor([[*side, 0, 0, *side]], device=self.device, dtype=self.dtype)
                given["added_cond_kwargs"] = {
                    "text_embeds": tensors["pooled_prompt_embeds"],
                    "time_ids": sizes.expand(len(noised), -1),
                }
            answer = denoiser(noised, steps, return_dict=False, **given)[0]
        found: Tensor = answer
        return found


@torch.no_grad()
def pictures(model: TextToImageModel, prompts: Sequence[str], seed: int, at_once: int = 16) -> Tensor:
    """Latents of one picture a prompt, as the model's pipeline makes them [n, c, h, w]; the k-th has the
    noise of seed ``seed + k``."""
    pipe, out = model.pipeline(), []
    for start in range(0, len(prompts), at_once):
        part = list(prompts[start : start + at_once])
        noise = [torch.Generator("cpu").manual_seed(seed + start + k) for k in range(len(part))]
        with quiet_pipelines():
            made = pipe(prompt=part, generator=noise, output_type="latent", **model.generation_defaults)
        out.append(pictures_of(made))
    return torch.cat(out)
