"""Every family: our conditioning equals the pipeline's own ``encode_prompt``, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.minis import build_flux, build_plain_bert, build_plain_clip, build_sd2, build_sd3, build_sdxl

from safetext_sdk.errors import ModelError
from safetext_sdk.models import load_model

PROMPTS = ["a gun", "", "a picture of the cat with a bouquet of flowers", "apple cat " * 60]
N = len(PROMPTS)


@pytest.fixture(params=[False, True], ids=["first-eos", "largest-id"])
def legacy(request: pytest.FixtureRequest) -> bool:
    """Both ways in which CLIP finds the position it pools."""
    return bool(request.param)


def pads(model: Any) -> list[int]:
    return [t.pad_token_id for t in model.tokenizers.values()]


def test_sd2(tmp_path: Path, legacy: bool) -> None:
    model = load_model(build_sd2(tmp_path / "m", legacy_eos=legacy))
    theirs, negative = model.pipeline().encode_prompt(PROMPTS, "cpu", 1, True, negative_prompt=["a cat"] * N)
    assert torch.equal(model.encode(PROMPTS).tensors["prompt_embeds"], theirs)
    assert torch.equal(model.encode_negative(["a cat"] * N).tensors["prompt_embeds"], negative)


@pytest.mark.parametrize("skip", [None, 0, 1])
def test_sdxl(tmp_path: Path, legacy: bool, skip: int | None) -> None:
    model = load_model(build_sdxl(tmp_path / "m", legacy_eos=legacy))
    assert model.family == "sdxl"
    assert len(set(pads(model))) == 2
    for negative in (None, "", "a cat"):
        given = None if negative is None else [negative] * N
        prompt, minus, pooled, minus_pooled = model.pipeline().encode_prompt(
            PROMPTS, device="cpu", do_classifier_free_guidance=True, negative_prompt=given, clip_skip=skip
        )
        ours, other = model.encode(PROMPTS, clip_skip=skip), model.encode_negative(given, N)
        assert torch.equal(ours.tensors["prompt_embeds"], prompt)
        assert torch.equal(ours.tensors["pooled_prompt_embeds"], pooled)
        assert torch.equal(other.tensors["prompt_embeds"], minus)
        assert torch.equal(other.tensors["pooled_prompt_embeds"], minus_pooled)
        assert bool(minus.abs().sum() == 0) == (negative is None)


def test_sdxl_without_forced_zeros_encodes_the_absent_negative(tmp_path: Path) -> None:
    model = load_model(build_sdxl(tmp_path / "m", force_zeros=False))
    _, minus, _, pooled = model.pipeline().encode_prompt(
        PROMPTS, device="cpu", do_classifier_free_guidance=True
    )
    ours = model.encode_negative(None, N)
    assert torch.equal(ours.tensors["prompt_embeds"], minus)
    assert torch.equal(ours.tensors["pooled_prompt_embeds"], pooled)
    assert minus.abs().sum() > 0


def test_sdxl_learned_tokens_and_pooling(tmp_path: Path) -> None:
    """Tokens added after the end token have larger ids: pooling at the largest id and at the first end token
    then differ."""
    model = load_model(build_sdxl(tmp_path / "m"))
    for name, tokenizer in model.tokenizers.items():
        tokenizer.add_tokens(["<thing>", "<thing>_1"])
        model.encoders[name].resize_token_embeddings(len(tokenizer))
    prompts = ["a <thing> with a cat", "a cat"]
    prompt, _, pooled, _ = model.pipeline().encode_prompt(
        prompts, device="cpu", do_classifier_free_guidance=False
    )
    ours = model.encode(prompts)
    assert torch.equal(ours.tensors["prompt_embeds"], prompt)
    assert torch.equal(ours.tensors["pooled_prompt_embeds"], pooled)


@pytest.mark.parametrize("t5", [True, False])
@pytest.mark.parametrize("skip", [None, 1])
def test_sd3(tmp_path: Path, legacy: bool, t5: bool, skip: int | None) -> None:
    model = load_model(build_sd3(tmp_path / "m", t5=t5, legacy_eos=legacy))
    assert model.family == "sd3"
    assert len(set(pads(model))) == len(model.encoders) == 2 + t5
    for negative in (None, ["a cat"] * N):
        prompt, minus, pooled, minus_pooled = model.pipeline().encode_prompt(
            PROMPTS,
            None,
            None,
            device="cpu",
            do_classifier_free_guidance=True,
            negative_prompt=negative,
            clip_skip=skip,
        )
        ours, other = model.encode(PROMPTS, clip_skip=skip), model.encode_negative(negative, N)
        assert torch.equal(ours.tensors["prompt_embeds"], prompt)
        assert torch.equal(ours.tensors["pooled_prompt_embeds"], pooled)
        assert torch.equal(other.tensors["prompt_embeds"], minus)
        assert torch.equal(other.tensors["pooled_prompt_embeds"], minus_pooled)


def test_flux(tmp_path: Path, legacy: bool) -> None:
    model = load_model(build_flux(tmp_path / "m", legacy_eos=legacy))
    assert model.family == "flux"
    prompt, pooled, _ = model.pipeline().encode_prompt(PROMPTS, None, device="cpu")
    ours = model.encode(PROMPTS)
    assert torch.equal(ours.tensors["prompt_embeds"], prompt)
    assert torch.equal(ours.tensors["pooled_prompt_embeds"], pooled)
    with pytest.raises(ModelError, match="no clip_skip"):
        model.encode(PROMPTS, clip_skip=1)


@pytest.mark.parametrize("projected", [True, False])
def test_plain_clip(tmp_path: Path, projected: bool) -> None:
    model = load_model(build_plain_clip(tmp_path / "m", projected=projected))
    assert model.family == "plain"
    tokens = model.tokenize(PROMPTS)["text_encoder"]
    with torch.no_grad():
        out = model.encoders["text_encoder"](**tokens)
    ours = model.encode(PROMPTS)
    torch.testing.assert_close(
        ours.tensors["pooled_prompt_embeds"], out.text_embeds if projected else out.pooler_output
    )
    mask = tokens["attention_mask"].bool()
    torch.testing.assert_close(ours.tensors["prompt_embeds"][mask], out.last_hidden_state[mask])
    assert ours.tensors["prompt_embeds"][~mask].abs().sum() == 0
    with pytest.raises(ModelError, match="no pictures"):
        model.pipeline()


def test_plain_bert_is_the_normalised_mean(tmp_path: Path) -> None:
    model = load_model(build_plain_bert(tmp_path / "m"))
    tokenizer, encoder = model.tokenizers["text_encoder"], model.encoders["text_encoder"]
    for prompt in PROMPTS[:3]:
        given = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            states = encoder(**given).last_hidden_state[0]
        want = torch.nn.functional.normalize(states.mean(dim=0), dim=0)
        ours = model.encode([prompt])
        torch.testing.assert_close(ours.tensors["pooled_prompt_embeds"][0], want, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(
            ours.tensors["prompt_embeds"][0, : len(states)], states, rtol=1e-4, atol=1e-5
        )


def test_pieces_are_what_each_encoder_gave(tmp_path: Path) -> None:
    model = load_model(build_sd3(tmp_path / "m"))
    tokens = model.tokenize(PROMPTS)
    with torch.no_grad():
        pieces = model.pieces(model.condition(tokens), tokens)
        one = model.encoders["text_encoder"](tokens["text_encoder"]["input_ids"], output_hidden_states=True)
        three = model.encoders["text_encoder_3"](tokens["text_encoder_3"]["input_ids"])[0]
    assert set(pieces) == {
        "text_encoder",
        "text_encoder_pooled",
        "text_encoder_2",
        "text_encoder_2_pooled",
        "text_encoder_3",
    }
    assert torch.equal(pieces["text_encoder"], one.hidden_states[-2])
    assert torch.equal(pieces["text_encoder_pooled"], one.text_embeds)
    assert torch.equal(pieces["text_encoder_3"], three)
    assert (
        sum(p.numel() for p in pieces.values()) < model.condition(tokens).flat().numel()
    )  # the padding zeros are nobody's


def test_pictures_come_out(tmp_path: Path) -> None:
    """Each miniature is a whole pipeline: what is read here is what a denoiser takes."""
    for build, more in ((build_sdxl, {}), (build_sd3, {}), (build_flux, {"max_sequence_length": 64})):
        pipe = load_model(build(tmp_path / build.__name__)).pipeline()
        picture = pipe("a gun", num_inference_steps=1, height=16, width=16, output_type="np", **more).images
        assert picture.shape == (1, 16, 16, 3)
