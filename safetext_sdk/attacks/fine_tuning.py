"""Further training of a hardened model on harmless pictures, as its owner might do it: LoRA beside the
denoiser and the encoders, with the denoiser's own loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..models.model import TextToImageModel
from ..policy import Policy
from .denoising import Denoising

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""Linear layers of a denoiser that LoRA is put beside, as diffusers' training scripts do it."""


@dataclass(frozen=True)
class Pictures:
    """Captions and the latents of their pictures [n, c, h, w]."""

    captions: tuple[str, ...]
    latents: Tensor


@dataclass(frozen=True)
class Training:
    """How LoRA is trained.

    Attributes:
        steps, batch_size, learning_rate (of AdamW), rank: as usual; LoRA's alpha is its rank.
        denoiser, encoders: what it is put beside.
        seed: of the start and of all draws.
        progress: told after every step.
    """

    steps: int
    batch_size: int
    learning_rate: float
    rank: int
    denoiser: bool
    encoders: bool
    seed: int
    progress: Callable[[int, int], None] = lambda done, total: None


def safe_captions(policy: Policy, model_id: str, n: int) -> tuple[str, ...]:
    """Safe prompts that a hardening may train on, spread evenly over all of them."""
    from ..prompts import build_prompt_book

    every = [prompt.text for prompt in build_prompt_book(policy, model=model_id).train.safe]
    return tuple(every[:: max(1, len(every) // n)][:n])


def fine_tuned(model: TextToImageModel, pictures: Pictures, training: Training) -> TextToImageModel:
    """The model with LoRA trained on pictures and merged; the given one is not touched."""
    denoising = Denoising(model)
    denoiser: Any = model.denoiser
    encoders: dict[str, Any] = dict(model.encoders)
    if training.denoiser:
        denoiser = beside(denoiser, ATTENTION, training)
    if training.encoders:
        for name, encoder in model.encoders.items():
            encoders[name] = beside(encoder, model.layout.encoders[name].architecture.linear_layers, training)
    trained = [p for m in (denoiser, *encoders.values()) for n, p in m.named_parameters() if "lora_" in n]
    _train(trained, model, denoiser, encoders, pictures, training, denoising)
    return (model.with_denoiser(_merged(denoiser)) if training.denoiser else model).with_encoders(
        {name: _merged(encoder) for name, encoder in encoders.items()}
    )


def _train(
    trained: Sequence[nn.Parameter],
    model: TextToImageModel,
    denoiser: Any,
    encoders: Mapping[str, Any],
    pictures: Pictures,
    training: Training,
    denoising: Denoising,
) -> None:
    generator = torch.Generator().manual_seed(training.seed)
    rows, latents = training.batch_size, pictures.latents
    optimiser = torch.optim.AdamW(trained, lr=training.learning_rate)
    for step in range(training.steps):
        which = torch.randint(len(latents), (rows,), generator=generator)
        noise = torch.randn((rows, *latents.shape[1:]), generator=generator).to(latents)
        steps = denoising.draw_steps(rows, generator)
        tokens = model.tokenize([pictures.captions[k] for k in which.tolist()])
        optimiser.zero_grad()
        with torch.enable_grad():
            read = model.condition(tokens, encoders=encoders)
            loss = denoising.loss(latents[which.to(latents.device)], noise, steps, read, denoiser).mean()
            torch.autograd.backward(loss, inputs=list(trained))
        optimiser.step()
        training.progress(step + 1, training.steps)


def beside(module: nn.Module, layers: Sequence[str], training: Training) -> Any:
    """A copy of a module with LoRA in fp32 beside the named linear layers that it has."""
    from peft import LoraConfig, get_peft_model

    present = [name for name in layers if any(n.endswith(name) for n, _ in module.named_modules())]
    config = LoraConfig(r=training.rank, lora_alpha=training.rank, target_modules=present, bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        copied = get_peft_model(copy.deepcopy(module), config)
    for name, parameter in copied.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return copied.eval()


def _merged(module: Any) -> Any:
    """LoRA folded into the weights, where there is any."""
    return module.merge_and_unload() if hasattr(module, "merge_and_unload") else module
