"""Detectors: words to concepts, the detectors of the embedded model, CLIP and classifiers on miniature
models, and all of a policy together."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from safetext_sdk import tiny
from safetext_sdk.detectors import DETECTORS, Detector
from safetext_sdk.detectors.detector_set import Assignment, DetectorSet
from safetext_sdk.errors import DetectorError, UsageError
from safetext_sdk.results.detector_entry import unsafe_concepts
from safetext_sdk.tiny.detector import WordMatcher


def spec(
    name: str = "toy",
    labels: list[str] | None = None,
    threshold: float | None = None,
    models: list[str] | None = None,
    **options: Any,
) -> Any:
    from safetext_sdk.policy import DetectorSpec

    return DetectorSpec(
        name=name, labels=labels or ["weapon"], threshold=threshold, models=models, options=options
    )


def pictures(n: int = 3, side: int = 64) -> list[Image.Image]:
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)) for _ in range(n)]


# --- words


@pytest.mark.parametrize(
    ("prompt", "concepts"),
    [
        ("a butter knife beside toast", ("cutlery",)),
        ("a water pistol", ("water_pistol",)),
        ("a knife next to an apple", ("knife", "apple")),
        ("an apple, then a hunting  knife", ("apple", "knife")),
        ("skull and crossbones", ("crossbones",)),
        ("a sugar skull", ("sugar_skull",)),
        ("two machine guns", ("machine_gun",)),
        ("A RED APPLE", ("apple",)),
        ("pineapple", ("pineapple",)),
        ("a gunner at work", ()),
        ("nothing of this world", ()),
        ("knife and knife", ("knife",)),
    ],
)
def test_longest_word_wins(prompt: str, concepts: tuple[str, ...]) -> None:
    assert WordMatcher(tiny.world())(prompt) == concepts


def test_every_word_of_the_world_means_its_concept() -> None:
    match = WordMatcher(tiny.world())
    for concept, entry in tiny.world().items():
        for word in entry["words"]:
            assert match(f"a picture of {word} here") == (concept,), word


# --- the detectors of the embedded model, with random weights in the shipped form


@pytest.fixture(scope="module")
def random_detectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import (
        ConvNextConfig,
        ConvNextForImageClassification,
        ResNetConfig,
        ResNetForImageClassification,
    )

    folder, ids = tmp_path_factory.mktemp("judges"), list(tiny.world())
    common = {
        "num_labels": len(ids),
        "id2label": dict(enumerate(ids)),
        "label2id": {c: i for i, c in enumerate(ids)},
    }
    torch.manual_seed(0)
    a = ResNetForImageClassification(
        ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", **common)
    )
    b = ConvNextForImageClassification(
        ConvNextConfig(
            image_size=64, patch_size=8, depths=[1, 1], hidden_sizes=[4, 8], num_stages=2, **common
        )
    )
    for which, model in (("a", a), ("b", b)):
        model.save_pretrained(folder / which, safe_serialization=True)
    return folder


@pytest.fixture
def tiny_detectors(random_detectors: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("safetext_sdk.tiny.detector.detector_path", lambda which: random_detectors / which)
    return random_detectors


def test_tiny_detectors_score_families_as_the_highest_concept(tiny_detectors: Path) -> None:
    detectors = DETECTORS.get("tiny-judges")(spec("tiny-judges", ["weapon", "skull"]), "cpu")
    assert [j.name for j in detectors] == ["tiny-judges/a", "tiny-judges/b"]
    assert detectors[0].version != detectors[1].version
    assert all(isinstance(j, Detector) and j.threshold == 0.5 for j in detectors)
    weapons = [c for c, e in tiny.world().items() if e["family"] == "weapon"]
    for detector in detectors:
        rows = detector.score(pictures(3))
        assert len(rows) == 3
        for row in rows:
            assert row["weapon"] == max(row[c] for c in weapons)
            assert set(row) == {*tiny.world(), "weapon", "gore"}
            assert all(0 <= v <= 1 for v in row.values())


def test_tiny_detectors_read_pixels_as_trained(tiny_detectors: Path) -> None:
    """uint8 / 127.5 - 1, as the detectors were trained, without a preprocessor file."""
    from transformers import AutoModelForImageClassification

    image = pictures(1)[0]
    detector = DETECTORS.get("tiny-judges")(spec("tiny-judges"), "cpu")[1]
    model = AutoModelForImageClassification.from_pretrained(tiny_detectors / "b")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    want = torch.sigmoid(model(pixel_values=pixels).logits)[0].tolist()
    got = detector.score([image])[0]
    for i, concept in model.config.id2label.items():
        assert got[concept] == pytest.approx(want[i], abs=1e-5)


def test_tiny_detectors_state_their_error_rates(tiny_detectors: Path) -> None:
    (tiny_detectors / "a" / "error_rates.json").write_text('{"recall": 0.97, "false_alarm": 0.01}')
    detectors = DETECTORS.get("tiny-judges")(spec("tiny-judges"), "cpu")
    (tiny_detectors / "a" / "error_rates.json").unlink()
    described = DetectorSet([Assignment("weapon", j) for j in detectors]).describe()
    assert [d.error_rates for d in described] == [{"recall": 0.97, "false_alarm": 0.01}, None]


def test_tiny_detectors_refuse_unknown_labels(tiny_detectors: Path) -> None:
    with pytest.raises(DetectorError, match=r"no label dragon; families: .*gore.*weapon"):
        DETECTORS.get("tiny-judges")(spec("tiny-judges", ["dragon"]), "cpu")


def test_tiny_detectors_of_another_world_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=4,
        hidden_sizes=[4],
        depths=[1],
        layer_type="basic",
        num_labels=2,
        id2label={0: "gun", 1: "apple"},
    )
    ResNetForImageClassification(config).save_pretrained(tmp_path, safe_serialization=True)
    monkeypatch.setattr("safetext_sdk.tiny.detector.detector_path", lambda which: tmp_path)
    with pytest.raises(DetectorError, match="belong to another world"):
        DETECTORS.get("tiny-judges")(spec("tiny-judges", ["gun"]), "cpu")


def test_pickled_weights_are_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(DetectorError, match=r"no \.safetensors weights"):
        DETECTORS.get("hf-image-classifier")(spec("hf-image-classifier", model=str(tmp_path)), "cpu")


# --- classifier and CLIP


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
def test_hf_classifier_softmax_or_sigmoid(tmp_path: Path, problem: str) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    labels = {0: "safe", 1: "weapon", 2: "blood"}
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        num_labels=3,
        id2label=labels,
        label2id={v: k for k, v in labels.items()},
        problem_type=problem,
    )
    torch.manual_seed(1)
    ViTForImageClassification(config).save_pretrained(tmp_path, safe_serialization=True)
    (detector,) = DETECTORS.get("hf-image-classifier")(
        spec("hf-image-classifier", ["weapon"], model=str(tmp_path)), "cpu"
    )
    rows = detector.score(pictures(2, 50))
    total = sum(rows[0].values())
    assert (abs(total - 1) < 1e-5) == (problem == "single_label_classification")
    assert detector.expected("a weapon") == ()
    with pytest.raises(DetectorError, match="it knows safe, weapon, blood"):
        DETECTORS.get("hf-image-classifier")(spec("hf-image-classifier", ["gun"], model=str(tmp_path)), "cpu")
    with pytest.raises(DetectorError, match="the policy asks for sha256 deadbeef"):
        DETECTORS.get("hf-image-classifier")(
            spec("hf-image-classifier", ["weapon"], model=str(tmp_path), sha256="deadbeef"), "cpu"
        )
    digest = detector.version.split("+")[-1][:12]
    assert DETECTORS.get("hf-image-classifier")(
        spec("hf-image-classifier", ["weapon"], model=str(tmp_path), sha256=digest), "cpu"
    )


@pytest.fixture(scope="module")
def mini_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.minis import build_tokenizer
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    build_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    torch.manual_seed(2)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(
        folder, safe_serialization=True
    )
    return folder


def test_clip_zero_shot_is_a_softmax_against_neutral_captions(mini_clip: Path) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    labels, neutral = ["a photo of a gun", "a photo of a knife"], ["a photo", "a photo of a cat"]
    (detector,) = DETECTORS.get("clip-zero-shot")(
        spec("clip-zero-shot", labels, model=str(mini_clip), neutral=neutral), "cpu"
    )
    image = pictures(1, 32)[0]
    model, tokenizer = CLIPModel.from_pretrained(mini_clip).eval(), CLIPTokenizer.from_pretrained(mini_clip)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    ids = tokenizer(
        [*labels, *neutral], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = model(pixel_values=pixels, **ids).logits_per_image[0]
    row = detector.score([image])[0]
    for k, label in enumerate(labels):  # each label alone against the neutral ones
        assert row[label] == pytest.approx(float(torch.softmax(logits[[k, 2, 3]], 0)[0]), abs=1e-5)
    other = DETECTORS.get("clip-zero-shot")(spec("clip-zero-shot", labels, model=str(mini_clip)), "cpu")[0]
    assert other.version != detector.version  # other neutral captions: another detector
    assert detector.threshold == 0.5


def test_clip_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="is not a folder and cannot be downloaded"):
        DETECTORS.get("clip-zero-shot")(
            spec("clip-zero-shot", ["a photo of a gun"], model="nobody/none-such"), "cpu"
        )
    with pytest.raises(DetectorError, match="needs the option model"):
        DETECTORS.get("hf-image-classifier")(spec("hf-image-classifier"), "cpu")


# --- all detectors of a policy


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


# --- pictures of other modes


def sixteen_bits() -> tuple[Image.Image, Image.Image]:
    """One picture twice: 16-bit greyscale, and what a viewer shows of it."""
    shades = np.asarray(pictures(1)[0].convert("L"))
    return Image.fromarray(shades.astype(np.uint16) * 257), Image.fromarray(shades).convert("RGB")


@pytest.fixture
def every_detector(
    tiny_detectors: Path, mini_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    """One of each built-in kind, NudeNet's network replaced by one that returns the mean of its pixels."""
    from safetext_sdk.detectors import nudenet

    class Session:
        def get_inputs(self) -> Any:
            return [SimpleNamespace(name="images")]

        def run(self, _: Any, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            out = np.zeros((1, 4 + len(nudenet.LABELS), 2), np.float32)
            out[0, 4:] = given["images"].mean()
            return [out]

    monkeypatch.setattr(nudenet, "_session", lambda path, device: Session())
    weights = tmp_path / "320n.onnx"
    weights.write_bytes(b"weights")
    from safetext_sdk.detectors.weights import file_sha256

    return [
        *DETECTORS.get("tiny-judges")(spec("tiny-judges"), "cpu"),
        *DETECTORS.get("clip-zero-shot")(spec("clip-zero-shot", ["a gun"], model=str(mini_clip)), "cpu"),
        *DETECTORS.get("hf-image-classifier")(
            spec("hf-image-classifier", ["gun"], model=str(tiny_detectors / "a")), "cpu"
        ),
        nudenet.NudeNet(weights, ["FACE_FEMALE"], 0.25, "cpu", file_sha256(weights)),
    ]


def test_every_detector_sees_a_deep_greyscale_picture(every_detector: list[Any]) -> None:
    deep, shown = sixteen_bits()
    black = Image.new("RGB", shown.size)
    for detector in every_detector:
        got, want, nothing = detector.score([deep, shown, black])
        assert got == pytest.approx(want, abs=1e-4), detector.name
        assert got != pytest.approx(nothing, abs=1e-4), detector.name
