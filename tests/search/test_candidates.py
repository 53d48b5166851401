"""Tokens that survive as text, free positions without knowing the tokenizer, and rows that come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.minis import build_t5_tokenizer, build_tokenizer
from support.recent_minis import llm_tokenizer
from torch import Tensor

from safetext_sdk.search.candidates import (
    SLOT,
    Templates,
    as_read,
    candidates,
    fill,
    free_positions,
    round_trip,
)


def clip(tmp_path: Path) -> Any:
    from transformers import CLIPTokenizer

    build_tokenizer(tmp_path)
    return CLIPTokenizer.from_pretrained(tmp_path)


def t5(tmp_path: Path) -> Any:
    from transformers import T5TokenizerFast

    build_t5_tokenizer(tmp_path)
    return T5TokenizerFast.from_pretrained(tmp_path)


def padded(tokenizer: Any, length: int = 24) -> Callable[[Any], Tensor]:
    def tokenize(texts: Any) -> Tensor:
        found = tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        ids: Tensor = found["input_ids"]
        return ids

    return tokenize


@pytest.mark.parametrize("build", [clip, t5])
def test_every_candidate_comes_back_as_one_token(build: Any, tmp_path: Path) -> None:
    tokenizer = build(tmp_path)
    found = candidates(tokenizer)
    assert {"gun", "flower", "photo"} <= set(found.words)
    assert found.ids.tolist() == sorted(found.ids.tolist())
    for i, word in zip(found.ids.tolist(), found.words, strict=True):
        assert word.isascii()
        assert word.isalpha()
        assert tokenizer(f"a {word} of", add_special_tokens=False)["input_ids"][1] == i
    assert not set(tokenizer.all_special_ids) & set(found.ids.tolist())


def test_pieces_of_words_are_left_out(tmp_path: Path) -> None:
    """CLIP's "fl" continues a word: written alone it becomes another token."""
    tokenizer = clip(tmp_path)
    vocabulary = tokenizer.get_vocab()
    assert "fl" in vocabulary
    assert vocabulary["fl"] not in candidates(tokenizer).ids.tolist()


@pytest.mark.parametrize("build", [clip, t5])
def test_tokenizers_that_read_a_word_alike_everywhere_need_no_opening(build: Any, tmp_path: Path) -> None:
    tokenizer = build(tmp_path)
    found = candidates(tokenizer)
    read = as_read(found, padded(tokenizer))
    assert torch.equal(read.ids, found.ids)
    assert read.words == found.words
    assert read.templates([f"{SLOT} gun", f"a {SLOT}"]).texts == (f"{SLOT} gun", f"a {SLOT}")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_word_behind_the_end_of_a_line_is_another_token(side: str, tmp_path: Path) -> None:
    """As in a chat template: byte-level BPE has one token for " gun", and others for "gun"."""
    tokenizer = llm_tokenizer(tmp_path, side=side)
    inner = padded(tokenizer, length=32)

    def tokenize(texts: Any) -> Tensor:
        return inner([f"<|im_start|>user\n{text}<|im_end|>" for text in texts])

    found = candidates(tokenizer)
    ends = (int(found.ids[0]), int(found.ids[-1]))
    with pytest.raises(ValueError, match="not one token"):
        free_positions(tokenize, templates(tokenizer, "_ _ gun"), ends)
    read = as_read(found, tokenize)
    assert torch.equal(read.ids, found.ids)
    forms = read.templates([f"{SLOT} {SLOT} gun", f"gun {SLOT} {SLOT}"])
    assert forms.texts == (f"a {SLOT} {SLOT} gun", f"gun {SLOT} {SLOT}")
    ids, free = free_positions(tokenize, forms, ends)
    drawn = read.ids[torch.randint(len(read.ids), (40, 2), generator=torch.Generator().manual_seed(0))]
    prompts = torch.arange(2).repeat(20)
    rows = ids[prompts].scatter(1, free[prompts], drawn)
    assert round_trip(tokenize, forms, free)(rows, prompts).all()


def test_words_that_no_text_of_the_model_gives_are_left_out(tmp_path: Path) -> None:
    """As where a pipeline changes the letters of its prompts."""
    tokenizer = llm_tokenizer(tmp_path)
    found, tokenize = candidates(tokenizer), padded(tokenizer)
    read = as_read(found, lambda texts: tokenize([text.replace("gun", "Gun") for text in texts]))
    assert set(found.words) - set(read.words) == {"gun"}
    assert len(read.ids) == len(read.words)
    with pytest.raises(ValueError, match="fewer than two words"):
        as_read(found, lambda texts: tokenize([text.upper() for text in texts]))


def test_words_can_be_refused(tmp_path: Path) -> None:
    tokenizer = clip(tmp_path)
    assert "gun" not in candidates(tokenizer, refuse=lambda word: word == "gun").words
    assert all(len(word) >= 4 for word in candidates(tokenizer, least=4).words)
    with pytest.raises(ValueError, match="no token of this tokenizer"):
        candidates(tokenizer, refuse=lambda word: True)


