"""The policy's words in every negative prompt, behind what the user wrote there."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import Field

from ..models import TextToImageModel
from .base import Baseline, BaselineConfig, BaselineContext, Learned
from .defended import Defence, DefendedModel, Draw


class NegativePromptConfig(BaselineConfig):
    """Settings of ``negative-prompt``."""

    words: int = Field(
        default=15, ge=1, description="Words of the policy that it names; a CLIP reads 77 tokens at most."
    )


class NegativeWords(Defence):
    """Guidance away from fixed words."""

    def draw(self, model: DefendedModel, draw: Draw, arguments: dict[str, Any]) -> Any:
        given = arguments.get("negative_prompt") or ""
        own = [given] * len(arguments["prompt"]) if isinstance(given, str) else given
        added = str(self.config["negative_prompt"])
        arguments["negative_prompt"] = [f"{text}, {added}" if text else added for text in own]
        return draw(**arguments)


class NegativePrompt(Baseline[NegativePromptConfig]):
    """What users of hosted models are told to write. No training, no cost; only where guidance is used."""

    name = "negative-prompt"
    summary = "the policy's words in every negative prompt"
    source = "classifier-free guidance, arXiv 2207.12598, with the negative prompt in the empty one's place"
    Config = NegativePromptConfig

    def impossible(self, model: TextToImageModel) -> str:
        if not model.reader.makes_pictures:
            return "the model has no denoiser"
        call = inspect.signature(type(model.pipeline()).__call__).parameters
        guidance = model.generation_defaults.get(
            "guidance_scale", getattr(call.get("guidance_scale"), "default", None)
        )
        # FLUX.1 takes a negative prompt, but reads it only with true_cfg_scale above 1.
        real = call["true_cfg_scale"].default if "true_cfg_scale" in call else guidance
        if "negative_prompt" not in call or not isinstance(real, int | float) or real <= 1:
            return "this pipeline uses no negative prompt"
        return ""

    def defend(self, context: BaselineContext, learned: Learned) -> TextToImageModel:
        words = [word for word, _ in context.words][: self.config.words]
        return DefendedModel.of(context.original, NegativeWords({"negative_prompt": ", ".join(words)}))
