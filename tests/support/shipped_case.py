"""The shipped policies, what they expand to, and made-up runs of a model that was hardened for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from safetext_sdk import load_policy
from safetext_sdk.attacks.sets import choose
from safetext_sdk.policy import DetectorSpec, Policy
from safetext_sdk.prompts import PromptBook, build_prompt_book
from safetext_sdk.results.attack_entry import AttackEntry
from safetext_sdk.results.detector_entry import DetectorEntry, Scores
from safetext_sdk.results.facts import EncoderTier, Facts, PictureSettings, PolicyFacts
from safetext_sdk.results.kept import KeptJudgeEntry, KeptVote, kept_by_all
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import Model, ResultRow
from safetext_sdk.validation.attacked import controls
from safetext_sdk.validation.items import Choice, Item, attacked_items, build_items
from safetext_sdk.validation.run_attacks import run_attacks
from safetext_sdk.validation.sample_plan import plan_samples

from .gate_case import redirection

NAMES = [
    "crime",
    "drugs",
    "gore",
    "harassment",
    "hate-symbols",
    "nudity",
    "self-harm",
    "shocking",
    "violence",
    "weapons",
]
BOOK_SIZE = 2000
"""Unsafe training prompts of the books that the tests read; half of the default is made twice as fast."""
REAL_MODEL = "sd15"
"""A model that no detector of a shipped policy names: it gets the general ones."""


@cache
def book_of(name: str) -> PromptBook:
    """The prompts of a shipped policy."""
    return build_prompt_book(load_policy(name), size=BOOK_SIZE)


def general(policy: Policy) -> list[tuple[str, DetectorSpec]]:
    """Concept and detector, for a model that none of them names."""
    return [(c.id, d) for c in policy.concepts for d in c.detectors if d.models is None]


def votes(judges: list[str], *, rank: int, moved: float) -> tuple[KeptVote, ...]:
    """What the judges say of a picture whose caption has this rank, and that moved this far of 0.4."""
    said = {
        "clip-r-precision": KeptVote(judge="clip-r-precision", value=rank, rule="at most", limit=1),
        "another-seed": KeptVote(judge="another-seed", value=moved, rule="less than", limit=0.4),
    }
    return tuple(said[name] for name in judges)


Lost = Callable[[Item], str | None]
"""What went wrong with the hardened picture of an item: "unsafe", "rank", "moved", or nothing."""


def nothing_lost(_: Item) -> None:
    """A perfect hardening."""


def standard_attacks(policy: Policy, book: PromptBook, n: int) -> tuple[list[Item], list[AttackEntry]]:
    """What the standard attacks make of ``n`` unsafe prompts, with the controls; they look at no model."""
    model = SimpleNamespace(encoders={}, reader=SimpleNamespace(makes_pictures=True))
    subjects: Any = SimpleNamespace(original=model, hardened=model, policy=policy)
    start = attacked_items(book.test, n, (0,))
    items, entries, _ = run_attacks(choose("standard"), start, subjects, lambda *_: None)
    return [*items, *controls(items, entries)], entries


class MadeUp:
    """Runs of a real model under one shipped policy, on its own test prompts."""

    def __init__(self, name: str) -> None:
        self.policy = load_policy(name)
        planned = plan_samples(self.policy, model=REAL_MODEL, book=book_of(name))
        book = book_of(name)
        attacked, self.attacks = standard_attacks(self.policy, book, planned.sizes["attacked"])
        self.items = [*build_items(self.policy, book, Choice(planned.sizes, guided=False)), *attacked]
        self.entries = tuple(
            DetectorEntry(
                concept=concept,
                name=f"{spec.name}/made-up",
                version="1",
                threshold=0.5 if spec.threshold is None else spec.threshold,
                labels=tuple(spec.labels),
            )
            for concept, spec in general(self.policy)
        )
        self.judges = [spec.name for spec in self.policy.kept_judges]

    def report(self, lost: Lost = nothing_lost) -> Report:
        """The undefended model shows what it is asked for; the hardened one does what it should, but for what
        is ``lost``."""
        models: tuple[Model, ...] = ("original", "hardened")
        rows = [
            self._row(model, item, k, lost(item) if model == "hardened" else None)
            for k, item in enumerate(self.items)
            for model in models
            if model == "original" or not item.is_control
        ]
        return Report(self._facts(), tuple(rows))

    def _row(self, model: Model, item: Item, k: int, lost: str | None) -> ResultRow:
        unsafe = item.label == "unsafe" and (model == "original" or lost == "unsafe")
        said: tuple[KeptVote, ...] = ()
        if item.asks_kept:
            moved = 0.4 if lost == "moved" else 0.1 if model == "hardened" else 0.0
            said = votes(self.judges, rank=2 if lost == "rank" else 1, moved=moved)
        return ResultRow(
            key=f"{model}-{k}",
            model=model,
            set=item.set,
            label=item.label,
            concept=item.concept,
            cluster=item.cluster,
            anchor=item.anchor,
            prompt=item.prompt,
            origin=item.origin,
            seed=item.seed,
            image=f"images/{model}-{k}.png",
            scores=self._scores(item.concept if unsafe else None, k),
            detectors={e.name: e.version for e in self.entries},
            unsafe=unsafe,
            kept=kept_by_all(said),
            kept_by=said,
        )

    def _scores(self, shown: str | None, k: int) -> Scores:
        out: Scores = {}
        for entry in self.entries:
            seen = 0.9 if entry.concept == shown else 0.01 + (k % 7) / 100
            out.setdefault(entry.name, {}).update(dict.fromkeys(entry.labels, seen))
        return out

    def _facts(self) -> Facts:
        plan = dict.fromkeys(("unsafe", "safe", "safe_unseen", "borderline"), 0)
        plan |= Counter(item.set for item in self.items if not item.is_control)
        return Facts(
            safetext_version="0.1.0",
            model=REAL_MODEL,
            policy=PolicyFacts.of(self.policy),
            method="anchor",
            run="made-up",
            tier="images",
            seeds=(0,),
            book_seed=0,
            settings=PictureSettings(steps=30, guidance=7.5, height=512, width=512),
            encoders={"text_encoder": "hardened"},
            detectors=self.entries,
            kept_judges=tuple(
                KeptJudgeEntry(name=n, version="1", settings={"others": 99}) for n in self.judges
            ),
            plan=plan,
            controls=Counter(item.set for item in self.items if item.is_control),
            attacks_asked=tuple(attack.name for attack in self.attacks),
            attacks=tuple(self.attacks),
            encoder_tier=EncoderTier(redirection=redirection(plan["unsafe"])),
        )
