"""Pictures through fsspec: whole or not there, each once."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from safetext_sdk.errors import UsageError
from safetext_sdk.validation.picture_store import PictureStore
from safetext_sdk.validation.plan import ValidationPlan


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_what_one_keeps_another_fetches(tmp_path: Path, kind: str) -> None:
    url = (tmp_path / "store").as_uri() if kind == "file" else f"memory://{uuid.uuid4().hex}"
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    for name in "ab":
        (mine / f"{name}.png").write_bytes(name.encode() * 100)
    names = ["a.png", "b.png", "missing.png"]
    PictureStore(url).put(mine / name for name in names)
    PictureStore(url).take(theirs / name for name in names)
    assert {p.name: p.read_bytes() for p in theirs.iterdir()} == {"a.png": b"a" * 100, "b.png": b"b" * 100}
    (theirs / "a.png").write_bytes(b"mine stays")
    (mine / "b.png").write_bytes(b"theirs stays")
    PictureStore(url).put([mine / "b.png"])
    PictureStore(url).take([theirs / "a.png"])
    assert (theirs / "a.png").read_bytes() == b"mine stays"
    (theirs / "b.png").unlink()
    PictureStore(url).take([theirs / "b.png"])
    assert (theirs / "b.png").read_bytes() == b"b" * 100


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(UsageError, match="cannot be kept at nonsense://"):
        PictureStore("nonsense://bucket").put([Path(__file__)])


def test_a_store_without_workers_is_refused() -> None:
    with pytest.raises(UsageError, match="--pictures is where the workers of --ray"):
        ValidationPlan(pictures="s3://bucket/run")
