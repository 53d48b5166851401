"""CLIP R-precision (Park et al., "Benchmark for Compositional Text-to-Image Synthesis", NeurIPS 2021 Datasets
and Benchmarks): a picture shows its prompt if that prompt ranks first among 99 other captions.

A rank and not a similarity: how similar a picture and its caption are differs from caption to caption, so a
threshold on it would say more about captions than about pictures. FID and CLIPScore hide what this shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from ...device import pick_device
from ...errors import DetectorError
from ...policy import KeptJudgeSpec
from ...results.kept import KeptVote
from ..clip_model import MODEL, Clip, load_clip
from ..weights import check_sha256, local_folder
from .base import JudgeContext, KeptQuestion
from .distractors import Distractors

NAME = "clip-r-precision"
OTHERS = 99


class ClipRPrecision:
    """Args:
    clip: the CLIP that ranks; loaded from files of its own, so that hardening cannot have touched it.
    ref: how the policy names it.
    distractors: the captions that a picture's own one must beat.
    """

    name = NAME

    def __init__(self, clip: Clip, ref: str, distractors: Distractors) -> None:
        self.clip, self.distractors = clip, distractors
        texts = [caption.text for caption in distractors.bank]
        self._bank = clip.texts(texts)
        # Other captions, other ranks: they are part of the version.
        captions = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        self.version = f"1+{clip.sha256[:12]}+c{captions[:6]}"
        self.settings: Mapping[str, JsonValue] = {
            "model": ref,
            "sha256": clip.sha256,
            "others": distractors.others,
            "captions_sha256": captions,
            "captions": list(texts),
        }

    def tell(self, questions: Sequence[KeptQuestion]) -> list[KeptVote | None]:
        """Rank of each picture's own caption, 1 the best; a tie counts against it."""
        if not questions:
            return []
        seen = self.clip.images([q.image for q in questions])
        own = (seen * self.clip.texts([q.caption.text for q in questions])).sum(-1)
        against = seen @ self._bank.T
        out: list[KeptVote | None] = []
        for k, question in enumerate(questions):
            beaten_by = int((against[k, self.distractors.of(question.caption)] >= own[k]).sum())
            out.append(KeptVote(judge=self.name, value=1 + beaten_by, rule="at most", limit=1))
        return out


def build(spec: KeptJudgeSpec, context: JudgeContext) -> ClipRPrecision:
    """Options: ``model`` (hub id or folder), ``revision``, ``sha256``, ``others`` (captions, 99)."""
    others = spec.options.get("others", OTHERS)
    if not isinstance(others, int) or isinstance(others, bool) or others < 1:
        raise DetectorError(f"{NAME}: others is {others!r}; give a whole number of captions, at least 1")
    distractors = Distractors(context.captions, others, context.seed)
    ref = str(spec.options.get("model", MODEL))
    folder: Path = local_folder(ref, spec.options.get("revision"))
    clip = load_clip(str(folder), str(pick_device(context.device)))
    check_sha256(clip.sha256, spec.options.get("sha256"), f"{NAME} ({ref})")
    return ClipRPrecision(clip, ref, distractors)
