"""The files behind a model: which architecture each encoder is, where it was read from, and what its file
holds.

No weight is read here; `read_encoder` does that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import ModelError
from .checks import read_config, read_header, weight_files

How = Literal["full", "lora"]
"""Train all weights of an encoder, or LoRA beside frozen ones."""


@dataclass(frozen=True)
class Architecture:
    """One class of text encoder in transformers.

    Attributes:
        class_name: the class that reads it.
        model_types: what its ``config.json`` may say as ``model_type``; empty = anything.
        linear_layers: names of the linear layers that LoRA is put beside: attention and feed-forward.
        hardened_by: how it is trained unless somebody asks otherwise.
        nested_keys: its files keep everything but a projection below ``text_model.``.
    """

    class_name: str
    model_types: frozenset[str]
    linear_layers: tuple[str, ...]
    hardened_by: How = "full"
    nested_keys: bool = False


_CLIP_LINEAR = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
_CLIP_TYPES = frozenset({"clip_text_model", "clip"})
CLIP = Architecture("CLIPTextModel", _CLIP_TYPES, _CLIP_LINEAR, nested_keys=True)
CLIP_PROJECTED = Architecture("CLIPTextModelWithProjection", _CLIP_TYPES, _CLIP_LINEAR, nested_keys=True)
# A T5-XXL in full weights would take 95 GB to train; LoRA takes 10.
T5 = Architecture(
    "T5EncoderModel",
    frozenset({"t5", "umt5"}),
    ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo"),
    hardened_by="lora",
)
UMT5 = Architecture("UMT5EncoderModel", frozenset({"umt5"}), T5.linear_layers, hardened_by="lora")

_LLM_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def language_model(class_name: str, *model_types: str) -> Architecture:
    """A decoder of several billion weights, which only LoRA fits into ordinary memory."""
    return Architecture(class_name, frozenset(model_types), _LLM_LINEAR, hardened_by="lora")


QWEN3 = language_model("Qwen3Model", "qwen3")
QWEN3_LM = language_model("Qwen3ForCausalLM", "qwen3")
QWEN25_VL = language_model("Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl")
QWEN3_VL = language_model("Qwen3VLForConditionalGeneration", "qwen3_vl")
GEMMA2 = language_model("Gemma2Model", "gemma2")
GEMMA2_LM = language_model("Gemma2ForCausalLM", "gemma2")
MISTRAL3 = language_model("Mistral3ForConditionalGeneration", "mistral3")
LLAMA = language_model("LlamaForCausalLM", "llama")
ANY = Architecture(
    "AutoModel",
    frozenset(),
    (
        *("query", "key", "value", "dense", "q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
        *_CLIP_LINEAR,
    ),
)
"""Any other encoder that transformers knows, by the class that its configuration names."""

KNOWN = (
    *(CLIP, CLIP_PROJECTED, T5, UMT5),
    *(QWEN3, QWEN3_LM, QWEN25_VL, QWEN3_VL, GEMMA2, GEMMA2_LM, MISTRAL3, LLAMA),
)


def nested_key(key: str) -> str:
    """The name under which a file holds a CLIP weight, whatever the module calls it.

    transformers >= 5.6 took the level ``text_model.`` out of CLIPTextModel; a file without it makes
    transformers 4.57 load RANDOM weights, with no more than a warning.
    """
    return key if key.startswith(("text_model.", "text_projection.")) else f"text_model.{key}"


def tokenizer_name(encoder: str) -> str:
    """The pipeline's name for the tokenizer of an encoder: ``text_encoder_2`` -> ``tokenizer_2``."""
    return encoder.replace("text_encoder", "tokenizer")


@dataclass
class EncoderFiles:
    """Where one encoder came from: its folder, architecture, weight files, and each stored tensor's type
    (kept
    when writing).

    ``prefix``: of its tensors in a single-file checkpoint; "" if the weights are files of their own.
    """

    name: str
    folder: Path
    architecture: Architecture
    weights: list[Path]
    stored: dict[str, str]
    prefix: str = ""

    @property
    def class_name(self) -> str:
        """The transformers class that reads it."""
        return self.architecture.class_name


@dataclass
class Layout:
    """The files behind a model, for writing a hardened copy in the same form.

    ``repo``: hub id, where the source's name is not one.
    """

    root: Path
    encoders: dict[str, EncoderFiles] = field(default_factory=dict)
    tokenizers: dict[str, Path] = field(default_factory=dict)
    repo: str = ""

    def read_names(self) -> list[str]:
        """Paths, relative to ``root``, of every file that hardening reads."""
        names = {
            path.relative_to(self.root)
            for files in self.encoders.values()
            for path in (*files.weights, files.folder / "config.json")
        }
        for folder in {*self.tokenizers.values()}:
            if folder.is_relative_to(self.root):
                names |= {p.relative_to(self.root) for p in folder.iterdir() if is_tokenizer_file(p)}
        return sorted(n.as_posix() for n in names)


def is_tokenizer_file(path: Path) -> bool:
    """Whether a file is part of a tokenizer, by its name."""
    starts = (
        *("tokenizer", "vocab", "merges", "special_tokens", "spiece", "sentencepiece", "added_tokens"),
        "chat_template",
    )
    return path.is_file() and path.name.startswith(starts)


def encoder_files(
    folder: Path, name: str, architecture: Architecture, weights: list[Path] | None = None
) -> EncoderFiles:
    """The files of one encoder, looked at but not read.

    Args:
        folder: holds its configuration and its weights.
        name: of the encoder.
        architecture: what it must be.
        weights: one of the folder's `weight_sets`; None: the one that is read unless somebody asks.

    Raises:
        ModelError: no such folder, a configuration of another architecture, no safetensors weights, or
            weights with a LoRA beside them that was never fused.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is missing: an incomplete copy of the model")
    kind = str(read_config(folder).get("model_type", ""))
    if architecture.model_types and kind not in architecture.model_types:
        raise ModelError(
            f"{folder / 'config.json'} is of type {kind!r}, but the pipeline needs a "
            f"{architecture.class_name}: wrong architecture"
        )
    if (folder / "adapter_config.json").is_file():
        raise _unfused(folder, "adapter_config.json")
    weights = weight_files(folder) if weights is None else weights
    stored = {key: str(entry["dtype"]) for path in weights for key, entry in read_header(path).items()}
    # peft keeps the weight that it adapts as `base_layer`; transformers would start the layer at random.
    marks = (".base_layer.", ".lora_A.", ".lora_B.")
    if sign := next((key for key in stored if any(mark in key for mark in marks)), None):
        raise _unfused(folder, sign)
    return EncoderFiles(name, folder, architecture, weights, stored)


def _unfused(folder: Path, sign: str) -> ModelError:
    return ModelError(
        f"{folder} was saved with a LoRA that was not fused into the weights ({sign}); fuse it and save "
        "again: "
        "pipe.fuse_lora(components=['text_encoder']); pipe.unload_lora_weights(); pipe.save_pretrained(...)"
    )
