"""A baseline: the policy's words are taken out of every prompt before it is drawn."""

from __future__ import annotations

import re
from typing import Any

from safetext_sdk.baselines import Baseline, BaselineConfig, BaselineContext, Learned
from safetext_sdk.baselines.defended import Defence, DefendedModel, Draw
from safetext_sdk.models import TextToImageModel


class Struck(Defence):
    """Whole words only; what is left is drawn."""

    def draw(self, model: DefendedModel, draw: Draw, arguments: dict[str, Any]) -> Any:
        pattern = re.compile(str(self.config["pattern"]), re.IGNORECASE)
        arguments["prompt"] = [" ".join(pattern.sub(" ", text).split()) for text in arguments["prompt"]]
        return draw(**arguments)


class WordList(Baseline[BaselineConfig]):
    """The oldest filter that there is."""

    name, summary = "word-list", "the policy's words are struck out of prompts"

    def defend(self, context: BaselineContext, learned: Learned) -> TextToImageModel:
        words = sorted((re.escape(word) for word, _ in context.words), key=len, reverse=True)
        return DefendedModel.of(context.original, Struck({"pattern": rf"\b(?:{'|'.join(words)})s?\b"}))
