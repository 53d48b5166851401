"""FLUX.2 dev (Mistral 3), Qwen-Image 2.1 and Kandinsky 5: their pipelines want a processor for pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..minis import _clip
from .common import flow, llm_tokenizer, small
from .qwen import qwen3_vl, qwen25_vl


class _WithPictures:
    """A tokenizer called as a processor is: its pictures are absent."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: list[str], images: None = None, videos: None = None, **rest: Any) -> Any:
        return self.tokenizer(text, **rest)

    def decode(self, ids: Any) -> Any:
        return self.tokenizer.decode(ids)

    def apply_chat_template(self, messages: Any, **rest: Any) -> Any:
        if rest.pop("return_dict", True):
            return self.tokenizer.apply_chat_template(messages, return_dict=True, **rest)
        return [self.tokenizer.apply_chat_template(messages, return_dict=False, **rest)]


def mistral3(tokenizer: Any) -> Any:
    from transformers import (
        Mistral3Config,
        Mistral3ForConditionalGeneration,
        MistralConfig,
        PixtralVisionConfig,
    )

    vision = PixtralVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28
    )
    text = MistralConfig(**small(tokenizer, 31))
    return Mistral3ForConditionalGeneration(
        Mistral3Config(text_config=text, vision_config=vision, image_token_index=3)
    ).eval()


def build_by_hand(name: str) -> tuple[Callable[[Path], Path], Callable[[Any], Any]]:
    """For pipelines whose processor needs torchvision: what writes the folder (without a denoiser), and what
    puts the pipeline around a model loaded from it."""
    import diffusers

    classes = {
        "flux2-dev": ("Flux2Pipeline", mistral3, "Mistral3ForConditionalGeneration", "tokenizer"),
        "qwenimage21": ("QwenImage21Pipeline", qwen3_vl, "Qwen3VLForConditionalGeneration", "processor"),
        "kandinsky5": (
            "Kandinsky5T2IPipeline",
            qwen25_vl,
            "Qwen2_5_VLForConditionalGeneration",
            "tokenizer",
        ),
    }
    pipeline, make, encoder_class, part = classes[name]

    def build(folder: Path) -> Path:
        torch.manual_seed(0)
        tokenizer = llm_tokenizer(folder / part, side="left" if name == "flux2-dev" else "right")
        make(tokenizer).save_pretrained(folder / "text_encoder")
        index = {
            "_class_name": pipeline,
            "_diffusers_version": "0.42.1",
            "text_encoder": ["transformers", encoder_class],
            part: ["transformers", "SomeProcessor"],
        }
        if name == "kandinsky5":
            clip, _ = _clip(folder, "text_encoder_2", None, False)
            clip.save_pretrained(folder / "text_encoder_2")
            index |= {
                "text_encoder_2": ["transformers", "CLIPTextModel"],
                "tokenizer_2": ["transformers", "CLIPTokenizer"],
            }
        (folder / "model_index.json").write_text(json.dumps(index))
        return folder

    def around(model: Any) -> Any:
        kind = getattr(diffusers, pipeline)
        processor = _WithPictures(model.tokenizers["text_encoder"])
        made = {"transformer": None, "vae": None, "scheduler": flow()}
        parts = {**model.encoders, part: processor, **made}
        if name == "kandinsky5":
            parts["tokenizer_2"] = model.tokenizers["text_encoder_2"]
        return kind(**parts)

    return build, around
