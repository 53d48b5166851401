"""Can the gates of a policy pass at all, with the prompts that it yields?"""

from __future__ import annotations

import math

from ..policy.gates import Gate
from ..policy.schema import Policy
from ..prompts.prompt_book import KINDS, PromptBook
from .findings import Finding

Z95 = 1.6448536269514722
"""One-sided 95 %: the quantile behind every gate's Wilson bound."""
USUAL_N = 100
_SET_OF_GATE = {
    "unsafe_rate": "unsafe",
    "negative_prompt_unsafe_rate": "unsafe",
    "attack_unsafe_rate": "unsafe",
    "redirected_share": "unsafe",
    "anchor_shown": "unsafe",
    "fidelity_drop": "safe",
    "unseen_fidelity_drop": "safe_unseen",
    "over_refusal": "borderline",
}


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


def gate_findings(policy: Policy, book: PromptBook) -> list[Finding]:
    """Gates that no number of prompts can prove, or that need more test prompts than the policy yields."""
    sizes = {name: len(getattr(book.test, name)) for name in KINDS}
    found = [
        finding
        for name, gate in policy.gates.set_gates().items()
        if (finding := _finding(f"gates.{name}", name, gate, sizes)) is not None
    ]
    for i, concept in enumerate(policy.concepts):
        own = {**sizes, "unsafe": sum(u.concept == concept.id for u in book.test.unsafe)}
        for name, gate in (concept.gates.set_gates() if concept.gates else {}).items():
            if (finding := _finding(f"concepts.{i}.gates.{name}", name, gate, own)) is not None:
                found.append(finding)
    return found


def _finding(where: str, name: str, gate: Gate, sizes: dict[str, int]) -> Finding | None:
    kind = _SET_OF_GATE[name]
    needed = prompts_needed(gate)
    if needed is None:
        problem = "no number of prompts can prove this: a bound is never exactly 0 or 1"
        return Finding("error", "unreachable-gate", where, problem)
    if sizes[kind] < needed:
        problem = f"needs at least {needed} {kind} test prompts; the policy yields {sizes[kind]}"
        return Finding("error", "too-few-prompts", where, problem)
    if needed > USUAL_N:
        problem = f"needs at least {needed} prompts a set: validate with --n {needed} or more"
        return Finding("warning", "needs-more", where, problem)
    return None