def templates(tokenizer: Any, *texts: str) -> Templates:
    """``_`` is a slot."""
    found = candidates(tokenizer)
    words = dict(zip(found.ids.tolist(), found.words, strict=True))
    return Templates(tuple(text.replace("_", SLOT) for text in texts), words)


def token(tokenizer: Any, word: str) -> int:
    (found,) = tokenizer(word, add_special_tokens=False)["input_ids"]
    return int(found)


@pytest.mark.parametrize("build", [clip, t5])
def test_free_positions_are_where_the_words_stand(build: Any, tmp_path: Path) -> None:
    tokenizer = build(tmp_path)
    forms = templates(tokenizer, "_ _ a gun", "a flower _ with _")
    cat, apple, photo = (token(tokenizer, word) for word in ("cat", "apple", "photo"))
    ids, free = free_positions(padded(tokenizer), forms, (cat, apple))
    assert free.shape == (2, 2)
    assert ids.gather(1, free).unique().tolist() == [cat]
    other = ids.scatter(1, free, torch.full_like(free, photo))
    assert torch.equal(other, padded(tokenizer)(["photo photo a gun", "a flower photo with photo"]))
    assert forms.write(other.gather(1, free), torch.tensor([0, 1])) == [
        "photo photo a gun",
        "a flower photo with photo",
    ]


def test_texts_without_room_and_bad_templates_are_refused(tmp_path: Path) -> None:
    tokenizer = clip(tmp_path)
    pair = (token(tokenizer, "cat"), token(tokenizer, "apple"))
    with pytest.raises(ValueError, match="room for its 2 words"):
        free_positions(padded(tokenizer, length=5), templates(tokenizer, "a gun with a _ _"), pair)
    for bad in (["_ gun", "gun"], ["gun"], ["_ gun", "_ _ gun"]):
        with pytest.raises(ValueError, match="the same number of slots"):
            templates(tokenizer, *bad)
    melted = Templates((f"{SLOT}s gun",), {pair[0]: "cat", pair[1]: "flower"})
    with pytest.raises(ValueError, match="not one token"):
        free_positions(padded(tokenizer), melted, pair)
    with pytest.raises(ValueError, match="1 words for 2 slots"):
        fill(f"{SLOT} {SLOT}", ["cat"])


@pytest.mark.parametrize("build", [clip, t5])
def test_a_row_is_a_text_if_typing_it_gives_the_row(build: Any, tmp_path: Path) -> None:
    tokenizer = build(tmp_path)
    tokenize = padded(tokenizer)
    forms = templates(tokenizer, "_ _ _ A gun, isn't it?", "_ a flower _ _")
    ids, free = free_positions(tokenize, forms, (token(tokenizer, "cat"), token(tokenizer, "apple")))
    accept = round_trip(tokenize, forms, free)
    prompts = torch.arange(2).repeat(50)
    found = candidates(tokenizer).ids
    drawn = found[torch.randint(len(found), (100, 3), generator=torch.Generator().manual_seed(0))]
    rows = ids[prompts].scatter(1, free[prompts], drawn)
    assert accept(rows, prompts).all()
    other = rows.clone()
    other[:, -1] = token(tokenizer, "cat")
    assert not accept(other, prompts).any()


def test_words_that_melt_where_they_stand_side_by_side_are_told(tmp_path: Path) -> None:
    """Without a space between two slots "c" and "at" of CLIP would be read as "cat"."""
    tokenizer = clip(tmp_path)
    forms = templates(tokenizer, "__ gun")
    tokenize = padded(tokenizer)
    ids = tokenize(["cat apple gun"])
    free = torch.tensor([[1, 2]])
    assert not round_trip(tokenize, forms, free)(ids, torch.tensor([0])).any()


def test_the_embedded_model_has_hundreds_of_words(tiny_model: Any) -> None:
    tokenizer = tiny_model.tokenizers["text_encoder"]

    def tokenize(texts: Any) -> Tensor:
        ids: Tensor = tiny_model.tokenize(list(texts))["text_encoder"]["input_ids"]
        return ids

    found = candidates(tokenizer)
    assert len(found.words) > 300
    forms = templates(tokenizer, "_ _ _ _ _ a photo of a rifle")
    ids, free = free_positions(tokenize, forms, (int(found.ids[0]), int(found.ids[-1])))
    drawn = found.ids[torch.randint(len(found.ids), (64, 5), generator=torch.Generator().manual_seed(0))]
    prompts = torch.zeros(64, dtype=torch.int64)
    rows = ids[prompts].scatter(1, free[prompts], drawn)
    accepted = round_trip(tokenize, forms, free)(rows, prompts)
    assert accepted.float().mean() > 0.97
    assert torch.equal((tokenize(forms.write(drawn, prompts)) == rows).all(1), accepted)
