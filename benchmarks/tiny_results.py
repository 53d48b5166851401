"""The figures of docs/results.md on the embedded model: python benchmarks/tiny_results.py --out runs/results

Hardens `tiny` against `weapons` with each method, validates both on the same held-out prompts and picture
seeds, and prints the tables as markdown. Resumable: a finished run is not hardened again, pictures that exist
are not made again.
A cheaper variant for a first look: --n 20 --seeds 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import safetext_sdk as st
from safetext_sdk.detectors.detector_set import DetectorSet
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.prompts import build_prompt_book
from safetext_sdk.report.cells import set_cells
from safetext_sdk.results.rows import ResultRow, read_rows
from safetext_sdk.results.summary import Summary

COLUMNS = {
    "name": "set",
    "prompts": "prompts",
    "unsafe_before": "unsafe, undefended",
    "unsafe_after": "unsafe, hardened",
    "kept_before": "kept, undefended",
    "kept_after": "kept, hardened",
    "drop": "paired drop",
    "anchor": "anchor shown",
}


def run(
    method: str,
    out: Path,
    policy: str,
    n: int | None,
    seeds: tuple[int, ...],
    seed: int,
    attacks: tuple[str, ...],
    recipe: str | None = None,
) -> Summary:
    """Harden (or go on), validate, decide. Returns the summary with the verdict."""
    rules = st.load_policy(policy)
    hardened = st.harden(
        "tiny",
        rules,
        method,
        out=out / name_of(policy, method, seed, recipe),
        seed=seed,
        resume=True,
        recipe=recipe,
    )
    report = st.validate(None, hardened, rules, n=n, seeds=seeds, attacks=attacks, cache=out / "pictures")
    verdict = st.gate(report, rules)
    return summarise(report, verdict.gates, verdict.verdict)


def name_of(policy: str, method: str, seed: int, recipe: str | None) -> str:
    """The folder of a run."""
    return f"{policy}-{method}{f'-{recipe}' if recipe else ''}-s{seed}"


def table(summary: Summary) -> str:
    """One row a set, as a markdown table."""
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(getattr(row, key) for key in COLUMNS) + " |" for row in set_cells(summary)]
    return "\n".join(lines)


def gates(summary: Summary) -> str:
    """One row a gate, as a markdown table."""
    lines = ["| gate | verdict | why |", "|---|---|---|"]
    return "\n".join(lines + [f"| {g.name} | {g.verdict} | {g.reason} |" for g in summary.gates or ()])


def rows_of(folder: Path) -> list[ResultRow]:
    return read_rows(folder / "report" / "results.jsonl")


def pairs_of(folder: Path) -> list[tuple[ResultRow, ResultRow]]:
    """The undefended and the hardened picture of every unsafe prompt and seed."""
    found: dict[tuple[str, int], dict[str, ResultRow]] = {}
    for row in rows_of(folder):
        if row.set == "unsafe":
            found.setdefault((row.prompt, row.seed), {})[row.model] = row
    return [(both["original"], both["hardened"]) for both in found.values()]


def second_object(folder: Path, policy: str) -> str:
    """How often all detectors see what prompt and anchor both name: the other object of a pair."""
    pairs = pairs_of(folder)
    concepts = {row.concept for row, _ in pairs if row.concept}
    detectors = DetectorSet.build(st.load_policy(policy), "tiny", "cpu", concepts)
    seen = []
    for pair in pairs:
        anchor = detectors.expected(pair[0].anchor or "")
        other = set(anchor) & set(detectors.expected(pair[0].prompt))
        if len(anchor) > 1 and len(other) == 1:
            label = other.pop()
            judges = detectors.detectors.values()
            seen.append(
                [all(row.scores[d.name].get(label, 0.0) >= d.threshold for d in judges) for row in pair]
            )
    before, after = (sum(one[k] for one in seen) for k in (0, 1))
    return f"undefended {before}, hardened {after} of {len(seen)}; lost {sum(a and not b for a, b in seen)}"


def background(folder: Path, policy: str, seed: int, near: float = 0.12) -> str:
    """Where the prompt names a background colour: how often the median colour of the border, two pixels wide,
    stays within ``near`` of the undefended picture's (Euclidean, of RGB in [0, 1])."""
    book = build_prompt_book(st.load_policy(policy), model="tiny", seed=seed)
    coloured = {u.text for u in book.test.unsafe if "{colour}" in u.template}
    near_ones = [
        float(np.linalg.norm(border(folder / "report" / a.image) - border(folder / "report" / b.image)))
        <= near
        for a, b in pairs_of(folder)
        if a.prompt in coloured
    ]
    return f"{sum(near_ones)} of {len(near_ones)}"


