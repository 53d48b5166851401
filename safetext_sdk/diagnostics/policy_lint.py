"""What is wrong with a policy that loads: mistakes that would make a verdict meaningless, and things worth a
    second look.

Errors: unsafe anchors, one text on both sides, gates that no result can pass, too few prompts for a gate,
unknown detectors, sexual content with minors (refused on loading already). Everything else is a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..errors import PolicyError, UsageError
from ..metrics import SHARE, every_metric
from ..metrics.gates import check_gates
from ..policy.minors import refuse_minors
from ..policy.schema import Concept, Gate, Policy
from ..prompts.build import PromptBook, build_prompt_book
from ..prompts.expand import UnsafePrompt
from ..prompts.splits import Words

Level = Literal["error", "warning"]
Say = Callable[[Level, str, str, str], None]
Z95 = 1.6448536269514722
"""One-sided 95 %: the quantile behind every gate's Wilson bound."""
USUAL_N = 100
MIN_HELD_OUT_WORDS = 5


@dataclass(frozen=True)
class Finding:
    """One thing that lint found. ``where``: dotted path of the field."""

    level: Level
    code: str
    where: str
    message: str


def prompts_needed(gate: Gate) -> int | None:
    """How many independent prompts a gate needs even if every one of them goes well; None if no number is
    enough.

    With k = 0 failures of n the upper Wilson bound is z²/(n + z²); with all n successes the lower one is n/(n
    + z²).
    """
    z2 = Z95 * Z95
    if gate.max is not None:
        return None if gate.max <= 0 else max(1, math.ceil(z2 * (1 - gate.max) / gate.max))
    share = gate.min or 0.0
    return None if share >= 1 else max(1, math.ceil(z2 * share / (1 - share)))


def lint_policy(policy: Policy, *, model: str | None = None, seed: int = 0) -> list[Finding]:
    """All findings, errors first.

    Args:
        policy: a loaded policy. model, seed: as for `build_prompt_book`, which is built once to count
            prompts.
    """
    found: list[Finding] = []

    def add(level: Level, code: str, where: str, message: str) -> None:
        found.append(Finding(level, code, where, message))

    try:
        refuse_minors(policy)
    except PolicyError as error:
        add("error", "minors", error.field or "concepts", error.problem)
        return found
    _texts(policy, add)
    _parts(policy, add)
    try:
        book = build_prompt_book(policy, seed=seed, model=model)
    except PolicyError as error:
        add("error", "prompts", error.field or "concepts", str(error))
    else:
        _book(policy, book, add)
        _gates(policy, book, add)
    return sorted(found, key=lambda f: f.level)


def require_clean(findings: list[Finding], file: str) -> None:
    """Raise a PolicyError that counts the errors, if there are any.

    Raises:
        PolicyError: with the first error.
    """
    errors = [f for f in findings if f.level == "error"]
    if errors:
        more = f" [and {len(errors) - 1} more]" if len(errors) > 1 else ""
        raise PolicyError(f"{errors[0].message}{more}", file=file, field=errors[0].where)


def _texts(policy: Policy, say: Say) -> None:
    unsafe_exact = {t.casefold(): c.id for c in policy.concepts for t in c.words}
    unsafe_exact.update(
        {r.text.casefold(): c.id for c in policy.concepts for r in c.unsafe_prompts if r.text}
    )
    words = Words(w for c in policy.concepts for w in c.words)
    for name in ("safe_prompts", "borderline_prompts"):
        for k, ref in enumerate(getattr(policy, name)):
            if ref.text is None:
                continue
            if ref.text.casefold() in unsafe_exact:
                say(
                    "error",
                    "overlap",
                    f"{name}.{k}",
                    f"{ref.text!r} is an unsafe prompt of {unsafe_exact[ref.text.casefold()]!r} as well",
                )
            elif name == "safe_prompts" and (hit := words.search(ref.text)):
                say(
                    "warning",
                    "names-unsafe",
                    f"{name}.{k}",
                    f"{ref.text!r} names {hit!r}: should it stand under borderline_prompts?",
                )
    for i, concept in enumerate(policy.concepts):
        for k, text in enumerate(concept.near_misses):
            if text.casefold() in unsafe_exact:
                say(
                    "error",
                    "overlap",
                    f"concepts.{i}.near_misses.{k}",
                    f"{text!r} is an unsafe prompt as well",
                )
        for k, anchor in enumerate(
            [*concept.anchors, *(a for own in concept.anchors_for.values() for a in own)]
        ):
            if hit := words.search(anchor):
                say(
                    "error",
                    "unsafe-anchor",
                    f"concepts.{i}.anchors.{k}",
                    f"the anchor {anchor!r} names {hit!r}, which is unsafe itself",
                )
        for k, ref in enumerate(concept.unsafe_prompts):
            if ref.anchor and (hit := words.search(ref.anchor)):
                say(
                    "error",
                    "unsafe-anchor",
                    f"concepts.{i}.unsafe_prompts.{k}.anchor",
                    f"the anchor {ref.anchor!r} names {hit!r}",
                )


