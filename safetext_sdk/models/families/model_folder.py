"""A model's folder as a family sees it when it decides whether the folder is its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checks import read_config
from ..layout import Architecture

INDEX = "model_index.json"
"""What makes a folder a diffusers pipeline: its class, and the class of every part."""


@dataclass(frozen=True)
class ModelFolder:
    """A diffusers pipeline, or a text encoder alone. ``index``: ``model_index.json``; {} if there is none."""

    root: Path
    index: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def at(cls, root: Path) -> ModelFolder:
        """The folder ``root``; its index is read if it has one.

        Raises:
            ModelError: an index that cannot be read.
        """
        return cls(root, read_config(root, INDEX) if (root / INDEX).is_file() else {})

    @property
    def class_name(self) -> str:
        """The pipeline's class, "" for a folder that is not a pipeline."""
        return str(self.index.get("_class_name", ""))

    def class_of(self, part: str) -> str:
        """The class that the index names for a part; "" where it names none."""
        spec = self.index.get(part)
        return str(spec[-1]) if isinstance(spec, list) and spec[:1] != [None] and spec[-1] else ""

    def config(self, part: str = "") -> dict[str, Any]:
        """A part's ``config.json`` ("" = the folder's own); {} where there is none."""
        folder = self.root / part
        return read_config(folder) if (folder / "config.json").is_file() else {}


@dataclass(frozen=True)
class EncoderPlace:
    """Where one encoder of a model lies and what reads it.

    ``tokenizer_class``: the class that diffusers loads the tokenizer with; "" = transformers' own choice.
    """

    name: str
    folder: Path
    architecture: Architecture
    tokenizer: Path
    tokenizer_class: str = ""
