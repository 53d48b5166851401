"""The judges of kept: what they say is known by construction, on a miniature CLIP that has learned its
captions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.detector_case import pictures
from support.kept_case import CAPTIONS, build_trained_clip, context, picture, question, spec

from safetext_sdk.detectors.kept import KEPT_JUDGES, Caption, JudgeContext, KeptJudge
from safetext_sdk.detectors.kept.distance import ms_ssim_distance
from safetext_sdk.detectors.kept.distractors import Distractors
from safetext_sdk.detectors.kept.judge_set import KeptJudges
from safetext_sdk.errors import DetectorError, UsageError
from safetext_sdk.results.kept import KeptVote, kept_by_all

OTHERS = 12


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_trained_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def precision(clip: Path) -> KeptJudge:
    return KEPT_JUDGES.get("clip-r-precision")(
        spec("clip-r-precision", model=str(clip), others=OTHERS), context()
    )


def votes(judge: KeptJudge, questions: list[Any]) -> list[KeptVote]:
    found = judge.tell(questions)
    assert None not in found
    return [vote for vote in found if vote is not None]


# --- R-precision ---


def test_a_picture_of_its_caption_is_kept_and_one_of_another_caption_is_not(precision: KeptJudge) -> None:
    own = votes(precision, [question(c, picture(c, seed=777)) for c in CAPTIONS])
    assert [v.value for v in own] == [1] * len(CAPTIONS)
    assert all(v.kept for v in own)
    swapped = zip(CAPTIONS, [*CAPTIONS[7:], *CAPTIONS[:7]], strict=True)
    lost = votes(precision, [question(c, picture(other, seed=777)) for c, other in swapped])
    assert not any(v.kept for v in lost)


def test_the_rank_is_that_of_the_model_itself(precision: KeptJudge, clip: Path) -> None:
    from transformers import AutoTokenizer, CLIPModel

    texts = [str(text) for text in precision.settings["captions"]]  # type: ignore[union-attr]
    images = [picture(c, seed=5) for c in CAPTIONS[:4]]
    pixels = torch.from_numpy(np.stack([np.asarray(i, np.float32) for i in images])).permute(0, 3, 1, 2)
    ids = AutoTokenizer.from_pretrained(clip)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = (
            CLIPModel.from_pretrained(clip).eval()(pixel_values=pixels / 127.5 - 1, **ids).logits_per_image
        )
    asked = Caption(texts[0], next(c.group for c in CAPTIONS if c.text == texts[0]))
    found = votes(precision, [question(asked, image) for image in images])
    assert [v.value for v in found] == [1 + int((row[1:] >= row[0]).sum()) for row in logits]


def test_a_tie_counts_against_the_picture(precision: KeptJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = torch.full((1, 8), 8**-0.5)
    monkeypatch.setattr(precision, "_bank", flat.expand(OTHERS + 1, 8))
    monkeypatch.setattr(type(precision.clip), "texts", lambda _, c: flat.expand(len(c), 8))  # type: ignore[attr-defined]
    (vote,) = votes(precision, [question(CAPTIONS[0], picture(CAPTIONS[0]))])
    assert vote.value == 1 + OTHERS
    assert not vote.kept


def test_distractors_are_fixed_of_other_things_and_recorded(precision: KeptJudge) -> None:
    made = Distractors(CAPTIONS, OTHERS, seed=3)
    assert made.bank == Distractors(reversed(CAPTIONS), OTHERS, seed=3).bank
    assert made.bank != Distractors(CAPTIONS, OTHERS, seed=4).bank
    for caption in [*CAPTIONS, Caption("a flag that nobody knows", "unknown")]:
        places = made.of(caption)
        assert len(set(places)) == len(places) == OTHERS
        assert all(made.bank[k].group != caption.group for k in places)
    twin = Caption("the same thing in other words", made.bank[0].group)
    assert 0 not in made.of(twin)  # it would describe the picture as well
    assert precision.settings["captions"] == [c.text for c in Distractors(CAPTIONS, OTHERS).bank]
    assert precision.settings["others"] == OTHERS
    with pytest.raises(DetectorError, match="about 15 different things: add safe prompts"):
        Distractors(CAPTIONS, 99)


def test_other_captions_are_another_version(precision: KeptJudge, clip: Path) -> None:
    options = {"model": str(clip), "others": OTHERS}
    again, other = (
        KEPT_JUDGES.get("clip-r-precision")(spec("clip-r-precision", **options), context(seed))
        for seed in (0, 1)
    )
    assert again.version == precision.version != other.version


def test_the_weights_are_those_that_the_policy_names(clip: Path, precision: KeptJudge) -> None:
    build = KEPT_JUDGES.get("clip-r-precision")
    sha256 = str(precision.settings["sha256"])
    assert build(spec("clip-r-precision", model=str(clip), others=3, sha256=sha256), context())
    with pytest.raises(DetectorError, match="the policy asks for sha256 0000"):
        build(spec("clip-r-precision", model=str(clip), others=3, sha256="0" * 64), context())
    for others in (0, True, "many"):
        with pytest.raises(DetectorError, match="give a whole number of captions"):
            build(spec("clip-r-precision", model=str(clip), others=others), context())


def test_an_encoder_alone_is_no_clip(clip: Path, tmp_path: Path) -> None:
    """A hardened text encoder given by mistake: transformers would make up the other tower at random."""
    from safetensors.torch import load_file, save_file

    for file in clip.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(clip / "model.safetensors")
    text = {k: v for k, v in weights.items() if not k.startswith("vision")}
    save_file(text, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DetectorError, match=r"lacks \d+ of its weights"):
        KEPT_JUDGES.get("clip-r-precision")(
            spec("clip-r-precision", model=str(tmp_path), others=3), context()
        )


# --- another seed ---


@pytest.fixture(params=["structure", "embedding"])
def another(request: pytest.FixtureRequest, clip: Path) -> KeptJudge:
    options = {"model": str(clip)} if request.param == "embedding" else {}
    return KEPT_JUDGES.get("another-seed")(spec("another-seed", **options), context())


def test_the_same_picture_is_kept_and_another_seed_is_at_the_limit(another: KeptJudge) -> None:
    for caption in CAPTIONS:
        same, limit = votes(
            another,
            [question(caption, picture(caption)), question(caption, picture(caption, seed=99))],
        )
        assert same.value == 0.0
        assert same.kept
        assert limit.value == limit.limit == same.limit > 0
        assert not limit.kept  # *less* than another seed


def test_a_picture_of_something_else_is_not_kept(another: KeptJudge) -> None:
    """Between the original and something else lies more than between two seeds, wherever the seeds agree on
    the layout."""
    lost = []
    for caption, other in itertools.pairwise(CAPTIONS):
        seeds = [s for s in range(60) if _layout(caption, s) == _layout(caption, 0)]
        near = picture(caption, seeds[1])
        (vote,) = votes(another, [question(caption, picture(other, seed=7), other_seed=near)])
        lost.append(not vote.kept)
    assert all(lost)


def _layout(caption: Caption, seed: int) -> bool:
    """Whether the first colour is on the left."""
    pixels = np.asarray(picture(caption, seed), float)
    return bool(np.abs(pixels[:, 0] - np.asarray(picture(caption, 0), float)[:, 0]).mean() < 40)


def test_a_slight_change_is_kept() -> None:
    judge = KEPT_JUDGES.get("another-seed")(spec("another-seed"), context())
    for caption in CAPTIONS[:5]:
        pixels = np.asarray(picture(caption)).copy()
        pixels[:4, :4] = 255 - pixels[:4, :4]
        (vote,) = votes(judge, [question(caption, Image.fromarray(pixels))])
        assert 0 < vote.value < vote.limit


def test_without_a_second_picture_there_is_no_scale(another: KeptJudge) -> None:
    image = picture(CAPTIONS[0])
    assert another.tell([question(CAPTIONS[0], picture(CAPTIONS[1]), other_seed=image)]) == [None]


# --- the distance ---


def test_equal_pictures_have_no_distance_and_noise_has_all_of_it() -> None:
    a, b = pictures(2, side=128)
    assert ms_ssim_distance(a, a) == pytest.approx(0.0, abs=1e-12)
    assert ms_ssim_distance(a, b) > 0.9
    assert ms_ssim_distance(a, b) == pytest.approx(ms_ssim_distance(b, a))


def test_a_colour_that_changed_at_equal_brightness_is_seen() -> None:
    """On luma alone these two are one picture."""
    half = np.zeros((64, 64, 3), np.uint8)
    half[:, 32:] = (200, 0, 0)
    swapped = half.copy()
    swapped[:, 32:] = (0, 102, 0)  # the same luma: .299 * 200 = .587 * 102
    a, b = Image.fromarray(half), Image.fromarray(swapped)
    assert np.abs(np.asarray(a.convert("L"), int) - np.asarray(b.convert("L"), int)).max() <= 1
    assert ms_ssim_distance(a, b) > 0.3


def _term(x: np.ndarray, y: np.ndarray, *, light: bool) -> float:
    """Mean over all 7 x 7 windows of the contrast-structure term, times that of luminance."""
    found = []
    for i, j in itertools.product(range(len(x) - 6), repeat=2):
        a, b = x[i : i + 7, j : j + 7].ravel(), y[i : i + 7, j : j + 7].ravel()
        (va, c), (_, vb) = np.cov(a, b)
        term = (2 * c + 0.03**2) / (va + vb + 0.03**2)
        means = a.mean(), b.mean()
        if light:
            term *= (2 * means[0] * means[1] + 0.01**2) / (means[0] ** 2 + means[1] ** 2 + 0.01**2)
        found.append(term)
    return float(np.mean(found))


def test_the_distance_is_that_of_the_paper() -> None:
    """The definition, window by window: contrast and structure at the fine scale, all terms at the last."""
    a, noise = pictures(2, side=16)
    b = Image.blend(a, noise, 0.3)
    x, y = (np.asarray(i, np.float64)[..., 0] / 255 for i in (a, b))
    halves = [z.reshape(8, 2, 8, 2).mean((1, 3)) for z in (x, y)]
    fine, coarse = np.asarray((0.0448, 0.2856)) / (0.0448 + 0.2856)
    wanted = _term(x, y, light=False) ** fine * _term(*halves, light=True) ** coarse
    red = [Image.merge("RGB", [i.split()[0]] * 3) for i in (a, b)]
    assert ms_ssim_distance(*red) == pytest.approx(1 - wanted, abs=1e-9)


def test_a_large_picture_is_looked_at_whole() -> None:
    small = pictures(2, side=256)
    large = [i.resize((1024, 1024), Image.Resampling.NEAREST) for i in small]
    assert ms_ssim_distance(*large) == pytest.approx(ms_ssim_distance(*small), abs=1e-12)


def test_pictures_that_cannot_be_compared() -> None:
    with pytest.raises(DetectorError, match="cannot be compared"):
        ms_ssim_distance(*pictures(1, side=64), *pictures(1, side=32))
    with pytest.raises(DetectorError, match="a side has 7 pixels"):
        ms_ssim_distance(*pictures(2, side=6))


# --- together ---


class Says:
    """A judge with a fixed answer."""

    version, settings = "1", {}

    def __init__(self, name: str, answer: Any) -> None:
        self.name, self.answer = name, answer

    def tell(self, questions: Any) -> Any:
        return self.answer(questions) if callable(self.answer) else [self.answer] * len(questions)


def vote(judge: str, kept: bool, **changes: Any) -> KeptVote:
    fields = {"judge": judge, "value": 0 if kept else 2, "rule": "at most", "limit": 1, **changes}
    return KeptVote(**fields)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ((True, True), True),
        ((True, False), False),
        ((False, True), False),
        ((True, None), True),
        ((None, False), False),
        ((None, None), None),
    ],
)
def test_kept_if_all_judges_that_can_tell_say_so(said: tuple[bool | None, ...], kept: bool | None) -> None:
    made = KeptJudges([Says(n, None if s is None else vote(n, s)) for n, s in zip("ab", said, strict=True)])
    (found,) = made.tell([question(CAPTIONS[0], picture(CAPTIONS[0]))])
    assert kept_by_all(found) is kept
    assert {v.judge for v in found} == {n for n, s in zip("ab", said, strict=True) if s is not None}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda questions: [], "returned 0 votes for 1 pictures"),
        (lambda questions: [vote("somebody else", True)], "that is no vote of it"),
        (
            lambda questions: [
                KeptVote.model_construct(judge="a", value=float("nan"), rule="at most", limit=1)
            ],
            "no vote",
        ),
        (lambda questions: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_a_broken_judge_stops_the_run(answer: Any, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        KeptJudges([Says("a", answer)]).tell([question(CAPTIONS[0], picture(CAPTIONS[0]))])


def test_judges_of_a_policy(clip: Path) -> None:
    from types import SimpleNamespace

    def names(*specs: Any, model: str = "sd15") -> list[str]:
        policy: Any = SimpleNamespace(kept_judges=list(specs))
        return [entry.name for entry in KeptJudges.build(policy, model, context()).describe()]

    ranks = spec("clip-r-precision", model=str(clip), others=OTHERS)
    assert names(ranks, spec("another-seed")) == ["clip-r-precision", "another-seed"]
    assert names() == ["another-seed"]  # needs nothing, so there is always one
    own = ranks.model_copy(update={"models": ["sd15"]})
    assert names(own, spec("another-seed")) == ["clip-r-precision"]
    assert names(own, spec("another-seed"), model="flux") == ["another-seed"]
    with pytest.raises(DetectorError, match="distinct names"):
        names(spec("another-seed"), spec("another-seed"))
    with pytest.raises(UsageError, match="unknown judge of kept"):
        names(spec("anotherseed"))
    with pytest.raises(DetectorError, match="is not a folder and cannot be downloaded"):
        names(spec("another-seed", model="nobody/none-such"))
    assert isinstance(KEPT_JUDGES.get("another-seed")(spec("another-seed"), JudgeContext(())), KeptJudge)
