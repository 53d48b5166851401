"""GenEval-, TIFA- and VQAScore-style metrics: rules by hand with judges that are told what to say, and real
(miniature) judges behind them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.gate_case import passing, row
from support.judge_minis import build_llava, build_vilt, build_yolos

from safetext_sdk.detectors.object_finder import load_finder
from safetext_sdk.detectors.visual_answers import load_answers
from safetext_sdk.errors import DetectorError, NotMeasuredError
from safetext_sdk.metrics import METRICS
from safetext_sdk.metrics.evidence import Evidence
from safetext_sdk.metrics.geneval import places
from safetext_sdk.metrics.pictures import Found, Pictures, Taken, WeightsConfig
from safetext_sdk.results.rows import ResultRow

SIDE = 32


@dataclass
class Told:
    """Judges that say what a test tells them, by the picture's grey level."""

    things: dict[int, list[Found]] = field(default_factory=dict)
    says: dict[int, float] = field(default_factory=dict)
    answers: dict[int, str] = field(default_factory=dict)
    device: str = "cpu"
    described: dict[str, Any] = field(default_factory=lambda: {"name": "told", "sha256": "0" * 64})

    def finder(self, ref: str, options: WeightsConfig) -> Any:
        return self

    def answerer(self, ref: str, options: WeightsConfig) -> Any:
        return self

    def clip(self, ref: str, options: WeightsConfig) -> Any:
        return self

    def extractor(self, ref: str, options: WeightsConfig) -> Any:
        return self

    def find(self, images: Sequence[Image.Image]) -> list[list[Found]]:
        return [self.things.get(grey(image), []) for image in images]

    def yes(self, image: Image.Image, question: str) -> float:
        assert question.startswith('Does this figure show "')
        return self.says[grey(image)]

    def choose(self, image: Image.Image, question: str, choices: Sequence[str]) -> str:
        return self.answers.get(grey(image), choices[0])

    def texts(self, captions: Sequence[str]) -> Any:
        return np.eye(len(captions))

    def images(self, images: Sequence[Image.Image]) -> Any:
        """Red where the picture is light, orange where it is dark."""
        return np.array([[1.0, 0] + [0] * 8 if grey(i) > 100 else [0, 1.0] + [0] * 8 for i in images])


