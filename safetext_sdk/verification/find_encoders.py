"""From a path or a live object to the encoders in it: what `identify.verify_against` puts its canary prompts
through."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ModelError
from ..models.bare_weights import from_state, read_bare
from ..models.checks import read_header, variant_of, weight_sets
from ..models.families import FAMILIES, all_families
from ..models.families.model_folder import INDEX
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


@dataclass(frozen=True)
class WeightSet:
    """Weights in a target that make one encoder or several.

    Attributes:
        file: what a message calls them.
        read: reads them.
        encoders: whose they are; None: known once they are read.
    """

    file: str
    read: Callable[[], Parts]
    encoders: frozenset[str] | None = None


@dataclass
class Parts:
    """Encoders and tokenizers found in a target, by the name of the encoder, and the device that they run on.

    ``files``: where the encoders were read from, where a target may hold several. ``further``: more weights
    for encoders that are here already, not read yet: a front-end may take either.
    """

    encoders: dict[str, Any]
    tokenizers: dict[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    files: dict[str, str] = field(default_factory=dict)
    further: list[WeightSet] = field(default_factory=list)


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
    """Find the encoders in ``target``; of a folder every set of weights, see `Parts`.

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
    sets = [*_in_place(path, frame), *_in_root(path, frame)]
    if not sets and (path / "config.json").is_file():
        sets = _encoder_sets(path, _named(path, frame), frame, "")
    own = {file for each in weight_sets(path) for file in each} if (path / "config.json").is_file() else {}
    loose = [file for file in sorted(path.glob("*.safetensors")) if file not in own]
    # Beside a pipeline or an encoder lies all sorts of things; a folder of loose files holds encoders alone.
    found = [file for file in loose if not sets or _may_hold_encoders(file)]
    sets += [WeightSet(file.name, partial(_of_file, file, frame, run)) for file in found]
    if not sets:
        raise ModelError(
            f"{path} holds no pipeline, no text encoder, no ONNX file and no checkpoint that this library "
            "reads"
        )
    return _with_tokenizers(_joined(sets), path, frame)


def _joined(sets: Iterable[WeightSet]) -> Parts:
    """The first weights of each encoder; whatever else there is for it stays to be asked as well."""
    parts = Parts({})
    for each in sets:
        if each.encoders is not None and each.encoders <= parts.encoders.keys():
            parts.further.append(each)
            continue
        try:
            read = each.read()
        except Exception:
            if not parts.encoders:
                raise
            parts.further.append(each)  # told there: what was read before may be wrong, which weighs more
            continue
        if read.encoders.keys() & parts.encoders.keys():
            parts.further.append(each)
        for name in [name for name in read.encoders if name not in parts.encoders]:
            parts.encoders[name], parts.files[name] = read.encoders[name], read.files.get(name, each.file)
            if name in read.tokenizers:
                parts.tokenizers[name] = read.tokenizers[name]
    return parts


def _in_place(path: Path, frame: TextToImageModel) -> list[WeightSet]:
    """The encoders of a run, of a pipeline, or of folders that are named as in one."""
    sets = {name: _encoder_sets(path / name, name, frame, f"{name}/") for name in frame.encoders}
    if not (RunFolder.is_run(path) or _is_whole(path, sets)):
        return [each for several in sets.values() for each in several]
    # All encoders together, each from the first safetensors that its folder has.
    files = {
        name: next((s.file for s in several if s.file.endswith(".safetensors")), name)
        for name, several in sets.items()
    }
    others = [each for name, several in sets.items() for each in several if each.file != files[name]]
    return [WeightSet(path.name, partial(_whole, path, frame, files)), *others]


def _is_whole(path: Path, sets: Mapping[str, list[WeightSet]]) -> bool:
    """Whether it is a pipeline with weights in every encoder's folder, not an ONNX file in their place."""
    stored = (not several or bool(weight_sets(path / name)) for name, several in sets.items())
    return (path / INDEX).is_file() and all(stored)


