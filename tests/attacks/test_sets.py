"""Which attacks a name stands for."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from safetext_sdk.attacks import ATTACKS, Attack, AttackConfig
from safetext_sdk.attacks.context import Context
from safetext_sdk.attacks.sets import CHEAP, choose
from safetext_sdk.errors import UsageError


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Any:
    ATTACKS.names()
    monkeypatch.setattr(ATTACKS, "_entries", dict(ATTACKS._entries))
    return ATTACKS


def names(found: list[Attack[Any]]) -> list[str]:
    return [attack.name for attack in found]


def test_standard_is_the_cheap_ones_as_they_ship() -> None:
    assert names(choose("standard")) == list(CHEAP) == ["context", "typos", "paraphrase"]
    for attack in choose("standard"):
        assert attack.config == type(attack)().config
    assert choose("none") == choose(()) == []


def test_strong_is_every_attack_that_a_gate_reads_with_more_contexts(registry: Any) -> None:
    class Probe(Attack[AttackConfig]):
        name, summary, gated, threat = "a-probe", "for tests", False, "probe"

    registry.add("a-probe", Probe)
    found = {attack.name: attack for attack in choose("strong")}
    assert list(found)[:3] == list(CHEAP)
    assert set(found) == {name for name in ATTACKS.names() if ATTACKS.get(name).gated}
    assert "a-probe" not in found
    assert found["context"].config.contexts == 8


def test_a_broken_plug_in_is_left_out_of_strong_with_a_warning(registry: Any) -> None:
    registry.add("broken", "no_such_module:Attack", source="somebody")
    with pytest.warns(UserWarning, match="'broken' of somebody is broken"):
        assert "broken" not in names(choose("strong"))
    with pytest.warns(UserWarning, match="broken"), pytest.raises(UsageError, match="cannot be imported"):
        choose("broken")


def test_names_join_and_stand_once() -> None:
    assert names(choose("typos,paraphrase")) == ["typos", "paraphrase"]
    assert names(choose([" standard ", "gcg-encoder", "typos"])) == [*CHEAP, "gcg-encoder"]
    (context,) = choose(["context", Context(contexts=5)])
    assert context.config.contexts == 5, "what was made with settings stands for what was named"
    both = {attack.name: attack for attack in choose(["standard", "strong"])}
    assert both["context"].config.contexts == 8


def test_the_budget_is_that_of_the_named_ones(registry: Any) -> None:
    class Steps(AttackConfig):
        steps: int = 400

    class Long(Attack[Steps]):
        name, summary, Config = "long", "for tests", Steps
        small: ClassVar[dict[str, Any]] = {"steps": 4}

    registry.add("long", Long)
    assert [choose("long", budget)[0].config.steps for budget in ("paper", "small")] == [400, 4]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("standrd", "unknown attack 'standrd'.*sets of attacks: none, standard, strong"),
        ("typo", "did you mean typos"),
        ("", "unknown attack ''"),
        ("typos,", "unknown attack ''"),
        ("none,typos", "none stands alone"),
        (["none", Context()], "none stands alone"),
        ([Context(), Context(contexts=4)], "context is given twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(wanted: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        choose(wanted)
    assert "\n" not in str(refused.value)
