"""The tokenizer is the one that diffusers loads: its class comes from the index, not from transformers'
choice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
import transformers
from support.minis import build_plain_clip, build_tokenizer

from safetext_sdk.models import load_model
from safetext_sdk.models.read_encoder import load_tokenizer


class Marked(transformers.CLIPTokenizer):
    """Stands in for the class that an index names; read from files of its own, as Python's classes are."""

    vocab_files_names: ClassVar = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> type[Marked]:
    monkeypatch.setattr(transformers, "MarkedTokenizer", Marked, raising=False)
    return Marked


def named(folder: Path, target: Path, class_name: str) -> Path:
    """A copy of a pipeline whose index names another tokenizer class."""
    shutil.copytree(folder, target)
    index = json.loads((target / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", class_name]
    (target / "model_index.json").write_text(json.dumps(index))
    return target


def test_the_class_in_the_index_is_used(mini_sd1: Path, tmp_path: Path, marked: type[Marked]) -> None:
    folder = named(mini_sd1, tmp_path / "model", "MarkedTokenizer")
    build_tokenizer(folder / "tokenizer")  # with vocab.json and merges.txt
    model = load_model(folder, device="cpu")
    assert type(model.tokenizers["text_encoder"]) is marked
    assert type(load_model(mini_sd1, device="cpu").tokenizers["text_encoder"]) is transformers.CLIPTokenizer


def test_the_pipeline_has_the_tokenizer_of_the_model(
    mini_sd1: Path, tmp_path: Path, marked: type[Marked]
) -> None:
    from diffusers import StableDiffusionPipeline

    folder = named(mini_sd1, tmp_path / "model", "CLIPTokenizer")
    own = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None).tokenizer
    assert type(own) is type(load_model(folder, device="cpu").tokenizers["text_encoder"])


@pytest.mark.parametrize("class_name", ["", "NoSuchTokenizer", "CLIPTextModel", "pipeline"])
def test_what_is_no_tokenizer_class_is_left_to_transformers(mini_sd1: Path, class_name: str) -> None:
    got = load_tokenizer(mini_sd1 / "tokenizer", class_name)
    want: Any = transformers.AutoTokenizer.from_pretrained(mini_sd1 / "tokenizer")
    assert type(got) is type(want)
    assert got("a cat").input_ids == want("a cat").input_ids


def test_a_class_whose_files_are_missing_is_not_used(tmp_path: Path, marked: type[Marked]) -> None:
    """transformers 5 writes tokenizer.json alone, which the Python class of 4.57 cannot read."""
    folder = tmp_path / "tokenizer"
    build_tokenizer(folder)
    assert type(load_tokenizer(folder, "MarkedTokenizer")) is marked
    (folder / "vocab.json").unlink()
    got = load_tokenizer(folder, "MarkedTokenizer")
    assert got("a cat").input_ids == load_tokenizer(folder)("a cat").input_ids
    assert type(got) is not marked


def test_an_encoder_alone_keeps_transformers_choice(tmp_path: Path) -> None:
    folder = build_plain_clip(tmp_path / "clip")
    want = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(load_model(folder, device="cpu").tokenizers["text_encoder"]) is type(want)
