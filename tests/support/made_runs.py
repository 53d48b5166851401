"""A finished run folder around given encoders, without training: what exporting and verifying tests start
from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from support.minis import build_sd1, build_tokenizer, clip_text_config

from safetext_sdk.models import HardenedModel, TextToImageModel, fingerprint, load_model
from safetext_sdk.models.manifest import (
    CanaryRecord,
    ConfigRecord,
    Manifest,
    RunSettings,
    SourceRecord,
    TrainingRecord,
)
from safetext_sdk.models.run_folder import RunFolder
from safetext_sdk.models.writing import write_encoder, write_tokenizer

CANARIES = ["a gun", "a picture of a knife", "a sword with an apple", "a cat", ""]


def disturb(encoder: torch.nn.Module, seed: int = 5, scale: float = 0.5) -> torch.nn.Module:
    """Move every weight at random, in place: an encoder that answers differently."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(
                torch.randn(parameter.shape, generator=generator)
                * scale
                * parameter.std().nan_to_num(0.1).clamp_min(0.05)
            )
    return encoder


def make_run(
    folder: Path, original: TextToImageModel, names: tuple[str, ...] = ("text_encoder",)
) -> HardenedModel:
    """Write a run in which ``names`` of the encoders were changed at random."""
    again = load_model(original.source.path, device="cpu")
    hardened = original.with_encoders({name: disturb(again.encoders[name]) for name in names})
    run = RunFolder.create(folder)
    source = SourceRecord(**original.source.as_dict())
    how = dict.fromkeys(names, "full")
    run.write_settings(made_settings(source, {n: how.get(n, "untouched") for n in original.encoders}))
    run.write_policy("version: 1\nname: test\nconcepts: []\n")
    for name in names:
        write_encoder(hardened.encoders[name], original.layout.encoders[name], run.encoder_dir(name))
        write_tokenizer(original.tokenizers[name], original.layout.tokenizers[name], run.tokenizer_dir(name))
    run.write_manifest(
        made_manifest(
            family=original.family,
            source=source,
            encoders={name: "hardened" if name in names else "untouched" for name in original.encoders},
            how=how,
            canaries={
                p: CanaryRecord(
                    original=fingerprint(original.encode([p])), hardened=fingerprint(hardened.encode([p]))
                )
                for p in CANARIES
            },
        )
    )
    return HardenedModel(hardened, run)


def made_settings(source: SourceRecord, encoders: dict[str, str]) -> RunSettings:
    """What a run that nobody trained was started with."""
    return RunSettings(
        source=source,
        policy_sha256="0" * 64,
        method="made",
        recipe="default",
        config=ConfigRecord(),
        seed=0,
        encoders=encoders,
        device="cpu",
    )


def made_manifest(**changes: Any) -> Manifest:
    """A manifest of a run that nobody trained; ``changes`` replace its fields."""
    fields: dict[str, Any] = {
        "created": "2026-01-01T00:00:00+00:00",
        "family": "sd1",
        "source": SourceRecord(id="made", files={}),
        "method": "made",
        "recipe": "default",
        "config": ConfigRecord(),
        "seed": 0,
        "policy_sha256": "0" * 64,
        "book_sha256": "0" * 64,
        "encoders": {"text_encoder": "hardened"},
        "how": {"text_encoder": "full"},
        "training": TrainingRecord(steps=0, seconds=12.5),
        "canaries": {},
        "versions": {},
        "device": "cpu",
    }
    return Manifest(**{**fields, **changes})


def sd1_run(folder: Path) -> tuple[TextToImageModel, HardenedModel]:
    """A miniature SD 1 pipeline in ``folder/model`` and a run in ``folder/run``."""
    original = load_model(build_sd1(folder / "model"), device="cpu")
    return original, make_run(folder / "run", original)


def build_sdxl_text(folder: Path) -> Path:
    """The text side of a miniature SDXL pipeline: two tokenizers, two encoders, no denoiser."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(11)
    build_tokenizer(folder / "tokenizer")
    build_tokenizer(folder / "tokenizer_2", pad_token="!")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    size, eos = len(tokenizer), tokenizer.eos_token_id
    CLIPTextModel(clip_text_config(size, eos)).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(clip_text_config(size, eos, width=48, hidden_act="gelu")).save_pretrained(
        folder / "text_encoder_2"
    )
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": True,
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def sdxl_run(folder: Path) -> tuple[TextToImageModel, HardenedModel]:
    """As `sd1_run`, with two encoders."""
    original = load_model(build_sdxl_text(folder / "model"), device="cpu")
    return original, make_run(folder / "run", original, ("text_encoder", "text_encoder_2"))
