"""Answers about pictures: a classifier of answers (ViLT) or a language model that sees (any
image-text-to-text model of transformers with a chat template).

A classifier's answer is the likeliest of the choices among its own answers. A language model is asked to
answer with a letter, or with yes or no, and the probabilities of the first token decide (as VQAScore does):
nothing is generated, so nothing has to be parsed.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import JsonValue

from ..errors import DetectorError
from ..quiet import quiet
from .pixels import to_rgb
from .weights import weights_sha256

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class VisualAnswers:
    """A loaded model. ``ref``: how the caller named it; ``classifies``: whether it has answers of its own."""

    ref: str
    sha256: str
    model: Any
    processor: Any
    device: str
    classifies: bool

    @property
    def described(self) -> Mapping[str, JsonValue]:
        """For the record."""
        return {"name": self.ref, "sha256": self.sha256, "classifies": self.classifies}

    def choose(self, image: Image, question: str, choices: Sequence[str]) -> str:
        """The likeliest of the choices; the first of equally likely ones.

        Raises:
            DetectorError: none of them is an answer that the model has, or they are too many.
        """
        if self.classifies:
            known = self._answers(image, question)
            scores = [known.get(_plain(choice), 0.0) for choice in choices]
            if not any(scores):
                raise DetectorError(f"{self.ref} has none of the answers {', '.join(choices)}")
        else:
            letters = string.ascii_uppercase[: len(choices)]
            if len(letters) < len(choices):
                raise DetectorError(f"{len(choices)} choices are more than letters")
            listed = "\n".join(f"{a}. {c}" for a, c in zip(letters, choices, strict=True))
            asked = f"{question}\n{listed}\nAnswer with the letter of the right choice."
            scores = self._first(image, asked, [(letter,) for letter in letters])
        return choices[scores.index(max(scores))]

    def yes(self, image: Image, question: str) -> float:
        """Probability of yes against no.

        Raises:
            DetectorError: the model has neither answer.
        """
        if self.classifies:
            known = self._answers(image, question)
            yes, no = known.get("yes", 0.0), known.get("no", 0.0)
        else:
            asked = f"{question} Please answer yes or no."
            yes, no = self._first(image, asked, [("Yes", "yes"), ("No", "no")])
        if yes + no <= 0:
            raise DetectorError(f"{self.ref} knows neither yes nor no")
        return yes / (yes + no)

    @torch.no_grad()
    def _answers(self, image: Image, question: str) -> dict[str, float]:
        limit = {"truncation": True, "max_length": self.model.config.max_position_embeddings}
        inputs = self.processor(images=to_rgb(image), text=question, return_tensors="pt", **limit)
        logits = self.model(**inputs.to(self.device)).logits.float()[0]
        labels = self.model.config.id2label
        return {_plain(labels[k]): float(p) for k, p in enumerate(logits.softmax(-1).tolist())}

    @torch.no_grad()
    def _first(self, image: Image, asked: str, words: Sequence[tuple[str, ...]]) -> list[float]:
        """Probability of each group of words as the first token of the answer."""
        said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked}]}]
        text = self.processor.apply_chat_template(said, add_generation_prompt=True)
        inputs = self.processor(images=[to_rgb(image)], text=[text], return_tensors="pt").to(self.device)
        told = self.model(**inputs).logits.float()[0, -1].softmax(-1)
        tokens = self.processor.tokenizer
        ids = [{tokens.encode(word, add_special_tokens=False)[0] for word in group} for group in words]
        return [float(told[sorted(group)].sum()) for group in ids]


def _plain(text: str) -> str:
    return " ".join(str(text).lower().split())


@lru_cache(maxsize=2)
def load_answers(ref: str, folder: Path, device: str) -> VisualAnswers:
    """From a folder.

    Raises:
        DetectorError: it holds no such model, or lacks weights.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, ViltForQuestionAnswering

    digest = weights_sha256(folder)
    try:
        with quiet():
            classifies = AutoConfig.from_pretrained(folder).model_type == "vilt"
            loader: Any = ViltForQuestionAnswering if classifies else AutoModelForImageTextToText
            model, found = loader.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
            processor = AutoProcessor.from_pretrained(folder)
    except Exception as error:
        raise DetectorError(f"no model that answers about pictures is in {folder}: {error}") from error
    if missing := sorted(found["missing_keys"]):
        raise DetectorError(f"the model in {folder} lacks {len(missing)} of its weights ({missing[0]} ...)")
    if not classifies and getattr(processor, "chat_template", None) is None:
        raise DetectorError(f"the model in {folder} has no chat template to be asked with")
    return VisualAnswers(ref, digest, model.to(device).eval(), processor, device, classifies)
