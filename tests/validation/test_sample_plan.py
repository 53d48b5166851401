"""Sample plans: what gates need, and that a perfect model passes with what is planned."""

from __future__ import annotations

import inspect
from collections import Counter
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.gate_case import passing, row
from support.shipped_case import standard_attacks

from safetext_sdk.policy import Concept, Gate, Policy, load_policy
from safetext_sdk.prompts import PromptBook, build_prompt_book
from safetext_sdk.prompts.prompt_book import SafePrompt, Split, UnsafePrompt
from safetext_sdk.results.report import Report
from safetext_sdk.statistics import Design, Goal, pass_probability, perfect_bound, prompts_needed
from safetext_sdk.validation.items import chosen, cluster_of
from safetext_sdk.validation.plan import ValidationPlan
from safetext_sdk.validation.sample_plan import GOOD, POWER, STEPS, plan_samples
from safetext_sdk.validation.session import Session
from safetext_sdk.validation.set_sizes import equal_sizes
from safetext_sdk.verdict.gate import verdict_of


def book(words: int, each: int, *, safe: int = 400, concept: str = "thing") -> PromptBook:
    """A test split of ``words`` synonyms, ``each`` prompts of each, and of independent safe prompts."""
    unsafe = [
        UnsafePrompt(f"{concept} {w} {k}", "a flower", concept, f"word {w}", "t")
        for w in range(words)
        for k in range(each)
    ]
    kept = [SafePrompt(f"safe {k}", f"safe {k}", "s") for k in range(safe)]
    looks = [SafePrompt(f"looks {k}", f"looks {k}", "s") for k in range(safe)]
    return PromptBook(test=Split(unsafe=unsafe, safe=kept, borderline=looks))


def policy(**gates: Gate) -> Policy:
    return Policy(
        version=1, name="p", concepts=[Concept(id="thing", terms=["x"], anchors=["a"])], gates=gates
    )


def test_a_gate_needs_what_the_bound_says() -> None:
    plan = plan_samples(policy(unsafe_rate=Gate(max=0.05)), book=book(28, 30))
    (gate,) = plan.gates
    need = prompts_needed(Goal(0.05), 28)
    assert need is not None
    assert (
        (gate.prompts, gate.offered.prompts, gate.offered.clusters)
        == (need.prompts, 840, 28)
        == (131, 840, 28)
    )
    design = Design.even(gate.planned.prompts, 28)
    assert gate.proves == pytest.approx(perfect_bound(design))
    assert gate.passes == pass_probability(Goal(0.05, GOOD["unsafe"]), design)
    assert gate.passes >= POWER
    assert plan.provable


def test_the_default_is_the_smallest_step_at_which_a_good_model_passes() -> None:
    plan = plan_samples(policy(unsafe_rate=Gate(max=0.05)), book=book(28, 30))
    n = plan.sizes["unsafe"]
    smaller = STEPS[STEPS.index(n) - 1]
    assert pass_probability(Goal(0.05, GOOD["unsafe"]), Design.even(smaller, 28)) < POWER


def test_a_minimum_is_planned_like_the_maximum_of_what_is_missing() -> None:
    high, low = (
        plan_samples(policy(**gate), book=book(28, 30)).gates[0]
        for gate in ({"anchor_shown": Gate(min=0.95)}, {"unsafe_rate": Gate(max=0.05)})
    )
    assert (high.prompts, high.planned) == (low.prompts, low.planned)
    assert high.proves == pytest.approx(1 - low.proves)
    assert high.provable


def test_too_few_synonyms_are_said_and_no_number_of_prompts_is_planned_in_vain() -> None:
    plan = plan_samples(policy(unsafe_rate=Gate(max=0.05)), book=book(11, 70))
    (gate,) = plan.gates
    assert not plan.provable
    assert gate.prompts is None
    assert gate.planned.prompts == plan.sizes["unsafe"] == 300
    assert gate.clusters is not None
    assert perfect_bound(Design.even(gate.clusters * 27, gate.clusters)) <= 0.05
    assert "about 21 clusters are needed: more synonyms" in gate.problem


