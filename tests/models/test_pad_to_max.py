"""Tokens by the Rust part alone are those of transformers' own call, whatever the prompt."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from safetext_sdk.models.families import tools
from safetext_sdk.models.families.tools import pad_to_max

PROMPTS = [
    "",
    " ",
    "a photo of a cat",
    "word " * 200,
    "naïve café, 猫の写真 and an emoji 🐱",
    "an end <|endoftext|> in the middle",
    "two  spaces\nand a line",
    "x" * 500,
]


def as_transformers(tokenizer: Any, prompts: list[str], length: int, side: str | None) -> Any:
    return tokenizer(
        prompts,
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
        **({} if side is None else {"padding_side": side}),
    )


@pytest.mark.parametrize("side", [None, "left", "right"])
@pytest.mark.parametrize("length", [77, 8, 3])
@pytest.mark.parametrize("split_special", [False, True])
def test_the_same_tokens(
    tiny_model: Any, side: str | None, length: int, split_special: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny_model.tokenizers["text_encoder"]
    monkeypatch.setattr(tokenizer, "split_special_tokens", split_special)
    assert tools._has_plain_backend(tokenizer)
    expected = as_transformers(tokenizer, PROMPTS, length, side)
    for _ in range(2):  # whatever a call before has left in the tokenizer
        found = pad_to_max(tokenizer, PROMPTS, length, side)
        assert torch.equal(found["input_ids"], expected.input_ids)
        assert torch.equal(found["attention_mask"], expected.attention_mask)
        assert found["input_ids"].dtype == found["attention_mask"].dtype == torch.int64
    again = as_transformers(tokenizer, PROMPTS, length, side)
    assert torch.equal(again.input_ids, expected.input_ids)


def test_a_tokenizer_with_a_call_of_its_own_is_called(tiny_model: Any) -> None:
    tokenizer = tiny_model.tokenizers["text_encoder"]

    class Shouts(type(tokenizer)):  # type: ignore[misc]
        def __call__(self, prompts: Any, **options: Any) -> Any:
            return super().__call__([prompt.upper() + " loud" for prompt in prompts], **options)

    loud = Shouts.from_pretrained(tokenizer.name_or_path)
    assert not tools._has_plain_backend(loud)
    quiet = pad_to_max(tokenizer, ["a cat loud"], 77)
    assert torch.equal(pad_to_max(loud, ["a cat"], 77)["input_ids"], quiet["input_ids"])


def test_a_tokenizer_without_masks_reads_every_position(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny_model.tokenizers["text_encoder"]
    monkeypatch.setattr(tokenizer, "model_input_names", ["input_ids"])
    assert pad_to_max(tokenizer, ["a cat"], 77)["attention_mask"].all()
