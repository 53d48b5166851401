"""Zero-shot detection on a miniature CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.detector_case import build_clip, pictures, spec

from safetext_sdk.detectors import DETECTORS
from safetext_sdk.errors import DetectorError


@pytest.fixture(scope="module")
def mini_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clip(tmp_path_factory.mktemp("clip"))


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
