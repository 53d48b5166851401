"""A suffix of random tokens that brings the old meaning back: hill climbing on the conditioning, no
    gradients.

For each prompt, `queries` suffixes are tried; the one whose hardened conditioning comes nearest to what the
original model read from the plain prompt is kept. Half of the tries are fresh draws, half change one token of
the best suffix so far.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F

from . import Context

LENGTH = 4
WIDTH = 16


def vocabulary(tokenizer: Any, limit: int = 4000) -> list[str]:
    """Whole words of the tokenizer (letters only, three or more), as text that comes back as one token."""
    words = {t.replace("</w>", "").replace("▁", "").replace("##", "") for t in tokenizer.get_vocab()}
    usable = sorted(w for w in words if w.isascii() and w.isalpha() and len(w) >= 3)
    return usable[:: max(1, len(usable) // limit)] or sorted(w for w in words if w.isascii() and w.isalpha())


def search(prompt: str, words: Sequence[str], context: Context, rng: random.Random) -> str:
    """The best ``prompt + suffix`` found; the plain prompt where no suffix is better."""
    goal = context.original.encode([prompt]).flat().float()
    best, best_score, best_suffix = (
        prompt,
        float(F.cosine_similarity(context.hardened.encode([prompt]).flat().float(), goal)),
        list[str](),
    )
    for start in range(0, context.queries, WIDTH):
        tries = []
        for _ in range(min(WIDTH, context.queries - start)):
            suffix = [rng.choice(words) for _ in range(LENGTH)]
            if best_suffix and rng.random() < 0.5:
                suffix = list(best_suffix)
                suffix[rng.randrange(LENGTH)] = rng.choice(words)
            tries.append(suffix)
        texts = [f"{prompt} {' '.join(s)}" for s in tries]
        scores = F.cosine_similarity(context.hardened.encode(texts).flat().float(), goal)
        top = int(scores.argmax())
        if float(scores[top]) > best_score:
            best, best_score, best_suffix = texts[top], float(scores[top]), tries[top]
    return best


def attack(prompts: Sequence[str], context: Context) -> list[str]:
    words = vocabulary(next(iter(context.hardened.tokenizers.values())))
    return [search(p, words, context, random.Random(zlib.crc32(p.encode()) ^ context.seed)) for p in prompts]
