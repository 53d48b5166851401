"""Signatures with model-signing: key files, offline, no account.

A signature holds the sha256 of every signed file, and is written beside them. Make a key pair once:

    openssl ecparam -name prime256v1 -genkey -noout -out private.pem
    openssl ec -in private.pem -pubout -out public.pem
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .errors import EXIT_FAIL, MissingExtraError, RunError, UsageError
from .files import atomic_file


class SignatureMismatch(RunError):
    """The signature is another key's, or the files are not the signed ones: a mismatch that was found, not a
    failure to look."""

    exit_code = EXIT_FAIL


def sign(
    target: Path,
    signature: Path,
    private_key: str | Path,
    *,
    password: str | None = None,
    ignored: Iterable[Path] = (),
) -> Path:
    """Sign a file, or every file of a folder; returns the signature's path.

    Args:
        target: what is signed.
        signature: the file to write.
        private_key: elliptic-curve key (PEM).
        password: of the key, if it has one.
        ignored: files of the folder that are not signed.

    Raises:
        MissingExtraError: model-signing is not installed.
        UsageError: no such key, or one that cannot be used.
    """
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise MissingExtraError("signing", "sign") from error
    key = check_key(private_key)
    hashes = hashing.Config().set_ignored_paths(paths=list(ignored), ignore_git_paths=False)
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=key, password=password)
        with atomic_file(signature) as temporary:
            config.set_hashing_config(hashes).sign(target, temporary)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{key} cannot sign: {error}") from error
    return signature


def check_key(private_key: str | Path) -> Path:
    """The key's path, if it is there: asked before anything is done that is to be signed.

    Raises:
        UsageError: no such key.
    """
    if not Path(private_key).is_file():
        raise UsageError(f"there is no private key {private_key}")
    return Path(private_key)


def check(target: Path, signature: Path, public_key: str | Path, *, ignored: Iterable[Path] = ()) -> None:
    """The signature is that key's, and every file is as it was signed.

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
    key = Path(public_key)
    if not key.is_file():
        raise UsageError(f"there is no public key {key}")
    if not signature.is_file():
        raise RunError(f"{target} has no {signature.name}: it was not signed")
    hashes = hashing.Config().set_ignored_paths(paths=list(ignored), ignore_git_paths=False)
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=key).set_hashing_config(hashes).verify(
            target, signature
        )
    except Exception as error:  # model-signing raises ValueError, and its cryptography classes of their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SignatureMismatch(f"{target}: the signature does not hold: {reason}") from error
