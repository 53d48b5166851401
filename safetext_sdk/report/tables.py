"""Figures as people read them, shared by the terminal, markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEANING = {
    "unsafe": "held-out unsafe prompts",
    "safe": "safe prompts",
    "safe_unseen": "safe concepts that hardening never saw",
    "borderline": "safe prompts that look unsafe",
    "negative": "safe prompts, unsafe words in the negative prompt",
    "negative_unsafe": "unsafe prompts, unsafe words in the negative prompt",
    "custom:unsafe": "your prompts labelled unsafe",
    "custom:safe": "your prompts labelled safe",
    "custom:borderline": "your prompts labelled borderline",
}


def percent(value: float | None) -> str:
    """ "3.1 %", or a dash where nothing was measured."""
    return "–" if value is None else f"{value * 100:.1f} %"


def bounds(value: float | None, lower: float, upper: float, n: int) -> str:
    """ "3.1 % (1.2–6.0, n = 100)": the point, both one-sided 95 % bounds, and what they rest on."""
    if value is None or n == 0:
        return "–"
    return f"{value * 100:.1f} % ({lower * 100:.1f}–{upper * 100:.1f}, n = {n})"


def interval(found: Mapping[str, Any] | None) -> str:
    """`bounds` of a stored interval."""
    return "–" if not found else bounds(found["value"], found["lower"], found["upper"], found["n"])


def unsafe_cell(figures: Mapping[str, Any]) -> str:
    return bounds(figures["rate"], figures["lower"], figures["upper"], figures["n"])


def kept_cell(figures: Mapping[str, Any]) -> str:
    return bounds(
        figures["fidelity"], figures["fidelity_lower"], figures["fidelity_upper"], figures["fidelity_n"]
    )


def set_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a set: the undefended model beside the hardened one."""
    attacks = {a["name"] for a in summary.get("attacks", [])}
    out = []
    for name, figures in summary["sets"].items():
        before, after, paired = figures["original"], figures["hardened"], figures["paired"]
        change = after.get("picture_change")
        out.append(
            {
                "name": name,
                "meaning": MEANING.get(
                    name, f"unsafe prompts under the attack {name}" if name in attacks else name
                ),
                "prompts": str(after["prompts"]),
                "unsafe_before": unsafe_cell(before),
                "unsafe_after": unsafe_cell(after),
                "kept_before": kept_cell(before),
                "kept_after": kept_cell(after),
                "drop": interval(paired["fidelity_drop"]),
                "anchor": interval(after.get("anchor_shown")),
                "change": f"{change['mean_abs']['mean']:.3f} / {change['ssim']['mean']:.3f}"
                if change
                else "–",
            }
        )
    return out


def set_lines(summary: Mapping[str, Any]) -> list[str]:
    """For a terminal."""
    lines = [f"{summary['model']} against the policy {summary['policy']['name']} ({summary['tier']} tier)"]
    for row in set_rows(summary):
        lines.append(f"  {row['name']:<16} {row['prompts']} prompts: {row['meaning']}")
        lines.append(f"    unsafe   before {row['unsafe_before']}, after {row['unsafe_after']}")
        if row["kept_before"] != "–":
            lines.append(
                f"    kept     before {row['kept_before']}, after {row['kept_after']}; drop {row['drop']}"
            )
        if row["anchor"] != "–":
            lines.append(f"    anchor   shown in {row['anchor']}")
    if rows := corrected_rows(summary):
        lines.append(f"  {corrected_note(summary)}")
        lines += [
            f"    {name:<16} unsafe, corrected: before {before}, after {after}"
            for name, before, after in rows
        ]
    lines += [f"  {name}: {text}" for name, text in encoder_rows(summary)]
    return lines


def encoder_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The encoder tier as (figure, value)."""
    tier = summary.get("encoder_tier") or {}
    alone: list[tuple[str, str]] = []
    if found := tier.get("unpaired"):
        bank = f"bank {found['bank_sha256'][:12]}, not gated"
        name = f"unsafe prompts without an anchor, nearer to one of {found['bank']} safe prompts ({bank})"
        alone.append((name, interval(found["nearer_to_bank"])))
    if not tier.get("redirected_share"):
        return alone
    out = [
        ("redirected share", interval(tier["redirected_share"])),
        ("oracle (a perfect redirection)", percent(tier["oracle"])),
        ("collapse score (all prompts to one caption)", percent(tier["collapse"])),
        (
            "distinct nearest anchors",
            f"{tier['distinct_nearest']} (oracle {tier['distinct_nearest_oracle']}, of {tier['anchors']})",
        ),
    ]
    for name in ("safe", "borderline"):
        if kept := tier.get(name):
            out.append(
                (
                    f"cosine kept on {name} prompts",
                    f"mean {kept['cosine_mean']:.3f}, 5th percentile {kept['cosine_p05']:.3f} (n = "
                    ""
                    ""
                    ""
                    f"{kept['n']})",
                )
            )
            out.append(
                (f"{name} prompts nearer to an anchor than to themselves", interval(kept["redirected"]))
            )
    return out + alone


def corrected_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Unsafe rates corrected for the judges' stated errors: set, undefended, hardened; [] where a judge
    states none."""
    found = summary.get("corrected")
    return (
        [[name, interval(r["original"]), interval(r["hardened"])] for name, r in found["sets"].items()]
        if found
        else []
    )


def corrected_note(summary: Mapping[str, Any]) -> str:
    """What the corrected rates rest on."""
    found = summary["corrected"]
    return (
        f"Corrected for detector error (Rogan-Gladen, judges together: recall {percent(found['recall'])}, "
        "false alarms "
        f"{percent(found['false_alarm'])}, taken as exact and independent). For information: gates use "
        "the raw figures."
    )


def judge_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Who judged: one row a judge and concept, with error rates where they are stated."""
    out = []
    for seat in summary.get("detectors", []):
        rates = seat.get("error_rates") or {}
        stated = ", ".join(
            f"{k.replace('_', ' ')} {percent(v)}" for k, v in rates.items() if isinstance(v, (int, float))
        )
        out.append(
            {
                "concept": seat["concept"],
                "name": seat["name"],
                "version": seat["version"],
                "labels": ", ".join(seat["labels"]),
                "threshold": f"{seat['threshold']:g}",
                "rule": {"any": "one judge is enough", "all": "all judges must agree"}[
                    seat.get("rule", "any")
                ],
                "errors": stated or "not stated",
            }
        )
    return out
