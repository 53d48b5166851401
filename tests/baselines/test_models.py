"""Baselines on whole miniature pipelines of every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import minis
from support.baseline_case import context
from support.recent_minis import RECENT, build_by_hand

from safetext_sdk import load_model
from safetext_sdk.baselines import BASELINES
from safetext_sdk.baselines.defended import with_denoiser
from safetext_sdk.baselines.esd import Esd
from safetext_sdk.baselines.linear_filter import LinearFilter, LinearFilterConfig
from safetext_sdk.baselines.negative_prompt import NegativePrompt
from safetext_sdk.baselines.readings import embed, last_words
from safetext_sdk.baselines.safree import Safree
from safetext_sdk.baselines.uce import Uce
from safetext_sdk.validation.generate import PictureMaker, Request, Settings

BUILD: dict[str, Callable[[Path], Path]] = {
    "sd1": minis.build_sd1,
    "sdxl": minis.build_sdxl,
    "sd3": minis.build_sd3,
    "flux": minis.build_flux,
}
FAST = Settings(steps=1, guidance=2.0, height=16, width=16)
UNSAFE, SAFE = Request("a gun", 0), Request("an apple", 0)


@pytest.fixture(scope="module", params=BUILD)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return load_model(BUILD[request.param](tmp_path_factory.mktemp("mini") / request.param), device="cpu")


def pixels(model: Any, folder: Path, requests: list[Request]) -> np.ndarray:
    maker = PictureMaker(model, folder, settings=FAST, workers=1)
    return np.stack([np.asarray(image) for image in maker.draw(requests)])


QUICK: dict[str, dict[str, Any]] = {
    "esd": {"steps": 1, "learning_rate": 1e-2, "sampler_steps": 2},
    "filter": {"prompts": 20},
    "uce": {"preserve": 20},
}
NEEDS_GUIDANCE = {"esd", "negative-prompt"}


@pytest.mark.parametrize("name", [name for name in BASELINES.names() if BASELINES.is_built_in(name)])
def test_every_baseline_draws_on_every_family(name: str, model: Any, tmp_path: Path) -> None:
    baseline, given = BASELINES.get(name)(**QUICK.get(name, {})), context(model, tmp_path)
    if model.family == "flux" and name in NEEDS_GUIDANCE:
        assert baseline.impossible(model)
        return
    assert baseline.impossible(model) == ""
    before = pixels(model, tmp_path / "before", [UNSAFE, SAFE])
    defended = baseline.defend(given, baseline.learn(given))
    after = pixels(defended, tmp_path / "after", [UNSAFE, SAFE])
    assert after.shape == before.shape
    assert bool((after != before).any()) == (name != "original")
    # The original is as it was, and the defended model has other keys.
    assert np.array_equal(pixels(model, tmp_path / "again", [UNSAFE, SAFE]), before)
    keys = {PictureMaker(m, tmp_path, settings=FAST, workers=1).key(UNSAFE) for m in (model, defended)}
    assert len(keys) == (1 if name == "original" else 2)


def test_last_words_are_those_of_each_encoder(model: Any) -> None:
    sequence, whole = last_words(model, ["a gun", "a red apple"])
    given = model.encode(["a gun", "a red apple"]).tensors
    one = model.tokenize(["a gun", "a red apple"])
    parts = 2 if model.family == "sd3" else 1
    assert sequence.shape == (2 * parts, given["prompt_embeds"].shape[-1])
    start = "text_encoder_2" if model.family == "flux" else "text_encoder"
    ends = one[start]["attention_mask"].sum(dim=1) - 2
    assert torch.equal(sequence[1], given["prompt_embeds"][1, ends[1]])
    assert torch.allclose(last_words(model, ["a gun", "a red apple"], batch_size=1)[0], sequence, atol=1e-5)
    if parts == 2:
        shift = one[start]["input_ids"].shape[1]
        third = one["text_encoder_3"]["attention_mask"].sum(dim=1) - 2
        assert torch.equal(sequence[2], given["prompt_embeds"][0, shift + third[0]])
    assert (whole is None) == ("pooled_prompt_embeds" not in given)


def test_the_undefended_embedding_of_sd1_is_the_pooled_output(mini_sd1: Path) -> None:
    model = load_model(mini_sd1, device="cpu")
    ids = model.tokenize(["a gun"])["text_encoder"]["input_ids"]
    with torch.no_grad():
        own = model.encoders["text_encoder"](ids).pooler_output
    assert torch.allclose(embed(model, ["a gun"]), own / own.norm(), atol=1e-6)


def test_the_filter_separates_and_keeps_its_false_alarms(mini_sd1: Path, tmp_path: Path) -> None:
    model = load_model(mini_sd1, device="cpu")
    given, baseline = context(model, tmp_path), LinearFilter(prompts=60, shrinkage=0.01)
    defended: Any = baseline.defend(given, baseline.learn(given))
    split = given.book.train
    unsafe = [u.text for u in split.unsafe][:60]
    safe = [p.text for p in given.book.validation.safe]
    refused = defended.defence.refused
    assert refused(embed(model, unsafe)).float().mean() > 0.5
    assert refused(embed(model, safe)).float().mean() <= 0.05


@pytest.mark.parametrize("answer", ["blank", "anchor"])
def test_what_a_refused_prompt_gets(answer: Any, mini_sd1: Path, tmp_path: Path) -> None:
    model, given = load_model(mini_sd1, device="cpu"), None
    given = context(model, tmp_path)
    baseline = LinearFilter(LinearFilterConfig(answer=answer))
    # A filter that refuses "a gun" and lets "an apple" through, whatever a random encoder makes of them.
    gun, apple = embed(model, ["a gun", "an apple"]).double()
    learned = {"weight": gun - apple, "threshold": (gun - apple) @ (gun + apple) / 2}
    defended: Any = baseline.defend(given, learned)
    before = pixels(model, tmp_path / "a", [UNSAFE, SAFE, Request("a flower", 0)])
    after = pixels(defended, tmp_path / "b", [UNSAFE, SAFE])
    assert np.array_equal(after[1], before[1])
    assert np.array_equal(after[0], before[2] if answer == "anchor" else np.zeros_like(before[0]))
    alone = pixels(defended, tmp_path / "c", [UNSAFE])
    assert np.array_equal(alone[0], after[0])
    stands = model.encode(["a flower" if answer == "anchor" else "", "an apple"]).flat()
    assert torch.allclose(defended.encode(["a gun", "an apple"]).flat(), stands, atol=1e-6)


def test_safree_moves_tokens_out_of_the_concept_and_no_others(mini_sd1: Path, tmp_path: Path) -> None:
    model = load_model(mini_sd1, device="cpu")
    given, baseline = context(model, tmp_path), Safree(words=2)
    learned = baseline.learn(given)
    basis = learned["text_encoder"]
    defended = baseline.defend(given, learned)
    prompts = ["a gun and a cat", "an apple with a knife"]
    before, after = (m.encode(prompts).tensors["prompt_embeds"] for m in (model, defended))
    moved = (before != after).any(dim=-1)
    mask = model.tokenize(prompts)["text_encoder"]["attention_mask"].bool()
    assert bool(moved.any())
    assert not bool(moved[~mask].any())
    assert not bool(moved[:, 0].any())
    assert float((after[moved] @ basis).abs().max()) < 1e-4
    # A prompt's projection does not depend on its neighbours.
    assert torch.allclose(defended.encode(prompts[:1]).flat(), after[:1].flatten(1), atol=1e-6)


def test_esd_learns(mini_sd1: Path, tmp_path: Path) -> None:
    model = load_model(mini_sd1, device="cpu")
    learned, losses = Esd(steps=40, learning_rate=5e-3, sampler_steps=3).train(context(model, tmp_path))
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert all(".attn2." in name for name in learned)
    again, _ = Esd(steps=2, sampler_steps=3).train(context(model, tmp_path))
    once_more, _ = Esd(steps=2, sampler_steps=3).train(context(model, tmp_path))
    assert all(torch.equal(again[name], once_more[name]) for name in again)
    others, _ = Esd(steps=1, train="u", sampler_steps=3).train(context(model, tmp_path))
    assert others
    assert not set(others) & set(learned)


def test_uce_takes_the_word_from_the_denoiser_alone(mini_sd1: Path, tmp_path: Path) -> None:
    model = load_model(mini_sd1, device="cpu")
    given, baseline = context(model, tmp_path), Uce(regularisation=1e-6, preserve=0)
    defended = baseline.defend(given, baseline.learn(given))
    assert defended.encoders["text_encoder"] is model.encoders["text_encoder"]
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    new, old = (m.pipeline().unet.get_submodule(name).weight for m in (defended, model))
    word = given.words[0][0]
    with torch.no_grad():
        left = new @ last_words(model, [word])[0].T
        goal, was = (old @ last_words(model, [text])[0].T for text in ("", word))
    assert float((left - goal).norm()) < 0.1 * float((was - goal).norm())


def test_a_denoiser_of_its_own_shares_nothing_that_is_changed(mini_sd1: Path) -> None:
    model = load_model(mini_sd1, device="cpu")
    name, value = next(iter(model.pipeline().unet.state_dict().items()))
    other = with_denoiser(model, {name: torch.zeros_like(value)})
    assert float(model.pipeline().unet.state_dict()[name].abs().sum()) > 0
    assert float(other.pipeline().unet.state_dict()[name].abs().sum()) == 0
    assert other.pipeline().vae is model.pipeline().vae
    assert other.with_encoders({}).pipeline().unet is other.pipeline().unet


def test_negative_words_stand_behind_what_the_user_wrote(mini_sd1: Path, tmp_path: Path) -> None:
    model = load_model(mini_sd1, device="cpu")
    given = context(model, tmp_path)
    defended = NegativePrompt(words=2).defend(given, {})
    words = ", ".join(word for word, _ in given.words[:2])
    mine = pixels(defended, tmp_path / "a", [UNSAFE, Request("a gun", 0, "blurry")])
    typed = pixels(
        model, tmp_path / "b", [Request("a gun", 0, words), Request("a gun", 0, f"blurry, {words}")]
    )
    assert np.array_equal(mine, typed)


def test_words_are_those_of_training(mini_sd1: Path, tmp_path: Path) -> None:
    given = context(load_model(mini_sd1, device="cpu"), tmp_path)
    words = {word for word, _ in given.words}
    assert words
    assert not words & {u.synonym for u in given.book.test.unsafe}
    assert {anchor for _, anchor in given.words} == {"a flower"}


def test_a_model_without_a_denoiser_says_so(tmp_path: Path) -> None:
    plain = load_model(minis.build_plain_clip(tmp_path / "clip"), device="cpu")
    for name in ("negative-prompt", "uce", "esd"):
        assert BASELINES.get(name)().impossible(plain) == "the model has no denoiser"
    given = context(plain, tmp_path)
    for name in ("filter", "safree"):
        baseline = BASELINES.get(name)(**QUICK.get(name, {}))
        assert baseline.impossible(plain) == ""
        defended = baseline.defend(given, baseline.learn(given))
        assert len(defended.encode(["a gun", "an apple"])) == 2


@pytest.mark.parametrize("name", ["auraflow", "flux2", "flux2-dev", "pixart", "sana"])
def test_a_last_word_is_found_among_templates_and_pads(tmp_path: Path, name: str) -> None:
    """Another last word moves the outputs from its own place on, in decoders; in T5 all of them, the most
    there."""
    model = load_model((RECENT.get(name) or build_by_hand(name)[0])(tmp_path / "m"), device="cpu")
    prompts = ["a picture of the cat", "a picture of the gun"]
    one, other = model.encode(prompts).tensors["prompt_embeds"]
    found, _ = last_words(model, prompts)
    (place,) = (one == found[0]).all(1).nonzero()[:, 0].tolist()
    ids = model.tokenize(prompts)["text_encoder"]["input_ids"]
    differ = (ids[0] != ids[1]).nonzero()[:, 0]
    moved = (one - other).norm(dim=1)
    if model.encoders["text_encoder"].config.model_type in ("t5", "umt5"):
        assert place == int(moved.argmax()) == int(differ[-1])
    else:
        assert place == int(moved.nonzero()[0]) + int(differ[-1] - differ[0])


@pytest.mark.parametrize("name", ["chroma", "flux2-dev", "lumina2", "qwenimage", "zimage"])
def test_a_prompts_vector_is_taken_where_its_family_reads(tmp_path: Path, name: str) -> None:
    """Not at pads, and not at the places of a template's beginning that is left out."""
    model = load_model((RECENT.get(name) or build_by_hand(name)[0])(tmp_path / "m"), device="cpu")
    prompts = ["a gun", "a picture of the cat with a bouquet of flowers"]
    found = embed(model, prompts)
    assert torch.isfinite(found).all()
    assert found.norm(dim=1).allclose(torch.ones(2))
    each = torch.cat([embed(model, [prompt]) for prompt in prompts])
    torch.testing.assert_close(found, each, rtol=1e-3, atol=1e-4)
    mine = model.encode(prompts[:1]).tensors["prompt_embeds"][0]
    tokens = model.tokenize(prompts[:1])
    masks = {n: t["attention_mask"] for n, t in tokens.items()}  # FLUX.2 dev has its pads on the left
    mask = (masks if model.reader.pads_are_read else model.reader.masks(tokens))["text_encoder"][0].bool()
    own = mine[mask][-1] if "text_encoder" in model.reader.causal else mine[mask].mean(0)
    torch.testing.assert_close(found[0], torch.nn.functional.normalize(own.float(), dim=0))


@pytest.mark.parametrize("name", ["qwenimage", "hidream"])
def test_safree_says_where_it_cannot(tmp_path: Path, name: str) -> None:
    why = Safree().impossible(load_model(RECENT[name](tmp_path / "m"), device="cpu"))
    assert why
    assert "\n" not in why
