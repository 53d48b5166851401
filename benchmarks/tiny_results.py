"""The figures of docs/results.md on the embedded model: python benchmarks/tiny_results.py --out runs/results

Hardens `tiny` against `weapons` with each method, validates both on the same held-out prompts and picture seeds, and prints the tables as
markdown. Resumable: a finished run is not hardened again, pictures that exist are not made again.
A cheaper variant for a first look: --n 20 --seeds 0
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import safetext_sdk as st
from safetext_sdk.report.tables import set_rows

COLUMNS = {
    "name": "set",
    "prompts": "prompts",
    "unsafe_before": "unsafe, undefended",
    "unsafe_after": "unsafe, hardened",
    "kept_before": "concept shown, undefended",
    "kept_after": "concept shown, hardened",
    "drop": "paired drop",
    "anchor": "anchor shown",
}


def run(method: str, out: Path, policy: str, n: int, seeds: tuple[int, ...], seed: int, attacks: tuple[str, ...]) -> dict[str, Any]:
    """Harden (or go on), validate, decide. Returns the summary with the verdict."""
    rules = st.load_policy(policy)
    hardened = st.harden("tiny", rules, method, out=out / f"{policy}-{method}-s{seed}", seed=seed, resume=True)
    report = st.validate(None, hardened, rules, n=n, seeds=seeds, attacks=attacks, cache=out / "pictures")
    return report.summary(st.gate(report, rules))


def table(summary: dict[str, Any]) -> str:
    """One row a set, as a markdown table."""
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row[key] for key in COLUMNS) + " |" for row in set_rows(summary)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    parser.add_argument("--policy", default="weapons")
    parser.add_argument("--methods", nargs="+", default=["anchor", "safetext"])
    parser.add_argument("--n", type=int, default=100, help="distinct prompts a set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="picture seeds")
    parser.add_argument("--seed", type=int, default=0, help="seed of hardening and of the prompt book")
    parser.add_argument("--attacks", nargs="*", default=[])
    args = parser.parse_args()
    for method in args.methods:
        summary = run(method, args.out, args.policy, args.n, tuple(args.seeds), args.seed, tuple(args.attacks))
        print(f"\n### {args.policy}, method `{method}`\n\n{table(summary)}\n\nVerdict: **{summary['verdict']}**")
        for gate in summary["gates"]:
            print("-", json.dumps(gate, ensure_ascii=False))


if __name__ == "__main__":
    main()
