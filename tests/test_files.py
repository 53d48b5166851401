"""Written files are complete or absent, and their modes follow the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from safetext_sdk.errors import UsageError
from safetext_sdk.files import atomic_file, atomic_folder, save_image, write_text_atomic

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=lambda mask: f"{mask:03o}")
def usual(request: pytest.FixtureRequest) -> Iterator[int]:
    """The mode that files get under the umask that is set meanwhile."""
    old = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_gets_the_usual_mode_whoever_wrote_it(usual: int, tmp_path: Path) -> None:
    with atomic_file(tmp_path / "weights") as temporary:
        temporary.touch(mode=0o600)
    assert mode(tmp_path / "weights") == usual
    assert mode(write_text_atomic(tmp_path / "text", "a")) == usual
    assert sorted(p.name for p in tmp_path.iterdir()) == ["text", "weights"]


def test_every_file_of_a_folder_gets_it(usual: int, tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "inner").mkdir()
        for name in ("a", "inner/b"):
            (temporary / name).touch(mode=0o600)
    assert {mode(p) for p in (tmp_path / "folder").rglob("*") if p.is_file()} == {usual}


def test_weights_of_a_hardened_encoder_can_be_read_by_others(usual: int, tiny_model, tmp_path: Path) -> None:
    from safetext_sdk.models.writing import write_encoder, write_tokenizer

    files = tiny_model.layout.encoders["text_encoder"]
    write_encoder(tiny_model.encoders["text_encoder"], files, tmp_path / "text_encoder")
    source = tiny_model.layout.tokenizers["text_encoder"]
    write_tokenizer(tiny_model.tokenizers["text_encoder"], source, tmp_path / "tokenizer")
    modes = {p.name: mode(p) for p in tmp_path.rglob("*") if p.is_file()}
    assert "model.safetensors" in modes
    assert set(modes.values()) == {usual}


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def half(writing: AbstractContextManager[Path], name: str) -> None:
        with writing as temporary:
            (temporary / name).write_text("half")
            raise ValueError("stop")

    for writing, name in ((atomic_file(tmp_path / "a"), ""), (atomic_folder(tmp_path / "b"), "c")):
        with pytest.raises(ValueError, match="stop"):
            half(writing, name)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_needs_a_name_that_tells_its_format(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGB", (2, 2))
    for name in ("a.png", "a.JPG", "a.webp"):
        with Image.open(save_image(picture, tmp_path / name)) as saved:
            assert saved.size == (2, 2)
    with pytest.raises(UsageError, match=r"ends in \.png"):
        save_image(picture, tmp_path / "a.txt")
