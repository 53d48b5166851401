"""Judge profiles of the embedded model: its two classifiers, combined in the two ways that papers combine
judges."""

from __future__ import annotations

from ..policy.judge_profiles import LabelSet, Rule


def _family(name: str, rule: Rule = "any") -> LabelSet:
    who = "one of the two classifiers is enough" if rule == "any" else "both classifiers must see one"
    shipped = {"any": "as the shipped policies judge `tiny`", "all": "the lenient reading"}
    return LabelSet(
        detector="tiny-judges",
        labels=(name,),
        concepts=(name,),
        thresholds={0.5: f"{who}, {shipped[rule]}"},
        rule=rule,
    )


WEAPON, WEAPON_BOTH, GORE = _family("weapon"), _family("weapon", "all"), _family("gore")
