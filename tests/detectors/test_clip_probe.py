"""Q16 and its kind: learned prompts and linear probes on a miniature CLIP, against hand-written formulas."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.detector_case import build_clip, pictures, spec

from safetext_sdk.detectors import DETECTORS
from safetext_sdk.detectors.clip_model import load_clip
from safetext_sdk.errors import DetectorError

WIDTH = 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clip(tmp_path_factory.mktemp("clip"))


def build(clip: Path, weights: Path, label: str = "bad", **options: Any) -> Any:
    given = {"model": str(clip), "classes": ["good", "bad"], "weights": str(weights), **options}
    (detector,) = DETECTORS.get("clip-probe")(spec("clip-probe", [label], **given), "cpu")
    return detector


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def test_learned_prompts_are_q16s_softmax_of_a_hundred_cosines(clip: Path, tmp_path: Path) -> None:
    prompts = numbers(2, WIDTH) * 7
    np.save(tmp_path / "q16.npy", prompts.numpy())
    save_file({"prompts": prompts}, tmp_path / "q16.safetensors")
    images = pictures(3, 40)
    rows = build(clip, tmp_path / "q16.npy").score(images)
    seen = load_clip(str(clip), "cpu").images(images)
    cosines = torch.nn.functional.cosine_similarity(seen[:, None], prompts[None], dim=-1)
    expected = torch.softmax(100 * cosines, -1)[:, 1].tolist()
    assert [row["bad"] for row in rows] == pytest.approx(expected, abs=1e-5)
    assert rows == build(clip, tmp_path / "q16.safetensors").score(images)
    assert build(clip, tmp_path / "q16.npy").name == "clip-probe/q16"


def test_a_linear_probe(clip: Path, tmp_path: Path) -> None:
    weight, bias = numbers(2, WIDTH), torch.tensor([0.5, -0.5])
    save_file({"weight": weight, "bias": bias}, tmp_path / "probe.safetensors")
    images = pictures(2, 40)
    logits = load_clip(str(clip), "cpu").images(images) @ weight.T + bias
    probe = build(clip, tmp_path / "probe.safetensors")
    assert [r["bad"] for r in probe.score(images)] == pytest.approx(torch.softmax(logits, -1)[:, 1].tolist())
    many = build(clip, tmp_path / "probe.safetensors", multi_label=True)
    assert [r["bad"] for r in many.score(images)] == pytest.approx(torch.sigmoid(logits)[:, 1].tolist())
    save_file({"weight": weight[1:], "bias": bias[1:]}, tmp_path / "one.safetensors")
    one = build(clip, tmp_path / "one.safetensors", classes=["bad"])
    assert [r["bad"] for r in one.score(images)] == pytest.approx(torch.sigmoid(logits)[:, 1].tolist())
    assert one.score([]) == []
    assert one.expected("a gun") == ()


def test_whatever_changes_a_score_is_part_of_the_version(clip: Path, tmp_path: Path) -> None:
    """Rows are kept under it: classes named in the right order at last must be scored again."""
    save_file({"weight": numbers(2, WIDTH), "bias": numbers(2)}, tmp_path / "probe.safetensors")
    given: list[dict[str, Any]] = [{}, {"classes": ["bad", "good"]}, {"multi_label": True}]
    made = [build(clip, tmp_path / "probe.safetensors", **options) for options in given]
    assert len({tuple(row["bad"] for row in each.score(pictures(2, 40))) for each in made}) == 3
    assert len({each.version for each in made}) == 3
    assert build(clip, tmp_path / "probe.safetensors", multi_label=False).version == made[0].version


@pytest.mark.parametrize(
    ("tensors", "options", "problem"),
    [
        ({"prompts": (2, WIDTH)}, {"classes": ["bad"]}, "has 2 classes: name as many"),
        ({"prompts": (2, WIDTH)}, {"classes": ["bad", "bad"]}, "has 2 classes: name as many"),
        ({"prompts": (2, WIDTH)}, {"classes": ["good", "fine"]}, "bad is no class"),
        ({"prompts": (2, 5)}, {}, "embeddings of 5 numbers, this CLIP gives 8"),
        ({"weight": (2, WIDTH)}, {}, "must hold prompts"),
        ({"weight": (2, WIDTH), "bias": (3,)}, {}, "does not fit"),
        ({"other": (2, WIDTH)}, {}, r"it holds other \[2, 8\]"),
        ({"prompts": (2, WIDTH)}, {"weights_sha256": "deadbeef"}, "asks for sha256 deadbeef"),
    ],
)
def test_weights_that_do_not_fit(
    clip: Path, tmp_path: Path, tensors: dict[str, tuple[int, ...]], options: dict[str, Any], problem: str
) -> None:
    save_file({k: numbers(*shape) for k, shape in tensors.items()}, tmp_path / "w.safetensors")
    with pytest.raises(DetectorError, match=problem):
        build(clip, tmp_path / "w.safetensors", **options)


def test_a_pickle_is_never_opened(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.p").write_bytes(pickle.dumps(np.zeros((2, WIDTH))))
    with pytest.raises(DetectorError, match="a pickle runs code"):
        build(clip, tmp_path / "prompts.p")
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(DetectorError, match="array of numbers"):
        build(clip, tmp_path / "objects.npy")
    with pytest.raises(DetectorError, match="do not exist"):
        build(clip, tmp_path / "none.npy")
    np.save(tmp_path / "nan.npy", np.full((2, WIDTH), np.nan))
    with pytest.raises(DetectorError, match="not a number"):
        build(clip, tmp_path / "nan.npy")
    with pytest.raises(DetectorError, match="needs the option weights"):
        DETECTORS.get("clip-probe")(spec("clip-probe", ["bad"]), "cpu")


def test_the_profile_q16_builds_with_weights_by_path(clip: Path, tmp_path: Path) -> None:
    from safetext_sdk.detectors.detector_set import DetectorSet
    from safetext_sdk.policy.judge_profiles import judge_profile

    np.save(tmp_path / "q16.npy", numbers(2, WIDTH).numpy())
    profile = judge_profile("q16@0.9", {"weights": str(tmp_path / "q16.npy"), "model": str(clip)})
    (row,) = DetectorSet.of_profile(profile, "cpu").score(pictures(1))
    assert set(row["clip-probe/q16"]) == {"appropriate", "inappropriate"}
