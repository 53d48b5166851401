"""Encoders of others, read in every form that they are published in: always the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.ldm_case import openclip
from support.made_runs import disturb, make_run
from support.minis import build_sd1

import safetext_sdk as st
from safetext_sdk.errors import ModelError, UsageError
from safetext_sdk.files import sha256_file
from safetext_sdk.models.given_encoders import read_given

Pairs = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def original(mini_sd1: Path) -> Any:
    return st.load_model(mini_sd1, device="cpu")


@pytest.fixture(scope="module")
def changed(original: Any, mini_sd1: Path) -> Any:
    return disturb(st.load_model(mini_sd1, device="cpu").encoders["text_encoder"])


@pytest.fixture(scope="module")
def nested(changed: Any) -> Pairs:
    """The changed weights under the names that every published CLIP file has."""
    plain = {k: v for k, v in changed.state_dict().items() if not k.endswith("position_ids")}
    return {k if k.startswith("text_model.") else f"text_model.{k}": v.clone() for k, v in plain.items()}


def same(given: Any, changed: Any) -> bool:
    state = given.encoders["text_encoder"].state_dict()
    return all(state[k].equal(v) for k, v in changed.state_dict().items())


def bare(state: Pairs) -> Pairs:
    return {k.removeprefix("text_model."): v for k, v in state.items()}


def under(prefix: str, state: Pairs) -> Pairs:
    return {f"{prefix}{k}": v for k, v in state.items()}


@pytest.mark.parametrize(
    "names",
    [
        lambda s: s,
        bare,
        lambda s: under("cond_stage_model.transformer.", s),
        lambda s: under("text_encoder.", s),
        lambda s: under("module.", s),
        openclip,
        lambda s: under("cond_stage_model.model.", openclip(s)),
        lambda s: {**s, "logit_scale": torch.ones(1), "vision_model.x": torch.ones(2)},
    ],
    ids=["nested", "bare", "ldm", "named", "ddp", "openclip", "ldm-openclip", "clip-model"],
)
def test_a_bare_file(names: Any, original: Any, changed: Any, nested: Pairs, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(names(nested), path)
    given = read_given(path, original)
    assert given.form == "safetensors file"
    assert same(given, changed)
    assert given.files == {path: sha256_file(path)}
    assert not same(read_given(original.source.path, original), changed)


def test_a_weight_that_is_missing_is_never_made_up(original: Any, nested: Pairs, tmp_path: Path) -> None:
    lost = next(k for k in nested if "fc1.weight" in k)
    save_file({k: v for k, v in nested.items() if k != lost}, tmp_path / "half.safetensors")
    with pytest.raises(ModelError, match=r"no encoder of .*text_encoder lacks .*fc1\.weight"):
        read_given(tmp_path / "half.safetensors", original)


def test_folders(original: Any, changed: Any, mini_sd1: Path, tmp_path: Path) -> None:
    folder = tmp_path / "published" / "text_encoder"
    changed.save_pretrained(folder)
    for ref in (folder, folder.parent):
        given = read_given(ref, original)
        assert same(given, changed)
        assert {p.name for p in given.files} == {"model.safetensors", "config.json"}
    pipeline = build_sd1(tmp_path / "pipeline", seed=3)
    given = read_given(pipeline, original)
    assert given.form == "diffusers pipeline"
    assert given.notes == ("only its text encoders were measured: the original's denoiser draws",)


def test_the_text_half_of_a_clip_model(original: Any, changed: Any, nested: Pairs, tmp_path: Path) -> None:
    text = changed.config.to_dict()
    folder = tmp_path / "safe-clip"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": text}))
    more = {"vision_model.x": torch.ones(2), "logit_scale": torch.ones(1)}
    save_file({**nested, **more}, folder / "model.safetensors", metadata={"format": "pt"})
    assert same(read_given(folder, original), changed)


def lora_of(encoder: Any, seed: int = 1) -> tuple[dict[str, tuple[torch.Tensor, torch.Tensor]], Pairs]:
    """A LoRA of rank 2 on two kinds of layer, and the weights that it has to lead to (scale 1)."""
    generator = torch.Generator().manual_seed(seed)
    pairs, merged = {}, {}
    for name, module in encoder.named_modules():
        if name.endswith(("q_proj", "fc1")):
            down = torch.randn(2, module.weight.shape[1], generator=generator)
            up = torch.randn(module.weight.shape[0], 2, generator=generator)
            pairs[name.removeprefix("text_model.")] = (down, up)
            merged[f"{name}.weight"] = module.weight.detach() + up @ down
    return pairs, merged


def written(pairs: Any, spell: Any, path: Path, **more: torch.Tensor) -> Path:
    down, up = {}, {}
    for layer, (a, b) in pairs.items():
        first, second = spell(layer)
        down[first], up[second] = a.contiguous(), b.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({**down, **up, **more}, path)
    return path


def peft(layer: str) -> tuple[str, str]:
    stem = f"base_model.model.text_model.{layer}"
    return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"


def diffusers(layer: str) -> tuple[str, str]:
    stem = f"text_encoder.text_model.{layer}"
    return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"


def older(layer: str) -> tuple[str, str]:
    stem = f"text_encoder.text_model.{layer}.lora_linear_layer"
    return f"{stem}.down.weight", f"{stem}.up.weight"


def kohya(layer: str) -> tuple[str, str]:
    stem = f"lora_te_text_model_{layer.replace('.', '_')}"
    return f"{stem}.lora_down.weight", f"{stem}.lora_up.weight"


@pytest.mark.parametrize("spell", [diffusers, older, kohya])
def test_a_lora_file(spell: Any, original: Any, tmp_path: Path) -> None:
    pairs, merged = lora_of(original.encoders["text_encoder"])
    unet = {"unet.down.lora_A.weight": torch.ones(1, 1)} if spell is diffusers else {}
    given = read_given(written(pairs, spell, tmp_path / "lora.safetensors", **unet), original)
    state = given.encoders["text_encoder"].state_dict()
    assert given.form == "LoRA"
    assert ("it changes the denoiser as well, which was not measured" in given.notes) == bool(unet)
    for name, tensor in original.encoders["text_encoder"].state_dict().items():
        torch.testing.assert_close(state[name], merged.get(name, tensor))


def test_a_peft_adapter_as_peft_merges_it(original: Any, mini_sd1: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    base = st.load_model(mini_sd1, device="cpu").encoders["text_encoder"]
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=["v_proj", "fc2"], alpha_pattern={"fc2": 12}, use_rslora=True
    )
    adapted = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    adapted.save_pretrained(tmp_path / "adapter")
    given = read_given(tmp_path / "adapter", original)
    fresh = st.load_model(mini_sd1, device="cpu").encoders["text_encoder"]
    merged = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter")).merge_and_unload().state_dict()
    state = given.encoders["text_encoder"].state_dict()
    for name, tensor in merged.items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-5)
    assert {p.name for p in given.files} == {"adapter_config.json", "adapter_model.safetensors"}


def test_what_is_refused(original: Any, changed: Any, nested: Pairs, tmp_path: Path) -> None:
    pairs, _ = lora_of(original.encoders["text_encoder"])
    torch.save(nested, tmp_path / "encoder.pt")
    with pytest.raises(ModelError, match=r"is a pickle.*safetext convert"):
        read_given(tmp_path / "encoder.pt", original)
    folder = tmp_path / "only-pickle"
    folder.mkdir()
    torch.save(nested, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model.bin is a pickle.*safetext convert"):
        read_given(folder, original)
    dora = written(
        pairs, diffusers, tmp_path / "d.safetensors", **{"text_encoder.x.dora_scale": torch.ones(1)}
    )
    with pytest.raises(ModelError, match=r"dora_scale, which is no part of a plain LoRA"):
        read_given(dora, original)
    alone = tmp_path / "unet.safetensors"
    save_file({"unet.a.lora_A.weight": torch.ones(1, 1), "unet.a.lora_B.weight": torch.ones(1, 1)}, alone)
    with pytest.raises(ModelError, match="a LoRA of the denoiser alone"):
        read_given(alone, original)
    wide = build_sd1(tmp_path / "wide", width=64)
    with pytest.raises(ModelError, match=r"does not fit text_encoder of"):
        read_given(wide, original)
    with pytest.raises(UsageError, match="is a run folder"):
        read_given(make_run(tmp_path / "run", original).path, original)
    with pytest.raises(ModelError, match="there is no nowhere; an encoder is a diffusers folder"):
        read_given("nowhere", original)


def test_convert(original: Any, changed: Any, nested: Pairs, tmp_path: Path) -> None:
    from safetext_cli.main import run

    pickle, out = tmp_path / "encoder.ckpt", tmp_path / "encoder.safetensors"
    torch.save({"state_dict": {**nested, "epoch": 3}, "optimizer": {}}, pickle)
    assert run(["convert", str(pickle)]) == 0
    assert load_file(out).keys() == nested.keys()
    assert same(read_given(out, original), changed)
    assert run(["convert", str(pickle)]) == 2  # never over a file that is there


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_conversion_runs_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetext_cli.main import run

    torch.save({"weight": torch.ones(2), "more": Evil(tmp_path / "ran")}, tmp_path / "evil.pt")
    assert run(["convert", str(tmp_path / "evil.pt")]) == 3
    assert "was not converted" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "evil.safetensors").exists()
