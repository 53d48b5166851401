"""The tokenizer is the one that diffusers loads: its class comes from the index, not from transformers'
choice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
import transformers
from safetext_exporters.tokenizer import texts, token_ids
from support.minis import build_plain_clip, build_tokenizer

from safetext_sdk.models import load_model
from safetext_sdk.models.read_encoder import load_tokenizer
from safetext_sdk.models.writing import write_tokenizer


class Marked(transformers.CLIPTokenizer):
    """Stands in for the class that an index names; read from files of its own, as Python's classes are."""

    vocab_files_names: ClassVar = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}

    @classmethod
    def from_pretrained(cls, *args: Any, **options: Any) -> Any:
        made = transformers.CLIPTokenizer.from_pretrained(*args, **options)
        made.read_by = cls
        return made


def read_by(tokenizer: Any) -> Any:
    return getattr(tokenizer, "read_by", type(tokenizer))


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> type[Marked]:
    # By name: importing diffusers puts another module object in the place of `transformers`.
    monkeypatch.setattr("transformers.MarkedTokenizer", Marked, raising=False)
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
    own = mini_sd1 / "tokenizer"
    write_tokenizer(load_tokenizer(own), own, folder / "tokenizer")  # adds vocab.json and merges.txt
    model = load_model(folder, device="cpu")
    assert read_by(model.tokenizers["text_encoder"]) is marked
    assert (
        read_by(load_model(mini_sd1, device="cpu").tokenizers["text_encoder"]) is transformers.CLIPTokenizer
    )


def test_the_pipeline_has_the_tokenizer_of_the_model(mini_sd1: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    folder = named(mini_sd1, tmp_path / "model", "CLIPTokenizer")
    own = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None).tokenizer
    ours = load_model(folder, device="cpu").tokenizers["text_encoder"]
    assert type(own) is type(ours)
    vectors = [text for _, text in texts()]
    assert token_ids(own, vectors) == token_ids(ours, vectors)


@pytest.mark.parametrize("class_name", ["", "NoSuchTokenizer", "CLIPTextModel", "pipeline"])
def test_what_is_no_tokenizer_class_is_left_to_transformers(mini_sd1: Path, class_name: str) -> None:
    got = load_tokenizer(mini_sd1 / "tokenizer", class_name)
    want: Any = transformers.AutoTokenizer.from_pretrained(mini_sd1 / "tokenizer")
    assert type(got) is type(want)
    assert got("a cat").input_ids == want("a cat").input_ids


def test_a_class_whose_files_are_missing_is_not_used(tmp_path: Path, marked: type[Marked]) -> None:
    """transformers 5 writes tokenizer.json alone, which the Python class of 4.57 cannot read."""
    build_tokenizer(tmp_path / "source")
    folder = tmp_path / "tokenizer"
    write_tokenizer(load_tokenizer(tmp_path / "source"), tmp_path / "source", folder)
    assert read_by(load_tokenizer(folder, "MarkedTokenizer")) is marked
    (folder / "vocab.json").unlink()
    got = load_tokenizer(folder, "MarkedTokenizer")
    assert got("a cat").input_ids == load_tokenizer(folder)("a cat").input_ids
    assert read_by(got) is not marked


def test_an_encoder_alone_keeps_transformers_choice(tmp_path: Path) -> None:
    folder = build_plain_clip(tmp_path / "clip")
    want = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(load_model(folder, device="cpu").tokenizers["text_encoder"]) is type(want)
