"""Targets single-file, comfyui, peft and tensorrt: byte for byte, key for key, and read back by the
consumer's own rules."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from safetext_exporters import export
from safetext_exporters.comfyui import check_keys
from safetext_exporters.single_file import overwrite
from safetext_exporters.tensorrt import aot_build, check_model
from support.ldm_case import checkpoint, openclip
from support.made_runs import CANARIES, make_run, sd1_run, sdxl_run

from safetext_sdk.errors import ModelError, UsageError
from safetext_sdk.models import load_model
from safetext_sdk.models.families import FAMILIES
from safetext_sdk.models.families.ldm_keys import prefixed
from safetext_sdk.verification.file_checks import verify_files
from safetext_sdk.verification.identify import verify_against

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory):
    return sd1_run(tmp_path_factory.mktemp("sd1"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory):
    return sdxl_run(tmp_path_factory.mktemp("sdxl"))


def spans(path: Path) -> tuple[bytes, dict[str, tuple[int, int]]]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    return data, {
        k: (8 + length + v["data_offsets"][0], 8 + length + v["data_offsets"][1])
        for k, v in header.items()
        if k != "__metadata__"
    }


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_single_file_changes_the_encoders_and_nothing_else(
    family: str, dtype: torch.dtype, request, tmp_path: Path
) -> None:
    original, hardened = request.getfixturevalue(family)
    source = checkpoint(original, tmp_path / "sd.safetensors", dtype)
    before = source.read_bytes()
    result = export(hardened, "single-file", out=tmp_path / "out", checkpoint=source)
    assert source.read_bytes() == before
    assert result.path.name == "sd-safetext.safetensors"
    (old, places), (new, places_new) = spans(source), spans(result.path)
    assert places == places_new
    assert len(old) == len(new)
    prefixes = tuple(FAMILIES.get(family).single_file.prefixes.values())
    encoder_bytes = np.zeros(len(old), dtype=bool)
    for key, (start, end) in places.items():
        mine = key.startswith(prefixes) and not key.endswith(("position_ids", "logit_scale"))
        encoder_bytes[start:end] = mine
        assert (old[start:end] != new[start:end]) == mine, key
    a, b = np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8)
    assert np.array_equal(a[~encoder_bytes], b[~encoder_bytes])
    # And what was written is the hardened encoder, by a conversion of the test's own.
    written = load_file(result.path)
    for name, prefix in FAMILIES.get(family).single_file.prefixes.items():
        want = prefixed(hardened.model.encoders[name].state_dict())
        want = openclip(want) if name == "text_encoder_2" else want
        for key, value in want.items():
            if key != "logit_scale":
                assert torch.equal(written[prefix + key], value.to(dtype)), key


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_verify_recognises_a_checkpoint(family: str, request, tmp_path: Path) -> None:
    original, hardened = request.getfixturevalue(family)
    source = checkpoint(original, tmp_path / "sd.safetensors")
    result = export(hardened, "single-file", out=tmp_path / "out", checkpoint=source)
    assert verify_against(hardened.run, result.path).verdict == "hardened"
    assert verify_against(hardened.run, source).verdict == "original"
    assert verify_files(result.folder).ok


def test_single_file_of_one_hardened_encoder_is_partly(sdxl, tmp_path: Path) -> None:
    original, hardened = sdxl
    half = make_run(tmp_path / "half", original, ("text_encoder_2",))
    source = checkpoint(original, tmp_path / "sd.safetensors")
    result = export(half, "single-file", out=tmp_path / "out", checkpoint=source)
    assert verify_against(half.run, result.path).verdict == "hardened"
    prefix = FAMILIES.get("sdxl").single_file.prefixes["text_encoder"]
    (old, places), (new, _) = spans(source), spans(result.path)
    assert all(old[a:b] == new[a:b] for key, (a, b) in places.items() if key.startswith(prefix))
    assert verify_against(hardened.run, result.path).verdict == "partly"


def test_single_file_refuses_what_does_not_fit(sd1, sdxl, tmp_path: Path) -> None:
    original, hardened = sd1
    source = checkpoint(original, tmp_path / "sd.safetensors")
    with pytest.raises(UsageError, match="needs the checkpoint"):
        export(hardened, "single-file", out=tmp_path / "out")
    with pytest.raises(ModelError, match="is not a Stable Diffusion XL checkpoint"):
        export(sdxl[1], "single-file", out=tmp_path / "out", checkpoint=source)
    (tmp_path / "bad.safetensors").write_bytes(b"\x80\x02pickle")
    with pytest.raises(ModelError, match="is a pickle"):
        export(hardened, "single-file", out=tmp_path / "out", checkpoint=tmp_path / "bad.safetensors")
    weights = load_file(source)
    lost = next(k for k in weights if k.endswith("fc1.weight"))
    save_file({k: v for k, v in weights.items() if k != lost}, tmp_path / "lost.safetensors")
    with pytest.raises(ModelError, match=r"no place for text_model.*fc1\.weight"):
        export(hardened, "single-file", out=tmp_path / "out", checkpoint=tmp_path / "lost.safetensors")
    key = FAMILIES.get("sd1").single_file.prefixes["text_encoder"] + "text_model.final_layer_norm.bias"
    with pytest.raises(ModelError, match="infinite"):
        overwrite(shutil.copy(source, tmp_path / "over.safetensors"), {key: torch.full((32,), 1e9)})
    with pytest.raises(ModelError, match=r"is F16 \[32\] in the checkpoint"):
        overwrite(tmp_path / "over.safetensors", {key: torch.zeros(31)})
    assert not (tmp_path / "out").exists()


def meta_state(layers: int, width: int, projection: bool) -> dict[str, torch.Tensor]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=width * 4,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
    )
    with torch.device("meta"):
        model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
    return prefixed(model.state_dict())


@pytest.mark.parametrize(
    ("name", "layers", "width", "projection"),
    [
        ("clip_l", 12, 768, False),
        ("clip_l", 12, 768, True),
        ("clip_h", 23, 1024, False),
        ("clip_h", 24, 1024, False),
        ("clip_g", 32, 1280, True),
    ],
)
def test_comfyui_keys_of_the_real_sizes(name: str, layers: int, width: int, projection: bool) -> None:
    state = meta_state(layers, width, projection)
    assert check_keys(state) == name
    key = "text_model.encoder.layers.3.mlp.fc2.bias"
    with pytest.raises(ModelError, match=f"needs {key}"):
        check_keys({k: v for k, v in state.items() if k != key})
    with pytest.raises(ModelError, match=f"{key} of"):
        check_keys({**state, key: torch.zeros(3)})
    with pytest.raises(ModelError, match=r"has no text_model\.extra"):
        check_keys({**state, "text_model.extra": torch.zeros(1)})


def test_comfyui_clip_g_needs_its_projection() -> None:
    with pytest.raises(ModelError, match="needs text_projection"):
        check_keys(meta_state(32, 1280, False))


def test_comfyui_file(sd1, tmp_path: Path) -> None:
    _, hardened = sd1
    with pytest.raises(ModelError, match="ComfyUI"):
        export(hardened, "comfyui", out=tmp_path / "small")
    assert not (tmp_path / "small").exists()
    result = export(hardened, "comfyui", out=tmp_path / "out", any_size=True)
    with safe_open(result.folder / "clip_l.safetensors", "pt") as file:
        assert all(key.startswith("text_model.") for key in list(file.keys()))
        assert file.get_tensor("text_model.final_layer_norm.bias").dtype == torch.float16
    assert any("not run in ComfyUI" in note for note in result.notes)
    assert (
        json.loads((result.folder / "export.json").read_text())["checked"]
        == "key and shape check only; not run in ComfyUI"
    )
    assert verify_against(hardened.run, result.folder / "clip_l.safetensors").verdict == "hardened"


def lora_run(folder: Path, original):
    """A run hardened with LoRA: real adapters with random weights, merged for the encoder."""
    from peft import LoraConfig, get_peft_model

    from safetext_sdk.hardening.trainable import write_lora

    student = load_model(original.source.path, device="cpu").encoders["text_encoder"]
    student = get_peft_model(student, LoraConfig(r=4, lora_alpha=12, target_modules=["q_proj", "v_proj"]))
    torch.manual_seed(3)
    with torch.no_grad():
        for key, parameter in student.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.5)
    run = make_run(folder, original)
    write_lora({"text_encoder": student}, original.layout.encoders, run.path / "lora")
    run.run.write_manifest(run.run.record)  # the adapter is part of what hardening wrote
    run.model = original.with_encoders({"text_encoder": student.merge_and_unload()})
    return run


def test_peft_adapter_gives_the_hardened_weights(sd1, tmp_path: Path) -> None:
    from peft import PeftModel

    original, full = sd1
    run = lora_run(tmp_path / "run", original)
    result = export(run, "peft", out=tmp_path / "out")
    assert {
        "text_encoder/adapter_config.json",
        "text_encoder/adapter_model.safetensors",
        "pytorch_lora_weights.safetensors",
    } <= set(result.files)
    fresh = load_model(original.source.path, device="cpu")
    fresh.encoders["text_encoder"] = PeftModel.from_pretrained(
        fresh.encoders["text_encoder"], result.folder / "text_encoder"
    ).merge_and_unload()
    torch.testing.assert_close(
        fresh.encode(CANARIES).flat(), run.model.encode(CANARIES).flat(), atol=1e-4, rtol=0
    )
    assert (fresh.encode(CANARIES).flat() - original.encode(CANARIES).flat()).abs().max() > 0.1
    with pytest.raises(UsageError, match="has no adapter"):
        export(full, "peft", out=tmp_path / "none")


def test_peft_refuses_an_adapter_that_lost_its_strength(sd1, tmp_path: Path) -> None:
    run = lora_run(tmp_path / "run", sd1[0])
    config = run.path / "lora" / "text_encoder" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "lora_alpha": 1}))
    run.run.write_manifest(run.run.record)
    with pytest.raises(ModelError, match="does not give the hardened weights"):
        export(run, "peft", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def trt(sd1, tmp_path_factory: pytest.TempPathFactory):
    return export(sd1[1], "tensorrt", out=tmp_path_factory.mktemp("trt") / "trt", check=True)


def test_tensorrt_files_profile_and_commands(sd1, trt) -> None:
    folder = trt.path.parent
    assert json.loads((folder / "profile.json").read_text()) == {
        "input_ids": {"min": [1, 77], "opt": [2, 77], "max": [8, 77]}
    }
    text = (folder / "build.txt").read_text()
    for part in (
        "trtexec --onnx=model.onnx",
        "--stronglyTyped",
        "--optShapes=input_ids:2x77",
        '"trt_profile_max_shapes": "input_ids:8x77"',
    ):
        assert part in text
    rows = {row["name"]: row["result"] for row in json.loads((folder / "check.json").read_text())["checks"]}
    assert {k: v for k, v in rows.items() if k != "tensorrt-rtx"} == dict.fromkeys(
        ("onnx checker", "contract", "operators", "constants", "parity"), "passed"
    )
    assert rows["tensorrt-rtx"] in ("passed", "not run")
    assert verify_against(sd1[1].run, trt.path).verdict == "hardened"


def test_tensorrt_precision_is_in_the_graph(trt) -> None:
    import onnx

    model = onnx.load(str(trt.path))
    assert {i.data_type for i in model.graph.initializer if i.dims and i.data_type in (1, 10)} == {
        onnx.TensorProto.FLOAT16
    }
    assert [o.name for o in model.graph.output] == ["text_embeddings"]
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


def test_tensorrt_sdxl_demo_contract_feeds_the_pipeline(sdxl, tmp_path: Path) -> None:
    _, hardened = sdxl
    result = export(hardened, "tensorrt", out=tmp_path / "trt", max_batch=4, check=True)
    shapes = json.loads((result.folder / "text_encoder_2" / "profile.json").read_text())
    assert shapes["attention_mask"]["max"] == [4, 77]
    assert verify_against(hardened.run, result.folder).verdict == "hardened"


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("contract", lambda m: m.graph.output[0].__setattr__("name", "other")),
        ("contract", lambda m: m.opset_import[0].__setattr__("version", 17)),
        (
            "operators",
            lambda m: m.graph.node.append(
                __import__("onnx").helper.make_node("Shape", ["input_ids"], ["shape_of_ids"])
            ),
        ),
        ("constants", lambda m: m.graph.initializer[0].CopyFrom(not_finite(m.graph.initializer[0]))),
    ],
)
def test_tensorrt_check_fails_on(trt, tmp_path: Path, name: str, spoil) -> None:
    import onnx

    model = onnx.load(str(trt.path))
    spoil(model)
    onnx.save(model, str(tmp_path / "model.onnx"))
    report = check_model(
        tmp_path / "model.onnx", ("input_ids",), ("text_embeddings",), trt.parity["text_encoder"]
    )
    assert {row["name"]: row["result"] for row in report["checks"]}[name] == "failed"


def not_finite(tensor):
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[0] = np.inf
    return numpy_helper.from_array(values, tensor.name)


def test_ahead_of_time_build_or_the_command_that_installs_it(sd1, trt, tmp_path: Path) -> None:
    row = aot_build(trt.path, ("input_ids",), (1, 2, 8))
    try:
        import tensorrt_rtx  # noqa: F401
    except ImportError:
        assert row["result"] == "not run"
        assert 'pip install "safetext-sdk[trt-check]"' in row["detail"]
        return
    assert row["result"] == "passed"
    assert "ahead-of-time build by tensorrt-rtx" in row["detail"]
    quantised = export(sd1[1], "onnx", out=tmp_path / "int8", precision="int8")
    assert aot_build(quantised.path, ("input_ids",), (1, 2, 8))["result"] == "failed"


def test_tensorrt_options(sd1, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="refuses dynamic int8"):
        export(sd1[1], "tensorrt", out=tmp_path / "x", precision="int8")
    with pytest.raises(UsageError, match="in order"):
        export(sd1[1], "tensorrt", out=tmp_path / "x", opt_batch=9)
