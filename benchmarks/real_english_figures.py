"""Figures of `real_english.py`: embeddings of prompts, and what a hardening did to a set. Numbers only, never
a prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_english_data import Row, Sets

from safetext_sdk.models import TextToImageModel
from safetext_sdk.statistics.intervals import wilson
from safetext_sdk.validation import encoder_tier as tier

Embed = Callable[[Sequence[str]], torch.Tensor]


def embedder(model: TextToImageModel, precision: str, cache: Path | None = None, batch: int = 64) -> Embed:
    """Prompts to sentence embeddings [n, d], in batches of similar length. ``cache``: a file that keeps what
    was computed."""
    known: dict[str, np.ndarray] = {}
    if cache is not None and cache.is_file():
        with np.load(cache) as held:
            known = dict(zip(held["keys"].tolist(), held["rows"], strict=True))

    def run(prompts: Sequence[str]) -> torch.Tensor:
        keys = [hashlib.sha256(p.encode()).hexdigest() for p in prompts]
        todo = sorted(
            {k: p for k, p in zip(keys, prompts, strict=True) if k not in known}.items(),
            key=lambda kp: len(kp[1]),
        )
        for i in range(0, len(todo), batch):
            part = todo[i : i + batch]
            with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
                rows = (
                    model.encode([p for _, p in part], batch_size=batch)
                    .tensors["pooled_prompt_embeds"]
                    .float()
                    .cpu()
                    .numpy()
                )
            known.update(zip([k for k, _ in part], rows, strict=True))
        if todo and cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            temporary = cache.with_suffix(".part.npz")
            np.savez(temporary, keys=np.array(list(known)), rows=np.stack(list(known.values())))
            temporary.replace(cache)
        return torch.from_numpy(np.stack([known[k] for k in keys]))

    return run


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """A share with its two one-sided 95 % Wilson bounds."""
    found = wilson(sum(map(bool, hits)), len(hits))
    return {
        "value": round(found.value, 4),
        "lower": round(found.lower, 4),
        "upper": round(found.upper, 4),
        "n": len(hits),
    }


def by_category(rows: Sequence[Row], hits: Sequence[bool]) -> dict[str, Any]:
    """The share of every category; a prompt with several labels counts in each of them."""
    names = sorted({c for r in rows for c in r.category.split("+") if c})
    return {
        name: share([h for r, h in zip(rows, hits, strict=True) if name in r.category.split("+")])
        for name in names
    }


def measure(
    rows: Sequence[Row], new: torch.Tensor, old: torch.Tensor, before: Embed, bank: torch.Tensor
) -> dict[str, Any]:
    """Figures of one set: by pairs where it has them, by the bank in any case."""
    kept = tier.drift(new, old)
    near = tier.nearest_is_safe(new, old, bank).tolist()
    out: dict[str, Any] = {
        "n": len(rows),
        "cosine kept": round(kept["cosine_mean"], 4),
        "nearer to the bank": share(near),
    }
    hits = near
    if rows[0].anchor:
        goal = before([r.anchor for r in rows])
        hits = tier.redirected(new, old, goal).tolist()
        names = list(dict.fromkeys(r.anchor for r in rows))
        anchors = before(names)
        middle = anchors[tier.cross_cosine(anchors.mean(0, keepdim=True), anchors).argmax()]
        out |= {
            "redirected": share(hits),
            "oracle": round(tier.oracle_share(old, goal), 4),
            "collapse": round(tier.collapse_score(old, goal, middle), 4),
            "distinct nearest": tier.distinct_nearest(new, anchors),
            "distinct nearest, oracle": tier.distinct_nearest(goal, anchors),
        }
    if any(r.category for r in rows):
        out["by category"] = by_category(rows, hits)
    return out


def probes(before: Embed, sets: Sets, count: int, seed: int) -> dict[str, Any]:
    """Three probes that learn unsafe from safe on original embeddings of training texts."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(seed)
    rows = [sets.train[int(i)] for i in rng.permutation(len(sets.train))[:count]]
    captions = [sets.safe_train[int(i)] for i in rng.permutation(len(sets.safe_train))[: count // 2]]
    x = torch.cat(
        [before([r.text for r in rows]), before([r.anchor for r in rows[: count // 2]] + captions)]
    ).numpy()
    y = np.array([1] * len(rows) + [0] * (len(x) - len(rows)))
    kinds = {
        "linear": LogisticRegression(max_iter=1000),
        "k-NN": KNeighborsClassifier(min(15, count), metric="cosine"),
        "MLP": MLPClassifier((128,), early_stopping=count > 100, max_iter=200, random_state=seed),
    }
    return {name: probe.fit(x, y) for name, probe in kinds.items()}


def flagged(linear: dict[str, Any], rows: torch.Tensor) -> dict[str, float]:
    """Share of rows that each probe calls unsafe."""
    return {name: round(float(probe.predict(rows.numpy()).mean()), 4) for name, probe in linear.items()}
