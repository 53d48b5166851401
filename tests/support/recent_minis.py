"""Miniature random pipelines of the families whose text encoder is a language model or T5 alone, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .recent.by_hand import build_by_hand
from .recent.common import llm_tokenizer
from .recent.gemma import build_lumina2, build_sana
from .recent.hidream import build_hidream
from .recent.qwen import build_flux2, build_qwenimage, build_zimage, qwen3
from .recent.t5_alone import build_auraflow, build_chroma, build_pixart

__all__ = ["RECENT", "build_by_hand", "llm_tokenizer", "qwen3"]

RECENT: dict[str, Callable[..., Path]] = {
    "pixart": build_pixart,
    "chroma": build_chroma,
    "auraflow": build_auraflow,
    "zimage": build_zimage,
    "flux2": build_flux2,
    "lumina2": build_lumina2,
    "sana": build_sana,
    "qwenimage": build_qwenimage,
    "hidream": build_hidream,
}
"""Builders by family."""