def _parts(policy: Policy, say: Say) -> None:
    from ..detectors import DETECTORS

    owner: dict[str, str] = {}
    for i, concept in enumerate(policy.concepts):
        where = f"concepts.{i}"
        if not concept.anchors and (
            concept.terms or any(not r.brings_anchors for r in concept.unsafe_prompts)
        ):
            say(
                "error",
                "no-anchor",
                f"{where}.anchors",
                f"the concept {concept.id!r} has terms but no anchor to redirect them to",
            )
        for word in concept.words:
            if owner.setdefault(word.casefold(), concept.id) != concept.id:
                say(
                    "warning",
                    "same-term",
                    f"{where}.terms",
                    f"{word!r} stands in {owner[word.casefold()]!r} and in {concept.id!r}",
                )
        if not concept.detectors:
            say(
                "warning",
                "no-detector",
                f"{where}.detectors",
                f"no detector looks for {concept.id!r}: its pictures cannot be judged",
            )
        elif all(d.models for d in concept.detectors):
            models = sorted({m for d in concept.detectors for m in d.models or []})
            say(
                "warning",
                "no-detector",
                f"{where}.detectors",
                f"{concept.id!r} can only be judged on {', '.join(models)}",
            )
        for k, spec in enumerate(concept.detectors):
            if spec.name not in DETECTORS.names():
                try:
                    DETECTORS.get(spec.name)
                except UsageError as error:
                    say("error", "unknown-detector", f"{where}.detectors.{k}.name", str(error))
        if concept.detector_rule == "all" and len(concept.detectors) > 1:
            say(
                "warning",
                "lenient-rule",
                f"{where}.detector_rule",
                "with `all`, a picture that only one judge finds unsafe counts as safe",
            )
        if not concept.description:
            say(
                "warning",
                "no-description",
                f"{where}.description",
                f"say what belongs to {concept.id!r} and what does not",
            )
    if not policy.safe_prompts:
        say(
            "warning",
            "no-safe",
            "safe_prompts",
            "no safe prompts: nothing proves that the model still draws. Add {shipped: everyday}",
        )
    if not policy.borderline_prompts:
        say(
            "warning",
            "no-borderline",
            "borderline_prompts",
            "no borderline prompts: over-refusal cannot be measured",
        )
    if not policy.gates:
        say("warning", "no-gates", "gates", "no gates: nothing can pass")


def _book(policy: Policy, book: PromptBook, say: Say) -> None:
    for i, concept in enumerate(policy.concepts):
        rows = [u for u in book.test.unsafe if u.concept == concept.id]
        trained = [u for u in book.train.unsafe if u.concept == concept.id]
        if not rows and not trained:
            continue  # this model's world has no words for it
        held = {u.synonym for u in rows}
        if not rows:
            say(
                "warning",
                "nothing-held-out",
                f"concepts.{i}.terms",
                f"{concept.id!r} has too few words and templates to hold any out for a test",
            )
        elif len(held) < MIN_HELD_OUT_WORDS:
            say(
                "warning",
                "few-words",
                f"concepts.{i}.terms",
                f"only {len(held)} held-out words of {concept.id!r}: the test says little about other words",
            )
        _crossed(concept, i, policy, trained[:500] + rows[:500], say)


def _crossed(concept: Concept, i: int, policy: Policy, rows: list[UnsafePrompt], say: Say) -> None:
    """An anchor prompt that another concept calls unsafe (after composition)."""
    for other in policy.concepts:
        words = Words(w for w in other.words if len(w) > 2) if other.id != concept.id else Words(())
        hit = next((r.anchor for r in rows if words.search(r.anchor)), None)
        if hit is not None:
            say(
                "warning",
                "crossed-anchor",
                f"concepts.{i}.anchors",
                f"the anchor prompt {hit!r} of {concept.id!r} names a word of {other.id!r}",
            )


def _gates(policy: Policy, book: PromptBook, say: Say) -> None:
    test, metrics = book.test, every_metric()
    try:
        check_gates(policy)
    except PolicyError as error:
        say("error", "unknown-gate", error.field or "gates", error.problem)
    sizes = {name: len(getattr(test, name)) for name in ("unsafe", "safe", "safe_unseen", "borderline")}
    asked = [("gates", name, gate, sizes) for name, gate in policy.gates.items()]
    for i, concept in enumerate(policy.concepts):
        own = sizes | {"unsafe": sum(u.concept == concept.id for u in test.unsafe)}
        asked += [(f"concepts.{i}.gates", name, gate, own) for name, gate in concept.gates.items()]
    for where, name, gate, available in asked:
        metric = metrics.get(name)
        if metric is None or metric.unit is not SHARE:
            continue  # how many prompts a figure needs that is no share depends on its spread
        needed = prompts_needed(gate)
        if needed is None:
            say(
                "error",
                "unreachable-gate",
                f"{where}.{name}",
                "no number of prompts can prove this: a bound is never exactly 0 or 1",
            )
        elif available[metric.prompts] < needed:
            say(
                "error",
                "too-few-prompts",
                f"{where}.{name}",
                f"needs at least {needed} {metric.prompts} test prompts; the policy yields "
                f"{available[metric.prompts]}",
            )
        elif needed > USUAL_N:
            say(
                "warning",
                "needs-more",
                f"{where}.{name}",
                f"needs at least {needed} prompts a set: validate with --n {needed} or more",
            )
