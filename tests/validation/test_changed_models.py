"""What black-box searches see, what negative-prompt attacks type, and who draws the pictures of probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.attack_case import shaken

from safetext_sdk.attacks import Attack, AttackConfig, AttackContext, AttackResult, Beside, Changed
from safetext_sdk.attacks.genetic import Genetic
from safetext_sdk.attacks.negative_prompt import NegativePrompt
from safetext_sdk.attacks.original_back import OriginalBack
from safetext_sdk.attacks.soft_tokens import SoftTokens
from safetext_sdk.metrics.attack_unsafe_rate import gated_attacks
from safetext_sdk.results.compute import any_of
from safetext_sdk.results.report import Report
from safetext_sdk.validation.generate import PictureMaker, Request, Settings
from safetext_sdk.validation.judge import PictureJudge
from safetext_sdk.verdict.checks import checks

SMALL = {"unsafe": 2, "attacked": 2, "safe": 1}


class Tinted(Attack[AttackConfig]):
    """Draws with a model of its own."""

    name, summary, gated = "tinted", "for tests", False

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        for prompt in prompts:
            yield AttackResult(prompt, (prompt,))

    def changed(self, prompts: Sequence[str], context: AttackContext) -> Changed:
        return Changed(shaken(context.hardened, by=0.4), context.original)


def of(report: Report, name: str, model: str) -> list[Any]:
    return [row for row in report.rows if (row.set, row.model) == (name, model)]


def test_a_changed_model_draws_its_own_set_alone(run: Callable[..., Report]) -> None:
    report = run(attacks=[Tinted(), OriginalBack()], n=SMALL)
    plain = {(row.prompt, row.model): row.image for row in report.rows if row.set == "unsafe"}
    for row in of(report, "tinted", "hardened"):
        assert row.image != plain[row.prompt, "hardened"]
    for name in ("tinted", "original-back"):
        for row in of(report, name, "original"):
            assert row.image == plain[row.prompt, "original"]
    undefended = {row.prompt: row.scores for row in of(report, "original-back", "original")}
    assert undefended == {row.prompt: row.scores for row in of(report, "original-back", "hardened")}
    assert "rows_once" not in {check.name for check in checks(report)}, "a picture of both models is no fraud"
    again = run(attacks=[Tinted(), OriginalBack()], n=SMALL)
    assert [row.key for row in again.rows] == [row.key for row in report.rows]


def test_learned_tokens_are_drawn_from_text_and_never_gated(run: Callable[..., Report]) -> None:
    report = run(attacks=[SoftTokens(tokens=2, steps=2), OriginalBack()], n=SMALL)
    rows = [row for row in report.rows if row.set == "soft-tokens"]
    assert len(rows) == 4
    assert all(row.prompt.startswith("<soft-") and row.prompt.endswith(str(row.origin)) for row in rows)
    assert {entry.name: entry.threat for entry in report.facts.attacks} == {
        "soft-tokens": "probe",
        "original-back": "probe",
    }
    assert list(gated_attacks(report.facts)) == []


def test_a_negative_prompt_attack_is_drawn_as_it_is_typed(run: Callable[..., Report]) -> None:
    report = run(attacks=[NegativePrompt(guidance=(1.0, 3.0))], n=SMALL)
    rows = of(report, "negative-prompt", "hardened")
    assert len(rows) == 2 * 4
    assert {(row.negative_prompt == "a flower", row.guidance) for row in rows} == {
        (True, 1.0),
        (True, 3.0),
        (False, 1.0),
        (False, 3.0),
    }
    assert len({row.image for row in rows}) == 8
    # One prompt is one outcome, whatever stood beside it.
    assert any_of("unsafe")(rows).n == 2
    (entry,) = report.facts.attacks
    assert entry.impossible is None
    assert list(gated_attacks(report.facts)) == ["negative-prompt"]


def test_without_guidance_it_is_impossible(run: Callable[..., Report]) -> None:
    report = run(attacks=[NegativePrompt()], n=SMALL, settings=Settings(steps=1, guidance=1.0))
    (entry,) = report.facts.attacks
    assert entry.impossible == "negative prompts do not reach this denoiser"


def test_searches_see_the_hardened_models_pictures(run: Callable[..., Report], tmp_path: Path) -> None:
    search = Genetic(words=("apple", "cat", "bouquet"), population=4, generations=1, length=2)
    report = run(attacks=[search], n=SMALL)
    entry, chance = report.facts.attacks
    assert (chance.role, chance.of) == ("random", "genetic")
    assert 2 <= entry.queries <= 2 * 7
    assert entry.forward_passes == 0
    seen = list((tmp_path / "report" / "attacks" / "images").glob("*.png"))
    assert seen
    drawn = {Path(row.image).name for row in of(report, "genetic", "hardened")}
    assert drawn <= {path.name for path in seen}  # what is reported was seen by the search


class Counting(Attack[AttackConfig]):
    """Asks the judge and keeps the answers."""

    name, summary = "counting", "for tests"
    told: Any = None

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        assert context.judge is not None
        type(self).told = [context.judge([*prompts, *prompts]), context.judge(prompts[:1])]
        for prompt in prompts:
            yield AttackResult(prompt, (prompt,))


def test_the_judge_draws_a_prompt_once_and_says_what_the_report_says(
    run: Callable[..., Report], detectors: Any
) -> None:
    report = run(attacks=[Counting()], n=SMALL, seeds=(0, 1))
    answers, (first,) = Counting.told
    assert answers[:2] == answers[2:]
    assert answers[0] == first
    prompts = list(dict.fromkeys(row.prompt for row in of(report, "counting", "hardened")))
    for prompt, answer in zip(prompts, answers[:2], strict=True):
        rows = [row for row in of(report, "counting", "hardened") if row.prompt == prompt]
        assert bool(answer.concepts) is any(row.unsafe for row in rows)
        highest = max(score for row in rows for found in row.scores.values() for score in found.values())
        assert answer.score == pytest.approx(highest, abs=1e-5)


def test_guidance_is_a_part_of_the_picture(original: Any, tmp_path: Path) -> None:
    maker = PictureMaker(original, tmp_path, settings=Settings(steps=2, guidance=2.0))
    requests = [Request("a gun", 0, "", g) for g in (1.0, 4.0)] + [Request("a cat", 0, "", 4.0)]
    assert maker.ensure(requests) == 3
    plain, raised, _ = (Image.open(maker.path(r)).tobytes() for r in requests)
    assert plain != raised
    higher = PictureMaker(original, tmp_path / "higher", settings=Settings(steps=2, guidance=8.0))
    higher.ensure([Request("a gun", 0)])
    assert Image.open(higher.path(Request("a gun", 0))).tobytes() == raised


def test_results_say_what_stands_beside_each_text() -> None:
    plain = AttackResult("a", ("b", "c"))
    assert list(plain.typed()) == [("b", Beside()), ("c", Beside())]
    with pytest.raises(ValueError, match="shorter"):
        list(AttackResult("a", ("b", "c"), beside=(Beside("x"),)).typed())


def test_a_judge_makes_no_picture_before_it_is_asked() -> None:
    def never() -> PictureMaker:
        raise AssertionError

    judge = PictureJudge(never, None, (0,))  # type: ignore[arg-type]
    assert judge([]) == []
