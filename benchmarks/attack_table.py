"""Reports of `safetext attack` as one table, and one sheet of their pictures.

    for a in context typos gcg-encoder; do
      safetext attack runs/w --attack $a --budget small --out runs/attacks/$a
    done
    python benchmarks/attack_table.py runs/attacks/* --sheet docs/images/attacks.png

One markdown row an attack, in the order of the folders, without columns in which nothing stands. Both models
draw the same texts, which an attack that searches has found against the hardened one. Bounds are one-sided
95 %; costs are those of one prompt.

The sheet shows two prompts an attack, undefended on the left of each pair and hardened on the right: the
first of the report whose text got through, and the first for which none did. Where all fall on one side, the
first two of that. Nothing else is picked.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from safetext_sdk.results.attack_summary import AttackLine, AttackSummary
from safetext_sdk.results.figures import Figure
from safetext_sdk.results.report import RESULTS, SUMMARY
from safetext_sdk.results.rows import ResultRow, read_rows

HEAD = (
    "attack",
    "n",
    "undefended",
    "hardened",
    "any of its seeds",
    "random, equal cost",
    "control",
    "queries",
    "passes",
    "seconds",
)
NONE = "–"
SIDE, GAP, LABEL, COLUMNS = 96, 6, 20, 2
THROUGH, HELD = (190, 30, 30), (90, 90, 90)


@dataclass(frozen=True)
class Pair:
    """One attacked text on both models."""

    original: Path
    hardened: Path
    through: bool


def summary_of(folder: Path) -> AttackSummary:
    """The figures of a report."""
    return AttackSummary.model_validate_json((folder / SUMMARY).read_text(encoding="utf-8"))


def table(summaries: Sequence[AttackSummary]) -> Iterator[str]:
    """The lines of a markdown table, a row for every attack; columns in which nothing stands are left out."""
    rows = [_cells(line) for summary in summaries for line in summary.attacks]
    used = [i for i in range(len(HEAD)) if any(row[i] != NONE for row in rows)]
    for row in (HEAD, ["---"] * len(HEAD), *rows):
        yield f"| {' | '.join(row[i] for i in used)} |"


def _cells(line: AttackLine) -> list[str]:
    entry, rate = line.entry, line.rate
    if rate is None:
        return [f"`{entry.name}`", "0", f"impossible: {entry.impossible}", *[NONE] * (len(HEAD) - 3)]
    each = max(1, entry.prompts)
    seeds, chance = line.any_seed, line.random
    any_seed = NONE if seeds is None else f"{_share(seeds.hardened)}, {len(seeds.seeds)} seeds"
    cost = [f"{total / each:,.0f}" if total else NONE for total in (entry.queries, entry.forward_passes)]
    return [
        f"`{entry.name}`",
        str(entry.prompts),
        _share(rate.original),
        _share(rate.hardened),
        any_seed,
        _share(chance.hardened) if chance is not None else NONE,
        _share(line.control),
        *cost,
        f"{entry.seconds / each:,.1f}",
    ]


def _share(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return NONE
    lower, upper = (round(100 * (bound or 0.0), 1) for bound in (figure.lower, figure.upper))
    return f"{round(100 * figure.value, 1):g} % ({lower:g}–{upper:g})"


def pairs_of(folder: Path, attack: str) -> list[Pair]:
    """Two prompts of an attack; see the head of this file."""
    found: dict[str, dict[tuple[str, str, float], dict[str, ResultRow]]] = {}
    for row in read_rows(folder / RESULTS):
        if row.set == attack and row.origin is not None:
            text = (row.prompt, row.negative_prompt, row.guidance)
            found.setdefault(row.origin, {}).setdefault(text, {})[row.model] = row
    pairs = []
    for texts in found.values():
        drawn = [each for each in texts.values() if {"original", "hardened"} <= set(each)]
        # The first that got through, else the first.
        best = max(drawn, key=lambda each: each["hardened"].unsafe)
        original, hardened = best["original"], best["hardened"]
        pairs.append(Pair(folder / original.image, folder / hardened.image, hardened.unsafe))
    first = [next((p for p in pairs if p.through is wanted), None) for wanted in (True, False)]
    chosen = [pair for pair in first if pair is not None]
    return chosen if len(chosen) == 2 else pairs[:2]


def sheet(attacks: Sequence[tuple[str, str, Sequence[Pair]]], out: Path) -> None:
    """One picture of all attacks: (name, what is said beside it, pairs)."""
    width, height = 4 * SIDE + 3 * GAP, LABEL + SIDE + GAP
    canvas = Image.new(
        "RGB", (COLUMNS * (width + 4 * GAP) - 4 * GAP, -(-len(attacks) // COLUMNS) * height - GAP), "white"
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    for i, (name, said, pairs) in enumerate(attacks):
        left, top = (i % COLUMNS) * (width + 4 * GAP), i // COLUMNS * height
        draw.text((left, top + 2), f"{name}   {said}", fill="black", font=font)
        for j, pair in enumerate(pairs):
            at = left + j * (2 * SIDE + 2 * GAP)
            for k, file in enumerate((pair.original, pair.hardened)):
                with Image.open(file) as picture:
                    shown = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                canvas.paste(shown, (at + k * (SIDE + 1), top + LABEL))
            frame = (at + SIDE + 1, top + LABEL, at + 2 * SIDE, top + LABEL + SIDE - 1)
            draw.rectangle(frame, outline=THROUGH if pair.through else HELD, width=2)
    out.parent.mkdir(parents=True, exist_ok=True)
    canvas.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)


def through(line: AttackLine) -> str:
    """``5 of 24``: prompts that got through to the hardened model."""
    figure = line.rate.hardened if line.rate is not None else None
    if figure is None or figure.value is None:
        return ""
    return f"{round(figure.value * figure.n)} of {figure.n} got through"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reports", type=Path, nargs="+", help="report folders of `safetext attack`")
    parser.add_argument("--sheet", type=Path, help="PNG file for the pictures")
    args = parser.parse_args()
    summaries = [summary_of(folder) for folder in args.reports]
    print("\n".join(table(summaries)))
    shown = [
        (line.entry.name, through(line), pairs_of(folder, line.entry.name))
        for folder, summary in zip(args.reports, summaries, strict=True)
        for line in summary.attacks
        if line.entry.role == "attack" and line.rate is not None and line.rate.hardened is not None
    ]
    if args.sheet is not None and shown:
        sheet(shown, args.sheet)


if __name__ == "__main__":
    main()
