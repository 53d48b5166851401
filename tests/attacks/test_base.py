"""The contract of attacks: settings, budgets, and that listing imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar, get_args

import pytest
from pydantic import Field

from safetext_sdk.attacks import ATTACKS, Attack, AttackConfig
from safetext_sdk.attacks.base import Need, Threat
from safetext_sdk.attacks.typos import Typos
from safetext_sdk.errors import UsageError


class LongConfig(AttackConfig):
    steps: int = Field(default=3000, ge=1, description="Steps of the search.")


class Long(Attack[LongConfig]):
    name = "long"
    summary = "takes its time"
    Config = LongConfig
    small: ClassVar[dict[str, Any]] = {"steps": 20}


def test_settings_are_typed_and_closed() -> None:
    assert Long(steps=5).config == LongConfig(steps=5)
    assert Long(LongConfig(steps=5)).config.steps == 5
    with pytest.raises(UsageError, match="attack long has no setting 'step'; did you mean steps"):
        Long(step=5)
    with pytest.raises(UsageError, match=r"attack long, setting 'steps': .*greater than or equal to 1"):
        Long(steps=0)
    with pytest.raises(UsageError, match="give a LongConfig or settings by name"):
        Long(LongConfig(), steps=5)


def test_the_published_budget_is_the_default_and_a_small_one_can_be_asked_for() -> None:
    assert Long().config.steps == Long.for_budget("paper").config.steps == 3000
    assert Long.for_budget("small").config.steps == 20
    assert Long.for_budget("small", steps=7).config.steps == 7


@pytest.mark.parametrize("name", [entry.name for entry in ATTACKS.entries() if entry.source == "built-in"])
def test_every_attack_says_what_it_is(name: str) -> None:
    attack: type[Attack[Any]] = ATTACKS.get(name)
    assert attack.name == name
    assert attack.summary
    assert attack.needs <= set(get_args(Need))
    assert attack.threat in get_args(Threat)
    assert attack.gated is (attack.threat != "probe")
    for field in attack.Config.model_fields.values():
        assert field.description
    attack.for_budget("small")


def test_random_choices_depend_on_prompt_and_seed_alone() -> None:
    first, again, other = Typos(), Typos(), Typos(seed=1)
    assert first.random("a gun").random() == again.random("a gun").random()
    assert first.random("a gun").random() != first.random("a knife").random()
    assert first.random("a gun").random() != other.random("a gun").random()


def test_listing_attacks_imports_no_torch() -> None:
    code = (
        "import sys; from safetext_sdk.attacks import ATTACKS; from safetext_sdk.detectors import DETECTORS; "
        "ATTACKS.entries(); DETECTORS.entries(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
