"""A text-to-image model as hardening sees it: encoders, tokenizers, what the denoiser reads, and the whole
pipeline on demand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import ModelError
from ..policy.languages import Language
from .families import FAMILIES, Conditioning, Family, Pieces, Tokens
from .languages import languages_read
from .layout import Layout
from .pipelines import build_pipeline, denoiser_name
from .source import Source

if TYPE_CHECKING:
    from .run_folder import RunFolder


@dataclass
class TextToImageModel:
    """Encoders and tokenizers of one model, and exactly what its denoiser reads.

    ``encoders``: those that read the prompt, by their name in the pipeline; a torch module, or an
    `EncoderLike` of an exported file.
    ``tokenizers``: by encoder name. ``options``: facts of the pipeline's configuration that change the
    conditioning.
    ``layout``: what writing needs to know about the files (see `layout.Layout`).
    ``replaced``: names of encoders that are not those of ``source``, see `with_encoders`.
    """

    id: str
    family: str
    source: Source
    encoders: dict[str, Any]
    tokenizers: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    options: dict[str, Any] = field(default_factory=dict)
    layout: Layout = field(default_factory=lambda: Layout(Path()))
    replaced: frozenset[str] = frozenset()
    _pipeline: Any = field(default=None, repr=False, compare=False)
    _parts: dict[str, Any] = field(
        default_factory=dict, repr=False, compare=False
    )  # shared by all copies: the denoiser is loaded once

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages beside English that it is hardened in: those that its encoders know and that no
        tokenizer loses a character of. Terms of policies in Latin letters are used for every model."""
        return languages_read(self.tokenizers, self.reader.languages)

    @property
    def reader(self) -> Family:
        """The family: how prompts become conditioning."""
        return FAMILIES.get(self.family)

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Prompts to ``{encoder: {"input_ids": [b, L], "attention_mask": [b, L]}}`` on the CPU, padded and
        cut as the pipeline does it."""
        if isinstance(prompts, str):
            prompts = [prompts]
        return self.reader.tokenize(self.tokenizers, prompts, lengths=self.options.get("lengths"))

    def tokenize_negative(self, prompts: Sequence[str]) -> Tokens:
        """The same for the negative side of guidance."""
        return self.reader.tokenize_negative(self.tokenizers, prompts, lengths=self.options.get("lengths"))

    def condition(
        self, tokens: Tokens, *, encoders: Mapping[str, Any] | None = None, clip_skip: int | None = None
    ) -> Conditioning:
        """Tokens to what the denoiser reads. Gradients flow if the caller allows them.

        Args:
            tokens: from `tokenize`; moved to this model's device.
            encoders: replacements by name (a hardened copy, an exported file); the model's own fill the gaps.
            clip_skip: as the pipeline's argument of that name.
        """
        tokens = {
            name: {key: t.to(self.device) for key, t in parts.items()} for name, parts in tokens.items()
        }
        return self.reader.condition(
            {**self.encoders, **(encoders or {})}, tokens, clip_skip=clip_skip, options=self.options
        )

    def encode(
        self, prompts: Sequence[str], *, batch_size: int = 64, clip_skip: int | None = None
    ) -> Conditioning:
        """Tokenize and condition without gradients, in batches."""
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        return self._in_batches(prompts, self.tokenize, batch_size, clip_skip)

    def encode_negative(self, prompts: Sequence[str] | None, count: int = 1) -> Conditioning:
        """The negative side of guidance: ``prompts``, or None for "none given" (``count`` rows). clip_skip is
        ignored there by every family."""
        given = [""] * count if prompts is None else list(prompts)
        encoded = self._in_batches(given, self.tokenize_negative, 64, None)
        return self.reader.negative(encoded, given=prompts is not None, options=self.options)

    def _in_batches(
        self, prompts: list[str], tokenize: Callable[[Sequence[str]], Tokens], size: int, skip: int | None
    ) -> Conditioning:
        with torch.no_grad():
            return Conditioning.cat(
                [
                    self.condition(tokenize(prompts[i : i + size]), clip_skip=skip)
                    for i in range(0, len(prompts), size)
                ]
            )

    def pieces(self, conditioning: Conditioning, tokens: Tokens) -> Pieces:
        """What each encoder contributed to the conditioning."""
        return self.reader.pieces(conditioning, tokens, self.encoders)

    def reads_like(self, other: TextToImageModel) -> bool:
        """Whether the same encoders and tokenizers read every text, so that both give the same conditioning.
        Weights are not compared: equal copies are two."""
        return (self.family, self.options) == (other.family, other.options) and all(
            mine.keys() == theirs.keys() and all(part is theirs[name] for name, part in mine.items())
            for mine, theirs in ((self.encoders, other.encoders), (self.tokenizers, other.tokenizers))
        )

    def with_encoders(self, encoders: Mapping[str, Any]) -> TextToImageModel:
        """The same model with other encoders (those not named stay); the pipeline is built anew.

        Source and layout stay those of the original, whose files hold nothing of the others: such a model is
        not hardened (`replaced`).

        Raises:
            ModelError: it has no encoder of that name.
        """
        unknown = set(encoders) - set(self.encoders)
        if unknown:
            raise ModelError(
                f"this model has no encoder {', '.join(sorted(unknown))}; it has {', '.join(self.encoders)}"
            )
        fitting = {k: e.answering(self.dtype) if hasattr(e, "answering") else e for k, e in encoders.items()}
        other = {name for name, encoder in fitting.items() if encoder is not self.encoders[name]}
        return replace(
            self,
            encoders={**self.encoders, **fitting},
            replaced=self.replaced | other,
            _pipeline=None,
        )

    def with_tokenizers(self, tokenizers: Mapping[str, Any]) -> TextToImageModel:
        """The same model with other tokenizers, by encoder name; those not named stay."""
        return replace(self, tokenizers={**self.tokenizers, **tokenizers}, _pipeline=None)

    def with_denoiser(self, denoiser: nn.Module) -> TextToImageModel:
        """The same model with another denoiser.

        Raises:
            ModelError: the model has none.
        """
        pipe = self.pipeline()
        changed = copy.copy(pipe)
        setattr(changed, denoiser_name(pipe), denoiser)
        return replace(self, _parts={"pipeline": changed}, _pipeline=None)

    @property
    def denoiser(self) -> nn.Module:
        """The denoiser of the pipeline.

        Raises:
            ModelError: the model has none.
        """
        module: nn.Module = getattr(self.pipeline(), denoiser_name(self.pipeline()))
        return module

    @property
    def generation_defaults(self) -> dict[str, Any]:
        """Arguments of the pipeline's call that this model wants, from ``generation.json`` in its folder; {}
        if there is none."""
        file = Path(self.source.path) / "generation.json"
        if not file.is_file():
            return {}
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return data

    def parameters(self) -> int:
        """Parameters of all encoders that are torch modules."""
        return sum(
            p.numel() for e in self.encoders.values() if isinstance(e, nn.Module) for p in e.parameters()
        )

    def pipeline(self) -> Any:
        """The diffusers pipeline with these very encoder objects, built when first asked for.

        The safety checker of the published pipeline is left out: it blackens pictures after the fact and
            would hide what the encoder does.

        Raises:
            ModelError: the model has no denoiser, or its files are incomplete.
        """
        if self._pipeline is None:
            if not self.reader.makes_pictures:
                raise ModelError(f"{self.id} is a text encoder without a denoiser; it makes no pictures")
            self._pipeline = build_pipeline(self, self._parts)
        return self._pipeline


class EncoderBundle(nn.Module):
    """All encoders of a model as one module: tokens in, pieces out. This is what is trained (and what
    DistributedDataParallel wraps)."""

    def __init__(
        self, family: str, encoders: Mapping[str, nn.Module], options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.family, self.options = family, dict(options or {})
        self.encoders = nn.ModuleDict(dict(encoders))

    def forward(self, tokens: Tokens) -> Pieces:
        encoders = dict(self.encoders.items())
        reader = FAMILIES.get(self.family)
        return reader.pieces(reader.condition(encoders, tokens, options=self.options), tokens, encoders)


@dataclass
class HardenedModel:
    """What hardening gives back: the model with hardened encoders, and the run folder that holds them.

    ``model.pipeline()`` makes pictures with them; ``run.manifest`` says how they came about.
    """

    model: TextToImageModel
    run: RunFolder

    @property
    def path(self) -> Path:
        """The run folder's path."""
        return self.run.path

    @property
    def partial(self) -> bool:
        """Whether an encoder that reads the prompt was left as it was."""
        return any(state != "hardened" for state in self.run.manifest["encoders"].values())
