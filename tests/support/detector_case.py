"""Detectors on miniature random weights, and pictures for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from safetext_sdk import tiny


def spec(
    name: str = "toy",
    labels: list[str] | None = None,
    threshold: float | None = None,
    models: list[str] | None = None,
    **options: Any,
) -> Any:
    from safetext_sdk.policy import DetectorSpec

    return DetectorSpec(
        name=name, labels=labels or ["weapon"], threshold=threshold, models=models, options=options
    )


def pictures(n: int = 3, side: int = 64) -> list[Image.Image]:
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)) for _ in range(n)]


def build_tiny_detectors(folder: Path) -> Path:
    """Random weights in the shipped form: a ResNet in ``a``, a ConvNext in ``b``."""
    from transformers import (
        ConvNextConfig,
        ConvNextForImageClassification,
        ResNetConfig,
        ResNetForImageClassification,
    )

    ids = list(tiny.world())
    common = {
        "num_labels": len(ids),
        "id2label": dict(enumerate(ids)),
        "label2id": {c: i for i, c in enumerate(ids)},
    }
    torch.manual_seed(0)
    a = ResNetForImageClassification(
        ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", **common)
    )
    b = ConvNextForImageClassification(
        ConvNextConfig(
            image_size=64, patch_size=8, depths=[1, 1], hidden_sizes=[4, 8], num_stages=2, **common
        )
    )
    for which, model in (("a", a), ("b", b)):
        model.save_pretrained(folder / which, safe_serialization=True)
    return folder


def build_clip(folder: Path) -> Path:
    """A random CLIP with both towers, 32 pixels wide."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    from .minis import build_tokenizer

    build_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    torch.manual_seed(2)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(
        folder, safe_serialization=True
    )
    return folder


def clip_with_the_tower_of(model: Any, folder: Path) -> Path:
    """A CLIP whose text tower is a model's encoder; its vision tower is random."""
    from transformers import CLIPConfig, CLIPModel

    build_clip(folder)
    encoder = model.encoders["text_encoder"]
    vision = CLIPModel.from_pretrained(folder).config.vision_config.to_dict()
    text = encoder.config.to_dict()
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    bare = {k.removeprefix("text_model."): v for k, v in encoder.state_dict().items()}
    own = {k: k.removeprefix("text_model.") for k in clip.state_dict() if k.startswith("text_model.")}
    missing = clip.load_state_dict({k: bare[b] for k, b in own.items() if b in bare}, strict=False)
    assert not missing.unexpected_keys
    clip.save_pretrained(folder, safe_serialization=True)
    model.tokenizers["text_encoder"].save_pretrained(folder)
    return folder
