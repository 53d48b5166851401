"""Signatures: whoever changes a file, the list of files or the signature is found; offline, with key
files."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from safetext_exporters import export
from safetext_exporters.signing import SignatureMismatch, check_signature, sign_folder
from support.made_runs import sd1_run

from safetext_sdk.errors import MissingExtraError, RunError, UsageError
from safetext_sdk.verification.file_checks import verify_files


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("sign")
    return export(sd1_run(folder)[1], "diffusers", out=folder / "out")


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    files = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    files[0].write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    files[1].write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return files


def test_signed_export_holds_until_something_changes(exported, tmp_path: Path) -> None:
    pytest.importorskip("model_signing")
    folder = tmp_path / "out"
    shutil.copytree(exported.folder, folder)
    private, public = key_pair(tmp_path, "mine")
    with pytest.raises(RunError, match="was not signed"):
        check_signature(folder, public)
    assert sign_folder(folder, private) == folder / "model.sig"
    check_signature(folder, public)
    assert verify_files(folder).ok
    _, other = key_pair(tmp_path, "other")
    with pytest.raises(RunError, match="signature does not hold"):
        check_signature(folder, other)
    for name in ("text_encoder/model.safetensors", "export.json"):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
        with pytest.raises(RunError, match="signature does not hold"):
            check_signature(folder, public)
        (folder / name).write_bytes(kept)
    (folder / "extra.py").write_text("1")
    with pytest.raises(RunError, match="signature does not hold"):
        check_signature(folder, public)
    (folder / "extra.py").unlink()
    check_signature(folder, public)


def test_the_commands(exported, tmp_path: Path, capsys) -> None:
    """`export --sign`, then `verify --public-key`: 0 untouched; 1 changed, added, or another key; 3 not
    signed; 2 no such key."""
    pytest.importorskip("model_signing")
    from safetext_cli.main import run as safetext

    private, public = key_pair(tmp_path, "mine")
    _, other = key_pair(tmp_path, "other")
    folder = tmp_path / "out"
    run = exported.folder.parent / "run"
    assert (
        safetext(["export", str(run), "-t", "diffusers", "--out", str(folder), "--sign", str(private)]) == 0
    )
    assert safetext(["verify", str(folder), "--public-key", str(public)]) == 0
    assert "signature: holds" in capsys.readouterr().out
    assert safetext(["verify", str(folder), "--public-key", str(other)]) == 1
    assert "signature does not hold" in capsys.readouterr().err
    assert safetext(["verify", str(folder), "--public-key", str(tmp_path / "none.pem")]) == 2
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "model.sig"]
    assert len(files) >= 6
    for path in files:
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(SignatureMismatch):
            check_signature(folder, public)
        path.write_bytes(kept)
    weights = folder / "text_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + bytes([weights.read_bytes()[-1] ^ 1]))
    assert safetext(["verify", str(folder), "--public-key", str(public)]) == 1
    said = capsys.readouterr()
    assert "changed: text_encoder/model.safetensors" in said.out
    assert "signature does not hold" in said.err
    (folder / "model.sig").unlink()
    assert safetext(["verify", str(folder), "--public-key", str(public)]) == 3
    assert "was not signed" in capsys.readouterr().err


def test_what_cannot_be_signed_says_so(exported, tmp_path: Path) -> None:
    pytest.importorskip("model_signing")
    with pytest.raises(UsageError, match="no private key"):
        sign_folder(exported.folder, tmp_path / "none.pem")
    (tmp_path / "bad.pem").write_text("not a key")
    with pytest.raises(UsageError, match="cannot sign"):
        sign_folder(exported.folder, tmp_path / "bad.pem")
    assert not list(exported.folder.glob("*.sig*")) + list(exported.folder.glob(".*sig*"))
    with pytest.raises(RunError, match="nothing to compare"):
        sign_folder(tmp_path, tmp_path / "bad.pem")


def test_without_model_signing_the_command_that_installs_it_is_named(
    exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for call in (sign_folder, check_signature):
        with pytest.raises(MissingExtraError, match=r'pip install "safetext-sdk\[sign\]"'):
            call(exported.folder, tmp_path / "key.pem")
