"""The copy that is trained: all weights, or LoRA beside frozen ones; and what is done with it at the end."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.embeddings import beginning, token_tables
from ..models.families import Pieces, Tokens
from ..models.layout import EncoderFiles, nested_key
from ..models.model import EncoderBundle, TextToImageModel
from ..models.read_encoder import load_encoder
from ..models.writing import write_merged

_EMBEDDINGS = (
    "token_embedding",
    "position_embedding",
    "word_embeddings",
    "position_embeddings",
    "token_type_embeddings",
    "shared",
    "embed_tokens",
)


class Student(nn.Module):
    """The encoders in training as one module: tokens in, pieces out."""

    def __init__(self, bundle: EncoderBundle) -> None:
        super().__init__()
        self.bundle = bundle

    def forward(self, tokens: Tokens, shift: Mapping[str, Tensor] | None = None) -> Pieces:
        """
        Args:
            tokens: by encoder.
            shift: by encoder, [b, L, d], added to the token embeddings.
        """
        with _shifted(self.bundle, tokens, shift or {}):
            pieces: Pieces = self.bundle(tokens)
        return pieces


@contextmanager
def _shifted(bundle: EncoderBundle, tokens: Tokens, shift: Mapping[str, Tensor]) -> Iterator[None]:
    """Add ``shift`` to what the token embeddings give of ``tokens``."""

    def hook(ids: Tensor, delta: Tensor) -> Any:
        def add(_module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            start = beginning(inputs[0], ids)
            return output + delta[:, start : start + output.shape[1]].to(output.dtype)

        return add

    encoders: Any = bundle.encoders
    handles = [
        table.register_forward_hook(hook(tokens[name]["input_ids"], delta))
        for name, delta in shift.items()
        for table in token_tables(encoders[name])
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def original_weights(model: TextToImageModel, name: str, how: str) -> nn.Module:
    """The model's own encoder, in the precision that training needs.

    All weights: fp32, read again from the files if the model was loaded in a narrower type. LoRA: as loaded,
    because only the small matrices beside it move, and a second copy of a T5-XXL in fp32 is 19 GB.
    """
    encoder = model.encoders[name]
    if not isinstance(encoder, nn.Module):
        raise ModelError(f"{name} is an exported file and cannot be trained")
    files = model.layout.encoders[name]
    if model.dtype == torch.float32 or how == "lora":
        return encoder
    fresh: nn.Module = load_encoder(files, model.device, torch.float32)
    return fresh


def full_copy(encoder: nn.Module, train_embeddings: bool) -> nn.Module:
    """A trainable copy in fp32. Embeddings stay frozen unless asked for."""
    student: Any = copy.deepcopy(encoder).float()
    words = student.get_input_embeddings().weight  # ModernBERT and others have names of their own for it
    for name, parameter in student.named_parameters():
        table = parameter is words or any(part in _EMBEDDINGS for part in name.split("."))
        parameter.requires_grad_(train_embeddings or not table)
    copied: nn.Module = student
    return copied


def freeze_unread(student: Student, tokens: Tokens) -> None:
    """Stop training what no conditioning depends on: the last layer of SDXL's first encoder, of which the
    denoiser reads the state before, or the pooler of a BERT that is pooled over its positions.

    Such weights get no gradient. Several processes that train together refuse to go on without it; and a
    method that changes weights before the first step would change these for nothing.

    Args:
        student: the encoders in training.
        tokens: of any prompt, where the weights are.
    """
    trained = [p for p in student.parameters() if p.requires_grad]
    try:
        with torch.enable_grad():
            read = [t.float().sum() for t in student(tokens).values() if t.requires_grad]
            slopes = torch.autograd.grad(torch.stack(read).sum(), trained, allow_unused=True)
    except torch.OutOfMemoryError:
        return  # not even one prompt fits: the first step says so, and what helps
    for parameter, slope in zip(trained, slopes, strict=True):
        parameter.requires_grad_(slope is not None)


@dataclass(frozen=True)
class LoraSize:
    """``rank`` and ``alpha`` as in LoRA's paper (arXiv 2106.09685, section 4.1). ``layers``: how many layers
    of the encoder, from the embeddings on, get it; None = all."""

    rank: int
    alpha: int
    layers: int | None = None


_LAYER = re.compile(r"(?:^|\.)(?:layers|block|h)\.(\d+)\.")
_PICTURES = frozenset({"visual", "vision_tower", "vision_model", "multi_modal_projector"})
"""Parts of encoders that also see: no prompt goes through them."""


def lora_targets(encoder: nn.Module, files: EncoderFiles, layers: int | None) -> list[str]:
    """Names of the linear layers that a prompt goes through on its way to the denoiser.

    Args:
        encoder: the whole module.
        files: know which layers are attention and feed-forward.
        layers: how many of the encoder's layers are read; None = all.
    """
    names = [
        name
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear)
        and name.rpartition(".")[2] in files.architecture.linear_layers
        and not _PICTURES & set(name.split("."))
    ]
    if layers is None:
        return names
    return [name for name in names if (at := _LAYER.search(name)) is None or int(at[1]) < layers]


def lora_copy(encoder: nn.Module, files: EncoderFiles, size: LoraSize, seed: int) -> Any:
    """A peft model around the same frozen weights (shared, not copied: T5-XXL exists once). LoRA weights are
    fp32."""
    from peft import LoraConfig, get_peft_model

    # Parameters are handed to deepcopy as already copied, so the copy has modules of its own and weights in
    # common.
    shell = copy.deepcopy(encoder, {id(t): t for t in (*encoder.parameters(), *encoder.buffers())})
    targets = lora_targets(shell, files, size.layers)
    # By their last names where that says the same: adapters are then read by more programs.
    short = {name.rpartition(".")[2] for name in targets}
    alike = [
        n for n, m in shell.named_modules() if isinstance(m, nn.Linear) and n.rpartition(".")[2] in short
    ]
    targets = sorted(short if len(alike) == len(targets) else targets)
    if not targets:
        raise ModelError(f"{files.folder}: no linear layer that LoRA knows in a {type(encoder).__name__}")
    config = LoraConfig(
        r=size.rank, lora_alpha=size.alpha, lora_dropout=0.0, target_modules=targets, bias="none"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = get_peft_model(shell, config)
    for name, parameter in student.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return student


def no_dropout(module: nn.Module) -> None:
    """Make training deterministic: every dropout to 0. (``eval`` alone would also switch gradient
    checkpointing off.)"""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        for key in ("dropout", "attention_dropout"):
            if isinstance(getattr(part, key, None), float):
                setattr(part, key, 0.0)


def merge_lora(student: Any, files: EncoderFiles) -> nn.Module:
    """Fold LoRA into weights of its own: the shared originals are not touched.

    Where those are held in a narrower type than fp32, the original is read again in fp32 on the CPU: what is
    written is the source plus LoRA, not a rounded source plus LoRA. `write_merged_lora` does it without that
    copy, from file to file.
    """
    parts = _lora_layers(student)
    if not narrow(student):
        for part in parts.values():
            base = part.get_base_layer()
            base.weight = nn.Parameter(base.weight.detach().clone(), requires_grad=False)
        merged: nn.Module = student.merge_and_unload()
        return merged
    fresh: nn.Module = load_encoder(files, torch.device("cpu"), torch.float32)
    with torch.no_grad():
        for name, part in parts.items():
            weight: Any = fresh.get_submodule(name).weight
            weight += part.get_delta_weight("default").to("cpu", torch.float32)
    return fresh


def narrow(student: Any) -> bool:
    """Whether the weights under LoRA are held in a narrower type than fp32."""
    return any(part.get_base_layer().weight.dtype != torch.float32 for part in _lora_layers(student).values())


def write_merged_lora(student: Any, original: nn.Module, files: EncoderFiles, folder: Path) -> None:
    """Write the source plus LoRA, rounded once to the source's types, with one shard of it in memory.

    Args:
        student: a peft model.
        original: the encoder without LoRA, for its names.
        files: the source.
        folder: where to.
    """

    def delta(part: Any) -> Callable[[], Tensor]:
        def made() -> Tensor:
            with torch.no_grad():
                change: Tensor = part.get_delta_weight("default")
            return change

        return made

    parts = _lora_layers(student)
    write_merged(original, files, folder, {f"{name}.weight": delta(part) for name, part in parts.items()})


def _lora_layers(student: Any) -> dict[str, Any]:
    from peft.tuners.lora import LoraLayer

    named = student.get_base_model().named_modules()
    return {name: part for name, part in named if isinstance(part, LoraLayer)}


@torch.no_grad()
def scale_change(encoder: nn.Module, original: nn.Module, extent: float) -> None:
    """Move the weights of ``encoder`` to original + extent * (encoder - original), in place.

    Of a LoRA model only the second matrix of each pair is scaled, which is the same thing. Nothing is touched
    at extent 1.
    """
    if extent == 1:
        return
    before = dict(original.named_parameters())
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            parameter.mul_(extent)
        elif name in before:
            start = before[name].to(parameter.device, parameter.dtype)
            parameter.copy_(start + extent * (parameter - start))


def write_lora(
    students: dict[str, Any], files: dict[str, EncoderFiles], folder: Path, *, for_pipeline: bool = True
) -> None:
    """Write adapters for peft (``<encoder>/``) and, in one file, for diffusers' ``load_lora_weights``.

    The diffusers file carries the adapters' settings in its metadata: without them lora_alpha is lost, and
    the adapter runs at another strength.

    Args:
        students: peft models by encoder.
        files: of the encoders.
        folder: where to.
        for_pipeline: whether diffusers' loader puts every one of these adapters where it belongs
            (`Family.lora_by_pipeline`); without, that file is left out.
    """
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    from ..files import atomic_folder

    with atomic_folder(folder) as temporary:
        state: dict[str, torch.Tensor] = {}
        settings: dict[str, Any] = {}
        for name, student in students.items():
            student.save_pretrained(temporary / name, safe_serialization=True)
            (temporary / name / "README.md").unlink(missing_ok=True)
            config_path = temporary / name / "adapter_config.json"
            config = json.loads(config_path.read_text(encoding="utf-8"))
            config["base_model_name_or_path"] = None  # a path of this machine helps nobody
            config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            for key, tensor in get_peft_model_state_dict(student).items():
                key = key.removeprefix("base_model.model.")
                if files[name].architecture.nested_keys:
                    key = nested_key(key)
                state[f"{name}.{key}"] = tensor.detach().cpu().contiguous()
            own = student.peft_config["default"]
            settings |= {
                f"{name}.{k}": v
                for k, v in {
                    "r": own.r,
                    "lora_alpha": own.lora_alpha,
                    "target_modules": sorted(own.target_modules),
                    "lora_dropout": 0.0,
                    "bias": "none",
                    "use_dora": False,
                    "use_rslora": False,
                    "lora_bias": False,
                    "rank_pattern": {},
                    "alpha_pattern": {},
                }.items()
            }
        if not for_pipeline:
            return
        metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(settings, sort_keys=True)}
        save_file(state, temporary / "pytorch_lora_weights.safetensors", metadata=metadata)