def border(file: Path, width: int = 2) -> np.ndarray:
    """Median colour of the outermost pixels, RGB in [0, 1]."""
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float64) / 255
    inside = np.zeros(pixels.shape[:2], dtype=bool)
    inside[width:-width, width:-width] = True
    return np.asarray(np.median(pixels[~inside], axis=0))


def by_objects(folder: Path, policy: str, seed: int) -> str:
    """How often the anchor is seen by both detectors in redirected pictures, for prompts of one object and of
    two."""
    book = build_prompt_book(st.load_policy(policy), model="tiny", seed=seed)
    two = {u.text: "{other}" in u.template for u in book.test.unsafe}
    count = {False: [0, 0], True: [0, 0]}
    for row in rows_of(folder):
        if row.set == "unsafe" and row.model == "hardened" and row.anchor_shown is not None:
            cell = count[two[row.prompt]]
            cell[0], cell[1] = cell[0] + row.anchor_shown, cell[1] + 1
    return "; ".join(
        f"{name} object{'s' if name == 'two' else ''} {k / n:.1%} (n = {n})"
        for name, (k, n) in zip(("one", "two"), count.values(), strict=True)
        if n
    )


def sheet(folder: Path, out: Path, prompts: int = 12, columns: int = 4, scale: int = 2) -> None:
    """The first prompts of the unsafe and the safe set, nothing picked: undefended on the left of each pair,
    hardened on the right."""
    pairs = []
    for name in ("unsafe", "safe"):
        found: dict[str, dict[str, Path]] = {}
        for row in rows_of(folder):
            if row.set == name:
                found.setdefault(row.prompt, {}).setdefault(row.model, folder / "report" / row.image)
        pairs += [(v["original"], v["hardened"]) for v in list(found.values())[:prompts]]
    first = Image.open(pairs[0][0])
    w, h, gap = first.width * scale, first.height * scale, 8
    rows = -(-len(pairs) // columns)
    canvas = Image.new("RGB", (columns * (2 * w + gap) - gap, rows * (h + gap) - gap), "white")
    for i, pair in enumerate(pairs):
        for j, file in enumerate(pair):
            picture = Image.open(file).resize((w, h), Image.Resampling.LANCZOS)
            canvas.paste(picture, ((i % columns) * (2 * w + gap) + j * w, i // columns * (h + gap)))
    canvas.save(out, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    parser.add_argument("--policy", default="weapons")
    parser.add_argument("--methods", nargs="+", default=["anchor", "safetext"])
    parser.add_argument("--n", type=int, help="distinct prompts a set; as planned without it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="picture seeds")
    parser.add_argument("--seed", type=int, default=0, help="seed of hardening and of the prompt book")
    parser.add_argument("--recipe", help="fast, default, thorough, or a recipe's name")
    parser.add_argument("--attacks", nargs="*", default=["standard"])
    parser.add_argument("--sheets", type=Path, help="folder for one sheet of pictures a method")
    args = parser.parse_args()
    for method in args.methods:
        summary = run(
            method,
            args.out,
            args.policy,
            args.n,
            tuple(args.seeds),
            args.seed,
            tuple(args.attacks),
            args.recipe,
        )
        print(
            f"\n### {args.policy}, method `{method}`\n\n{table(summary)}\n\nVerdict: "
            f"**{summary.verdict}**\n\n{gates(summary)}\n"
        )
        folder = args.out / name_of(args.policy, method, args.seed, args.recipe)
        print("Anchor shown: " + by_objects(folder, args.policy, args.seed))
        print("Second object of a pair: " + second_object(folder, args.policy))
        print("Background colour stays: " + background(folder, args.policy, args.seed))
        if args.sheets:
            sheet(folder, args.sheets / f"{args.policy}-{method}.png")


if __name__ == "__main__":
    main()
