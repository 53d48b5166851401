"""From a path or a live object to the encoders in it: what `identify.verify_against` puts its canary prompts
through."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ModelError
from ..models.bare_weights import from_state, read_bare
from ..models.checks import read_header
from ..models.families import FAMILIES
from ..models.layout import EncoderFiles, Layout, encoder_files, tokenizer_name
from ..models.loading import assemble, load_model, spec_places
from ..models.model import TextToImageModel
from ..models.onnx_encoder import OnnxEncoder
from ..models.read_encoder import load_encoder, load_tokenizer
from ..models.run_folder import RunFolder
from ..models.source import Source

_OF_LOOSE = ("encoder.block.", "model.layers.")
"""How names in the file of one encoder alone begin (T5, language models); in a checkpoint of a whole
model they stand behind further names."""


@dataclass
class Parts:
    """Encoders and tokenizers found in a target, by the name of the encoder, and the device that they run
    on."""

    encoders: dict[str, Any]
    tokenizers: dict[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def frame_of(run: RunFolder) -> TextToImageModel:
    """The run's hardened model on the CPU: from the run folder alone where that holds all that is read
    (neither the original's weights nor the network are touched), else with the model that it was hardened
    from.

    Raises:
        RunError, ModelError: neither way works.
    """
    return _from_run_alone(run) or load_model(run.path, device="cpu")


def _from_run_alone(run: RunFolder) -> TextToImageModel | None:
    manifest = run.manifest
    name = str(manifest.get("family"))
    family = FAMILIES.get(name) if name in FAMILIES.names() else None
    if family is None or not family.self_contained:
        return None
    places = spec_places(family.encoders, run.path)
    if manifest.get("encoders") != {place.name: "hardened" for place in places}:
        return None
    if not all((p.folder / "config.json").is_file() and p.tokenizer.is_dir() for p in places):
        return None
    layout = Layout(run.path, {p.name: encoder_files(p.folder, p.name, p.architecture) for p in places})
    recorded = run.record.source
    source = Source(recorded.id, recorded.revision, run.path, str(run.path))
    return assemble(source, family, places, layout, {}, (torch.device("cpu"), torch.float32))


def find_encoders(target: Any, frame: TextToImageModel, run: RunFolder) -> Parts:
    """Find the encoders in ``target``.

    Args:
        target: path, diffusers pipeline or `TextToImageModel`.
        frame: the run's hardened model: says which encoders there are to look for.
        run: the run folder; its tokenizers stand in where a checkpoint has none.

    Raises:
        ModelError: nothing there that this library reads.
        MissingExtraError: an ONNX file without onnxruntime.
    """
    if not isinstance(target, str | Path):
        return _of_object(target, frame)
    path = Path(target).expanduser()
    if not path.exists():
        raise ModelError(f"there is no {path}")
    if path.is_file():
        return _of_file(path, frame, run)
    onnx = {
        name: path / name / "model.onnx" for name in frame.encoders if (path / name / "model.onnx").is_file()
    }
    if (path / "model.onnx").is_file():
        return _of_file(path / "model.onnx", frame, run)
    if onnx:
        return _with_tokenizers(Parts({name: OnnxEncoder(file) for name, file in onnx.items()}), path, frame)
    return _of_folder(path, frame, run)


def _of_object(target: Any, frame: TextToImageModel) -> Parts:
    if hasattr(target, "cond_stage_model"):
        return _of_comfyui(target, frame)
    if hasattr(target, "encoders") and hasattr(target, "tokenizers"):
        return Parts(dict(target.encoders), dict(target.tokenizers), target.device)
    encoders = {
        name: getattr(target, name) for name in frame.encoders if getattr(target, name, None) is not None
    }
    if not encoders:
        raise ModelError(
            f"a {type(target).__name__} has none of {', '.join(frame.encoders)}; give a path or a "
            "diffusers pipeline"
        )
    tokenizers = {}
    for name in encoders:
        if (tokenizer := getattr(target, tokenizer_name(name), None)) is not None:
            tokenizers[name] = tokenizer
    devices = {str(e.device): e.device for e in encoders.values()}
    if len(devices) > 1:
        raise ModelError(
            f"the pipeline's encoders are on {' and '.join(devices)}; put them on one device first"
        )
    return Parts(encoders, tokenizers, next(iter(devices.values())))


def _of_comfyui(clip: Any, frame: TextToImageModel) -> Parts:
    """ComfyUI's CLIP object: its weights, put into copies of the run's encoders. What lies on them as a patch
    (a LoRA) is added while it draws, so nothing can be said of weights with a patch."""
    if patches := getattr(getattr(clip, "patcher", None), "patches", None):
        raise ModelError(f"{len(patches)} weights have patches on them (a LoRA); check before it is applied")
    return Parts(dict(from_state(clip.cond_stage_model.state_dict(), frame, "this CLIP")))


def _of_folder(path: Path, frame: TextToImageModel, run: RunFolder) -> Parts:
    if (path / "model_index.json").is_file() or RunFolder.is_run(path):
        model = (
            frame_of(RunFolder.open(path))
            if RunFolder.is_run(path)
            else load_model(path, device="cpu", precision="fp32")
        )
        found = {name: e for name, e in model.encoders.items() if name in frame.encoders}
        return (
            Parts(found, {name: model.tokenizers[name] for name in found}) if found else Parts(model.encoders)
        )
    encoders = {
        name: _encoder_folder(path / name, frame.layout.encoders[name])
        for name in frame.encoders
        if (path / name / "config.json").is_file()
    }
    if encoders:
        return _with_tokenizers(Parts(encoders), path, frame)
    if (path / "config.json").is_file():
        name = path.name if path.name in frame.encoders else _only(frame)
        return Parts({name: _encoder_folder(path, frame.layout.encoders[name])})
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return _of_file(files[0], frame, run)
    if files and (parts := [_of_file(file, frame, run) for file in files]):
        return Parts({name: encoder for part in parts for name, encoder in part.encoders.items()})
    raise ModelError(
        f"{path} holds no pipeline, no text encoder, no ONNX file and no checkpoint that this library reads"
    )


def _encoder_folder(path: Path, like: EncoderFiles) -> Any:
    files = encoder_files(path, path.name, like.architecture)
    return load_encoder(files, torch.device("cpu"), torch.float32)


def _with_tokenizers(parts: Parts, path: Path, frame: TextToImageModel) -> Parts:
    for name in parts.encoders:
        folder = path / tokenizer_name(name)
        if folder.is_dir():
            parts.tokenizers[name] = load_tokenizer(folder, type(frame.tokenizers[name]).__name__)
    return parts


def _only(frame: TextToImageModel) -> str:
    if len(frame.encoders) > 1:
        raise ModelError(f"which of {', '.join(frame.encoders)} is it? put it in a folder of that name")
    return next(iter(frame.encoders))


def _of_file(path: Path, frame: TextToImageModel, run: RunFolder) -> Parts:
    if path.suffix == ".onnx":
        # The folder's name says which encoder it is, as in an exported pipeline.
        name = path.parent.name if path.parent.name in frame.encoders else _only(frame)
        return Parts({name: OnnxEncoder(path)})
    if path.suffix != ".safetensors":
        raise ModelError(f"{path.name} is neither .onnx nor .safetensors; nothing else is opened")
    keys = read_header(path)
    if any(key.startswith(("text_model.", "text_projection")) for key in keys):
        # One encoder's weights without a config (clip_l.safetensors).
        return Parts(dict(read_bare(path, keys, frame)))
    if any(key.startswith(_OF_LOOSE) for key in keys):
        return _loose_encoder(path, keys, frame)
    # A checkpoint holds weights only; tokenizers and configurations come from where the run's model has them.
    companion = frame.layout.root if (frame.layout.root / "tokenizer").is_dir() else run.path
    model = load_model(path, device="cpu", precision="fp32", tokenizer=companion)
    return Parts(dict(model.encoders), dict(model.tokenizers))


def _loose_encoder(path: Path, keys: Mapping[str, Any], frame: TextToImageModel) -> Parts:
    """One encoder's weights without a config (clip_l.safetensors): the run's encoder of the same shapes says
    what it is."""
    from safetensors.torch import load_file

    weights = {
        key: value.float() for key, value in load_file(path).items() if not key.endswith("position_ids")
    }
    for name, encoder in frame.encoders.items():
        if not isinstance(encoder, nn.Module):
            continue
        own = encoder.state_dict()
        names = {key: next((n for n in _names(key) if n in own), key) for key in weights}
        matched = {
            own_key: weights[key]
            for key, own_key in names.items()
            if own_key in own and own[own_key].shape == weights[key].shape
        }
        # A tied tensor is stored once, and the head of a language model reads no prompt.
        known = {own[key].data_ptr() for key in matched}
        lacking = {key for key in own if key not in matched and own[key].data_ptr() not in known}
        if all(key.endswith("position_ids") or key.startswith("lm_head.") for key in lacking):
            other = copy.deepcopy(encoder)
            other.load_state_dict(matched, strict=False)
            return Parts({name: other})
    raise ModelError(f"{path.name} has the weights of no encoder of this run ({len(keys)} tensors)")


def _names(key: str) -> tuple[str, ...]:
    """What a module may call a tensor that a file calls ``key``: levels come and go between versions."""
    return (key, key.removeprefix("text_model."), key.removeprefix("model."))
