"""A text encoder without a denoiser (a stand-alone CLIP, MiniLM): last_hidden_state at the unpadded positions
and the model's pooling.

Nothing else reads pad positions here, so they are zero in the conditioning. The pooling is the model's own
where it has one that is meant for use (CLIP: pooled or projected output at the end token); else the mean over
unpadded positions, normalised, as sentence encoders do it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.nn.functional import normalize, pad

from ...errors import ModelError
from ..checks import read_config
from ..layout import ANY, CLIP, CLIP_PROJECTED, T5, UMT5, Architecture
from .base import EncoderSpec, Family
from .conditioning import Conditioning, Tokens
from .model_folder import EncoderPlace, ModelFolder
from .tools import pad_to_max

MAX_LENGTH = 128
"""Positions kept of models that allow more; prompts are short and memory grows with it."""


_SENTENCE_ENCODERS = frozenset(("bert", "distilbert", "modernbert", "mpnet", "roberta", "xlm-roberta"))
"""Model types that sentence encoders are made of: both ways attentive, pooled over all positions."""
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")


class Plain(Family):
    name = "plain"
    title = "one text encoder folder alone"
    encoders = (
        EncoderSpec(
            "text_encoder", ANY, frozenset({"last_hidden_state", "own_pooling"}), causal=False, tokenizer=""
        ),
    )
    makes_pictures = False
    pads_are_read = False

    def claim(self, folder: ModelFolder) -> int:
        return 0 if folder.index else 1

    def places(self, folder: ModelFolder) -> list[EncoderPlace]:
        root = folder.root
        beside = root.parent / "tokenizer"
        own = any((root / name).is_file() for name in _TOKENIZER_FILES) or not beside.is_dir()
        kind = self._kind(folder)
        return [EncoderPlace("text_encoder", root, kind, root if own else beside)]

    @staticmethod
    def _kind(folder: ModelFolder) -> Architecture:
        config = read_config(folder.root)
        kind = str(config.get("model_type", ""))
        if kind in CLIP.model_types:
            projected = kind == "clip" or CLIP_PROJECTED.class_name in (config.get("architectures") or [])
            return CLIP_PROJECTED if projected else CLIP
        if not kind:
            raise ModelError(
                f"{folder.root / 'config.json'} has no model_type: this is neither a transformers text "
                "encoder "
                "nor a diffusers pipeline"
            )
        # Each layer of a UMT5 has a table of distances: T5's class reads the first and drops the others.
        return {"t5": T5, "umt5": UMT5}.get(kind, ANY)

    def recipe_kind(self, encoders: Mapping[str, Any]) -> str:
        kind = getattr(encoders["text_encoder"].config, "model_type", "")
        return "sentence-encoder" if kind in _SENTENCE_ENCODERS else ""

    def lengths(self, encoders: Mapping[str, Any], tokenizers: Mapping[str, Any]) -> dict[str, int]:
        config = encoders["text_encoder"].config
        positions = int(getattr(config, "max_position_embeddings", MAX_LENGTH) or MAX_LENGTH)
        longest = int(tokenizers["text_encoder"].model_max_length)
        return {"text_encoder": min(longest, positions, MAX_LENGTH)}

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        tokenizer = tokenizers["text_encoder"]
        length = (lengths or {}).get("text_encoder") or min(int(tokenizer.model_max_length), MAX_LENGTH)
        return {"text_encoder": pad_to_max(tokenizer, prompts, length)}

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        if clip_skip is not None:
            raise ModelError("a text encoder without a denoiser has no clip_skip")
        encoder, ids, mask = (
            encoders["text_encoder"],
            tokens["text_encoder"]["input_ids"],
            tokens["text_encoder"]["attention_mask"],
        )
        # Trailing positions that are padding in every row cost time and change nothing: cut them, and fill up
        # with zeros afterwards.
        used = max(1, int(mask.any(dim=0).nonzero().max()) + 1) if bool(mask.any()) else 1
        output = encoder(ids[:, :used], attention_mask=mask[:, :used])
        states = output.last_hidden_state
        keep = mask[:, :used].unsqueeze(-1).to(states.dtype)
        states = states * keep
        pooled = getattr(output, "text_embeds", None)
        if pooled is None and getattr(encoder.config, "model_type", "").startswith("clip"):
            pooled = output.pooler_output
        if pooled is None:
            pooled = normalize(states.sum(dim=1) / keep.sum(dim=1).clamp(min=1), dim=-1)
        states = pad(states, (0, 0, 0, ids.shape[1] - used))
        return Conditioning({"prompt_embeds": states, "pooled_prompt_embeds": pooled})


FAMILY = Plain()
