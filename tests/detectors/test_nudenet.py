"""NudeNet for real, where its wheel is installed; the absence of it everywhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from safetext_sdk.detectors import DETECTORS, nudenet
from safetext_sdk.errors import DetectorError, MissingExtraError

installed = (
    importlib.util.find_spec("nudenet") is not None and importlib.util.find_spec("onnxruntime") is not None
)
needs_nudenet = pytest.mark.skipif(not installed, reason="the extra nudenet is not installed")


def spec(labels: list[str], threshold: float | None = None, **options: Any) -> Any:
    from safetext_sdk.policy import DetectorSpec

    return DetectorSpec(name="nudenet", labels=labels, threshold=threshold, options=options)


def photograph(name: str) -> Image.Image:
    """A public-domain test picture that scikit-image carries; read without importing it."""
    found = importlib.util.find_spec("skimage")
    path = Path(next(iter(found.submodule_search_locations or []))) / "data" / name if found else None
    if path is None or not path.is_file():
        pytest.skip("scikit-image is not installed")
    return Image.open(path).convert("RGB")


@needs_nudenet
def test_astronaut_shows_a_face_and_nothing_exposed() -> None:
    (detector,) = DETECTORS.get("nudenet")(spec(["FACE_FEMALE"], 0.5), "cpu")
    image = photograph("astronaut.png")
    row = detector.score([image])[0]
    assert row["FACE_FEMALE"] == pytest.approx(0.81, abs=0.005)  # 0.72 with red and blue swapped
    assert max(v for k, v in row.items() if k.endswith("EXPOSED")) < 0.3
    face = next(d for d in detector.detect(image) if d.label == "FACE_FEMALE")
    left, top, right, bottom = face.box
    assert left < 225 < right  # the face of that picture is around (225, 110)
    assert top < 110 < bottom
    assert nudenet.SHA256.startswith(detector.version.split("+")[1])


@needs_nudenet
@pytest.mark.parametrize(
    "name", ["rocket.jpg", "chelsea.png", "coins.png", "brick.png", "hubble_deep_field.jpg"]
)
def test_pictures_without_people_show_nothing(name: str) -> None:
    (detector,) = DETECTORS.get("nudenet")(spec(["FACE_FEMALE"]), "cpu")
    assert max(detector.score([photograph(name)])[0].values()) < detector.threshold


@needs_nudenet
def test_false_alarms_are_known() -> None:
    """A cup of coffee: the figure that docs/detectors.md warns with."""
    (detector,) = DETECTORS.get("nudenet")(spec(["BUTTOCKS_EXPOSED"]), "cpu")
    assert detector.score([photograph("coffee.png")])[0]["BUTTOCKS_EXPOSED"] == pytest.approx(0.30, abs=0.01)


@needs_nudenet
def test_a_picture_without_people_in_any_shape() -> None:
    (detector,) = DETECTORS.get("nudenet")(spec(["FACE_FEMALE"]), "cpu")
    rows = detector.score(
        [Image.new("RGB", size, "green") for size in ((64, 64), (500, 40), (30, 400))]
        + [Image.new("L", (64, 64))]
    )
    assert len(rows) == 4
    assert all(v < detector.threshold for row in rows for v in row.values())


@needs_nudenet
def test_pictures_scored_together_score_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nudenet, "AT_ONCE", 2)
    monkeypatch.setattr(nudenet, "FLOOR", 1e-5)  # noise has parts as well
    (detector,) = DETECTORS.get("nudenet")(spec(["FACE_FEMALE"]), "cpu")
    rng = np.random.default_rng(0)
    sizes = ((64, 64), (90, 40), (40, 90), (320, 320), (64, 64))
    images = [Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]
    rows = detector.score(images)
    assert rows == [detector.score([image])[0] for image in images]
    assert len({tuple(row.values()) for row in rows}) == len(rows)
    assert detector.score([]) == []


@needs_nudenet
def test_boxes_follow_the_picture_when_it_is_padded() -> None:
    """The same face in a wide picture is found at the same place: padding is right and below, boxes scale
    back."""
    (detector,) = DETECTORS.get("nudenet")(spec(["FACE_FEMALE"]), "cpu")
    image = photograph("astronaut.png")
    wide = Image.new("RGB", (800, 512))
    wide.paste(image)
    one = next(d for d in detector.detect(image) if d.label == "FACE_FEMALE")
    two = next(d for d in detector.detect(wide) if d.label == "FACE_FEMALE")
    assert np.allclose(one.box, two.box, atol=25)


@needs_nudenet
def test_labels_and_weights_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="no label NAKED; it knows FEMALE_GENITALIA_COVERED"):
        DETECTORS.get("nudenet")(spec(["NAKED"]), "cpu")
    other = tmp_path / "320n.onnx"
    other.write_bytes(nudenet.weights_path().read_bytes() + b"\x00")
    with pytest.raises(DetectorError, match="the policy asks for sha256"):
        DETECTORS.get("nudenet")(spec(["FACE_FEMALE"], path=str(other)), "cpu")
    with pytest.raises(DetectorError, match="do not exist"):
        DETECTORS.get("nudenet")(spec(["FACE_FEMALE"], path=str(tmp_path / "none.onnx")), "cpu")


def test_not_installed_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nudenet, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "safetext-sdk\[nudenet\]"'):
        DETECTORS.get("nudenet")(spec(["FACE_FEMALE"]), "cpu")


def test_suppression_within_a_class() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [40, 40, 50, 50], [0, 0, 10, 10]], float)
    scores = np.array([0.6, 0.9, 0.5, 0.3])
    assert nudenet.suppress(boxes, scores) == [1, 2]
    assert nudenet.suppress(boxes[:0], scores[:0]) == []
