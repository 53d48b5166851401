"""All detectors of a policy together: the rules, and what stops a run."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from support.detector_case import pictures, spec

from safetext_sdk.detectors import DETECTORS
from safetext_sdk.detectors.detector_set import Assignment, DetectorSet
from safetext_sdk.errors import DetectorError, UsageError
from safetext_sdk.results.detector_entry import unsafe_concepts


class Toy:
    """A detector whose scores the test writes down."""

    def __init__(
        self,
        name: str = "toy/a",
        rows: Any = 0.0,
        labels: tuple[str, ...] = ("weapon",),
        version: str = "1",
        tells: str = "",
        threshold: float = 0.5,
    ):
        self.name, self.rows, self.labels, self.version, self.tells, self.threshold = (
            name,
            rows,
            list(labels),
            version,
            tells,
            threshold,
        )
        self.calls = 0
        self.families: list[str] = []

    def score(self, images: Any) -> Any:
        self.calls += 1
        if isinstance(self.rows, Exception):
            raise self.rows
        if isinstance(self.rows, list):
            return self.rows
        scores = self.rows if isinstance(self.rows, dict) else dict.fromkeys(self.labels, self.rows)
        return [dict(scores) for _ in images]

    def expected(self, prompt: str) -> tuple[str, ...]:
        return tuple(w for w in self.tells.split() if w in prompt)


def together(*detectors: Toy, rule: str = "any") -> DetectorSet:
    return DetectorSet([Assignment("weapon", d) for d in detectors], {"weapon": rule})


def test_one_detector_is_enough_to_call_a_picture_unsafe() -> None:
    detectors = together(Toy("a", 0.5), Toy("b", 0.1))
    (row,) = detectors.score(pictures(1))
    assert detectors.unsafe(row) == ["weapon"]
    assert (
        together(Toy("a", 0.49), Toy("b", 0.49)).unsafe(
            together(Toy("a", 0.49), Toy("b", 0.49)).score(pictures(1))[0]
        )
        == []
    )


def test_rule_all_needs_all_detectors() -> None:
    detectors = together(Toy("a", 0.9), Toy("b", 0.1), rule="all")
    assert detectors.unsafe(detectors.score(pictures(1))[0]) == []
    assert unsafe_concepts(detectors.describe(), {"a": {"weapon": 0.9}, "b": {"weapon": 0.6}}) == ["weapon"]


def test_kept_needs_all_detectors_and_all_labels() -> None:
    sees_both = Toy("a", {"weapon": 0.0, "apple": 0.9, "cat": 0.9}, tells="apple cat")
    sees_one = Toy("b", {"weapon": 0.0, "apple": 0.9, "cat": 0.2}, tells="apple cat")
    detectors = together(sees_both, sees_one)
    (row,) = detectors.score(pictures(1))
    assert detectors.kept(row, "an apple") is True
    assert detectors.kept(row, "an apple and a cat") is False
    assert detectors.kept(row, "a dog") is None
    assert detectors.expected("cat apple") == ("apple", "cat")
    assert detectors.shows(row) == "apple"


def test_what_a_picture_shows_is_a_thing_and_not_a_family() -> None:
    detector = Toy("a", {"weapon": 0.0, "gore": 0.9, "skull": 0.9, "apple": 0.8})
    detector.families = ["weapon", "gore"]
    detectors = together(detector)
    (row,) = detectors.score(pictures(1))
    assert detectors.shows(row) == "skull"
    assert detectors.shows(row, ["apple"]) == "apple"


def test_a_prompt_that_names_the_unsafe_label_is_no_safe_prompt() -> None:
    detectors = together(Toy("a", {"weapon": 0.0}, tells="weapon apple"))
    assert detectors.can_tell("an apple")
    assert not detectors.can_tell("an apple and a weapon")
    assert not detectors.can_tell("a dog")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "returned 0 rows for 2 pictures"),
        ([{"weapon": 0.1}], "returned 1 rows for 2 pictures"),
        ({"other": 0.3}, "gave no score for weapon"),
        ({"weapon": math.nan}, "a score lies in"),
        ({"weapon": 1.2}, "a score lies in"),
        ({"weapon": None}, "a score lies in"),
        (RuntimeError("out of order"), "failed while scoring: RuntimeError: out of order"),
    ],
)
def test_a_broken_detector_stops_the_run(rows: Any, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        together(Toy("a", rows)).score(pictures(2))


def test_the_same_weights_score_a_picture_once() -> None:
    first, second = (
        Toy("a", {"weapon": 0.1, "gore": 0.2}),
        Toy("a", {"weapon": 0.1, "gore": 0.2}, labels=("gore",)),
    )
    detectors = DetectorSet([Assignment("weapon", first), Assignment("gore", second)])
    detectors.score(pictures(2))
    assert (first.calls, second.calls) == (1, 0)


def test_no_detector_and_two_versions_are_refused() -> None:
    with pytest.raises(DetectorError, match="without one"):
        DetectorSet([])
    with pytest.raises(DetectorError, match="two versions of the detector a"):
        together(Toy("a", version="1"), Toy("a", version="2"))


def test_trim_keeps_what_decides() -> None:
    detectors = together(Toy("a", 0.0))
    got = detectors.trim({"a": {"weapon": 0.00001, "apple": 0.01234567, "cat": 0.9, "dog": 0.01}}, ["apple"])
    assert got == {"a": {"weapon": 1e-05, "apple": 0.012346, "cat": 0.9}}


def concept(id_: str, *detectors: Any) -> Any:
    return SimpleNamespace(id=id_, detectors=list(detectors), detector_rule="any")


@pytest.fixture
def toy_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = dict(DETECTORS._entries)
    monkeypatch.setattr(DETECTORS, "_entries", entries)
    DETECTORS.add("toy", lambda s, device: [Toy("toy/a", labels=tuple(s.labels))])
    DETECTORS.add("toy-general", lambda s, device: [Toy("toy/general", labels=tuple(s.labels))])
    DETECTORS.add("toy-empty", lambda s, device: [])
    DETECTORS.add("toy-broken", lambda s, device: 1 / 0)


def test_detectors_made_for_the_model_take_the_place_of_general_ones(toy_detector: None) -> None:
    policy = SimpleNamespace(concepts=[concept("weapon", spec("toy", models=["tiny"]), spec("toy-general"))])
    assert list(DetectorSet.build(policy, "tiny").detectors) == [("toy/a", "1")]
    assert list(DetectorSet.build(policy, "sd15").detectors) == [("toy/general", "1")]


def test_a_concept_without_detector_is_an_error_unless_it_has_no_prompts(toy_detector: None) -> None:
    policy = SimpleNamespace(
        concepts=[concept("weapon", spec("toy")), concept("gore", spec("toy", models=["sdxl"]))]
    )
    with pytest.raises(DetectorError, match="concept 'gore' has no detector for the model 'tiny'"):
        DetectorSet.build(policy, "tiny")
    assert {s.concept for s in DetectorSet.build(policy, "tiny", concepts={"weapon"}).assignments} == {
        "weapon"
    }


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("toy-empty", DetectorError, "built nothing"),
        ("toy-broken", DetectorError, "cannot be built: division by zero"),
        ("tiny-juges", UsageError, "did you mean tiny-judges"),
    ],
)
def test_detectors_that_cannot_be_built(
    toy_detector: None, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DetectorSet.build(SimpleNamespace(concepts=[concept("weapon", spec(name))]), "tiny")
