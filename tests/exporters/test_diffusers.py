"""Target ``diffusers``: what is written is what from_pretrained reads, key by key and picture by picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from safetext_exporters import export
from safetext_exporters.diffusers import check_written
from support.minis import build_sd1

from safetext_sdk.errors import ModelError
from safetext_sdk.models import load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    original = load_model(build_sd1(tmp_path_factory.mktemp("sd1")), device="cpu")
    hardened = load_model(original.source.path, device="cpu").encoders["text_encoder"]
    with torch.no_grad():
        hardened.get_input_embeddings().weight.mul_(-2)
    return original.with_encoders({"text_encoder": hardened})


def pictures(pipe) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 2, "output_type": "np", "height": 16, "width": 16}
    return pipe(["a cat"], generator=torch.Generator().manual_seed(3), **arguments).images


def test_encoder_folder_is_what_transformers_4_and_5_read(model, tmp_path: Path) -> None:
    result = export(model, "diffusers", out=tmp_path / "out")
    with safe_open(result.path / "text_encoder" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        # transformers 4.57 looks for these names and takes random weights for those it does not find.
        assert all(key.startswith("text_model.") for key in list(file.keys()))
    assert json.loads((result.path / "text_encoder" / "config.json").read_text())["architectures"] == [
        "CLIPTextModel"
    ]
    assert {"tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/test_vectors.jsonl"} <= set(
        result.files
    )


def test_whole_folder_makes_the_same_pictures_without_our_code(model, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    folder = export(model, "diffusers", out=tmp_path / "out", whole=True).path
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    assert np.array_equal(pictures(pipe), pictures(model.pipeline()))
    source = StableDiffusionPipeline.from_pretrained(
        model.source.path, safety_checker=None, requires_safety_checker=False
    )
    assert not np.allclose(pictures(source), pictures(pipe), atol=1e-4)


def test_whole_folder_follows_links_and_leaves_the_original_encoders_behind(tmp_path: Path) -> None:
    source = build_sd1(tmp_path / "source")
    (source / "unet").rename(tmp_path / "unet-elsewhere")
    (source / "unet").symlink_to(tmp_path / "unet-elsewhere")
    # As published folders have it: the whole model once more, in one file and for other programs.
    for name in ("model.safetensors", "comfy/clip_l.safetensors", "unet/model.ckpt", "README.md"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"the original's")
    result = export(load_model(source, device="cpu"), "diffusers", out=tmp_path / "out", whole=True)
    assert {"README.md", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"} <= set(result.files)
    assert not {"model.safetensors", "comfy/clip_l.safetensors", "unet/model.ckpt"} & set(result.files)


def test_encoder_alone_in_the_original_pipeline(model, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel

    folder = export(model, "diffusers", out=tmp_path / "out").path
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    pipe = StableDiffusionPipeline.from_pretrained(
        model.source.path, text_encoder=encoder, safety_checker=None, requires_safety_checker=False
    )
    assert np.array_equal(pictures(pipe), pictures(model.pipeline()))


def test_a_folder_that_does_not_read_back_is_refused(model, tmp_path: Path) -> None:
    folder = export(model, "diffusers", out=tmp_path / "out").path / "text_encoder"
    weights = load_file(folder / "model.safetensors")
    lost = dict(list(weights.items())[1:])
    save_file(lost, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="does not read back"):
        check_written(model.encoders["text_encoder"], folder)
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="differs from the encoder in memory"):
        check_written(model.encoders["text_encoder"], folder)
