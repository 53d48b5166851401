"""Hardening of models with several encoders, and from single-file checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.hardening_case import POLICY, run
from support.minis import build_flux, build_plain_bert, build_sd1, build_sd3, build_sdxl
from support.recent_minis import RECENT, build_by_hand

from safetext_sdk.errors import ModelError, UsageError
from safetext_sdk.models import load_model
from safetext_sdk.models.families import FAMILIES


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path / "policy.yaml"


HOW: list[tuple[Callable[..., Path], dict[str, str]]] = [
    (build_sdxl, {"text_encoder": "full", "text_encoder_2": "full"}),
    (build_sd3, {"text_encoder": "full", "text_encoder_2": "full", "text_encoder_3": "lora"}),
    (build_flux, {"text_encoder": "full", "text_encoder_2": "lora"}),
    (build_plain_bert, {"text_encoder": "full"}),
]


@pytest.mark.parametrize(("build", "how"), HOW, ids=[b.__name__ for b, _ in HOW])
def test_all_encoders_are_hardened_together(
    tmp_path: Path, policy: Path, build: Callable[..., Path], how: dict[str, str]
) -> None:
    original = load_model(build(tmp_path / "model"))
    hardened = run(tmp_path / "model", policy, tmp_path / "run", 3, False)
    manifest = hardened.run.manifest
    assert manifest["how"] == how
    assert manifest["encoders"] == dict.fromkeys(how, "hardened")
    assert not hardened.partial
    again = load_model(tmp_path / "run")
    for name in how:
        was, now = original.encoders[name].state_dict(), again.encoders[name].state_dict()
        assert any(not torch.equal(was[k], now[k]) for k in was), f"{name} did not change"
        assert all(torch.equal(t, now[k]) for k, t in hardened.model.encoders[name].state_dict().items())
    torch.testing.assert_close(
        again.encode(["a gun"]).flat(), hardened.model.encode(["a gun"]).flat(), rtol=1e-4, atol=1e-5
    )


def test_leaving_an_encoder_out_must_be_asked_for(tmp_path: Path, policy: Path) -> None:
    original = load_model(build_sdxl(tmp_path / "model"))
    with pytest.raises(UsageError, match=r"text_encoder_2 reads the prompt.*--allow-partial"):
        run(tmp_path / "model", policy, tmp_path / "run", 2, False, encoders=["text_encoder"])
    assert not (tmp_path / "run").exists()
    hardened = run(
        tmp_path / "model", policy, tmp_path / "run", 2, False, encoders=["text_encoder"], allow_partial=True
    )
    assert hardened.partial
    assert hardened.run.manifest["encoders"] == {"text_encoder": "hardened", "text_encoder_2": "untouched"}
    assert not (tmp_path / "run" / "text_encoder_2").exists()
    again = load_model(tmp_path / "run")
    kept, was = (
        again.encoders["text_encoder_2"].state_dict(),
        original.encoders["text_encoder_2"].state_dict(),
    )
    assert all(torch.equal(kept[k], was[k]) for k in was)


def ldm_clip(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """transformers' names as the older checkpoints have them."""
    return {
        f"{prefix}{k if k.startswith('text_model.') else f'text_model.{k}'}": v.clone()
        for k, v in state.items()
    }


def open_clip(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """transformers' names as OpenCLIP has them: query, key and value joined, the projection transposed."""
    out: dict[str, Any] = {}
    swap = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    top = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    for key, value in state.items():
        key = key.removeprefix("text_model.")
        if key == "text_projection.weight":
            out["text_projection"] = value.T.contiguous()
        elif key in top:
            out[top[key]] = value.clone()
        elif "self_attn.q_proj" in key:
            layer, kind = key.split(".")[2], key.rpartition(".")[2]
            parts = [state[f"text_model.encoder.layers.{layer}.self_attn.{p}_proj.{kind}"] for p in "qkv"]
            out[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = torch.cat(parts)
        elif "k_proj" not in key and "v_proj" not in key:
            layer, rest = key.removeprefix("encoder.layers.").split(".", 1)
            stem, _, kind = rest.rpartition(".")
            out[f"transformer.resblocks.{layer}.{swap[stem]}.{kind}"] = value.clone()
    return {f"{prefix}{k}": v for k, v in out.items()} | {f"{prefix}logit_scale": torch.tensor(1.0)}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_single_file_checkpoints(tmp_path: Path, policy: Path, family: str) -> None:
    folder = (build_sd1 if family == "sd1" else build_sdxl)(tmp_path / "folder")
    first = load_file(folder / "text_encoder" / "model.safetensors")
    if family == "sd1":
        state = ldm_clip(first, "cond_stage_model.transformer.")
    else:
        second = load_file(folder / "text_encoder_2" / "model.safetensors")
        state = ldm_clip(first, "conditioner.embedders.0.transformer.") | open_clip(
            second, "conditioner.embedders.1.model."
        )
    path = tmp_path / "checkpoint.safetensors"
    save_file({**state, "model.diffusion_model.out.2.bias": torch.zeros(4)}, path)
    want, got = load_model(folder), load_model(path, tokenizer=folder)
    assert got.family == family
    torch.testing.assert_close(
        got.encode(["a gun", ""]).flat(), want.encode(["a gun", ""]).flat(), rtol=1e-5, atol=1e-5
    )
    hardened = run(got, policy, tmp_path / "run", 2, False, train={"wide_safe": 20})
    again = load_model(tmp_path / "run")
    torch.testing.assert_close(
        again.encode(["a gun"]).flat(), hardened.model.encode(["a gun"]).flat(), rtol=1e-5, atol=1e-5
    )
    assert set(hardened.run.manifest["source"]["files"]) == {"checkpoint.safetensors"}


def test_single_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="no text encoder in the layout"):
        load_model(tmp_path / "x.safetensors", tokenizer=tmp_path)


@pytest.mark.parametrize("name", sorted(RECENT))
def test_memory_and_time_are_said_before_the_start(tmp_path: Path, name: str) -> None:
    """Of every family with a language model or T5 alone."""
    from safetext_sdk.hardening.assemble import HardeningPlan, TrainingTexts
    from safetext_sdk.hardening.harden import announcement
    from safetext_sdk.hardening.recipes import kind_of, recipe_of
    from safetext_sdk.hardening.settings import TrainConfig
    from safetext_sdk.methods import METHODS

    model = load_model(RECENT[name](tmp_path / "model"))
    usual = model.reader.hardened_by_default
    how = {n: usual(model.layout.encoders[n]) for n in model.encoders}
    recipe = recipe_of("anchor", model.id, None, kind=kind_of(model), concepts=1)
    plan = HardeningPlan(METHODS.get("anchor")(), TrainConfig(), recipe.name, 0, how)
    lines = announcement(model, plan, recipe, TrainingTexts([], [], {}))
    assert all(encoder in lines[0] for encoder in model.encoders)
    assert "GB beside activations" in lines[0]
    assert lines[0].count("LoRA") == sum(way == "lora" for way in how.values()) >= 1
    assert "time: " in lines[1]


@pytest.mark.parametrize("name", ["sana", "qwenimage21", "flux2-dev"])
def test_prompts_that_lie_at_the_end_are_not_cut(policy: Path, tmp_path: Path, name: str) -> None:
    (RECENT.get(name) or build_by_hand(name)[0])(tmp_path / "model")
    title = FAMILIES.get(name).title
    with pytest.raises(UsageError, match=rf"train.positions=40: {title} puts .* at the end") as error:
        run(tmp_path / "model", policy, tmp_path / "run", 2, False, train={"positions": 40})
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
