"""Any transformers image classifier, on miniature weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from support.detector_case import pictures, spec
from support.hub import COMMIT, Hub, serving

from safetext_sdk.detectors import DETECTORS
from safetext_sdk.errors import DetectorError


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
    own = problem == "multi_label_classification"
    for multi_label in (own, not own):
        (told,) = DETECTORS.get("hf-image-classifier")(
            spec("hf-image-classifier", ["weapon"], model=str(tmp_path), multi_label=multi_label), "cpu"
        )
        same = told.score(pictures(2, 50)) == rows
        assert (same, told.version == detector.version) == (multi_label == own, multi_label == own)
    digest = detector.version.split("+")[-1][:12]
    assert DETECTORS.get("hf-image-classifier")(
        spec("hf-image-classifier", ["weapon"], model=str(tmp_path), sha256=digest), "cpu"
    )


def test_pickled_weights_are_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(DetectorError, match=r"no \.safetensors weights"):
        DETECTORS.get("hf-image-classifier")(spec("hf-image-classifier", model=str(tmp_path)), "cpu")


def test_a_hub_id_and_a_folder_are_one_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two lines of docs/detectors.md, on a hub of this test."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        id2label={0: "normal", 1: "nsfw"},
        label2id={"normal": 0, "nsfw": 1},
    )
    torch.manual_seed(2)
    folder = tmp_path / "classifier"
    ViTForImageClassification(config).save_pretrained(folder, safe_serialization=True)
    torch.save({}, folder / "pytorch_model.bin")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    build = DETECTORS.get("hf-image-classifier")
    with serving(Hub(folder)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        url = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        (by_id,) = build(spec("hf-image-classifier", ["nsfw"], model="someone/mini", revision=COMMIT), "cpu")
        assert "pytorch_model.bin" not in hub.fetched(), "a pickle is not even fetched"
    (by_folder,) = build(spec("hf-image-classifier", ["nsfw"], model=str(folder)), "cpu")
    assert by_id.version == by_folder.version
    assert by_id.score(pictures(2)) == by_folder.score(pictures(2))
    assert by_id.all_labels == ["normal", "nsfw"]  # type: ignore[attr-defined]
