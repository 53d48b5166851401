"""What the denoiser reads, as data, and what a pipeline family must know.

* `Conditioning` holds exactly the tensors that a pipeline's denoiser takes from its encoders, in their final
  form.
* A `Family` turns prompts into tokens and tokens into a `Conditioning`, bit for bit as the pipeline's
  ``encode_prompt`` does.
* ``pieces`` cuts a conditioning back into what each encoder contributed, without constant padding: losses
  weigh each piece by its own scale, because one tensor may join encoders whose activations differ by orders
  of magnitude.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from ...errors import ModelError

Tokens = dict[str, dict[str, Tensor]]
"""``{encoder name: {"input_ids": [b, L] int64, "attention_mask": [b, L] int64}}``; L may differ between
encoders."""

Pieces = dict[str, Tensor]
"""``{piece name: [b, L, d] or [b, d]}``: what each encoder contributes to the conditioning."""


@dataclass
class Conditioning:
    """Exactly the tensors that the denoiser reads, first dimension = prompt.

    ``prompt_embeds`` [b, L, d]; ``pooled_prompt_embeds`` [b, p] where the family has it.
    """

    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return int(next(iter(self.tensors.values())).shape[0])

    def flat(self) -> Tensor:
        """All of it as one matrix [b, n]: every tensor flattened and joined, in the order of ``tensors``."""
        return torch.cat([t.reshape(t.shape[0], -1) for t in self.tensors.values()], dim=1)

    def select(self, index: Any) -> Conditioning:
        """The prompts at ``index`` (a slice, a list of numbers or an index tensor)."""
        return Conditioning({name: t[index] for name, t in self.tensors.items()})

    @staticmethod
    def cat(parts: Sequence[Conditioning]) -> Conditioning:
        """Several conditionings of one model, one after the other."""
        if not parts:
            raise ValueError("nothing to join")
        return Conditioning({name: torch.cat([p.tensors[name] for p in parts]) for name in parts[0].tensors})

    def to(self, *args: Any, **kwargs: Any) -> Conditioning:
        """Every tensor moved or cast, as ``Tensor.to``."""
        return Conditioning({name: t.to(*args, **kwargs) for name, t in self.tensors.items()})


@runtime_checkable
class EncoderLike(Protocol):
    """Anything a pipeline can call as its text encoder: a transformers module or an exported file behind a
        small wrapper.

    Calling it with ``(input_ids, attention_mask=None, output_hidden_states=False, return_dict=True)`` gives
    an object with ``last_hidden_state`` [b, L, d] and, where the architecture has them, ``hidden_states``,
    ``pooler_output``, ``text_embeds``.
    """

    @property
    def config(self) -> Any: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any: ...


class Family:
    """Base of the pipeline families; stateless. Subclasses say what the denoiser reads."""

    name: ClassVar[str]
    causal: ClassVar[frozenset[str]] = frozenset()
    """Encoders with causal attention: outputs at the first T positions do not depend on later ones, so a
        training step may read a
    prefix."""

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        """Prompts to padded, cut token ids, as the pipeline does it.

        Args:
            tokenizers: by encoder name.
            prompts: b strings.
            lengths: positions by encoder name, where not the tokenizer's own maximum (SD 3 and FLUX: T5).
        """
        raise NotImplementedError

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        """Tokens to what the denoiser reads; gradients flow.

        Args:
            encoders: by name; only those of the family that the model has.
            tokens: from `tokenize`.
            clip_skip: as the pipeline's argument of that name; None = not given.
            options: facts of the pipeline's configuration that change the result
                (`TextToImageModel.options`).

        Raises:
            ModelError: clip_skip where this family or this encoder has none.
        """
        raise NotImplementedError

    def negative(
        self, condition_empty: Conditioning, *, given: bool, options: Mapping[str, Any]
    ) -> Conditioning:
        """The conditioning of the negative side; ``given`` is False when the caller passed no negative prompt
        at all."""
        return condition_empty

    def pieces(self, conditioning: Conditioning, tokens: Tokens, encoders: Mapping[str, Any]) -> Pieces:
        """What each encoder contributed: ``{"text_encoder": [b, L, d], "text_encoder_pooled": [b, p], ...}``,
        named after the encoder."""
        out: Pieces = {"text_encoder": conditioning.tensors["prompt_embeds"]}
        if "pooled_prompt_embeds" in conditioning.tensors:
            out["text_encoder_pooled"] = conditioning.tensors["pooled_prompt_embeds"]
        return out


def piece_owner(name: str) -> str:
    """The encoder that a piece comes from."""
    return name.removesuffix("_pooled")


def pad_to_max(tokenizer: Any, prompts: Sequence[str], length: int | None = None) -> dict[str, Tensor]:
    """Token ids and mask [b, length], padded and cut as every diffusers pipeline does it."""
    out = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=length or tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: Tensor = out.input_ids
    mask: Tensor | None = out.get("attention_mask")
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids) if mask is None else mask}


def expand_learned_tokens(prompts: Sequence[str], tokenizer: Any) -> list[str]:
    """Spell out multi-vector learned embeddings, as pipelines do: ``<x>`` stands for ``<x> <x>_1 <x>_2``
    where those tokens exist."""
    added = set(getattr(tokenizer, "added_tokens_encoder", {}))
    if not any(f"{token}_1" in added for token in added):
        return list(prompts)
    out = []
    for prompt in prompts:
        for token in set(tokenizer.tokenize(prompt)) & added:
            number, spelled = 1, token
            while f"{token}_{number}" in added:
                spelled += f" {token}_{number}"
                number += 1
            prompt = prompt.replace(token, spelled)
        out.append(prompt)
    return out


def clip_body(encoder: Any) -> Any:
    """The module that owns ``final_layer_norm``: transformers >= 5.6 took the ``text_model`` level out of
    CLIPTextModel."""
    return getattr(encoder, "text_model", encoder)


def checked_skip(clip_skip: int | None, layers: int, spare: int) -> int | None:
    """``clip_skip`` if the encoder has that many layers to skip, else a `ModelError`. ``spare``: layers that
    are skipped anyway."""
    if clip_skip is not None and not 0 <= clip_skip <= layers - spare:
        raise ModelError(f"clip_skip {clip_skip} is out of range: this encoder allows 0 to {layers - spare}")
    return clip_skip


def layer_count(encoder: Any) -> int:
    """Number of transformer layers, from the encoder's configuration."""
    config = encoder.config
    return int(getattr(config, "num_hidden_layers", 0) or getattr(config, "num_layers", 0))


def hidden_state(output: Any, index: int) -> Tensor:
    """``output.hidden_states[index]``, or a `ModelError` for an exported encoder that does not give that
    layer."""
    states = getattr(output, "hidden_states", None)
    if states is None:
        raise ModelError(
            "this encoder gives no hidden states, so the layer that the denoiser reads cannot be taken "
            "from it"
        )
    try:
        state: Tensor = states[index]
    except IndexError:
        raise ModelError(
            f"this encoder gives {len(states)} hidden states; layer {index} is not among them"
        ) from None
    return state
