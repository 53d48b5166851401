"""Our conditioning equals the pipeline's own ``encode_prompt``, bit for bit: Stable Diffusion 1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.minis import build_sd1

from safetext_sdk.errors import ModelError
from safetext_sdk.models import load_model

PROMPTS = ["a gun", "", "a picture of the cat with a bouquet of flowers", "apple " * 120, "日本 ünïcode"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sd1(tmp_path_factory.mktemp("sd1"))


def test_batch_long_and_empty_prompts(folder: Path) -> None:
    model = load_model(folder)
    theirs, negative = model.pipeline().encode_prompt(PROMPTS, "cpu", 1, True)
    ours = model.encode(PROMPTS)
    assert torch.equal(ours.tensors["prompt_embeds"], theirs)
    assert torch.equal(model.encode_negative(None, len(PROMPTS)).tensors["prompt_embeds"], negative)
    _, given = model.pipeline().encode_prompt(
        PROMPTS, "cpu", 1, True, negative_prompt=["a gun"] * len(PROMPTS)
    )
    assert torch.equal(model.encode_negative(["a gun"] * len(PROMPTS)).tensors["prompt_embeds"], given)
    assert not torch.equal(negative, given)


def test_use_attention_mask_changes_the_output(folder: Path, tmp_path: Path) -> None:
    import shutil

    masked = Path(shutil.copytree(folder, tmp_path / "masked"))
    config = json.loads((masked / "text_encoder" / "config.json").read_text())
    (masked / "text_encoder" / "config.json").write_text(json.dumps({**config, "use_attention_mask": True}))
    model = load_model(masked)
    theirs, _ = model.pipeline().encode_prompt(PROMPTS, "cpu", 1, False)
    ours = model.encode(PROMPTS)
    assert torch.equal(ours.tensors["prompt_embeds"], theirs)
    assert not torch.equal(
        ours.tensors["prompt_embeds"], load_model(folder).encode(PROMPTS).tensors["prompt_embeds"]
    )


def test_clip_skip_is_the_layer_before_and_the_final_norm(folder: Path) -> None:
    model = load_model(folder)
    encoder = model.encoders["text_encoder"]
    ids = model.tokenize(PROMPTS)["text_encoder"]["input_ids"]
    with torch.no_grad():
        states = encoder(ids, output_hidden_states=True).hidden_states
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        for skip in (0, 1, 2):
            assert torch.equal(
                model.encode(PROMPTS, clip_skip=skip).tensors["prompt_embeds"], norm(states[-(skip + 1)])
            )
    assert torch.equal(model.encode(PROMPTS, clip_skip=0).flat(), model.encode(PROMPTS).flat())
    assert not torch.equal(model.encode(PROMPTS, clip_skip=1).flat(), model.encode(PROMPTS).flat())
    with pytest.raises(ModelError, match="clip_skip 9"):
        model.encode(PROMPTS, clip_skip=9)


def test_learned_multi_vector_tokens_are_spelled_out(folder: Path) -> None:
    model = load_model(folder)
    tokenizer, encoder = model.tokenizers["text_encoder"], model.encoders["text_encoder"]
    tokenizer.add_tokens(["<thing>", "<thing>_1", "<thing>_2"])
    encoder.resize_token_embeddings(len(tokenizer))
    prompts = ["a picture of <thing> with a cat", "a cat"]
    theirs, _ = model.pipeline().encode_prompt(prompts, "cpu", 1, False)
    assert torch.equal(model.encode(prompts).tensors["prompt_embeds"], theirs)
    assert (
        model.tokenize(prompts)["text_encoder"]["input_ids"] == tokenizer.convert_tokens_to_ids("<thing>_2")
    ).sum() == 1


def test_a_prefix_reads_the_same_as_the_whole(folder: Path) -> None:
    """What the trainer's cheap steps rest on: causal attention does not look ahead."""
    model = load_model(folder)
    tokens = model.tokenize(["a gun", "a cat"])
    cut = {name: {k: t[:, :9] for k, t in parts.items()} for name, parts in tokens.items()}
    whole, part = (
        model.condition(tokens).tensors["prompt_embeds"],
        model.condition(cut).tensors["prompt_embeds"],
    )
    assert part.shape[1] == 9
    torch.testing.assert_close(part, whole[:, :9], rtol=1e-5, atol=1e-5)


def test_select_cat_and_flat(folder: Path) -> None:
    model = load_model(folder)
    whole = model.encode(PROMPTS)
    parts = type(whole).cat([whole.select(slice(0, 2)), whole.select([2, 3, 4])])
    assert torch.equal(parts.flat(), whole.flat())
    assert whole.flat().shape == (len(PROMPTS), 77 * 32)


def test_other_encoders_make_other_pictures_but_share_the_denoiser(folder: Path) -> None:
    import copy

    model = load_model(folder)
    changed = copy.deepcopy(model.encoders["text_encoder"])
    with torch.no_grad():
        for p in changed.parameters():
            p.mul_(1.5)
    other = model.with_encoders({"text_encoder": changed})
    first, second = model.pipeline(), other.pipeline()
    assert first.unet is second.unet
    assert first.text_encoder is model.encoders["text_encoder"]
    assert second.text_encoder is changed
    with pytest.raises(ModelError, match="text_encoder_9"):
        model.with_encoders({"text_encoder_9": changed})
