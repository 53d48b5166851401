"""Run folders and files: whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from safetext_sdk.errors import RunError
from safetext_sdk.files import atomic_file, atomic_folder, sha256_file, write_json_atomic, write_text_atomic
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
    with pytest.raises(RunError, match="no run folder"):
        RunFolder.open(tmp_path)
    run = RunFolder.create(tmp_path / "run")
    run.write_settings({"method": "anchor"})
    with pytest.raises(RunError, match="did not finish"):
        RunFolder.open(run.path)
    with pytest.raises(RunError, match="unfinished run"):
        RunFolder.create(run.path)
    assert RunFolder.create(run.path, resume=True).settings == {"method": "anchor"}
    run.write_manifest({"method": "anchor"})
    assert RunFolder.open(run.path).manifest["files"].keys() == {"settings.json"}


def test_a_manifest_of_a_later_version_is_not_guessed_at(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "manifest.json", {"schema_version": 99})
    with pytest.raises(RunError, match="schema_version 99"):
        _ = RunFolder(tmp_path).manifest
    (tmp_path / "manifest.json").write_text("[")
    with pytest.raises(RunError, match="cannot be read"):
        _ = RunFolder(tmp_path).manifest


def test_added_files_are_noticed(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    write_text_atomic(run.encoder_dir() / "model.safetensors", "x")
    run.write_manifest({})
    assert run.check() == []
    write_text_atomic(run.encoder_dir() / "extra.bin", "x")
    write_text_atomic(run.report_dir / "index.html", "later files are not hardening's")
    assert run.check() == ["text_encoder/extra.bin was added"]
