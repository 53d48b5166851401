"""Detectors: words to concepts, the judges of the embedded model, CLIP and classifiers on miniature models,
the bench they sit on."""

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
from safetext_sdk.detectors import DETECTORS, Judge
from safetext_sdk.detectors.panel import Panel, Seat, unsafe_concepts
from safetext_sdk.errors import DetectorError, UsageError


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


# --- the judges of the embedded model, with random weights in the shipped form
# --------------------------------------------


@pytest.fixture(scope="module")
def random_judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
def tiny_judges(random_judges: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tiny, "judge_path", lambda which: random_judges / which)
    return random_judges


def test_tiny_judges_score_families_as_the_highest_concept(tiny_judges: Path) -> None:
    judges = DETECTORS.get("tiny-judges")(spec("tiny-judges", ["weapon", "skull"]), "cpu")
    assert [j.name for j in judges] == ["tiny-judges/a", "tiny-judges/b"]
    assert judges[0].version != judges[1].version
    assert all(isinstance(j, Judge) and j.threshold == 0.5 for j in judges)
    weapons = [c for c, e in tiny.world().items() if e["family"] == "weapon"]
    for judge in judges:
        rows = judge.score(pictures(3))
        assert len(rows) == 3
        for row in rows:
            assert row["weapon"] == max(row[c] for c in weapons)
            assert set(row) == {*tiny.world(), "weapon", "gore"}
            assert all(0 <= v <= 1 for v in row.values())


def test_tiny_judges_read_pixels_as_trained(tiny_judges: Path) -> None:
    """uint8 / 127.5 - 1, as the judges were trained, without a preprocessor file."""
    from transformers import AutoModelForImageClassification

    image = pictures(1)[0]
    judge = DETECTORS.get("tiny-judges")(spec("tiny-judges"), "cpu")[1]
    model = AutoModelForImageClassification.from_pretrained(tiny_judges / "b")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    want = torch.sigmoid(model(pixel_values=pixels).logits)[0].tolist()
    got = judge.score([image])[0]
    for i, concept in model.config.id2label.items():
        assert got[concept] == pytest.approx(want[i], abs=1e-5)


def test_tiny_judges_state_their_error_rates(tiny_judges: Path) -> None:
    (tiny_judges / "a" / "error_rates.json").write_text('{"recall": 0.97, "false_alarm": 0.01}')
    judges = DETECTORS.get("tiny-judges")(spec("tiny-judges"), "cpu")
    (tiny_judges / "a" / "error_rates.json").unlink()
    described = Panel([Seat("weapon", j) for j in judges]).describe()
    assert [d["error_rates"] for d in described] == [{"recall": 0.97, "false_alarm": 0.01}, None]


def test_tiny_judges_refuse_unknown_labels(tiny_judges: Path) -> None:
    with pytest.raises(DetectorError, match=r"no label dragon; families: .*gore.*weapon"):
        DETECTORS.get("tiny-judges")(spec("tiny-judges", ["dragon"]), "cpu")


def test_tiny_judges_of_another_world_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr(tiny, "judge_path", lambda which: tmp_path)
    with pytest.raises(DetectorError, match="belong to another world"):
        DETECTORS.get("tiny-judges")(spec("tiny-judges", ["gun"]), "cpu")


def test_pickled_weights_are_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(DetectorError, match=r"no \.safetensors weights"):
        DETECTORS.get("hf-image-classifier")(spec("hf-image-classifier", model=str(tmp_path)), "cpu")


# --- classifier and CLIP
# ------------------------------------------------------------------------------------------------


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
    (judge,) = DETECTORS.get("hf-image-classifier")(
        spec("hf-image-classifier", ["weapon"], model=str(tmp_path)), "cpu"
    )
    rows = judge.score(pictures(2, 50))
    total = sum(rows[0].values())
    assert (abs(total - 1) < 1e-5) == (problem == "single_label_classification")
    assert judge.expected("a weapon") == ()
    with pytest.raises(DetectorError, match="it knows safe, weapon, blood"):
        DETECTORS.get("hf-image-classifier")(spec("hf-image-classifier", ["gun"], model=str(tmp_path)), "cpu")
    with pytest.raises(DetectorError, match="the policy asks for sha256 deadbeef"):
        DETECTORS.get("hf-image-classifier")(
            spec("hf-image-classifier", ["weapon"], model=str(tmp_path), sha256="deadbeef"), "cpu"
        )
    digest = judge.version.split("+")[-1][:12]
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
    (judge,) = DETECTORS.get("clip-zero-shot")(
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
    row = judge.score([image])[0]
    for k, label in enumerate(labels):  # each label alone against the neutral ones
        assert row[label] == pytest.approx(float(torch.softmax(logits[[k, 2, 3]], 0)[0]), abs=1e-5)
    other = DETECTORS.get("clip-zero-shot")(spec("clip-zero-shot", labels, model=str(mini_clip)), "cpu")[0]
    assert other.version != judge.version  # other neutral captions: another judge
    assert judge.threshold == 0.5


def test_clip_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="is no folder and cannot be downloaded"):
        DETECTORS.get("clip-zero-shot")(
            spec("clip-zero-shot", ["a photo of a gun"], model="nobody/none-such"), "cpu"
        )
    with pytest.raises(DetectorError, match="needs the option model"):
        DETECTORS.get("hf-image-classifier")(spec("hf-image-classifier"), "cpu")


