"""A technique that trains, as a third party publishes one: ESD on any diffusers Stable Diffusion pipeline.

Gandikota et al., "Erasing Concepts from Diffusion Models" (ICCV 2023), section 3.2: the cross-attention of
the denoiser is fine-tuned until its noise for the concept is the frozen one's, pushed away from the concept:
eps(x, concept) = eps0(x, "") - guidance * (eps0(x, concept) - eps0(x, "")). It knows diffusers and the
interface of eval-unlearn alone, nothing of SafeText.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image


class SmallESD:
    """Trains when it is made, draws with what it learned.

    Args:
        model_id: folder or hub id of a Stable Diffusion.
        erase_concept: what is erased; commas part several names of it.
        train_steps, learning_rate, negative_guidance: of the training.
    """

    def __init__(
        self,
        model_id: str,
        erase_concept: str,
        device: str = "cpu",
        train_steps: int = 60,
        learning_rate: float = 1e-3,
        negative_guidance: float = 1.0,
        num_inference_steps: int = 12,
        guidance_scale: float = 2.5,
    ) -> None:
        self.pipe = StableDiffusionPipeline.from_pretrained(model_id, safety_checker=None).to(device)
        self.pipe.set_progress_bar_config(disable=True)
        self.drawing = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        names = [name.strip() for name in erase_concept.split(",")]
        self.losses = self._train(names, train_steps, learning_rate, negative_guidance)

    def _train(self, names: Sequence[str], steps: int, rate: float, guidance: float) -> list[float]:
        unet = self.pipe.unet
        frozen = copy.deepcopy(unet).requires_grad_(False)
        trained = [p for n, p in unet.named_parameters() if "attn2" in n]
        optimizer = torch.optim.Adam(trained, lr=rate)
        generator = torch.Generator().manual_seed(0)
        schedule = self.pipe.scheduler
        side = unet.config.sample_size
        with torch.no_grad():
            encoded = {n: self.pipe.encode_prompt([n] * 4, unet.device, 1, True, [""] * 4) for n in names}
            # The concept as the model itself draws it.
            settings = {"output_type": "latent", "num_inference_steps": 4, "guidance_scale": 3.0}
            drawn = {n: self.pipe([n] * 4, generator=generator, **settings).images for n in names}
        losses = []
        for step in range(steps):
            name = names[step % len(names)]
            (concept, empty), clean = encoded[name], drawn[name]
            with torch.no_grad():
                noise = torch.randn(4, unet.config.in_channels, side, side, generator=generator)
                t = torch.randint(0, schedule.config.num_train_timesteps, (4,), generator=generator)
                noisy = schedule.add_noise(clean, noise, t)
                with_it, without = (frozen(noisy, t, e).sample for e in (concept, empty))
                target = without - guidance * (with_it - without)
            loss = torch.nn.functional.mse_loss(unet(noisy, t, concept).sample, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    def generate(self, prompts: Sequence[str], seed: int | None = None, **more: Any) -> list[Image.Image]:
        """One picture a prompt, picture ``i`` with the seed ``seed + i``."""
        pictures = []
        for i, prompt in enumerate(prompts):
            noise = torch.Generator().manual_seed(seed + i) if seed is not None else None
            pictures.append(self.pipe(prompt, generator=noise, **{**self.drawing, **more}).images[0])
        return pictures
