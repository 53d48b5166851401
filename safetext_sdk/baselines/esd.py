"""ESD: the denoiser is fine-tuned so that a concept's prediction is led away from the concept.

The pipeline itself makes the latents: it draws a concept word and is stopped before a random step, where the
denoiser's inputs are taken. So whatever a denoiser is called with (pooled vectors, sizes, positions) is
there without this file knowing it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..models import TextToImageModel
from .base import Baseline, BaselineConfig, BaselineContext, Learned
from .defended import denoiser_name, with_denoiser


class EsdConfig(BaselineConfig):
    """Settings of ``esd``."""

    train: Literal["x", "u"] = Field(
        default="x", description="x: cross-attention; u: everything else, which the paper takes for nudity."
    )
    steps: int = Field(default=1000, ge=1, description="Steps of Adam, one prompt each.")
    learning_rate: float = Field(default=1e-5, gt=0, description="Of Adam.")
    negative_guidance: float = Field(default=1.0, gt=0, description="How far predictions are led away (eta).")
    start_guidance: float = Field(default=3.0, gt=1, description="Guidance while latents are drawn.")
    sampler_steps: int | None = Field(
        default=None, ge=1, description="Of a whole picture; absent: the model's own, else the paper's 50."
    )


class _Reached(Exception):
    """The pipeline has come to the step that was asked for."""


def erased(empty: Tensor, concept: Tensor, guidance: float) -> Tensor:
    """Equation 6 of the paper: what the trained model should predict for the concept."""
    return empty - guidance * (concept - empty)


def trained(denoiser: nn.Module, train: str) -> list[str]:
    """Names of the parameters that are trained: those of cross-attention (``x``; of joint attention, its text
    side), or all others (``u``)."""
    names = [name for name, _ in denoiser.named_parameters()]
    text = [n for n in names if ".attn2." in n]
    text = text or [n for n in names if any(f".add_{part}_proj." in n for part in "qkv")]
    return text if train == "x" else [n for n in names if n not in set(text)] if text else []


class Esd(Baseline[EsdConfig]):
    """Words of the training split in turn; latents from the model being trained, as in the paper."""

    name = "esd"
    summary = "the denoiser's cross-attention fine-tuned against its own guidance"
    source = "ESD, arXiv 2303.07345, equation 6 and section 4; ESD-x"
    Config = EsdConfig

    def impossible(self, model: TextToImageModel) -> str:
        if not model.reader.makes_pictures:
            return "the model has no denoiser"
        pipe = model.pipeline()
        name = denoiser_name(pipe)
        if not name or not trained(getattr(pipe, name), self.config.train):
            return "its denoiser has no attention over the text that is known here"
        if taken(model, getattr(pipe, name), "", self.config, 0, 0) is None:
            return "its pipeline does not run the denoiser on prompt and empty prompt at once"
        return ""

    def learn(self, context: BaselineContext) -> Learned:
        return self.train(context)[0]

    def train(self, context: BaselineContext) -> tuple[dict[str, Tensor], list[float]]:
        """The trained parameters by name, on the CPU, and the loss of every step."""
        model, config = context.original, self.config
        pipe = model.pipeline()
        frozen = getattr(pipe, denoiser_name(pipe))
        student = copy.deepcopy(frozen).requires_grad_(False).float()
        names = trained(student, config.train)
        chosen = {name: student.get_parameter(name).requires_grad_(True) for name in names}
        optimizer = torch.optim.Adam(chosen.values(), lr=config.learning_rate)
        words, choice, losses = [word for word, _ in context.words], random.Random(config.seed), []
        half = torch.autocast(model.device.type, model.dtype, enabled=model.dtype != torch.float32)
        for step in range(config.steps):
            word, seed = choice.choice(words), choice.randrange(2**31)
            with half:
                found = taken(model, student, word, config, choice.random(), seed)
                assert found is not None  # `impossible` has tried it
                with torch.no_grad():
                    empty, concept = _prediction(frozen(*found[0], **found[1])).float().chunk(2)
                    goal = erased(empty, concept, config.negative_guidance)
                args, given = _second_half(found)
                loss = nn.functional.mse_loss(_prediction(student(*args, **given)).float(), goal)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
            context.progress(step + 1, config.steps)
        return {name: value.detach().to(model.dtype).cpu() for name, value in chosen.items()}, losses

    def defend(self, context: BaselineContext, learned: Learned) -> TextToImageModel:
        return with_denoiser(context.original, learned)


Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and named arguments of the denoiser."""


def taken(
    model: TextToImageModel, denoiser: nn.Module, word: str, config: EsdConfig, when: float, seed: int
) -> Call | None:
    """What the denoiser is called with at one step of drawing ``word``, on the empty prompt and on it.

    Args:
        denoiser: the one that draws up to there.
        when: which step, as a share of all steps in [0, 1).

    Returns:
        Tensors ``[2, ...]``, the empty prompt first; None where the pipeline calls it otherwise.
    """
    settings = dict(model.generation_defaults)
    pipe = copy.copy(model.pipeline())
    pipe.scheduler = copy.deepcopy(pipe.scheduler)
    setattr(pipe, denoiser_name(pipe), denoiser)
    steps = int(settings.pop("num_inference_steps", 50))
    steps = config.sampler_steps or steps
    settings["guidance_scale"] = config.start_guidance
    generator = torch.Generator("cpu").manual_seed(seed)
    with _stopped(denoiser, int(when * steps)) as call:
        pipe(
            prompt=[word], num_inference_steps=steps, generator=[generator], output_type="latent", **settings
        )
    sample = next((x for x in [*call[0], *call[1].values()] if isinstance(x, Tensor) and x.ndim > 1), None)
    return None if sample is None or len(sample) != 2 else (tuple(call[0]), call[1])


@contextmanager
def _stopped(denoiser: nn.Module, at: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Let the body run until the denoiser is called for the ``at``-th time (from 0); gives its arguments."""
    found: tuple[list[Any], dict[str, Any]] = ([], {})
    calls = 0

    def look(_: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        nonlocal calls
        if calls == at:
            found[0].extend(args)
            found[1].update(given)
            raise _Reached
        calls += 1

    hook = denoiser.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield found
    except _Reached:
        pass
    finally:
        hook.remove()


def _prediction(output: Any) -> Tensor:
    """The denoiser's prediction, with ``return_dict`` or without."""
    found: Tensor = output[0]
    return found


def _second_half(call: Call) -> Call:
    """The call on the prompt alone: every tensor, in whatever dictionary, loses the empty prompt's row."""

    def cut(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim and len(value) == 2:
            return value[1:]
        if isinstance(value, Mapping):
            return {key: cut(x) for key, x in value.items()}
        return value

    return tuple(cut(x) for x in call[0]), {name: cut(x) for name, x in call[1].items()}