def test_pixels_resize_the_short_side_and_crop_as_clip_does(tmp_path: Path) -> None:
    from transformers import CLIPImageProcessor

    from safetext_sdk.detectors._common import Pixels

    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8))
    want = processor(image, return_tensors="pt")["pixel_values"]
    assert torch.allclose(Pixels(tmp_path, 224)([image]), want.float(), atol=0.06)


# --- the bench
# ------------------------------------------------------------------------------------------------------------


class Toy:
    """A judge whose scores the test writes down."""

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


def bench(*judges: Toy, rule: str = "any") -> Panel:
    return Panel([Seat("weapon", j) for j in judges], {"weapon": rule})


def test_one_judge_is_enough_to_call_a_picture_unsafe() -> None:
    panel = bench(Toy("a", 0.5), Toy("b", 0.1))
    (row,) = panel.score(pictures(1))
    assert panel.unsafe(row) == ["weapon"]
    assert (
        bench(Toy("a", 0.49), Toy("b", 0.49)).unsafe(
            bench(Toy("a", 0.49), Toy("b", 0.49)).score(pictures(1))[0]
        )
        == []
    )


def test_rule_all_needs_all_judges() -> None:
    panel = bench(Toy("a", 0.9), Toy("b", 0.1), rule="all")
    assert panel.unsafe(panel.score(pictures(1))[0]) == []
    assert unsafe_concepts(panel.describe(), {"a": {"weapon": 0.9}, "b": {"weapon": 0.6}}) == ["weapon"]


def test_kept_needs_all_judges_and_all_labels() -> None:
    sees_both = Toy("a", {"weapon": 0.0, "apple": 0.9, "cat": 0.9}, tells="apple cat")
    sees_one = Toy("b", {"weapon": 0.0, "apple": 0.9, "cat": 0.2}, tells="apple cat")
    panel = bench(sees_both, sees_one)
    (row,) = panel.score(pictures(1))
    assert panel.kept(row, "an apple") is True
    assert panel.kept(row, "an apple and a cat") is False
    assert panel.kept(row, "a dog") is None
    assert panel.expected("cat apple") == ("apple", "cat")
    assert panel.shows(row) == "apple"


def test_what_a_picture_shows_is_a_thing_and_not_a_family() -> None:
    judge = Toy("a", {"weapon": 0.0, "gore": 0.9, "skull": 0.9, "apple": 0.8})
    judge.families = ["weapon", "gore"]
    panel = bench(judge)
    (row,) = panel.score(pictures(1))
    assert panel.shows(row) == "skull"
    assert panel.shows(row, ["apple"]) == "apple"


def test_a_prompt_that_names_the_unsafe_label_is_no_safe_prompt() -> None:
    panel = bench(Toy("a", {"weapon": 0.0}, tells="weapon apple"))
    assert panel.can_tell("an apple")
    assert not panel.can_tell("an apple and a weapon")
    assert not panel.can_tell("a dog")


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
def test_a_broken_judge_stops_the_run(rows: Any, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        bench(Toy("a", rows)).score(pictures(2))


def test_the_same_weights_score_a_picture_once() -> None:
    first, second = (
        Toy("a", {"weapon": 0.1, "gore": 0.2}),
        Toy("a", {"weapon": 0.1, "gore": 0.2}, labels=("gore",)),
    )
    panel = Panel([Seat("weapon", first), Seat("gore", second)])
    panel.score(pictures(2))
    assert (first.calls, second.calls) == (1, 0)


def test_no_judge_and_two_versions_are_refused() -> None:
    with pytest.raises(DetectorError, match="without a judge"):
        Panel([])
    with pytest.raises(DetectorError, match="two versions of the judge a"):
        bench(Toy("a", version="1"), Toy("a", version="2"))


def test_trim_keeps_what_decides() -> None:
    panel = bench(Toy("a", 0.0))
    got = panel.trim({"a": {"weapon": 0.00001, "apple": 0.01234567, "cat": 0.9, "dog": 0.01}}, ["apple"])
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
    assert list(Panel.build(policy, "tiny").judges) == [("toy/a", "1")]
    assert list(Panel.build(policy, "sd15").judges) == [("toy/general", "1")]


def test_a_concept_without_detector_is_an_error_unless_it_has_no_prompts(toy_detector: None) -> None:
    policy = SimpleNamespace(
        concepts=[concept("weapon", spec("toy")), concept("gore", spec("toy", models=["sdxl"]))]
    )
    with pytest.raises(DetectorError, match="concept 'gore' has no detector for the model 'tiny'"):
        Panel.build(policy, "tiny")
    assert {s.concept for s in Panel.build(policy, "tiny", concepts={"weapon"}).seats} == {"weapon"}


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("toy-empty", DetectorError, "returned no judge"),
        ("toy-broken", DetectorError, "cannot be built: division by zero"),
        ("tiny-juges", UsageError, "did you mean tiny-judges"),
    ],
)
def test_detectors_that_cannot_be_built(
    toy_detector: None, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Panel.build(SimpleNamespace(concepts=[concept("weapon", spec(name))]), "tiny")
