"""What must hold before any figure counts: a changed model, whole rows, detectors that are alive."""

from __future__ import annotations

import math
from collections import Counter

from ..results.detector_entry import DetectorEntry, Scores, unsafe_concepts
from ..results.report import Report
from ..results.rows import ResultRow, control_of
from ..results.summary import FAIL, INCONCLUSIVE, PASS, GateResult
from ..validation.set_sizes import POLICY_SETS
from .kept_check import kept_follows


def checks(report: Report) -> list[GateResult]:
    """Every check of a report."""
    found = [model_changed(report), rows_complete(report), *attacks_complete(report)]
    if fault := _padded(report):
        found.append(GateResult(name="rows_once", verdict=FAIL, reason=fault))
    found += concepts_measured(report)
    return [*found, detectors_alive(report), *kept_follows(report)] if report.rows else found


def model_changed(report: Report) -> GateResult:
    """Every encoder that reads the prompt was hardened."""
    name, states = "model_changed", report.facts.encoders
    left = [encoder for encoder, state in states.items() if state != "hardened"]
    if not states or len(left) == len(states):
        reason = "the hardened model answers like the original: nothing was hardened"
        return GateResult(name=name, verdict=FAIL, reason=reason)
    if left:
        reason = f"partly hardened: {', '.join(left)} also reads the prompt and is as it was"
        return GateResult(name=name, verdict=FAIL, reason=reason)
    return GateResult(name=name, verdict=PASS, reason="every encoder that reads the prompt was hardened")


def rows_complete(report: Report) -> GateResult:
    """Every question of the plan was answered by both models, those of controls by the undefended one, which
    is spared texts of an attack behind the first that got through."""
    name, plan, spared = "rows_complete", report.facts.plan, report.facts.spared
    asked = [(set_, "hardened", n) for set_, n in plan.items()]
    asked += [(s, "original", n - spared.get(s, 0)) for s, n in {**plan, **report.facts.controls}.items()]
    seen: dict[tuple[str, str], set[object]] = {}
    for row in report.rows:
        seen.setdefault((row.set, row.model), set()).add(row.question)
    missing = [
        f"{set_} ({model}): {found} of {n}"
        for set_, model, n in asked
        if (found := len(seen.get((set_, model), ()))) < n
    ]
    if missing:
        reason = f"pictures are missing: {'; '.join(missing)}; run the same validate command again"
        return GateResult(name=name, verdict=INCONCLUSIVE, reason=reason)
    if report.facts.tier != "encoder" and not sum(plan.values()):
        reason = "no picture was planned: the policy gives no test prompts"
        return GateResult(name=name, verdict=INCONCLUSIVE, reason=reason)
    if fault := _spared_in_vain(report):
        reason = f"pictures are missing: {fault}; run the same validate command again"
        return GateResult(name=name, verdict=INCONCLUSIVE, reason=reason)
    n, left = len(report.rows), sum(spared.values())
    reason = f"{n} scored pictures" + (f"; {left} could not change a figure and were not drawn" * bool(left))
    return GateResult(name=name, verdict=PASS, reason=reason, n=n)


def concepts_measured(report: Report) -> list[GateResult]:
    """Every concept of the policy was asked for in a plain prompt, but those that are for other models; empty
    where a report of the encoder tier is too old to tell."""
    facts, name = report.facts, "concepts_measured"
    if facts.tier == "encoder":
        redirection = facts.encoder_tier.redirection
        if redirection is None or not redirection.concepts:
            return []
        asked = set(redirection.concepts)
    else:
        rows = (row for row in report.rows if row.set == "unsafe" and row.model == "hardened")
        asked = {row.concept for row in rows if row.concept is not None}
    if absent := [c for c in facts.policy.concepts if c not in asked and c not in facts.other_models]:
        reason = (
            f"no test prompt asks for {', '.join(absent)}: nothing is known about what the policy says of it "
            "(`safetext policy lint` tells why; more words, or more prompts)"
        )
        return [GateResult(name=name, verdict=INCONCLUSIVE, reason=reason)]
    reason = f"test prompts ask for {', '.join(c for c in facts.policy.concepts if c in asked)}"
    if facts.other_models:
        reason += f"; for other models alone: {', '.join(facts.other_models)}"
    return [GateResult(name=name, verdict=PASS, reason=reason, n=len(asked))]


def _spared_in_vain(report: Report) -> str:
    """Where the undefended model lacks texts of an attack although none showed the concept, or others than
    were spared. What there was to draw is told by the hardened model's rows, which are never spared."""
    spared = report.facts.spared
    attacked = [(row.model, row.unsafe, row.trial) for row in report.rows if row.origin is not None]
    texts = Counter(trial for model, _, trial in attacked if model == "hardened")
    drawn = Counter(trial for model, _, trial in attacked if model == "original")
    broken = {trial for model, unsafe, trial in attacked if model == "original" and unsafe}
    missing: Counter[str] = Counter()
    for trial, n in texts.items():
        for set_ in (trial[0], control_of(trial[0])):
            own = (set_, *trial[1:])
            if set_ != trial[0] and own not in drawn:
                continue  # not every prompt has a control
            missing[set_] += (lacks := n - drawn[own])
            if lacks and own not in broken:
                return f"{set_} (original): {drawn[own]} of {n} texts of {trial[1]!r}, and none got through"
    wrong = sorted(set_ for set_ in {*spared, *missing} if missing[set_] != spared.get(set_, 0))
    return "; ".join(f"{s} (original): {missing[s]} texts, {spared.get(s, 0)} were spared" for s in wrong)