def _whole(path: Path, frame: TextToImageModel, files: Mapping[str, str]) -> Parts:
    model = (
        frame_of(RunFolder.open(path))
        if RunFolder.is_run(path)
        else load_model(path, device="cpu", precision="fp32")
    )
    found = {name: e for name, e in model.encoders.items() if name in frame.encoders}
    if not found:
        return Parts(model.encoders)
    return Parts(found, {name: model.tokenizers[name] for name in found}, files=dict(files))


def _in_root(path: Path, frame: TextToImageModel) -> list[WeightSet]:
    """The ONNX file of one encoder, with whatever else lies in its folder."""
    if not (path / "model.onnx").is_file():
        return []
    return _encoder_sets(path, _named(path, frame), frame, "")


def _encoder_sets(folder: Path, name: str, frame: TextToImageModel, prefix: str) -> list[WeightSet]:
    """Every set of weights in the folder of one encoder: ONNX files; safetensors, whole or in shards, of
    every variant; a pickle, which is never opened. ``prefix``: of their names in messages."""
    only = frozenset({name})
    onnx = sorted(folder.glob("*.onnx"), key=lambda file: (file.name != "model.onnx", file.name))
    sets = [WeightSet(f"{prefix}{file.name}", partial(_from_onnx, name, file), only) for file in onnx]
    if not (folder / "config.json").is_file():
        return sets
    like, stored = frame.layout.encoders[name], weight_sets(folder)
    for k, files in enumerate(stored):
        read = partial(_from_weights, folder, like, files, stored[:k])
        sets.append(WeightSet(f"{prefix}{files[0].name}", read, only))
    for file in sorted(folder.glob("pytorch_model*.bin")) if sets else ():
        sets.append(WeightSet(f"{prefix}{file.name}", _refused, only))
    if not sets:
        # Nothing there, or a pickle alone: told by whoever looks for weights.
        sets.append(WeightSet(prefix or folder.name, partial(_from_weights, folder, like, None, []), only))
    return sets


def _from_onnx(name: str, file: Path) -> Parts:
    return Parts({name: OnnxEncoder(file)})


def _from_weights(
    folder: Path, like: EncoderFiles, weights: list[Path] | None, before: list[list[Path]]
) -> Parts:
    """Weights of an encoder folder by ``from_pretrained``; None: those that it takes unless told otherwise.
    ``before``: sets that it prefers."""
    if weights is not None and variant_of(weights) in {variant_of(files) for files in before}:
        raise ModelError(
            f"{folder} holds the same weights twice, in one file and in shards ({weights[0].name}), and only "
            "one of them is loaded; remove the other"
        )
    files = encoder_files(folder, folder.name, like.architecture, weights)
    return Parts({like.name: load_encoder(files, torch.device("cpu"), torch.float32)})


def _refused() -> Parts:
    raise ModelError("it is a pickle, which is never opened; remove it if nothing is to load it")


def _may_hold_encoders(file: Path) -> bool:
    """Whether a safetensors file says that a text encoder is in it, or cannot be read."""
    try:
        keys = read_header(file)
    except ModelError:
        return True
    starts = ("text_model.", "text_projection", *_OF_LOOSE)
    forms = (family.single_file for family in all_families())
    return any(key.startswith(starts) for key in keys) or any(form.fits(keys) for form in forms if form)


def _named(path: Path, frame: TextToImageModel) -> str:
    """The encoder that a folder of one holds: its name says which, as in an exported pipeline."""
    return path.name if path.name in frame.encoders else _only(frame)


def _with_tokenizers(parts: Parts, path: Path, frame: TextToImageModel) -> Parts:
    for name in parts.encoders:
        folder = path / tokenizer_name(name)
        if name in frame.tokenizers and name not in parts.tokenizers and folder.is_dir():
            parts.tokenizers[name] = load_tokenizer(folder, type(frame.tokenizers[name]).__name__)
    return parts


def _only(frame: TextToImageModel) -> str:
    if len(frame.encoders) > 1:
        raise ModelError(f"which of {', '.join(frame.encoders)} is it? put it in a folder of that name")
    return next(iter(frame.encoders))


def _of_file(path: Path, frame: TextToImageModel, run: RunFolder) -> Parts:
    if path.suffix == ".onnx":
        return Parts({_named(path.parent, frame): OnnxEncoder(path)})
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
