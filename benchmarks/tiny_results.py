"""The figures of docs/results.md on the embedded model: python benchmarks/tiny_results.py --out runs/results

Hardens `tiny` against `weapons` with each method, validates both on the same held-out prompts and picture
seeds, and prints the tables as markdown. Resumable: a finished run is not hardened again, pictures that exist
are not made again.
A cheaper variant for a first look: --n 20 --seeds 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import redirected
from PIL import Image

import safetext_sdk as st
from safetext_sdk.metrics.summary import summarise
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
        print(redirected.figures(redirected.Run(folder)))
        if args.sheets:
            sheet(folder, args.sheets / f"{args.policy}-{method}.png")


if __name__ == "__main__":
    main()
