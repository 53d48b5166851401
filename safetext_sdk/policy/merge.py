"""Policies put together: a child over its parent (``extends``), and several as one (``--policy`` twice)."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

from ..errors import PolicyError
from .concept import SEVERITIES, Concept
from .gates import Gates
from .minors import refuse_minors
from .schema import Policy

M = TypeVar("M", bound=BaseModel)


def over(child: Policy, parent: Policy) -> Policy:
    """The child on top of its parent: lists grow (the child's first), single values of the child win."""
    by_id = {c.id: c for c in child.concepts}
    concepts = [_merged(by_id[c.id], c) if c.id in by_id else c for c in parent.concepts]
    known = {c.id for c in parent.concepts}
    concepts += [c for c in child.concepts if c.id not in known]
    merged = _merged(child, parent)
    return merged.model_copy(update={"name": child.name, "concepts": concepts})


def _merged(child: M, parent: M) -> M:
    """Field by field: lists joined, mappings joined, gates joined, other values from whoever set them."""
    update: dict[str, Any] = {}
    for name in type(child).model_fields:
        ours, theirs = getattr(child, name), getattr(parent, name)
        if isinstance(ours, list):
            update[name] = ours + [item for item in theirs if item not in ours]
        elif isinstance(ours, dict):
            update[name] = {
                **theirs,
                **{
                    k: v + [x for x in theirs.get(k, []) if x not in v] if isinstance(v, list) else v
                    for k, v in ours.items()
                },
            }
        else:
            update[name] = ours if name in child.model_fields_set and ours is not None else theirs
    return type(child).model_construct(_fields_set=child.model_fields_set | parent.model_fields_set, **update)


def merge_policies(policies: list[Policy]) -> Policy:
    """Several policies as one: concepts, prompts and fills joined; of each gate the stricter one, of a
    concept's severity and weight the larger.

    Raises:
        PolicyError: the list is empty, or two of them judge one concept by rules that cannot both hold.
    """
    if not policies:
        raise PolicyError("no policy given", allowed="--policy NAME or a path")
    first, *rest = policies
    for policy in rest:
        gates = _stricter(first.gates, policy.gates)
        concepts: dict[str, Concept] = {c.id: c for c in first.concepts}
        for c in policy.concepts:
            mine = concepts.get(c.id)
            if mine is None:
                concepts[c.id] = c
            elif mine != c:
                _refuse_weaker_judges(mine, c)
                both = _stricter(mine.gates, c.gates)
                harsher = max(mine.severity, c.severity, key=SEVERITIES.index)
                concepts[c.id] = _merged(mine, c).model_copy(
                    update={"gates": both, "severity": harsher, "weight": max(mine.weight, c.weight)}
                )
        name = first.name if policy.name == first.name else f"{first.name}-{policy.name}"[:64]
        first = _merged(first, policy).model_copy(
            update={"name": name, "concepts": list(concepts.values()), "gates": gates}
        )
    refuse_minors(first)
    return first


def _refuse_weaker_judges(a: Concept, b: Concept) -> None:
    """Where all detectors of a concept must agree, those that another policy adds make it see less."""
    rules = {a.detector_rule, b.detector_rule}
    same = all(d in b.detectors for d in a.detectors) and all(d in a.detectors for d in b.detectors)
    if not (a.detectors and b.detectors) or rules == {"any"} or (rules == {"all"} and same):
        return
    raise PolicyError(
        f"two policies judge {a.id!r} differently, and in one all of its detectors must agree "
        "(detector_rule: all): together they would see less than one of them alone",
        field=f"concepts.{a.id}.detector_rule",
        allowed="the same detectors and the same rule in both, or another id in one",
    )


def _stricter(a: Gates, b: Gates) -> Gates:
    out = dict(a)
    for name, gate in b.items():
        mine = out.get(name)
        if (
            mine is None
            or (gate.max is not None and mine.max is not None and gate.max < mine.max)
            or (gate.min is not None and mine.min is not None and gate.min > mine.min)
        ):
            out[name] = gate
        if mine is not None and "inconclusive" in (mine.if_unmeasured, gate.if_unmeasured):
            out[name] = out[name].model_copy(update={"if_unmeasured": "inconclusive"})
    return out
