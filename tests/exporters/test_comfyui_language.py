"""Target ``comfyui`` on T5 and Qwen3: names, sizes and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from safetext_exporters import export
from safetext_exporters.comfyui_language import language_file, language_state
from support.hardening_case import POLICY, run
from support.recent_minis import RECENT
from support.recent_sizes import of_size

from safetext_sdk.errors import ModelError
from safetext_sdk.models import load_model
from safetext_sdk.verification.identify import verify_against


@pytest.mark.parametrize(
    ("kind", "size", "name", "recognised"),
    [
        ("t5", (24, 4096, 10240), "t5xxl", "encoder.block.23.layer.1.DenseReluDense.wi_1.weight"),
        ("t5", (24, 2048, 5120), "t5xl", "encoder.block.23.layer.1.DenseReluDense.wi_1.weight"),
        ("qwen3", (36, 2560, 9728), "qwen_3_4b", "model.layers.0.self_attn.q_norm.weight"),
        ("qwen3", (36, 4096, 12288), "qwen_3_8b", "model.layers.0.self_attn.q_norm.weight"),
    ],
)
def test_the_published_sizes_have_comfyuis_names(
    kind: str, size: tuple[int, int, int], name: str, recognised: str
) -> None:
    encoder = of_size(kind, *size)
    assert language_file(encoder, any_size=False) == name
    state = language_state(encoder)
    assert recognised in state
    assert not [key for key in state if key.startswith("lm_head")]
    assert ("shared.weight" if kind == "t5" else "model.embed_tokens.weight") in state
    encoder.config.update({"d_ff" if kind == "t5" else "intermediate_size": 64})
    with pytest.raises(ModelError, match="ComfyUI builds"):
        language_file(encoder, any_size=False)


@pytest.mark.parametrize(
    ("family", "file", "first"),
    [("zimage", "qwen_3", "model.layers.0."), ("auraflow", "t5", "encoder.block.0.")],
)
def test_the_file_is_the_hardened_encoder(tmp_path: Path, family: str, file: str, first: str) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    RECENT[family](tmp_path / "model")
    train = {"prompts": 8, "wide_safe": 8, "lora_learning_rate": 0.3}
    hardened = run(tmp_path / "model", tmp_path / "policy.yaml", tmp_path / "run", 2, False, train=train)
    with pytest.raises(ModelError, match="ComfyUI builds"):
        export(hardened, "comfyui")
    result = export(hardened, "comfyui", any_size=True, dtype="fp32")
    path = result.folder / f"{file}.safetensors"
    state = load_file(path)
    assert any(key.startswith(first) for key in state)
    assert verify_against(tmp_path / "run", path).verdict == "hardened"
    model = load_model(tmp_path / "model")
    whole = export(model, "comfyui", out=tmp_path / "original", any_size=True)
    written = load_file(whole.folder / f"{file}.safetensors")
    assert {t.dtype for t in written.values()} == {torch.bfloat16 if family == "zimage" else torch.float16}
    assert verify_against(tmp_path / "run", whole.folder / f"{file}.safetensors").verdict == "original"
