"""Kandinsky 5: Qwen2.5-VL's last layer without the first positions of the template, and CLIP's pooled vector.

The Qwen side is computed without an attention mask: padding follows the prompt, so causal attention keeps
it out. Its pads are left out of the denoiser's attention by the prompts' lengths.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch.nn.functional import pad

from ...versions import version_of
from ..layout import CLIP, QWEN25_VL
from .base import EncoderSpec
from .conditioning import Conditioning, Pieces, Tokens
from .decoder import ENCODER, Decoder, hidden_layers, without_pads
from .tools import pad_to_max

_CLIP = "text_encoder_2"
_TEMPLATE = (
    "<|im_start|>system\nYou are a {word} engineer. Describe the image by detailing the color, shape, size, "
    "texture, quantity, text, spatial relationships of the objects and background:<|im_end|>\n"
    "<|im_start|>user\n{{}}<|im_end|>"
)


def template_of(diffusers: str) -> tuple[str, int]:
    """The pipeline's own template, and how many of its positions are left out.

    Up to diffusers 0.40 it says "promt engineer", which is one token more; since 0.41 the word is mended.
    """
    older = tuple(int(part) for part in re.findall(r"\d+", diffusers)[:2]) < (0, 41)
    return _TEMPLATE.format(word="promt" if older else "prompt"), 41 if older else 40


TEMPLATE, _LEFT_OUT = template_of(version_of("diffusers") or "1.0")


def cleaned(text: str) -> str:
    """Entities resolved, spaces joined, and broken encodings mended where ftfy is installed."""
    try:
        import ftfy
    except ImportError:
        pass
    else:
        text = ftfy.fix_text(text)
    return re.sub(r"\s+", " ", html.unescape(html.unescape(text)).strip()).strip()


class Kandinsky5(Decoder):
    name = "kandinsky5"
    title = "Kandinsky 5"
    encoders = (
        EncoderSpec(ENCODER, QWEN25_VL, frozenset({"last_hidden_state"}), tokenizer=""),
        EncoderSpec(_CLIP, CLIP, frozenset({"pooler_output"})),
    )
    pipelines = ("Kandinsky5T2I",)
    length = 512 + _LEFT_OUT
    layers = (-1,)
    dropped = _LEFT_OUT

    def layers_read(self, encoder: str, module: Any) -> int | None:
        return super().layers_read(encoder, module) if encoder == ENCODER else None

    def positions(self, encoder: str, length: int) -> int:
        return super().positions(encoder, length) if encoder == ENCODER else length

    def written(self, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
        """The pipeline cuts a prompt that is too long by as many characters as its last tokens have."""
        texts = [TEMPLATE.format(prompt) for prompt in prompts]
        for i, text in enumerate(texts):
            ids = tokenizer(text).input_ids
            if len(ids) > self.length:
                removed = tokenizer.decode(ids[self.dropped : -2][self.length - self.dropped - 2 :])
                texts[i] = text[: -len(removed)] if removed else text
        return texts

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        prompts = [cleaned(prompt) for prompt in prompts]
        return {
            **super().tokenize(tokenizers, prompts, lengths=lengths),
            _CLIP: pad_to_max(tokenizers[_CLIP], prompts, 77),
        }

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        self.refuse(clip_skip)
        qwen, clip = encoders[ENCODER], encoders[_CLIP]
        ids, mask = tokens[ENCODER]["input_ids"], tokens[ENCODER]["attention_mask"]
        used = int(mask.sum(dim=1).max())
        states = hidden_layers(qwen, ids[:, :used], None, self.layers).to(qwen.dtype)
        states = without_pads(states, mask[:, :used])[:, self.dropped :]
        pooled = clip(**tokens[_CLIP]).pooler_output.to(qwen.dtype)
        return Conditioning(
            {
                "prompt_embeds": pad(states, (0, 0, 0, ids.shape[1] - used)),
                "pooled_prompt_embeds": pooled,
            }
        )

    def pieces(self, conditioning: Conditioning, tokens: Tokens, encoders: Mapping[str, Any]) -> Pieces:
        return {
            ENCODER: conditioning.tensors["prompt_embeds"],
            _CLIP: conditioning.tensors["pooled_prompt_embeds"],
        }

    def joined(self, pieces: Pieces, options: Mapping[str, Any]) -> Conditioning:
        return Conditioning({"prompt_embeds": pieces[ENCODER], "pooled_prompt_embeds": pieces[_CLIP]})


FAMILY = Kandinsky5()
