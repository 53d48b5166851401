"""Every shipped policy on a real model: a perfect hardening passes, one that misses any of its gates fails,
and what cannot be measured is known before a picture is made."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.detector_case import build_clip, pictures
from support.shipped_case import NAMES, REAL_MODEL, MadeUp, book_of, general

from safetext_sdk import load_policy
from safetext_sdk.detectors import DETECTORS, clip_zero_shot
from safetext_sdk.detectors.detector_set import DetectorSet
from safetext_sdk.detectors.kept import Caption, JudgeContext, another_seed, clip_r_precision
from safetext_sdk.detectors.kept.judge_set import KeptJudges
from safetext_sdk.policy import Policy
from safetext_sdk.prompts import build_prompt_book
from safetext_sdk.validation.items import Item
from safetext_sdk.validation.measurable import gates_unmeasured, unmeasurable
from safetext_sdk.validation.session import Session
from safetext_sdk.verdict.gate import verdict_of

WRONG = {
    "unsafe_rate": ("unsafe", "unsafe"),
    "attack_unsafe_rate": ("context", "unsafe"),
    "kept_drop": ("safe", "rank"),
    "unseen_kept_drop": ("safe_unseen", "moved"),
    "over_refusal": ("borderline", "rank"),
}
"""Gate: the set in which something goes wrong, and what."""


@cache
def made_up(name: str) -> MadeUp:
    return MadeUp(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_hardening_passes_on_a_real_model(name: str) -> None:
    verdict = verdict_of(made_up(name).report())
    assert verdict.reasons() == []
    assert (verdict.verdict, verdict.left_out) == ("pass", ())
    assert {g.name for g in verdict.gates} > set(load_policy(name).gates)


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_hardening_fails_on_the_gate_that_it_misses(name: str) -> None:
    """Three in ten wrong, in one set at a time. Every gate of the policy has its turn."""
    run = made_up(name)
    assert set(run.policy.gates) <= set(WRONG)
    for gate in run.policy.gates:
        set_, what = WRONG[gate]
        wrong = [item for item in run.items if item.set == set_]
        picked = {item for k, item in enumerate(wrong) if k % 10 < 3}

        def lost(item: Item, picked: set[Item] = picked, what: str = what) -> str | None:
            return what if item in picked else None

        verdict = verdict_of(run.report(lost))
        assert verdict.verdict == "fail"
        assert [g.name for g in verdict.gates if g.verdict == "fail"] == [gate]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def installed(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user installs, in miniature: any CLIP id is a random one, and NudeNet is as its wheel has it."""
    for module in (clip_zero_shot, clip_r_precision, another_seed):
        monkeypatch.setattr(module, "local_folder", lambda *_: clip)
    if not _nudenet():
        monkeypatch.setattr(DETECTORS, "_entries", {**DETECTORS._entries})
        del DETECTORS._entries["nudenet"]
        DETECTORS.add("nudenet", lambda spec, _: [NudeNetLabels(spec)])


def _nudenet() -> bool:
    from importlib.util import find_spec

    return find_spec("nudenet") is not None


class NudeNetLabels:
    """Knows the labels of NudeNet and refuses others, as the real one does."""

    name, version = "nudenet/320n", "3.4.2"

    def __init__(self, spec: Any) -> None:
        from safetext_sdk.detectors.nudenet import LABELS

        assert set(spec.labels) <= set(LABELS)
        self.labels, self.threshold = list(spec.labels), spec.threshold

    def score(self, images: Any) -> list[dict[str, float]]:
        return [dict.fromkeys(self.labels, 0.1) for _ in images]

    def expected(self, prompt: str) -> tuple[str, ...]:
        return ()


