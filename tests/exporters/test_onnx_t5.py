"""Target ``onnx`` on T5 and UMT5 encoders: any length, with a mask and without, in onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetext_exporters import export
from safetext_exporters.t5_graph import T5Graph
from safetext_exporters.trace import FORBIDDEN, op_counts, save, trace_t5
from support.minis import build_flux
from support.recent_minis import RECENT

from safetext_sdk.models import load_model
from safetext_sdk.models.onnx_encoder import OnnxEncoder, encoders_in

pytest.importorskip("onnxruntime")
PROMPTS = ["", "a photo of a cat", "a knife " * 90]


def encoder_of(kind: str, ff: str = "gated-gelu"):
    from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    config, model = {"t5": (T5Config, T5EncoderModel), "umt5": (UMT5Config, UMT5EncoderModel)}[kind]
    made = model(
        config(vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=3, num_heads=4, feed_forward_proj=ff)
    ).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "relative_attention_bias" in name:
                parameter.normal_(0, 1)
    return made


@pytest.mark.parametrize(("kind", "ff"), [("t5", "gated-gelu"), ("umt5", "gated-gelu"), ("t5", "relu")])
@pytest.mark.parametrize("length", [3, 127, 300])
def test_the_traced_module_computes_what_transformers_computes(kind: str, ff: str, length: int) -> None:
    encoder = encoder_of(kind, ff)
    ids = torch.randint(1, 60, (2, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    mask[1, length // 2 + 1 :] = 0
    with torch.no_grad():
        want = encoder(ids, attention_mask=mask).last_hidden_state
        got = T5Graph(encoder)(ids.int(), mask.int())
    torch.testing.assert_close(got, want, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", ["t5", "umt5"])
def test_one_file_takes_every_length(kind: str, tmp_path: Path) -> None:
    encoder = encoder_of(kind)
    save(trace_t5(encoder), tmp_path / "model.onnx")
    encoder.config.to_json_file(str(tmp_path / "config.json"), use_diff=False)
    exported = OnnxEncoder(tmp_path)
    assert exported.length is None
    # A dynamic length is asked of the shape; nothing else of what compilers stumble over is there.
    assert set(op_counts(tmp_path / "model.onnx")) & FORBIDDEN <= {"Shape"}
    for length in (1, 7, 129, 512):
        ids = torch.randint(1, 60, (2, length), generator=torch.Generator().manual_seed(1))
        mask = torch.ones_like(ids)
        mask[0, length // 2 + 1 :] = 0
        with torch.no_grad():
            for given in (None, mask):
                want = encoder(ids, attention_mask=given).last_hidden_state
                torch.testing.assert_close(exported(ids, attention_mask=given)[0], want, atol=2e-5, rtol=0)
    assert not torch.allclose(exported(ids, attention_mask=mask)[0], exported(ids)[0], atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_export_of_a_model_with_t5_alone(tmp_path: Path, precision: str) -> None:
    model = load_model(RECENT["auraflow"](tmp_path / "model"), device="cpu")
    result = export(model, "onnx", out=tmp_path / "onnx", precision=precision)
    record = json.loads((tmp_path / "onnx" / "text_encoder" / "parity.json").read_text())
    assert record["lengths"] == [8, 77, 200]
    assert set(record["inputs"]) == {"input_ids", "attention_mask"}
    assert result.parity["text_encoder"]["outputs"]["last_hidden_state"]["max_abs"] > 0
    swapped = model.with_encoders(encoders_in(tmp_path / "onnx", model.encoders))
    near = torch.nn.functional.cosine_similarity(
        swapped.encode(PROMPTS).flat().double(), model.encode(PROMPTS).flat().double()
    )
    assert float(near.min()) > {"fp32": 0.999999, "fp16": 0.9999, "int8": 0.98}[precision]


def test_flux_ships_both_encoders(tmp_path: Path) -> None:
    model = load_model(build_flux(tmp_path / "model"), device="cpu")
    result = export(model, "onnx", out=tmp_path / "onnx")
    assert set(result.parity) == {"text_encoder", "text_encoder_2"}
    assert not [note for note in result.notes if "is not in this export" in note]
    swapped = model.with_encoders(encoders_in(tmp_path / "onnx", model.encoders))
    torch.testing.assert_close(
        swapped.encode(PROMPTS).flat(), model.encode(PROMPTS).flat(), atol=2e-5, rtol=0
    )
    demo = export(model, "onnx", out=tmp_path / "demo", contract="trt-demo")
    assert "text_encoder_2 (T5EncoderModel) is not in this export; only CLIP encoders are" in demo.notes
