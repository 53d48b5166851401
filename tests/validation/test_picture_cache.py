"""The cache of pictures: what was put there comes back, what was changed does not; it keeps its size."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from safetext_cli.main import app
from typer.testing import CliRunner

from safetext_sdk.errors import UsageError
from safetext_sdk.validation import picture_cache
from safetext_sdk.validation.picture_cache import PictureCache, drawn_by, limit_bytes, usual_folder

PLACE = "cpu-test"


def _picture(folder: Path, name: str, size: int = 100) -> Path:
    path = folder / name
    path.write_bytes(name.encode() * (size // len(name)))
    return path


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    cache, picture = PictureCache(tmp_path / "cache"), _picture(tmp_path, "picture")
    out = tmp_path / "out.png"
    assert not cache.take(PLACE, "ab12", out)
    cache.put(PLACE, "ab12", picture)
    assert cache.take(PLACE, "ab12", out)
    assert out.read_bytes() == picture.read_bytes()
    assert not cache.take("another-card", "ab12", tmp_path / "other.png")
    assert cache.usage().pictures == 1
    assert not [path for path in tmp_path.rglob("*") if ".tmp-" in path.name]


@pytest.mark.parametrize("damage", ["picture", "hash", "no hash"])
def test_a_changed_picture_is_not_used(tmp_path: Path, damage: str) -> None:
    cache = PictureCache(tmp_path / "cache")
    cache.put(PLACE, "ab12", _picture(tmp_path, "picture"))
    (kept,) = (tmp_path / "cache").rglob("*.png")
    hashed = kept.with_suffix(".sha256")
    if damage == "picture":
        kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    elif damage == "hash":
        hashed.write_text("0" * 64)
    else:
        hashed.unlink()
    out = tmp_path / "out.png"
    assert not cache.take(PLACE, "ab12", out)
    assert not out.exists()
    assert not cache.take(PLACE, "ab12", out)  # and it is not found by a second look either
    cache.put(PLACE, "ab12", _picture(tmp_path, "picture"))
    assert cache.take(PLACE, "ab12", out)


def test_the_longest_unused_pictures_go_first(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "cache", limit=5 * (100 + 64))
    picture = _picture(tmp_path, "x", 100)
    for number in range(5):
        cache.put(PLACE, f"{number}{number}", picture)
        os.utime(cache._file(PLACE, f"{number}{number}"), (number, number))
    out = tmp_path / "out.png"
    assert cache.take(PLACE, "00", out)  # used just now
    cache.put(PLACE, "99", picture)  # one too many
    found = {key for key in ("00", "11", "22", "33", "44", "99") if cache.take(PLACE, key, out)}
    assert found == {"00", "33", "44", "99"}
    assert cache.usage().size <= cache.limit


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache = PictureCache(blocked)
    cache.put(PLACE, "ab12", _picture(tmp_path, "picture"))
    assert not cache.take(PLACE, "ab12", tmp_path / "out.png")


def test_where_it_is_and_how_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert usual_folder() is None  # what every test has
    monkeypatch.setenv("SAFETEXT_CACHE", str(tmp_path))
    assert usual_folder() == tmp_path
    monkeypatch.delenv("SAFETEXT_CACHE")
    monkeypatch.setattr(picture_cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert usual_folder() == tmp_path / "x" / "safetext" / "pictures"
    monkeypatch.setenv("SAFETEXT_CACHE_GB", "0.5")
    assert limit_bytes() == 500_000_000
    for wrong in ("much", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("SAFETEXT_CACHE_GB", wrong)
        with pytest.raises(UsageError, match="SAFETEXT_CACHE_GB"):
            limit_bytes()
    assert drawn_by("cpu").startswith("cpu-torch")


def test_the_command_shows_and_clears(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runner, folder = CliRunner(), tmp_path / "cache"
    PictureCache(folder).put(PLACE, "ab12", _picture(tmp_path, "picture"))
    own = folder / "a file of the user.txt"
    own.write_text("stays")
    monkeypatch.setenv("SAFETEXT_CACHE", str(folder))
    shown = json.loads(runner.invoke(app, ["cache", "show", "--json"]).output)
    assert (shown["folder"], shown["pictures"]) == (str(folder), 1)
    assert "1 pictures" in runner.invoke(app, ["cache", "show"]).output
    assert "removed 1 pictures" in runner.invoke(app, ["cache", "clear"]).output
    assert own.is_file()
    assert PictureCache(folder).usage().pictures == 0
    off = runner.invoke(app, ["cache", "show", "--cache", "off"])
    assert isinstance(off.exception, UsageError)
