"""A sample plan for people: as text for a terminal, and as the table of docs/policies.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..metrics import SHARE
from ..policy.load import load_policy, shipped_policies
from ..validation.sample_plan import GatePlan, SamplePlan, plan_samples
from ..validation.set_sizes import OPTIONS

PLANS = Path(__file__).with_name("policy_plans.md")
"""The table of all shipped policies, which the policy reference page includes: it takes a minute to make."""
SMALL_WORLDS = {"tiny": ("weapons", "gore")}
"""Model with a small world: the shipped policies that its world has words for."""
HEAD = ("gate", "asks for", "needs", "offered", "planned", "perfect proves", "good model passes")


NARROW = ("gate", "asks for", "needs", "offered", "planned", "proves", "passes")
"""The same for a terminal of 80 columns; two lines below the table say what they mean."""


def plan_text(plan: SamplePlan) -> str:
    """The gates of one policy as aligned columns, then the command that draws what is planned, then what
    cannot be proven."""
    rows = [NARROW, *(_narrow(gate) for gate in plan.gates)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(NARROW))]
    lines = [f"{plan.policy} on {plan.model or 'any real model'}", ""]
    lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [
        "",
        "needs, offered, planned: prompts / clusters of one synonym or group",
        "proves: the bound of a perfect model; passes: how often a good one does",
    ]
    sizes = {OPTIONS[name]: n for name, n in plan.sizes.items()}
    lines += ["", f"validate draws by default: {' '.join(f'{o} {n}' for o, n in sizes.items())}"]
    lines.append("one seed is enough: more seeds of a prompt sharpen its outcome and are no further trial")
    lines += [f"{name}: no share; what it needs depends on how its values spread" for name in plan.left_out]
    lines += [f"cannot be proven: {g.gate}: {g.problem}" for g in plan.gates if not g.provable]
    return "\n".join(lines)


def plan_table(plans: Sequence[SamplePlan]) -> str:
    """The plans of several policies as one markdown table."""
    head = ("policy", "model", *HEAD)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for plan in plans:
        for gate in plan.gates:
            cells = (plan.policy, plan.model or "real", *_cells(gate))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shipped_table() -> str:
    """`plan_table` of every shipped policy on a real model, and on the embedded one where its world has words
    for it."""
    on: list[tuple[str, str | None]] = [(name, None) for name in shipped_policies()]
    on += [(name, model) for model, names in SMALL_WORLDS.items() for name in names]
    return plan_table([plan_samples(load_policy(name), model=model) for name, model in on])


def _narrow(gate: GatePlan) -> tuple[str, ...]:
    sign = "<=" if gate.side == "max" else ">="
    more = "no number" if gate.clusters is None else f"{gate.clusters} clusters"
    return (
        gate.gate,
        f"{sign} {SHARE.write(gate.threshold)}",
        more if gate.prompts is None else str(gate.prompts),
        f"{gate.offered.prompts}/{gate.offered.clusters}",
        f"{gate.planned.prompts}/{gate.planned.clusters}",
        SHARE.write(gate.proves),
        _often(gate),
    )


def _cells(gate: GatePlan) -> tuple[str, ...]:
    word = "at most" if gate.side == "max" else "at least"
    needs = "cannot be proven" if gate.prompts is None else f"{gate.prompts} prompts"
    return (
        gate.gate,
        f"{word} {SHARE.write(gate.threshold)}",
        needs if gate.clusters is None or gate.prompts is not None else f"{gate.clusters} clusters",
        f"{gate.offered.prompts} {gate.set} in {gate.offered.clusters} clusters",
        f"{gate.planned.prompts} in {gate.planned.clusters}",
        f"{word} {SHARE.write(gate.proves)}",
        _often(gate),
    )


def _often(gate: GatePlan) -> str:
    return "–" if gate.passes is None else f"{100 * gate.passes:.0f} %"
