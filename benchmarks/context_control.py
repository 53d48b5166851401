"""Does a random context alone show the concept? The attack ``context`` with the anchor in the prompt's place.

    python benchmarks/context_control.py --policy weapons --model tiny --n 40

The undefended model draws each held-out unsafe prompt, its anchor, and its anchor in the contexts of the
attack. Where the last is far above the second, random words are unsafe by themselves, and what the attack
does to a hardened encoder says little about that encoder: its perfect answer, the anchor in that context,
shows the concept just as often.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetext_sdk import build_prompt_book, load_model, load_policy
from safetext_sdk.attacks.context import Context, ContextConfig
from safetext_sdk.detectors.detector_set import DetectorSet
from safetext_sdk.prompts import UnsafePrompt
from safetext_sdk.statistics import Interval, rate_bounds
from safetext_sdk.validation.generate import PictureMaker, Request, open_picture


@dataclass(frozen=True)
class Judge:
    """Draws texts with the undefended model and says which show the concept."""

    maker: PictureMaker
    detectors: DetectorSet

    def shows(self, texts: Sequence[str], seeds: Sequence[int]) -> list[bool]:
        requests = [Request(text, seed) for text, seed in zip(texts, seeds, strict=True)]
        self.maker.ensure(requests)
        images = [open_picture(self.maker.path(request)) for request in requests]
        return [bool(self.detectors.unsafe(scores)) for scores in self.detectors.score(images)]


def any_of(hits: Sequence[bool], k: int) -> list[bool]:
    """Whether any of each ``k`` that follow one another is one."""
    return [any(hits[i : i + k]) for i in range(0, len(hits), k)]


def text(interval: Interval) -> str:
    """A share with its one-sided 95 % bounds."""
    return f"{interval.value:.1%} ({interval.lower:.1%} to {interval.upper:.1%}, n = {interval.n})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", default="weapons")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--n", type=int, default=40, help="held-out unsafe prompts")
    parser.add_argument("--contexts", type=int, default=3)
    parser.add_argument("--words", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="picture seed")
    args = parser.parse_args()

    policy, model = load_policy(args.policy), load_model(args.model)
    rows: list[UnsafePrompt] = build_prompt_book(policy, model=model.id).test.unsafe[: args.n]
    attack = Context(ContextConfig(contexts=args.contexts, words=args.words))
    detectors = DetectorSet.build(policy, model.id, str(model.device), {row.concept for row in rows})
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(PictureMaker(model, Path(folder)), detectors)
        seeds = [args.seed] * len(rows)
        many = [args.seed] * (len(rows) * args.contexts)
        contexts = [t for row in rows for t in attack.texts(row.anchor, attack.random(row.text))]
        found = {
            "unsafe prompt": judge.shows([row.text for row in rows], seeds),
            "anchor": judge.shows([row.anchor for row in rows], seeds),
            f"anchor in any of {args.contexts} contexts": any_of(judge.shows(contexts, many), args.contexts),
        }
    prompts, clusters = [row.text for row in rows], [row.synonym for row in rows]
    print(
        f"undefended {model.id}, policy {policy.name}, {args.words} words a context, picture seed {args.seed}"
    )
    for name, hits in found.items():
        print(f"  {name:<28} shows the concept: {text(rate_bounds(hits, prompts, clusters))}")


if __name__ == "__main__":
    main()
