"""From what the user typed to files on disk: catalogue id, hub id, folder, single file or run folder. No
torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ModelError
from ..files import sha256_file
from ..hub import NEVER, download, listing
from .catalogue import CATALOGUE, nearest
from .checks import PICKLE_SUFFIXES, refuse_pickle

_COPIES = [
    "*.fp16.safetensors",
    "*.fp16-*.safetensors",
    "*.bf16.safetensors",
    "*.bf16-*.safetensors",
    "*.non_ema.safetensors",
]
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TEXT_PATTERNS = [
    "model_index.json",
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "added_tokens.json",
    "tokenizer*/*",
    "text_encoder*/*.json",
    "text_encoder*/*.safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "scheduler/*",
    "unet/config.json",
    "transformer/config.json",
]


@dataclass
class Source:
    """Where a model came from.

    ``id``: catalogue id, hub id or folder name. ``revision``: the commit that the hub resolved to; None where
    there is none (never invented).
    ``path``: folder or file on this machine. ``ref``: what the user typed. ``names``: relative paths of the
    files that hardening reads.
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
        if entry.folder:
            module, _, function = entry.folder.partition(":")
            return Source(entry.id, None, Path(getattr(import_module(module), function)()), text)
        folder, commit = download_weights(entry.repo, revision, TEXT_PATTERNS, "text_encoder*")
        return Source(entry.id, commit, folder, text)
    if isinstance(ref, Path) or not _HUB_ID.fullmatch(text) or text.startswith("."):
        hint = (
            f"; did you mean {' or '.join(nearest(text))}?"
            if nearest(text)
            else "; `safetext models list` shows the known ones"
        )
        raise ModelError(f"no model {text!r}: no such file or folder, and no known name{hint}")
    folder, commit = download_weights(text, revision, TEXT_PATTERNS, "text_encoder*")
    return Source(text, commit, folder, text)


def download_weights(
    repo: str, revision: str | None, patterns: list[str], parts: str
) -> tuple[Path, str | None]:
    """As `download`, with safetensors in every folder that matches ``parts`` and has a config.json (or in the
    root of a plain encoder).

    Half-precision copies are only fetched where the hub has no full one: most publishers keep both, and they
    are gigabytes.

    Raises:
        ModelError: as `download`; or the publisher has a pickle only, which is not fetched.
    """
    folder, commit = download(repo, revision, patterns, [*NEVER, *_COPIES])
    if _without_weights(folder, parts):
        folder, commit = download(repo, revision, patterns)
    if lacking := _without_weights(folder, parts):
        for name in listing(repo, commit or revision):
            path = PurePosixPath(name)
            if path.suffix in PICKLE_SUFFIXES and path.parent.as_posix() in {
                lack.relative_to(folder).as_posix() for lack in lacking
            }:
                raise refuse_pickle(f"{repo}: {name}", "downloaded")
    return folder, commit


def _without_weights(folder: Path, parts: str) -> list[Path]:
    places = [folder] if not (folder / "model_index.json").is_file() else sorted(folder.glob(parts))
    return [p for p in places if (p / "config.json").is_file() and not any(p.glob("*.safetensors"))]
