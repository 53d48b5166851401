"""The model hub, for whoever needs files from it: snapshots, single files, listings; one line when it fails.

Nothing here knows what the files are. `models.source` decides which files of a model are fetched; detectors
and prompt files turn the error into their own class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from .errors import ModelError

NEVER = (
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.pkl",
    "*.msgpack",
    "*.h5",
    "*.onnx",
    "*.onnx_data",
    "safety_checker/*",
)
"""Never fetched as part of a snapshot: pickles, and copies for other frameworks."""

_TRANSPORTS = ("httpx", "httpcore", "requests", "urllib", "huggingface_hub")
RepoType = Literal["model", "dataset"]


def download(
    repo: str, revision: str | None, patterns: Sequence[str] | None, skip: Sequence[str] = NEVER
) -> tuple[Path, str | None]:
    """A snapshot of a model repository (the hub client shows progress), and the commit it resolved to.

    Args:
        repo: ``owner/name``.
        revision: branch, tag or commit; None = the default branch.
        patterns: names to fetch; None = all.
        skip: names never to fetch.

    Raises:
        ModelError: no such repository or revision, no right to it, no network and nothing cached, or the
            download broke off.
    """
    from huggingface_hub import snapshot_download

    allowed = None if patterns is None else list(patterns)

    def fetch(here: bool) -> Path:
        found = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=allowed,
            ignore_patterns=list(skip),
            local_files_only=here,
        )
        return Path(str(found))

    folder = _told(repo, revision, "model", fetch)
    return folder, folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else None


def download_file(repo: str, name: str, revision: str | None = None, kind: RepoType = "model") -> Path:
    """One file of a repository.

    Raises:
        ModelError: as `download`; or the repository has no file of that name.
    """
    from huggingface_hub import hf_hub_download

    def fetch(here: bool) -> Path:
        found = hf_hub_download(repo, name, repo_type=kind, revision=revision, local_files_only=here)
        return Path(str(found))

    return _told(repo, revision, kind, fetch)


def listing(repo: str, revision: str | None, kind: RepoType = "model") -> list[str]:
    """Names of all files of a repository; [] where the hub does not answer: whoever then misses a file says
    so."""
    from huggingface_hub import HfApi

    try:
        return list(HfApi().list_repo_files(repo, revision=revision, repo_type=kind))
    except Exception:
        return []


def _told(repo: str, revision: str | None, kind: RepoType, fetch: Callable[[bool], Path]) -> Path:
    """Call ``fetch``, with every way in which a hub fails told in one line."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return fetch(False)
    except GatedRepoError as error:
        raise ModelError(
            f"{repo} asks for an account: accept its licence on the hub, then run `hf auth login`, or set "
            "HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{repo} has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"the hub has no {kind} {repo!r} (or it is private: run `hf auth login`)") from error
    except LocalEntryNotFoundError as error:
        raise ModelError(_offline(repo)) from error
    except EntryNotFoundError as error:
        raise ModelError(f"{repo} has no such file: {_first_line(error)}") from error
    except Exception as error:
        # The hub client's transport raises classes of its own, which change between its versions.
        package = type(error).__module__.split(".")[0].rstrip("0123456789")
        if not isinstance(error, OSError | RuntimeError) and package not in _TRANSPORTS:
            raise
        try:  # a hub that answers badly is no reason not to use a complete copy that is here
            return fetch(True)
        except Exception:
            raise ModelError(
                f"the download of {repo} broke off ({_first_line(error)}); no half file is used, and the "
                "same command again goes on where it stopped"
            ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(" .") if lines else type(error).__name__


def _offline(repo: str) -> str:
    return (
        f"{repo} is not (or not completely) in the cache and the hub cannot be reached; three ways out: fill "
        f"the cache where there is a network (`hf download {repo}`, then copy it and set HF_HOME), give a "
        "local folder as the model, or set HF_ENDPOINT to a mirror"
    )
