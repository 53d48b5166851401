"""Signatures over an export or a run folder (``model.sig`` beside its record) and over the evidence of its
reports (``evidence.sig``). How: `safetext_sdk.signing`."""

from __future__ import annotations

from pathlib import Path

from safetext_sdk.errors import RunError
from safetext_sdk.models.run_folder import SIGNATURE
from safetext_sdk.results.evidence_file import EVIDENCE, EVIDENCE_SIGNATURE
from safetext_sdk.signing import SignatureMismatch, check, sign
from safetext_sdk.verification.file_checks import exports_of, record_folder, reports_of

__all__ = ["SignatureMismatch", "check_signature", "check_signatures", "sign_folder"]

_IGNORED = (".git", SIGNATURE)


def sign_folder(target: str | Path, private_key: str | Path, password: str | None = None) -> Path:
    """Sign every file of an export (or a run); returns the signature's path.

    Args:
        target: the folder, or a file in it.
        private_key: elliptic-curve key (PEM).
        password: of the key, if it has one.

    Raises:
        RunError: no record in the folder: only what safetext wrote is signed.
        As `safetext_sdk.signing.sign`.
    """
    folder = record_folder(target)
    ignored = [folder / name for name in _IGNORED]
    return sign(folder, folder / SIGNATURE, private_key, password=password, ignored=ignored)


def check_signature(target: str | Path, public_key: str | Path) -> None:
    """Check ``model.sig``: the signature is that key's, and every file is as it was signed.

    Raises:
        As `safetext_sdk.signing.check`.
    """
    folder = record_folder(target)
    check(folder, folder / SIGNATURE, public_key, ignored=[folder / name for name in _IGNORED])


def check_signatures(target: str | Path, public_key: str | Path) -> list[str]:
    """Check every signature of a run, an export or a report; returns what is signed.

    A run needs no ``model.sig`` of its own where it has reports, whose evidence names its weights and its
    manifest; but every report must be signed, and so must every export, because no report names its files. A
    run's own ``model.sig`` is over all of them.

    Raises:
        RunError: a report, or an export, is not signed.
        As `safetext_sdk.signing.check`.
    """
    folder = record_folder(target)
    reports = [folder] if (folder / EVIDENCE).is_file() else reports_of(folder)
    if not reports or (folder / SIGNATURE).is_file():
        check_signature(folder, public_key)
    found = [SIGNATURE] if (folder / SIGNATURE).is_file() else []
    exports = [] if found else exports_of(folder)
    for report in reports:
        if not (report / EVIDENCE).is_file():
            raise RunError(f"{report} has no {EVIDENCE}, so nothing of it is signed")
        check(report / EVIDENCE, report / EVIDENCE_SIGNATURE, public_key)
        found.append(f"{report.name}/{EVIDENCE}")
    for export in exports:
        if not (export / SIGNATURE).is_file():
            raise RunError(
                f"{export} has no {SIGNATURE}: it was not signed; export it again with --sign, or check a "
                f"report alone (safetext verify {reports[0]} --public-key ...)"
            )
        check_signature(export, public_key)
        found.append((export / SIGNATURE).relative_to(folder).as_posix())
    return found
