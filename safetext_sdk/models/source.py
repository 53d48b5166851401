"""From what the user typed to files on disk: catalogue id, hub id, folder, single file or run folder. No torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..files import sha256_file
from .catalogue import CATALOGUE, nearest

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TEXT_PATTERNS = [
    "model_index.json", "config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "spiece.model", "added_tokens.json",
    "tokenizer*/*", "text_encoder*/*.json", "text_encoder*/*.safetensors", "model.safetensors",
    "scheduler/*", "unet/config.json", "transformer/config.json",
]  # fmt: skip


@dataclass
class Source:
    """Where a model came from.

    ``id``: catalogue id, hub id or folder name. ``revision``: the commit that the hub resolved to; None where there is none (never
    invented).
    ``path``: folder or file on this machine. ``ref``: what the user typed. ``names``: relative paths of the files that hardening reads.
    """

    id: str
    revision: str | None
    path: Path
    ref: str
    names: list[str] = field(default_factory=list)
    tokenizer: str | None = None  # folder given for a single-file checkpoint, which holds no tokenizer

    @cached_property
    def files(self) -> dict[str, str]:
        """``{relative path: sha256}``; computed when first asked for, because encoders can be large."""
        base = self.path if self.path.is_dir() else self.path.parent
        return {name: sha256_file(base / name) for name in sorted(set(self.names))}

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "id": self.id,
            "revision": self.revision,
            "ref": self.ref,
            "path": str(self.path),
            "tokenizer": self.tokenizer,
            "files": self.files,
        }


def resolve(ref: str | Path, revision: str | None = None) -> Source:
    """Find the model's files, downloading its text side if it is on the hub and not in the cache.

    Raises:
        ModelError: nothing of that name, no network and nothing cached, or no right to download.
    """
    text = str(ref)
    path = Path(text).expanduser()
    if text not in CATALOGUE and path.exists():
        return Source(path.resolve().name, None, path.resolve(), text)
    if entry := CATALOGUE.get(text):
        if entry.id == "tiny":
            from .. import tiny

            return Source("tiny", None, Path(tiny.path()), text)
        folder, commit = download(entry.repo, revision, TEXT_PATTERNS)
        return Source(entry.id, commit, folder, text)
    if isinstance(ref, Path) or not _HUB_ID.fullmatch(text) or text.startswith("."):
        hint = f"; did you mean {' or '.join(nearest(text))}?" if nearest(text) else "; `safetext models list` shows the known ones"
        raise ModelError(f"no model {text!r}: no such file or folder, and no known name{hint}")
    folder, commit = download(text, revision, TEXT_PATTERNS)
    return Source(text, commit, folder, text)


def download(repo: str, revision: str | None, patterns: list[str] | None) -> tuple[Path, str | None]:
    """A snapshot of a hub repository (progress is shown by the hub client), and the commit it resolved to. Pickles are never fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    skip = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5", "*.onnx", "*.onnx_data"]
    try:
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, ignore_patterns=skip))
    except GatedRepoError as error:
        raise ModelError(f"{repo} asks for an account: accept its licence on the hub, then run `hf auth login`, or set HF_TOKEN") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{repo} has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"the hub has no model {repo!r} (or it is private: run `hf auth login`)") from error
    except (LocalEntryNotFoundError, OSError, RuntimeError) as error:
        raise ModelError(_offline(repo)) from error
    except Exception as error:  # the hub client's transport raises classes of its own, which change between its versions
        if type(error).__module__.split(".")[0] in ("httpx", "requests", "urllib3", "huggingface_hub", "httpcore"):
            raise ModelError(_offline(repo)) from error
        raise
    commit = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else None
    return folder, commit


def _offline(repo: str) -> str:
    return (
        f"{repo} is not in the cache and the hub cannot be reached; three ways out: fill the cache where there is a network "
        f"(`hf download {repo}`, then copy it and set HF_HOME), give a local folder as the model, or set HF_ENDPOINT to a mirror"
    )
