"""Stable Diffusion 1.x: the denoiser reads ``text_encoder``'s last_hidden_state, after the final LayerNorm,
at all positions.

* ``use_attention_mask`` in the encoder's configuration changes the output: pad positions are then hidden from
  attention.
* clip_skip k reads hidden_states[-(k+1)] and applies the final LayerNorm. diffusers 0.42 fails there on
  transformers >= 5.6 (it looks for ``text_encoder.text_model``); this function does not.
* The empty prompt is conditioning of its own: guidance encodes it whenever no negative prompt is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...errors import ModelError
from ..layout import CLIP
from .base import EncoderSpec, Family
from .conditioning import Conditioning, Tokens
from .ldm_keys import SingleFile
from .model_folder import ModelFolder
from .tools import checked_skip, clip_body, expand_learned_tokens, hidden_state, layer_count, pad_to_max

OPENCLIP_H_WIDTH = 1024
"""Width of Stable Diffusion 2's encoder. Both versions are a StableDiffusionPipeline; only this tells them
apart."""


class SD1(Family):
    name = "sd1"
    title = "Stable Diffusion 1"
    encoders = (EncoderSpec("text_encoder", CLIP, frozenset({"last_hidden_state"})),)
    pipelines = ("StableDiffusion",)
    single_file: ClassVar[SingleFile | None] = SingleFile(
        prefixes={"text_encoder": "cond_stage_model.transformer."},
        companion="stable-diffusion-v1-5/stable-diffusion-v1-5",
        pipeline="StableDiffusionPipeline",
        arguments={"safety_checker": None, "feature_extractor": None},
    )
    lora_by_pipeline = frozenset({"text_encoder"})
    self_contained = True

    def claim(self, folder: ModelFolder) -> int:
        return 0 if self._is_second(folder) else super().claim(folder)

    @staticmethod
    def _is_second(folder: ModelFolder) -> bool:
        return folder.config("text_encoder").get("hidden_size") == OPENCLIP_H_WIDTH

    def options(self, folder: ModelFolder) -> dict[str, Any]:
        return {"safety_checker": True} if "safety_checker" in folder.index else {}

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        tokenizer = tokenizers["text_encoder"]
        return {
            "text_encoder": pad_to_max(
                tokenizer, expand_learned_tokens(prompts, tokenizer), (lengths or {}).get("text_encoder")
            )
        }

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        encoder, given = encoders["text_encoder"], tokens["text_encoder"]
        mask = given["attention_mask"] if getattr(encoder.config, "use_attention_mask", False) else None
        if checked_skip(clip_skip, layer_count(encoder), 0) is None:
            state = encoder(given["input_ids"], attention_mask=mask)[0]
        else:
            norm = getattr(clip_body(encoder), "final_layer_norm", None)
            if norm is None:
                raise ModelError(
                    "clip_skip needs the final LayerNorm, which an exported encoder does not give; export "
                    "with clip_skip or leave it out"
                )
            assert clip_skip is not None
            output = encoder(given["input_ids"], attention_mask=mask, output_hidden_states=True)
            state = norm(hidden_state(output, -(clip_skip + 1)))
        return Conditioning({"prompt_embeds": state.to(encoder.dtype)})


FAMILY = SD1()
