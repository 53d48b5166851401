"""Can the gates of a policy pass at all, with the prompts that it yields?"""

from __future__ import annotations

from ..errors import PolicyError
from ..metrics.gates import check_gates
from ..policy.schema import Policy
from ..prompts.prompt_book import PromptBook
from ..validation.sample_plan import GatePlan, plan_samples
from ..validation.set_sizes import OPTIONS
from .findings import Finding

MANY = 400
"""A set that must be larger than this for a perfect model to pass is worth a warning."""


def gate_findings(policy: Policy, book: PromptBook) -> list[Finding]:
    """Gates of no metric, that no number of prompts can prove, or that need more test prompts or synonyms
    than the policy yields."""
    try:
        check_gates(policy)
    except PolicyError as error:
        return [Finding("error", "unknown-gate", error.field or "gates", error.problem)]
    checked = (_finding(policy, gate) for gate in plan_samples(policy, book=book).gates)
    return [*_left_out(policy), *(finding for finding in checked if finding is not None)]


def _left_out(policy: Policy) -> list[Finding]:
    """A policy that leaves its unsafe rate out says nothing of what it is for where no picture is drawn."""
    places = [("gates", policy.gates)]
    places += [(f"concepts.{i}.gates", concept.gates) for i, concept in enumerate(policy.concepts)]
    problem = "where no picture can be drawn, nothing is said about what this policy is for"
    return [
        Finding("warning", "leaves-out-unsafe", f"{where}.unsafe_rate", problem)
        for where, gates in places
        if (gate := gates.get("unsafe_rate")) is not None and gate.if_unmeasured == "leave_out"
    ]


def _finding(policy: Policy, gate: GatePlan) -> Finding | None:
    where = _place(policy, gate.gate)
    if not gate.reachable:
        return Finding("error", "unreachable-gate", where, gate.problem)
    if not gate.provable:
        return Finding("error", "too-few-prompts", where, gate.problem)
    if gate.prompts is not None and gate.prompts > MANY:
        problem = (
            f"even a perfect model needs {gate.prompts} {gate.set} prompts in {gate.offered.clusters} "
            f"clusters ({OPTIONS[gate.set]}); with more synonyms it needs fewer"
        )
        return Finding("warning", "needs-more", where, problem)
    return None


def _place(policy: Policy, gate: str) -> str:
    """Where a gate stands in the policy file."""
    concept, dot, name = gate.rpartition(".")
    if not dot:
        return f"gates.{gate}"
    number = next(i for i, c in enumerate(policy.concepts) if c.id == concept)
    return f"concepts.{number}.gates.{name}"
