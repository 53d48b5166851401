"""The record of `real_english.py` as the tables of docs/real-english.md."""

from __future__ import annotations

from typing import Any


def shown(figure: dict[str, Any]) -> str:
    return f"{100 * figure['value']:.1f} % ({100 * figure['lower']:.1f}–{100 * figure['upper']:.1f})"


NAMES = {
    "tune pairs": "CoProV2 pairs, validation",
    "tune surroundings": "the same in six unseen surroundings",
    "tune insertions": "unseen words in COCO captions",
    "tune unpaired": "CoProV2 unpaired file, validation",
    "tune COCO": "COCO validation captions",
    "tune OVERT": "OVERT mini benign, even half",
    "final pairs": "CoProV2 pairs, test",
    "final surroundings": "the same in six unseen surroundings",
    "final insertions": "unseen words in PartiPrompts",
    "final I2P": "I2P",
    "final Parti": "PartiPrompts",
    "final DrawBench": "DrawBench",
    "final OVERT": "OVERT mini benign, odd half",
}


def table(record: dict[str, Any]) -> str:
    """The record as the tables of docs/real-english.md."""
    hardenings = record["hardenings"]
    lines = []
    for stage, title in (("tune", "Sets that settings were chosen on"), ("final", "Sets for the end")):
        lines += [
            f"### {title}",
            "",
            "| set | n | hardened from | redirected (own anchor) | nearer to the bank | cosine kept | "
            "distinct nearest anchors (oracle) | collapse | "
            "probes flag (linear, k-NN, MLP): undefended → hardened |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for key in [k for k in NAMES if k.startswith(stage)]:
            sets = {name: f["sets"][key] for name, f in hardenings.items() if key in f["sets"]}
            if not sets:
                continue
            first = next(iter(sets.values()))
            old = record["undefended"].get(key, {}).get("probes", {})
            if old:
                zero = "0 %" if "redirected" in first else "–"
                flags = ", ".join(f"{v:.0%}" for v in old.values())
                lines.append(
                    f"| {NAMES[key]} | {first['n']} | – (undefended) | {zero} | 0 % | 1 | – | – | {flags} |"
                )
            lines += [_row(key, name, found, old) for name, found in sets.items()]
        lines.append("")
    for key in record["undefended"]:
        by_name = {name: figures["sets"][key].get("by category") for name, figures in hardenings.items()}
        if not all(by_name.values()):
            continue
        lines += [
            f"### By category: {NAMES[key]}",
            "",
            f"| category | n | {' | '.join(by_name)} |",
            "|---|---|" + "---|" * len(by_name),
        ]
        ordered = sorted(next(iter(by_name.values())).items(), key=lambda item: item[1]["value"])
        for category, v in ordered:
            shares = " | ".join(shown(rows[category]) for rows in by_name.values())
            lines.append(f"| {category.replace('_', ' ')} | {v['n']} | {shares} |")
        lines.append("")
    return "\n".join(lines)


def _row(key: str, name: str, figures: dict[str, Any], old: dict[str, float]) -> str:
    """One hardening on one set. ``old``: what probes flag of the undefended, where that was taken."""
    paired = "redirected" in figures
    moves = ", ".join(f"{old[p]:.0%} → {v:.0%}" for p, v in figures["probes"].items() if p in old)
    cells = (
        NAMES[key],
        figures["n"],
        name,
        shown(figures["redirected"]) if paired else "–",
        shown(figures["nearer to the bank"]),
        f"{figures['cosine kept']:.3f}",
        f"{figures['distinct nearest']} ({figures['distinct nearest, oracle']})" if paired else "–",
        format(figures["collapse"], ".1%") if paired else "–",
        moves or "–",
    )
    return f"| {' | '.join(map(str, cells))} |"
