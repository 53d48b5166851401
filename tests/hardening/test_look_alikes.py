"""Made-up words by what the original reads in them, by hand and on a miniature model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.minis import build_plain_bert, build_sd1
from support.recent_minis import RECENT, build_by_hand

from safetext_sdk.hardening import look_alikes
from safetext_sdk.hardening.look_alikes import MadeUpWords, nearness, sorted_by_reading, summaries
from safetext_sdk.models import load_model

HALF = 0.5**0.5


def test_nearness_by_hand() -> None:
    terms, safe = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    words = torch.tensor([[1.0, 0.0], [HALF, HALF], [0.0, -1.0]])
    near, lead = nearness(words, terms, safe)
    assert near.tolist() == pytest.approx([1.0, HALF, 0.0])
    assert lead.tolist() == pytest.approx([1.0, 0.0, 1.0])


def test_a_word_must_read_alike_in_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    where = {
        "gun": ((1, 0, 0), (1, 0, 0)),
        "cat": ((0, 1, 0), (0, 1, 0)),
        "both": ((0.9, 0.1, 0.0), (0.9, 0.1, 0.0)),
        "one": ((0.9, 0.1, 0.0), (0.1, 0.9, 0.0)),
        "none": ((0.1, 0.9, 0.0), (0.0, 0.9, 0.1)),
    }

    def made_up_model(model: object, texts: list[str]) -> torch.Tensor:
        frame = 0 if texts[0].startswith("a picture") else 1
        named = [next(w for w in where if f" {w}" in text) for text in texts]
        return torch.tensor([where[w][frame] for w in named], dtype=torch.float32)

    monkeypatch.setattr(look_alikes, "summaries", made_up_model)
    found = sorted_by_reading(None, ["both", "one", "none"], ["gun"], ["cat"])  # type: ignore[arg-type]
    assert found == MadeUpWords(alike=["both"], risky=["both"], unlike=["none"])


def test_without_words_or_anything_to_compare_with_there_are_none(tmp_path: Path) -> None:
    model = load_model(build_sd1(tmp_path / "sd1"))
    assert sorted_by_reading(model, [], ["gun"], ["cat"]) == MadeUpWords()
    assert sorted_by_reading(model, ["gunx"], ["gun"], []) == MadeUpWords()


def test_summaries_read_the_end_and_the_pads_of_causal_encoders(tmp_path: Path) -> None:
    model = load_model(build_sd1(tmp_path / "sd1"))
    found = summaries(model, ["a cat", "a gun and an apple"])
    whole = model.encode(["a cat"]).tensors["prompt_embeds"][0]
    n = int(model.tokenize(["a cat"])["text_encoder"]["attention_mask"].sum())
    expected = torch.cat([whole[n - 1], whole[n : n + 4].mean(0)])
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def test_summaries_of_other_encoders_are_the_mean_over_the_prompt(tmp_path: Path) -> None:
    model = load_model(build_plain_bert(tmp_path / "bert"))
    short, long = summaries(model, ["a cat", "a cat on the moon with an apple"])
    torch.testing.assert_close(summaries(model, ["a cat"])[0], short, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(short, long)


@pytest.mark.parametrize("family", ["qwenimage", "kandinsky5", "sana", "qwenimage21", "flux2-dev"])
def test_summaries_are_of_the_prompt_where_a_template_or_pads_come_first(tmp_path: Path, family: str) -> None:
    model = load_model((RECENT.get(family) or build_by_hand(family)[0])(tmp_path / "m"), device="cpu")
    text, tokens = "a gun and an apple", model.tokenize(["a gun and an apple"])
    piece = model.pieces(model.encode([text]), tokens)["text_encoder"][0]
    if model.reader.pads_are_read:
        (inside,) = tokens["text_encoder"]["attention_mask"].bool()
    else:
        (inside,) = model.reader.masks(tokens)["text_encoder"].bool()
    expected = piece[inside].mean(0)
    if "text_encoder" in model.reader.causal:
        (places,) = inside.nonzero(as_tuple=True)
        end = int(places.max())
        expected = torch.cat([piece[end], piece[end + 1 : end + 5].mean(0)])
    found = summaries(model, [text])[0, : len(expected)]
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-5)
    assert found.abs().max() > 0
