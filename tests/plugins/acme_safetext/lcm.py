"""Family ``lcm``: latent consistency models distilled from Stable Diffusion 1 (arXiv 2310.04378).

The denoiser reads the CLIP encoder's last_hidden_state at all positions. Guidance is an input of its own, so
no negative prompt is encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from safetext_sdk.errors import ModelError
from safetext_sdk.models.families import Conditioning, EncoderSpec, Family, ModelFolder, Tokens
from safetext_sdk.models.families.tools import pad_to_max
from safetext_sdk.models.layout import CLIP


class LatentConsistency(Family):
    name = "lcm"
    title = "Latent Consistency Models"
    encoders = (EncoderSpec("text_encoder", CLIP, frozenset({"last_hidden_state"})),)
    pipelines = ("LatentConsistencyModel",)
    self_contained = True

    def options(self, folder: ModelFolder) -> dict[str, Any]:
        return {"safety_checker": True} if "safety_checker" in folder.index else {}

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        length = (lengths or {}).get("text_encoder")
        return {"text_encoder": pad_to_max(tokenizers["text_encoder"], prompts, length)}

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        if clip_skip is not None:
            raise ModelError("clip_skip is not read for latent consistency models")
        encoder = encoders["text_encoder"]
        state = encoder(tokens["text_encoder"]["input_ids"])[0]
        return Conditioning({"prompt_embeds": state.to(encoder.dtype)})


FAMILY = LatentConsistency()
