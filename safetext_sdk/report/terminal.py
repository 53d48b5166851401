"""A report for a terminal: one line a set, the undefended model beside the hardened one."""

from __future__ import annotations

from ..results.evidence_file import Signature
from ..results.judge_profile import judged_by
from ..results.summary import SIGNED, UNSIGNED, Summary
from .cells import (
    NONE,
    attack_cells,
    attack_notes,
    audit_line,
    corrected_cells,
    corrected_note,
    encoder_cells,
    kept_note,
    metric_cells,
    metric_notes,
    set_cells,
)


def terminal_text(summary: Summary, signature: Signature = "unsigned") -> str:
    """The figures of a report as plain text, one line a figure; whether it is signed comes last."""
    lines = [f"{summary.model} against the policy {summary.policy.name} ({summary.tier} tier)"]
    if audited := audit_line(summary):
        lines.append(f"  {audited}")
    if judge := judged_by(summary):
        lines.append(f"  every rate by the judge profile {judge.line()}")
    attacks = attack_cells(summary)
    for row in set_cells(summary):
        if row.name in {attack.name for attack in attacks}:
            continue
        lines.append(f"  {row.name:<16} {row.prompts} prompts: {row.meaning}")
        lines.append(f"    unsafe   before {row.unsafe_before}, after {row.unsafe_after}")
        if row.kept_before != NONE:
            lines.append(f"    kept     before {row.kept_before}, after {row.kept_after}; drop {row.drop}")
        if row.anchor != NONE:
            lines.append(f"    anchor   shown in {row.anchor}")
    for attack in attacks:
        lines.append(f"  attack {attack.name} ({attack.threat}): {attack.counts}")
        if attack.cost == NONE:
            continue
        lines.append(f"    unsafe   undefended {attack.before}, hardened {attack.after}")
        if attack.any_seed != NONE:
            lines.append(f"    any seed {attack.any_seed}")
        lines.append(f"    control  {attack.control}" + (f"; {attack.note}" if attack.note else ""))
        lines.append(f"    cost     {attack.cost}; seeds: {attack.seeds}")
    if notes := attack_notes(summary):
        lines.append(f"  {notes[0]}")
    if told := kept_note(summary):
        lines.append(f"  {told}")
    if rows := corrected_cells(summary):
        lines.append(f"  {corrected_note(summary)}")
        lines += [
            f"    {name:<16} unsafe, corrected: before {before}, after {after}"
            for name, before, after in rows
        ]
    lines += [f"  {name}: {text}" for name, text in encoder_cells(summary)]
    if metrics := metric_cells(summary):
        width = max(len(m.name) for m in metrics)
        lines.append("  metrics")
        lines += [
            f"    {m.name:<{width}}  {m.value}" + (f"; undefended {m.original}" if m.original != NONE else "")
            for m in metrics
        ]
        lines += [f"    {note}" for note in metric_notes(summary)]
    if summary.own_prompts is not None:
        lines.append(f"  own prompts: {summary.own_prompts.line()}")
    lines.append(f"  {SIGNED if signature == 'signed' else UNSIGNED}")
    return "\n".join(lines)
