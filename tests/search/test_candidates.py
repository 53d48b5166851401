"""Tokens that survive as text, free positions without knowing the tokenizer, and rows that come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.minis import build_t5_tokenizer, build_tokenizer
from torch import Tensor

from safetext_sdk.search.candidates import candidates, decoded, free_positions, round_trip


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


def test_words_can_be_refused(tmp_path: Path) -> None:
    tokenizer = clip(tmp_path)
    assert "gun" not in candidates(tokenizer, refuse=lambda word: word == "gun").words
    assert all(len(word) >= 4 for word in candidates(tokenizer, least=4).words)
    with pytest.raises(ValueError, match="no token of this tokenizer"):
        candidates(tokenizer, refuse=lambda word: True)


@pytest.mark.parametrize("build", [clip, t5])
def test_free_positions_are_where_the_words_stand(build: Any, tmp_path: Path) -> None:
    tokenizer = build(tmp_path)
    tokenize = padded(tokenizer)
    texts = ["{} {} a gun", "a flower {} with {}"]
    ids, free = free_positions(tokenize, texts, "{}", ("cat", "apple"))
    cat = tokenizer("cat", add_special_tokens=False)["input_ids"]
    assert free.shape == (2, 2)
    assert ids.gather(1, free).unique().tolist() == cat
    assert decoded(tokenizer, ids) == ["cat cat a gun", "a flower cat with cat"]
    other = ids.scatter(
        1, free, torch.tensor([tokenizer("photo", add_special_tokens=False)["input_ids"]] * 2).expand(-1, 2)
    )
    assert decoded(tokenizer, other) == ["photo photo a gun", "a flower photo with photo"]


def test_texts_without_room_are_refused(tmp_path: Path) -> None:
    tokenize = padded(clip(tmp_path), length=5)
    with pytest.raises(ValueError, match="room for its 2 words"):
        free_positions(tokenize, ["a gun with a {} {}"], "{}", ("cat", "apple"))
    with pytest.raises(ValueError, match="equally often"):
        free_positions(tokenize, ["{} gun", "gun"], "{}", ("cat", "apple"))
    with pytest.raises(ValueError, match="not one token"):
        free_positions(padded(clip(tmp_path)), ["{} gun"], "{}", ("cat", "zebra"))


@pytest.mark.parametrize("build", [clip, t5])
def test_rows_that_are_no_text_are_told(build: Any, tmp_path: Path) -> None:
    tokenizer = build(tmp_path)
    tokenize = padded(tokenizer)
    accept = round_trip(tokenizer, tokenize)
    good = tokenize(["a gun with a cat", "flower", ""])
    assert accept(good).all()
    found = candidates(tokenizer)
    generator = torch.Generator().manual_seed(0)
    ids, free = free_positions(tokenize, ["{} {} {} a gun"] * 50, "{}", ("cat", "apple"))
    drawn = found.ids[torch.randint(len(found.ids), free.shape, generator=generator)]
    assert accept(ids.scatter(1, free, drawn)).all()
    if build is clip:
        # "f" and "l" as pieces of a word melt into "fl".
        bad = good.clone()
        bad[0, 1:3] = torch.tensor([tokenizer.get_vocab()[piece] for piece in "fl"])
        assert accept(bad).tolist() == [False, True, True]


def test_the_embedded_model_has_thousands_of_words(tiny_model: Any) -> None:
    tokenizer = tiny_model.tokenizers["text_encoder"]

    def tokenize(texts: Any) -> Tensor:
        ids: Tensor = tiny_model.tokenize(list(texts))["text_encoder"]["input_ids"]
        return ids

    found = candidates(tokenizer)
    assert len(found.words) > 300
    accept = round_trip(tokenizer, tokenize)
    ids, free = free_positions(tokenize, ["{} {} {} {} {} a photo of a rifle"] * 64, "{}", ("red", "blue"))
    drawn = found.ids[torch.randint(len(found.ids), free.shape, generator=torch.Generator().manual_seed(0))]
    rows = ids.scatter(1, free, drawn)
    assert accept(rows).float().mean() > 0.97
    again = tokenize(decoded(tokenizer, rows))
    assert torch.equal((again == rows).all(1), accept(rows))
