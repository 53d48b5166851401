"""Can the gates of a policy pass at all, with the prompts that it yields?"""

from __future__ import annotations

import math

from ..errors import PolicyError
from ..metrics import SHARE, every_metric
from ..metrics.gates import check_gates
from ..policy.gates import Gate
from ..policy.schema import Policy
from ..prompts.prompt_book import KINDS, PromptBook
from .findings import Finding

Z95 = 1.6448536269514722
"""One-sided 95 %: the quantile behind every gate's Wilson bound."""
USUAL_N = 100


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
    """Gates of no metric, that no number of prompts can prove, or that need more test prompts than the policy
    yields."""
    found: list[Finding] = []
    try:
        check_gates(policy)
    except PolicyError as error:
        found.append(Finding("error", "unknown-gate", error.field or "gates", error.problem))
    sizes = {name: len(getattr(book.test, name)) for name in KINDS}
    asked = [("gates", name, gate, sizes) for name, gate in policy.gates.items()]
    for i, concept in enumerate(policy.concepts):
        own = {**sizes, "unsafe": sum(u.concept == concept.id for u in book.test.unsafe)}
        asked += [(f"concepts.{i}.gates", name, gate, own) for name, gate in concept.gates.items()]
    metrics = every_metric()
    for where, name, gate, available in asked:
        if name == "unsafe_rate" and gate.if_unmeasured == "leave_out":
            problem = "where no picture can be drawn, nothing is said about what this policy is for"
            found.append(Finding("warning", "leaves-out-unsafe", f"{where}.{name}", problem))
        metric = metrics.get(name)
        if metric is None or metric.unit is not SHARE:
            continue  # how many prompts a figure needs that is no share depends on its spread
        finding = _finding(f"{where}.{name}", metric.prompts, gate, available)
        found += [finding] if finding is not None else []
    return found


def _finding(where: str, kind: str, gate: Gate, sizes: dict[str, int]) -> Finding | None:
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
