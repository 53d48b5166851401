"""How strong the attacks that search are: their unsafe rate on a model, beside a random search of equal cost.

    python benchmarks/attack_strength.py --policy weapons --model tiny --attack coordinate-descent mma
    python benchmarks/attack_strength.py --policy weapons --model tiny --run runs/w --start prompt

Held-out unsafe prompts of the policy. With ``--start blank-term``, the default, the policy's words are taken
out of the prompt before the search, so that an attack has to find them: its yardstick on an undefended model
(without ``--run``). `genetic`, which aims at pictures and not at a prompt, is given the prompt without them;
`sneakyprompt` takes them out itself. Every text found is drawn once by the ordinary pipeline with the picture
seed, and judged by the policy's detectors. One markdown row an attack, as soon as it is known; bounds are
one-sided 95 %.

Where random draws bring the word back as often, the rate cannot tell them from a search. What both try to
make small can: the mean distance to the goal that the texts found have, of the search and of the random one,
and for how many prompts the search came nearer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetext_sdk import build_prompt_book, load_model, load_policy
from safetext_sdk.attacks import ATTACKS, Attack, AttackContext, AttackResult
from safetext_sdk.attacks.token_attack import without
from safetext_sdk.detectors.detector_set import DetectorSet
from safetext_sdk.models import TextToImageModel
from safetext_sdk.policy import Policy
from safetext_sdk.prompts import UnsafePrompt
from safetext_sdk.statistics import Interval, rate_bounds
from safetext_sdk.validation.generate import PictureMaker, Request, open_picture
from safetext_sdk.validation.judge import PictureJudge

SEARCHES = (
    "gcg-encoder",
    "gcg-denoiser",
    "unlearndiffatk",
    "p4d",
    "coordinate-descent",
    "ring-a-bell",
    "mma",
    "genetic",
    "sneakyprompt",
)


@dataclass(frozen=True)
class Judge:
    """Draws texts with the attacked model and says which show the concept."""

    maker: PictureMaker
    detectors: DetectorSet
    seed: int

    def shows(self, texts: Sequence[str]) -> list[bool]:
        requests = [Request(text, self.seed) for text in texts]
        self.maker.ensure(requests)
        images = [open_picture(self.maker.path(request)) for request in requests]
        return [bool(self.detectors.unsafe(scores)) for scores in self.detectors.score(images)]


@dataclass(frozen=True)
class Bench:
    """The prompts and what attacks them."""

    rows: Sequence[UnsafePrompt]
    context: AttackContext
    judge: Judge
    blank: Sequence[str]
    """The prompts without the policy's words."""

    def rate(self, texts: Sequence[str]) -> Interval:
        """The unsafe rate of one text a prompt."""
        return rate_bounds(
            self.judge.shows(texts), [row.text for row in self.rows], [row.synonym for row in self.rows]
        )

    def attacked(self, attack: Attack[Any], given: Sequence[str]) -> list[AttackResult]:
        """What became of every prompt, in their order."""
        found = {r.prompt: r for r in attack.attack(list(dict.fromkeys(given)), self.context)}
        return [found[text] for text in given]


def nearer(found: Sequence[AttackResult], chance: Sequence[AttackResult]) -> str:
    """How near to its goal a search came beside the random one: both mean distances, and for how many prompts
    it came nearer. A dash for attacks that tell no distance."""
    both = [[(r.notes or {}).get("distance") for r in results] for results in (found, chance)]
    search, random = ([float(d) for d in distances if d is not None] for distances in both)
    if len(search) != len(found) or len(random) != len(found):
        return "–"
    won = sum(a < b for a, b in zip(search, random, strict=True))
    return f"{sum(search) / len(search):.3f} to {sum(random) / len(random):.3f}, {won} of {len(found)}"


def text(interval: Interval) -> str:
    """A share with its one-sided 95 % bounds."""
    return f"{interval.value:.0%} ({interval.lower:.1%} to {interval.upper:.1%})"


