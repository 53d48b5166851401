"""Rows to figures: pure functions, so that a verdict can be taken again from the file alone.

Rates carry the wider of Wilson and cluster-bootstrap bounds; differences between original and hardened are
taken on the same prompt, negative prompt and seed (see ``statistics``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..validation.statistics import Interval, cluster_bootstrap, drop_interval, mcnemar_exact, rate_interval
from .rows import Row

Pair = tuple[Row, Row]


def identity(row: Row) -> tuple[Any, ...]:
    """What makes two rows the same question: set, prompt, negative prompt, seed, and what the prompt was to
    become."""
    return (row["set"], row["prompt"], row["negative_prompt"], row["seed"], row.get("anchor"), row["concept"])


def select(
    rows: Iterable[Row],
    set_: str | None = None,
    model: str | None = None,
    label: str | None = None,
    concept: str | None = None,
) -> list[Row]:
    """Rows of a set, a model, a label, a concept; None means any."""
    return [
        r
        for r in rows
        if (set_ is None or r["set"] == set_)
        and (model is None or r["model"] == model)
        and (label is None or r.get("label") == label)
        and (concept is None or r["concept"] == concept)
    ]


def rate(rows: Sequence[Row], field: str) -> Interval:
    """Share of rows where ``field`` is true; rows where it is null do not count."""
    known = [r for r in rows if r.get(field) is not None]
    return rate_interval(
        [bool(r[field]) for r in known],
        [r["prompt"] for r in known],
        [r.get("cluster") or r["prompt"] for r in known],
    )


def pairs(rows: Iterable[Row], set_: str | None = None, label: str | None = None) -> list[Pair]:
    """(original, hardened) rows of the same question."""
    chosen = select(rows, set_, None, label)
    before = {identity(r): r for r in chosen if r["model"] == "original"}
    return [(before[identity(r)], r) for r in chosen if r["model"] == "hardened" and identity(r) in before]


def fidelity_drop(found: Sequence[Pair]) -> Interval:
    """Paired drop of the share of pictures that keep what their prompt asked for; pairs that no judge can
    tell do not count."""
    known = [(a, b) for a, b in found if a.get("kept") is not None and b.get("kept") is not None]
    return drop_interval(
        [bool(a["kept"]) for a, _ in known],
        [bool(b["kept"]) for _, b in known],
        [a["prompt"] for a, _ in known],
        [_cluster(a) for a, _ in known],
    )


def over_refusal(found: Sequence[Pair]) -> Interval:
    """Of pictures that showed what was asked for before, the share that no longer does."""
    shown = [(a, b) for a, b in found if a.get("kept") and b.get("kept") is not None]
    return rate_interval(
        [not b["kept"] for _, b in shown], [a["prompt"] for a, _ in shown], [_cluster(a) for a, _ in shown]
    )


def _cluster(row: Row) -> str:
    return str(row.get("cluster") or row["prompt"])


def as_dict(interval: Interval) -> dict[str, Any]:
    """JSON form; null where nothing was measured."""
    value = None if math.isnan(interval.value) else round(interval.value, 5)
    return {
        "value": value,
        "lower": round(interval.lower, 5),
        "upper": round(interval.upper, 5),
        "n": interval.n,
    }


def set_figures(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of one set and one model, as they stand in summary.json."""
    unsafe, kept, anchor = rate(rows, "unsafe"), rate(rows, "kept"), rate(rows, "anchor_shown")
    clusters = [_cluster(r) for r in rows]
    out: dict[str, Any] = {
        "n": len(rows),
        "prompts": len({r["prompt"] for r in rows}),
        "clusters": len(set(clusters)),
        "unsafe": sum(bool(r["unsafe"]) for r in rows),
        "rate": as_dict(unsafe)["value"],
        "lower": round(unsafe.lower, 5),
        "upper": round(unsafe.upper, 5),
        "bootstrap": as_dict(cluster_bootstrap([float(bool(r["unsafe"])) for r in rows], clusters)),
        "fidelity": as_dict(kept)["value"],
        "fidelity_lower": round(kept.lower, 5),
        "fidelity_upper": round(kept.upper, 5),
        "fidelity_n": kept.n,
    }
    if anchor.n:
        out["anchor_shown"] = as_dict(anchor)
    changes = [r["change"] for r in rows if r.get("change")]
    if changes:
        out["picture_change"] = {
            name: {
                "mean": round(float(np.mean([c[name] for c in changes])), 5),
                "median": round(float(np.median([c[name] for c in changes])), 5),
            }
            for name in ("mean_abs", "ssim")
        } | {"n": len(changes)}
    return out


def paired_figures(rows: Sequence[Row], set_: str) -> dict[str, Any]:
    """Original against hardened on the same questions: drop, over-refusal, discordant pairs and exact
    McNemar."""
    found = pairs(rows, set_)
    worse = sum(b["unsafe"] and not a["unsafe"] for a, b in found)
    better = sum(a["unsafe"] and not b["unsafe"] for a, b in found)
    lost = sum(bool(a.get("kept")) and b.get("kept") is False for a, b in found)
    won = sum(a.get("kept") is False and bool(b.get("kept")) for a, b in found)
    return {
        "pairs": len(found),
        "unsafe_before_only": better,
        "unsafe_after_only": worse,
        "unsafe_mcnemar_p": mcnemar_exact(worse, better),
        "kept_before_only": lost,
        "kept_after_only": won,
        "kept_mcnemar_p": mcnemar_exact(lost, won),
        "fidelity_drop": as_dict(fidelity_drop(found)),
        "over_refusal": as_dict(over_refusal(found)),
    }


def names_of_sets(rows: Iterable[Row]) -> list[str]:
    """Sets in order of first appearance."""
    return list(dict.fromkeys(r["set"] for r in rows))


def all_sets(rows: Sequence[Row]) -> dict[str, Any]:
    """``sets`` of summary.json; prompts of the user appear once a label."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        name = f"custom:{row['label']}" if row["set"] == "custom" else row["set"]
        parts.setdefault(name, []).append(row)
    out: dict[str, Any] = {}
    for name, chosen in parts.items():
        out[name] = {model: set_figures(select(chosen, model=model)) for model in ("original", "hardened")}
        out[name]["paired"] = paired_figures(chosen, chosen[0]["set"])
    return out


def by_concept(rows: Sequence[Row]) -> dict[str, Any]:
    """Unsafe rate of each concept of the unsafe set, before and after."""
    out: dict[str, Any] = {}
    for concept in dict.fromkeys(r["concept"] for r in rows if r["set"] == "unsafe"):
        out[str(concept)] = {
            m: as_dict(rate(select(rows, "unsafe", m, concept=concept), "unsafe"))
            for m in ("original", "hardened")
        }
    return out
