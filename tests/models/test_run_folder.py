"""Run folders and files: whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.made_runs import made_manifest, made_settings

from safetext_sdk.errors import RunError
from safetext_sdk.files import atomic_file, atomic_folder, sha256_file, write_json_atomic, write_text_atomic
from safetext_sdk.models.manifest import SourceRecord
from safetext_sdk.models.run_folder import RunFolder


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_text_atomic(tmp_path / "a.txt", "old\n")

    def fail() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "x") as temporary:
        (temporary / "a").write_text("1")

    def fail() -> None:
        with atomic_folder(tmp_path / "x") as temporary:
            (temporary / "b").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["a"]
    with atomic_folder(tmp_path / "x") as temporary:
        (temporary / "c").write_text("3")
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["c"]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_json_has_no_nan_and_hashes_are_those_of_the_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomic(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()
    write_text_atomic(tmp_path / "e", "")
    assert sha256_file(tmp_path / "e") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_only_a_finished_run_opens(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder.open(tmp_path)
    run = RunFolder.create(tmp_path / "run")
    settings = made_settings(SourceRecord(id="x", files={}), {"text_encoder": "full"})
    run.write_settings(settings)
    with pytest.raises(RunError, match="did not finish"):
        RunFolder.open(run.path)
    with pytest.raises(RunError, match="unfinished run"):
        RunFolder.create(run.path)
    assert RunFolder.create(run.path, resume=True).settings == settings
    run.write_manifest(made_manifest(method="anchor"))
    assert RunFolder.open(run.path).record.method == "anchor"
    assert RunFolder.open(run.path).manifest["files"].keys() == {"settings.json"}


def test_a_manifest_of_a_later_version_is_not_guessed_at(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "manifest.json", {"schema_version": 99})
    with pytest.raises(RunError, match="schema_version 99"):
        _ = RunFolder(tmp_path).manifest
    (tmp_path / "manifest.json").write_text("[")
    with pytest.raises(RunError, match="cannot be read"):
        _ = RunFolder(tmp_path).manifest


def version_1(folder: Path) -> dict[str, Any]:
    """A manifest as version 1 wrote it: one dictionary for all settings, no recipe, no digest of the book."""
    old = made_manifest().model_dump(mode="json")
    for new in ("recipe", "book_sha256"):
        del old[new]
    old |= {"schema_version": 1, "config": {"steps": 200, "push": 0.0}}
    write_json_atomic(folder / "manifest.json", old)
    return old


def test_a_manifest_of_version_1_is_read(tmp_path: Path) -> None:
    old = version_1(tmp_path)
    record = RunFolder.open(tmp_path).record
    assert record.schema_version == 2
    assert record.recipe is record.book_sha256 is None
    assert record.config.undivided == {"steps": 200, "push": 0.0}
    assert record.encoders == old["encoders"]
    assert RunFolder.open(tmp_path).manifest["encoders"] == old["encoders"]


def test_damaged_records_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = made_manifest().model_dump(mode="json")
    for change, text in (
        ({"seed": "three"}, "damaged: seed: "),
        ({"encoders": {"text_encoder": "maybe"}}, "damaged: encoders.text_encoder: "),
        ({"extra": 1}, "damaged: extra: "),
    ):
        write_json_atomic(tmp_path / "manifest.json", {**whole, **change})
        with pytest.raises(RunError, match=text) as caught:
            _ = RunFolder(tmp_path).record
        assert "\n" not in str(caught.value)
    write_json_atomic(tmp_path / "settings.json", {"method": "anchor", "config": {"steps": 3}})
    with pytest.raises(RunError, match=r"older version.*cannot be resumed"):
        _ = RunFolder(tmp_path).settings


def test_added_files_are_noticed(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    write_text_atomic(run.encoder_dir() / "model.safetensors", "x")
    run.write_manifest(made_manifest())
    assert run.check() == []
    write_text_atomic(run.encoder_dir() / "extra.bin", "x")
    write_text_atomic(run.report_dir / "index.html", "later files are not hardening's")
    assert run.check() == ["text_encoder/extra.bin was added"]