def settings(attack: type[Attack[Any]], args: argparse.Namespace) -> dict[str, Any]:
    """Settings that were given and that the attack has."""
    given = dict(pair.split("=", 1) for pair in args.set)
    given |= {"seed": args.attack_seed, "start": args.start, "prompts_at_once": args.n}
    return {name: value for name, value in given.items() if name in attack.Config.model_fields}


def run(bench: Bench, name: str, args: argparse.Namespace) -> None:
    """Attack, draw, and print the row."""
    kind = ATTACKS.get(name)
    attack = kind.for_budget(args.budget, **settings(kind, args))
    begun = time.monotonic()
    blanked = args.start == "blank-term" and name == "genetic"
    given = bench.blank if blanked else [row.text for row in bench.rows]
    found = bench.attacked(attack, given)
    seconds = time.monotonic() - begun
    rate = bench.rate([result.texts[0] for result in found])
    baseline = None if args.no_baseline else attack.baseline()
    chance = bench.attacked(baseline, given) if baseline is not None else None
    passes = sum(r.forward_passes for r in found) / len(found)
    beside, near = "not measured", "–"
    if chance is not None:
        beside, near = text(bench.rate([r.texts[0] for r in chance])), nearer(found, chance)
    print(f"| `{name}` | {text(rate)} | {beside} | {near} | {passes:,.0f} | {seconds:.0f} |", flush=True)
    if args.texts is not None:
        keep(args.texts / f"{name}.jsonl", found)
        keep(args.texts / f"{name}.random.jsonl", chance or ())


def keep(path: Path, found: Sequence[AttackResult]) -> None:
    """Write what was found, a line a prompt; nothing where there is nothing."""
    if found:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"prompt": r.prompt, "texts": r.texts, **(r.notes or {})}) for r in found]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", default="weapons")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--run", help="a run folder: attack its hardened encoder instead of the model's own")
    parser.add_argument("--attack", nargs="+", default=list(SEARCHES))
    parser.add_argument("--budget", choices=("small", "paper"), default="small")
    parser.add_argument("--start", choices=("prompt", "blank-term"), default="blank-term")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the attacks")
    parser.add_argument("--n", type=int, default=24, help="held-out unsafe prompts")
    parser.add_argument("--seed", type=int, default=0, help="picture seed")
    parser.add_argument("--attack-seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", help="half precision blurs small differences")
    parser.add_argument("--no-baseline", action="store_true", help="leave the random search out")
    parser.add_argument("--texts", type=Path, help="folder for what was found, one file an attack")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    policy: Policy = load_policy(args.policy)
    original: TextToImageModel = load_model(args.model, device=args.device, precision=args.precision)
    attacked = load_model(args.run, device=args.device, precision=args.precision) if args.run else original
    found = build_prompt_book(policy, model=original.id).test.unsafe
    rows = found[:: max(1, len(found) // args.n)][: args.n]
    detectors = DetectorSet.build(policy, original.id, str(original.device), {row.concept for row in rows})
    words = [word for concept in policy.concepts for word in concept.words]
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(PictureMaker(attacked, Path(folder)), detectors, args.seed)
        looks = PictureJudge(lambda: judge.maker, detectors, (args.seed,))
        context = AttackContext(original, attacked, policy, picture_seeds=(args.seed,), judge=looks)
        blank = [without(row.text, words) or "a picture" for row in rows]
        bench = Bench(rows, context, judge, blank)
        print(
            f"{args.run or f'undefended {original.id}'}, policy {policy.name}, {len(rows)} held-out prompts, "
            f"picture seed {args.seed}, attack seed {args.attack_seed}, budget {args.budget}, start "
            f"{args.start}, on {original.device}\n"
        )
        print(f"no attack: {text(bench.rate([row.text for row in rows]))}; ", end="")
        print(f"without the policy's words: {text(bench.rate(blank))}\n")
        head = ("attack", "unsafe rate", "random search of equal cost", "distance: search to random, nearer")
        print(f"| {' | '.join((*head, 'forward passes a prompt', 'seconds'))} |")
        print("|---|---|---|---|---|---|", flush=True)
        for name in args.attack:
            run(bench, name, args)


if __name__ == "__main__":
    main()