def test_a_set_as_large_as_needed_is_planned_even_beyond_the_steps() -> None:
    """600 independent prompts are needed, 5 of each synonym are there."""
    plan = plan_samples(policy(unsafe_rate=Gate(max=0.0031)), book=book(1000, 1))
    assert plan.sizes["unsafe"] == 970
    assert plan.provable


def test_uneven_synonyms_need_more() -> None:
    even = book(28, 30)
    uneven = book(28, 30)
    uneven.test.unsafe = [u for u in uneven.test.unsafe if u.synonym not in {f"word {w}" for w in range(6)}]
    uneven.test.unsafe += [u for u in even.test.unsafe if u.text in {f"thing {w} 0" for w in range(6)}]
    a, b = (plan_samples(policy(unsafe_rate=Gate(max=0.055)), book=x).gates[0] for x in (even, uneven))
    assert a.offered.clusters == b.offered.clusters == 28
    assert a.prompts is not None
    assert b.prompts is None or b.prompts > a.prompts


@pytest.mark.parametrize("gate", [Gate(max=0.0), Gate(max=-0.0)])
def test_a_threshold_of_nothing_is_never_proven(gate: Gate) -> None:
    (found,) = plan_samples(policy(unsafe_rate=gate), book=book(28, 30)).gates
    assert (found.prompts, found.clusters, found.provable) == (None, None, False)
    assert "a bound is never exactly 0 or 1" in found.problem


def test_a_gate_of_one_concept_counts_its_prompts_alone() -> None:
    both = book(30, 10)
    both.test.unsafe += book(10, 10, concept="other").test.unsafe
    rules = Policy(
        version=1,
        name="p",
        concepts=[
            Concept(id="thing", terms=["x"], anchors=["a"]),
            Concept(id="other", terms=["y"], anchors=["a"], gates={"unsafe_rate": Gate(max=0.05)}),
        ],
        gates={"unsafe_rate": Gate(max=0.05)},
    )
    whole, part = plan_samples(rules, book=both).gates
    assert (whole.gate, whole.offered.clusters, whole.provable) == ("unsafe_rate", 40, True)
    assert (part.gate, part.offered.clusters, part.provable) == ("other.unsafe_rate", 10, False)


def test_sizes_that_were_asked_for_are_planned_with() -> None:
    rules = policy(unsafe_rate=Gate(max=0.05))
    plan = plan_samples(rules, book=book(28, 30), sizes={"unsafe": 100})
    assert plan.sizes["unsafe"] == plan.gates[0].planned.prompts == 100
    assert not plan.gates[0].provable
    assert plan.sizes["safe"] == 100, "no gate reads it"
    assert plan.sizes["negative"] == 25


def test_prompts_that_no_detector_can_tell_are_not_counted_on() -> None:
    rules = policy(kept_drop=Gate(max=0.03))
    few = plan_samples(rules, book=book(28, 30), can_tell=lambda text: text.endswith("0"))
    assert few.gates[0].offered.prompts == 40
    assert not few.provable


# --- the defaults of real policies ---


@cache
def tiny_book() -> PromptBook:
    return build_prompt_book(load_policy("weapons"), model="tiny")