@pytest.mark.parametrize("name", NAMES)
def test_its_detectors_and_judges_can_be_built_and_measure_every_gate(name: str, installed: None) -> None:
    policy, book = load_policy(name), book_of(name)
    detectors = DetectorSet.build(policy, REAL_MODEL, "cpu", {u.concept for u in book.test.unsafe})
    assert {e.concept for e in detectors.describe()} == {c.id for c in policy.concepts}
    (scores,) = detectors.score(pictures(1))
    assert all(set(e.labels) <= set(scores[e.name]) for e in detectors.describe())
    safe = [p.text for p in (*book.test.safe, *book.test.safe_unseen, *book.test.borderline)]
    assert not any(map(detectors.expected, safe))  # so the judges are asked
    captions = tuple(Caption(p.text, p.group) for p in (*book.test.safe, *book.test.safe_unseen))
    judges = KeptJudges.build(policy, REAL_MODEL, JudgeContext(captions, 0, "cpu"))
    entries = {entry.name: entry.settings for entry in judges.describe()}
    assert list(entries) == ["clip-r-precision", "another-seed"]
    assert (entries["clip-r-precision"]["others"], len(entries["clip-r-precision"]["captions"])) == (99, 100)  # type: ignore[arg-type]
    session: Any = SimpleNamespace(
        policy=policy, book=book, detectors=detectors, judges=judges, guided=False, elsewhere=()
    )
    assert gates_unmeasured(policy, unmeasurable(session)) == {}


@pytest.mark.parametrize("name", NAMES)
def test_gates_that_a_model_without_pictures_cannot_be_measured_on_are_named(name: str) -> None:
    policy = load_policy(name)
    session: Any = SimpleNamespace(
        policy=policy, book=book_of(name), detectors=None, judges=None, guided=False, elsewhere=()
    )
    named = gates_unmeasured(policy, unmeasurable(session))
    pictures = ["unsafe_rate", "attack_unsafe_rate", "kept_drop", "unseen_kept_drop"]
    assert list(named) == pictures  # over_refusal: by conditioning
    assert all("draws no pictures" in why and "cannot be passed" in why for why in named.values())


def test_detectors_of_the_policies_are_coherent() -> None:
    """NudeNet for what it knows, CLIP with captions for all else; one threshold a detector, whatever the
    concept."""
    for name in NAMES:
        thresholds: dict[str, set[float | None]] = {}
        captions: list[str] = []
        for _, spec in general(load_policy(name)):
            assert spec.name == "clip-zero-shot" or (spec.name == "nudenet" and name == "nudity")
            thresholds.setdefault(spec.name, set()).add(spec.threshold)
            if spec.name == "clip-zero-shot":
                captions += spec.labels
        assert all(len(found) == 1 for found in thresholds.values())
        assert len(set(captions)) == len(captions)
        assert not set(captions) & set(clip_zero_shot.NEUTRAL)
        assert all(len(caption.split()) >= 4 for caption in captions)


def test_a_concept_without_test_prompts_is_not_one_of_other_models() -> None:
    """One word is too few to hold any out, which no gate leaves out; prompts for another model alone are."""
    concepts = [
        {"id": "thing", "terms": [f"zork{k}" for k in range(12)]},
        {"id": "flag", "terms": ["blarg"]},
        {"id": "far", "unsafe_prompts": [{"text": "a blorg at night", "models": ["another"]}]},
    ]
    policy = Policy.model_validate(
        {"version": 1, "name": "p", "concepts": [{**c, "anchors": ["a tulip"]} for c in concepts]}
    )
    book = build_prompt_book(policy, size=60)
    assert {u.concept for u in book.test.unsafe} == {"thing"}
    session: Any = SimpleNamespace(
        policy=policy,
        book=book,
        detectors=None,
        judges=None,
        guided=False,
        subjects=SimpleNamespace(policy=policy),
    )
    session.elsewhere = Session.elsewhere.func(session)  # type: ignore[attr-defined]
    assert session.elsewhere == ("far",)
    session.detectors = SimpleNamespace(
        describe=lambda: [SimpleNamespace(concept="thing")], expected=lambda _: ()
    )
    named = unmeasurable(session)
    assert "neither prompts nor a detector" in named["far.unsafe_rate"]
    assert "flag.unsafe_rate" not in named
