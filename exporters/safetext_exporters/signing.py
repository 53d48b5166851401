"""Signatures over an export or a run folder with model-signing: key files, offline, no account.

``model.sig`` beside the files holds the sha256 of each of them and the signature. Make a key pair once:

    openssl ecparam -name prime256v1 -genkey -noout -out private.pem
    openssl ec -in private.pem -pubout -out public.pem
"""

from __future__ import annotations

from pathlib import Path

from safetext_sdk.errors import EXIT_FAIL, MissingExtraError, RunError, UsageError
from safetext_sdk.files import atomic_file
from safetext_sdk.models.run_folder import SIGNATURE
from safetext_sdk.verification.file_checks import record_folder

_IGNORED = (".git", SIGNATURE)


class SignatureMismatch(RunError):
    """The signature is another key's, or the files are not the signed ones: a mismatch that `verify` found,
    not a failure to look."""

    exit_code = EXIT_FAIL


def sign_folder(target: str | Path, private_key: str | Path, password: str | None = None) -> Path:
    """Sign every file of an export (or a run); returns the signature's path.

    Args:
        target: the folder, or a file in it.
        private_key: elliptic-curve key (PEM).
        password: of the key, if it has one.

    Raises:
        MissingExtraError: model-signing is not installed.
        UsageError: no such key, or one that cannot be used.
        RunError: no record in the folder: only what safetext wrote is signed.
    """
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise MissingExtraError("signing", "sign") from error
    folder, key = record_folder(target), Path(private_key)
    if not key.is_file():
        raise UsageError(f"there is no private key {key}")
    path = folder / SIGNATURE
    hashes = hashing.Config().set_ignored_paths(
        paths=[folder / name for name in _IGNORED], ignore_git_paths=False
    )
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=key, password=password)
        with atomic_file(path) as temporary:
            config.set_hashing_config(hashes).sign(folder, temporary)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{key} cannot sign: {error}") from error
    return path


def check_signature(target: str | Path, public_key: str | Path) -> None:
    """Check ``model.sig``: the signature is that key's, and every file is as it was signed.

    Raises:
        MissingExtraError: model-signing is not installed.
        UsageError: no such key.
        RunError: there is no signature.
        SignatureMismatch: another key's, or files that differ from what was signed.
    """
    try:
        from model_signing import hashing, verifying
    except ImportError as error:
        raise MissingExtraError("checking a signature", "sign") from error
    folder, key = record_folder(target), Path(public_key)
    if not key.is_file():
        raise UsageError(f"there is no public key {key}")
    if not (folder / SIGNATURE).is_file():
        raise RunError(f"{folder} has no {SIGNATURE}: it was not signed")
    hashes = hashing.Config().set_ignored_paths(
        paths=[folder / name for name in _IGNORED], ignore_git_paths=False
    )
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=key).set_hashing_config(hashes).verify(
            folder, folder / SIGNATURE
        )
    except Exception as error:  # model-signing raises ValueError, and its cryptography classes of their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SignatureMismatch(f"{folder}: the signature does not hold: {reason}") from error