def perfect_run(rules: Policy, found: PromptBook, sizes: dict[str, int]) -> Report:
    """What a validation with these sizes records of a perfect model."""
    rows = []
    for set_ in ("unsafe", "safe", "safe_unseen", "borderline"):
        for k, prompt in enumerate(chosen(found.test, set_, sizes[set_])):
            for model in ("original", "hardened"):
                unsafe = set_ == "unsafe"
                rows.append(
                    row(
                        model,
                        set_,
                        k,
                        unsafe=unsafe and model == "original",
                        kept=None if unsafe else True,
                        label="unsafe" if unsafe else "safe",
                        prompt=prompt.text,
                        cluster=cluster_of(prompt),
                    )
                )
    items, entries = standard_attacks(rules, found, sizes["attacked"])
    for k, item in enumerate(items):
        for model in ("original", "hardened")[: 1 if item.is_control else 2]:
            unsafe = model == "original" and not item.is_control
            how = {"label": item.label, "origin": item.origin, "cluster": item.cluster}
            rows.append(row(model, item.set, k, unsafe=unsafe, prompt=item.prompt, **how))
    facts = passing(2).facts
    recorded = facts.policy.model_copy(update={"gates": dict(rules.gates)})
    plan = Counter(item.set for item in items if not item.is_control)
    changes = {"policy": recorded, "plan": plan, "attacks": tuple(entries)}
    controls = Counter(item.set for item in items if item.is_control)
    return Report(facts.model_copy(update={**changes, "controls": controls}), tuple(rows))


def test_a_perfect_model_passes_with_the_default_sizes_on_the_embedded_model() -> None:
    rules = load_policy("weapons")
    plan = plan_samples(rules, model="tiny", book=tiny_book())
    verdict = verdict_of(perfect_run(rules, tiny_book(), dict(plan.sizes)))
    assert {g.name: g.verdict for g in verdict.gates if g.metric} == dict.fromkeys(rules.gates, "pass")
    # The bounds of the verdict are the ones that were planned.
    for gate in plan.gates:
        found = next(g for g in verdict.gates if g.name == gate.gate)
        assert found.upper == pytest.approx(gate.proves)


def test_what_is_planned_is_no_more_than_is_needed_by_much() -> None:
    """A hundred prompts a set, the default of the first version, prove nothing in 28 clusters."""
    rules = load_policy("weapons")
    sizes = dict.fromkeys(("unsafe", "safe", "safe_unseen", "borderline", "attacked"), 100)
    verdict = verdict_of(perfect_run(rules, tiny_book(), sizes))
    assert next(g for g in verdict.gates if g.name == "unsafe_rate").verdict == "inconclusive"


def test_a_validation_draws_what_is_planned() -> None:
    """Unless it is told otherwise, for all sets or for some."""
    rules = policy(unsafe_rate=Gate(max=0.05))
    subjects: Any = SimpleNamespace(policy=rules, original=SimpleNamespace(id="toy"))

    def sizes(n: int | dict[str, int] | None) -> dict[str, int]:
        plan = ValidationPlan(n=n)
        session = Session(plan, subjects, book(28, 30), 0, (), None, None, Path(), None, lambda *_: None)
        return dict(session.sizes())

    planned = dict(plan_samples(rules, book=book(28, 30)).sizes)
    assert sizes(None) == planned
    assert sizes({"safe": 7}) == {**planned, "safe": 7}
    assert sizes(40) == equal_sizes(40)


def test_no_command_has_sizes_of_its_own() -> None:
    """So that `validate` and `gate` agree with the demo."""
    from safetext_cli import demo, validate

    defaults = [inspect.signature(f).parameters["n"].default for f in (demo.demo, validate.validate)]
    assert [*defaults, ValidationPlan().n] == [None, None, None]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
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
    ],
)
def test_every_shipped_policy_can_be_proven_on_a_real_model(name: str) -> None:
    rules = load_policy(name)
    found = build_prompt_book(rules)
    plan = plan_samples(rules, book=found)
    assert plan.provable
    verdict = verdict_of(perfect_run(rules, found, dict(plan.sizes)))
    assert all(g.verdict == "pass" for g in verdict.gates if g.name in rules.gates)


def test_gore_on_the_embedded_model_cannot_be_proven_and_says_so() -> None:
    """Its world has 38 words for it, of which training needs most."""
    plan = plan_samples(load_policy("gore"), model="tiny")
    assert [g.gate for g in plan.gates if not g.provable] == ["unsafe_rate"]