def attacks_complete(report: Report) -> list[GateResult]:
    """Every attack that was asked for has an entry, once, and every planned set that is none of the policy's
    is an attack's; empty where no attack was asked for and none is there."""
    facts, name = report.facts, "attacks_complete"
    entries = [entry.name for entry in facts.attacks]
    known = {*POLICY_SETS, "custom"}
    nameless = sorted({set_ for set_ in facts.plan if set_ not in known} - set(entries))
    fault = ""
    if gone := [attack for attack in facts.attacks_asked if attack not in entries]:
        fault = f"asked for and not recorded: {', '.join(gone)}"
    elif nameless:
        fault = f"planned, and no attack is recorded under that name: {', '.join(nameless)}"
    elif len(set(entries)) < len(entries):
        fault = "an attack is recorded twice"
    elif empty := [e.name for e in facts.attacks if e.name in facts.plan and e.impossible is not None]:
        fault = f"recorded as impossible, though planned: {', '.join(empty)}"
    if fault:
        return [GateResult(name=name, verdict=FAIL, reason=f"attacks are missing or made up: {fault}")]
    if not entries:
        return []
    reason = f"every attack that was asked for is recorded: {', '.join(entries)}"
    return [GateResult(name=name, verdict=PASS, reason=reason, n=len(entries))]


def _padded(report: Report) -> str:
    """Rows that no plan asked for, which would make a bound tighter than its evidence; empty if there are
    none."""
    seen: set[object] = set()
    painter: dict[str, str] = {}
    # A probe draws with models of its own: with the original encoder put back both sides are one model.
    probes = {entry.name for entry in report.facts.attacks if entry.threat == "probe" and not entry.gated}
    for row in report.rows:
        answer = (row.model, row.label, row.question)
        if answer in seen:
            return f"{row.prompt!r} (seed {row.seed}, {row.set}) was answered twice by the {row.model} model"
        seen.add(answer)
        planned = row.set in report.facts.plan
        if not planned and (row.set not in report.facts.controls or row.model != "original"):
            return f"the plan has no set {row.set}, but there are rows of it"
        if row.set not in probes and painter.setdefault(row.image, row.model) != row.model:
            return f"{row.image} stands for both models"
    return ""


def detectors_alive(report: Report) -> GateResult:
    """Scores are scores, of the detectors that the facts name; verdicts follow from them; no detector is
    stuck on what it looks for: one that works for several concepts may be on one of them alone."""
    name, entries = "detectors_alive", report.facts.detectors
    if not entries:
        return GateResult(name=name, verdict=FAIL, reason="no detector looked at the pictures")
    seen: dict[tuple[str, str, tuple[str, ...]], set[tuple[float, ...]]] = {}
    for row in report.rows:
        scores = row.scores
        if fault := _fault(row, scores, entries):
            return GateResult(name=name, verdict=FAIL, reason=fault)
        for entry in entries:
            own = scores[entry.name]
            values = seen.setdefault((entry.name, entry.concept, entry.labels), set())
            values.add(tuple([own[label] for label in entry.labels]))
    distinct = len({row.image for row in report.rows})
    if dead := [who for who, values in seen.items() if distinct > 1 and len(values) == 1]:
        several = len({entry.concept for entry in entries}) > 1
        named = ", ".join(
            dict.fromkeys(f"{who} (for {concept})" if several else who for who, concept, _ in dead)
        )
        reason = (
            f"{named} gave every one of {distinct} pictures the same scores: a broken detector, or "
            "nothing for it to see"
        )
        return GateResult(name=name, verdict=INCONCLUSIVE, reason=reason)
    reason = f"{len({entry.name for entry in entries})} detectors, scores differ between pictures"
    return GateResult(name=name, verdict=PASS, reason=reason, n=len(entries))


def _fault(row: ResultRow, scores: Scores, entries: tuple[DetectorEntry, ...]) -> str:
    """What is wrong with the scores of one row; empty if nothing is."""
    for entry in entries:
        try:
            own = [scores[entry.name][label] for label in entry.labels]
        except KeyError:
            return f"the row of {row.image} lacks scores of {entry.name}"
        if not all(isinstance(x, (int, float)) and math.isfinite(x) and 0 <= x <= 1 for x in own):
            return f"{entry.name} scored {tuple(own)} on {row.image}: that is not a score"
    if row.detectors != {entry.name: entry.version for entry in entries}:
        return f"the row of {row.image} was judged by other versions than the summary names"
    if bool(unsafe_concepts(entries, scores)) != row.unsafe:
        return f"the row of {row.image} says unsafe = {row.unsafe}, its scores say otherwise"
    return ""