def grey(image: Image.Image) -> int:
    return int(np.asarray(image)[SIDE // 2 if image.height > SIDE // 2 else 0, 0, 0])


def pictures(folder: Path, prompts: Sequence[str]) -> Pictures:
    """One grey picture a prompt and model: 10 * k on the original, 10 * k + 100 on the hardened model."""
    rows: list[ResultRow] = []
    (folder / "images").mkdir(parents=True)
    for k, prompt in enumerate(prompts):
        for model, extra in (("original", 0), ("hardened", 100)):
            rows.append(row(model, "safe", k, prompt=prompt))
            shade = 10 * k + extra
            Image.new("RGB", (SIDE, SIDE), (shade,) * 3).save(folder / rows[-1].image)
    return Pictures(Evidence(passing(1).facts, tuple(rows)), folder)


def take(name: str, told: Told, where: Pictures, **options: Any) -> Taken:
    kind = METRICS.get(name).pictures
    assert kind is not None
    return kind(kind.Config(**options), told).take(where)


def thing(label: str, score: float = 0.95, x: int = 0, y: int = 0, side: int = 8) -> Found:
    return Found(label, score, x, y, x + side, y + side)


def write(path: Path, lines: Sequence[Any]) -> str:
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


# --- GenEval ---


@pytest.mark.parametrize(
    ("b", "said"),
    [
        (thing("cat", x=24), {"left of"}),
        (thing("cat", y=24), {"above"}),
        (thing("cat", x=20, y=20), {"left of", "above"}),
        (thing("cat", x=1), set()),
        (thing("cat"), set()),
    ],
)
def test_places_are_those_of_the_authors(b: Found, said: set[str]) -> None:
    assert places(thing("dog"), b) == said
    mirror = {"left of": "right of", "above": "below"}
    assert places(b, thing("dog")) == {mirror[each] for each in said}


def test_geneval_by_hand(tmp_path: Path) -> None:
    scenes: list[tuple[dict[str, Any], list[Found], bool]] = [
        ({"include": [{"class": "dog", "count": 1}]}, [thing("dog", 0.31)], True),
        ({"include": [{"class": "dog", "count": 1}]}, [thing("dog", 0.3)], False),
        ({"include": [{"class": "dog", "count": 2}]}, [thing("dog"), thing("cat")], False),
        (
            {
                "tag": "counting",
                "include": [{"class": "dog", "count": 2}],
                "exclude": [{"class": "dog", "count": 3}],
            },
            [thing("dog"), thing("dog", x=9), thing("dog", 0.8, x=18)],
            True,  # the third is not sure enough to be counted
        ),
        (
            {
                "include": [{"class": "dog", "count": 2}],
                "exclude": [{"class": "dog", "count": 3}],
            },
            [thing("dog"), thing("dog", x=9), thing("dog", x=18)],
            False,
        ),
        (
            {
                "include": [
                    {"class": "dog", "count": 1},
                    {"class": "cat", "count": 1, "position": ["right of", 0]},
                ]
            },
            [thing("dog"), thing("cat", x=24)],
            True,
        ),
        (
            {
                "include": [
                    {"class": "dog", "count": 1},
                    {"class": "cat", "count": 1, "position": ["above", 0]},
                ]
            },
            [thing("dog"), thing("cat", x=24)],
            False,
        ),
        ({"include": [{"class": "car", "count": 1, "color": "red"}]}, [thing("car")], True),
        ({"include": [{"class": "car", "count": 1, "color": "blue"}]}, [thing("car")], False),
    ]
    prompts = [f"scene {k}" for k in range(len(scenes))]
    file = write(
        tmp_path / "metadata.jsonl",
        [{"tag": "x", **scene, "prompt": p} for (scene, _, _), p in zip(scenes, prompts, strict=True)],
    )
    told = Told({10 * k + 100: found for k, (_, found, _) in enumerate(scenes)})
    where = pictures(tmp_path / "report", [*prompts, "nobody asks about this"])
    found = take("geneval", told, where, detector="d", questions=file, clip="c")
    by_prompt = {v.prompt: v.value for v in found.values if v.model == "hardened"}
    assert by_prompt == {p: float(right) for p, (_, _, right) in zip(prompts, scenes, strict=True)}
    assert found.interval.value == pytest.approx(sum(right for _, _, right in scenes) / len(scenes))
    assert found.original == 0
    without = take("geneval", told, where, detector="d", questions=file)
    assert without.interval.n == len(scenes) - 2, "no CLIP, no prompts with colours"
    nothing = take("geneval", told, pictures(tmp_path / "other", ["a"]), detector="d", questions=file)
    assert (nothing.interval.n, "--prompts" in nothing.missing) == (0, True)


def test_what_geneval_needs_is_said(tmp_path: Path) -> None:
    where = pictures(tmp_path / "report", ["a"])
    bad = write(
        tmp_path / "bad.jsonl", [{"include": [{"class": "dog", "position": ["near", 0]}], "prompt": "a"}]
    )
    unnamed = write(tmp_path / "unnamed.jsonl", [{"include": []}])
    for options, said in (
        ({}, "there is no file of questions"),
        ({"questions": "none.jsonl"}, "cannot be read"),
        ({"questions": bad}, "question 1, include.0.position"),
        ({"questions": unnamed}, "question 1 has no prompt"),
        ({"questions": write(tmp_path / "ok.jsonl", [{"prompt": "a"}])}, "there is no detector of objects"),
    ):
        with pytest.raises(NotMeasuredError, match=said):
            take("geneval", Told(), where, **options)


# --- TIFA and VQAScore ---


def test_tifa_by_hand(tmp_path: Path) -> None:
    asked = [
        {"caption": "A red car.", "question": "what colour?", "choices": ["red", "blue"], "answer": "Red"},
        {"caption": "A red car.", "question": "a car?", "choices": ["yes", "no"], "answer": "no"},
        {"caption": "a cat", "question": "an animal?", "choices": ["yes", "no"], "answer": "no"},
    ]
    file = tmp_path / "tifa.json"
    file.write_text(json.dumps(asked))
    where = pictures(tmp_path / "report", ["a red car", "a cat", "a dog"])
    found = take("tifa", Told(answers={110: "no"}), where, model="m", questions=str(file))
    assert {v.prompt: v.value for v in found.values if v.model == "hardened"} == {
        "a red car": 0.5,
        "a cat": 1,
    }
    assert (found.interval.value, found.original) == (pytest.approx(0.75), pytest.approx(0.25))
    assert found.notes == ("3 questions, answered by told",)


def test_vqa_score_by_hand(tmp_path: Path) -> None:
    where = pictures(tmp_path / "report", ["a cat", "a dog"])
    found = take("vqa_score", Told(says={0: 0.9, 10: 0.7, 100: 0.6, 110: 0.2}), where, model="m")
    assert (found.interval.value, found.original) == (pytest.approx(0.4), pytest.approx(0.8))
    assert found.interval.lower < 0.4 < found.interval.upper
    with pytest.raises(NotMeasuredError, match="there is no VQA model; name a folder"):
        take("vqa_score", Told(), where)


# --- the models behind them ---


def test_a_detector_of_objects_of_transformers(tmp_path: Path) -> None:
    loaded = load_finder("mini", build_yolos(tmp_path / "yolos"), "cpu")
    assert loaded.labels == {"apple", "cat"}
    images = [Image.new("RGB", (48, 24), c) for c in ("red", "blue")]
    both = loaded.boxes(images)
    assert len(both) == 2
    inputs = loaded.processor(images=images[:1], return_tensors="pt")
    with torch.no_grad():
        scores = loaded.model(**inputs).logits.softmax(-1)[0, :, :-1].max(-1).values
    assert sorted((s for _, s, _ in both[0]), reverse=True) == [s for _, s, _ in both[0]]
    assert [s for _, s, _ in both[0]] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-5)
    for label, _, (left, top, right, bottom) in both[0]:
        assert label in loaded.labels
        assert -1 <= left < right <= 49
        assert -1 <= top < bottom <= 25
    with pytest.raises(DetectorError, match=r"holds no \.safetensors"):
        load_finder("none", tmp_path, "cpu")


def test_a_classifier_of_answers(tmp_path: Path) -> None:
    loaded = load_answers("vilt", build_vilt(tmp_path / "vilt"), "cpu")
    image = Image.new("RGB", (SIDE, SIDE), "red")
    assert loaded.classifies
    known = loaded._answers(image, "what colour?")
    assert sum(known.values()) == pytest.approx(1, abs=1e-5)
    best = max(("red", "blue"), key=known.__getitem__)
    assert loaded.choose(image, "what colour?", ["Blue", "Red"]).lower() == best
    assert loaded.yes(image, "what colour?") == pytest.approx(known["yes"] / (known["yes"] + known["no"]))
    with pytest.raises(DetectorError, match="none of the answers mauve, beige"):
        loaded.choose(image, "what colour?", ["mauve", "beige"])
    dumb = load_answers("dumb", build_vilt(tmp_path / "dumb", ("red", "blue")), "cpu")
    with pytest.raises(DetectorError, match="neither yes nor no"):
        dumb.yes(image, "is this red?")


def test_a_language_model_that_sees(tmp_path: Path) -> None:
    loaded = load_answers("llava", build_llava(tmp_path / "llava"), "cpu")
    assert not loaded.classifies
    red, blue = (Image.new("RGB", (SIDE, SIDE), c) for c in ("red", "blue"))
    told = loaded.yes(red, "Is this red?")
    assert 0 < told < 1
    assert told != loaded.yes(blue, "Is this red?"), "the picture is looked at"
    assert loaded.choose(red, "What colour?", ["red", "blue"]) in ("red", "blue")
    with pytest.raises(DetectorError, match="more than letters"):
        loaded.choose(red, "Which?", [str(k) for k in range(27)])
    silent = build_llava(tmp_path / "silent")
    for name in ("chat_template.jinja", "chat_template.json"):
        (silent / name).unlink(missing_ok=True)
    with pytest.raises(DetectorError, match="no chat template"):
        load_answers("silent", silent, "cpu")
