"""The detectors of the embedded model: words to concepts, and scores on random weights as they ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.detector_case import build_tiny_detectors, pictures, spec

from safetext_sdk import tiny
from safetext_sdk.detectors import DETECTORS, Detector
from safetext_sdk.detectors.detector_set import Assignment, DetectorSet
from safetext_sdk.errors import DetectorError


@pytest.fixture(scope="module")
def random_detectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_detectors(tmp_path_factory.mktemp("tiny"))


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
