"""What a report speaks for: the files of the run, compared with its manifest before anything is measured."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, RunError
from ..files import sha256_file
from ..models.checks import weight_files
from ..models.run_folder import EXPORT_RECORD, MANIFEST, RunFolder, changes
from ..results.facts import AuditedEncoder, Binding

if TYPE_CHECKING:
    from ..models import TextToImageModel
    from .subjects import Subjects


def bind(subjects: Subjects, folder: Path, *, force: bool = False) -> Binding | None:
    """The files that a report about these models speaks for; None for models without a finished run.

    Args:
        subjects: who is measured.
        folder: where the report will lie.
        force: measure what is not as recorded all the same, and record it: no gate passes it.

    Raises:
        RunError: files of the run or of the export are not as recorded, the model in memory is not the one in
            the run folder, or the original not the one that was hardened.
    """
    run = subjects.run
    if run is None or not run.finished:
        return None
    files: dict[str, Any] = {
        name: encoder
        for name, encoder in subjects.hardened.encoders.items()
        if isinstance(getattr(encoder, "sha256", None), str) and hasattr(encoder, "path")
    }
    exported = {Path(encoder.path): encoder.sha256 for encoder in files.values()}
    found = [*run.check(), *_exports(exported), *_in_memory(run, subjects.hardened), *_other(run, subjects)]
    if found and not force:
        raise RunError(
            f"{run.path} is not as recorded ({'; '.join(found[:3])}{'; ...' if len(found) > 3 else ''}); "
            "nothing was measured. With --force it is measured all the same, and no gate passes it"
        )
    hashes = run.hashes() if found else run.manifest["files"]
    measured = {
        path.relative_to(run.path).as_posix()
        for name in subjects.hardened.encoders
        if name not in files
        for path in _weights(run.encoder_dir(name))
    }
    weights = {name: sha for name, sha in hashes.items() if name in measured}
    return Binding(
        at=_relative(run.path, folder),
        manifest_sha256=sha256_file(run.path / MANIFEST),
        weights=weights,
        exported={_relative(path, folder): sha for path, sha in exported.items()},
        forced=tuple(found),
    )


def audited_files(subjects: Subjects, folder: Path) -> AuditedEncoder | None:
    """The files of an encoder of others, as a report in ``folder`` records them; None for a run's own."""
    given = subjects.given
    if given is None:
        return None
    return AuditedEncoder(
        ref=given.ref,
        form=given.form,
        revision=given.revision,
        encoders=tuple(given.encoders),
        files={_relative(path, folder): sha for path, sha in given.files.items()},
        original=dict(subjects.original.source.files),
        notes=given.notes,
    )


def _relative(path: Path, folder: Path) -> str:
    """So that a run that is copied or moved as a whole still fits."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _exports(files: Mapping[Path, str]) -> Iterator[str]:
    """What differs from the record of the export that a file belongs to, if it belongs to one."""
    near = (place for path in files for place in (path.parent, path.parent.parent))
    for place in dict.fromkeys(near):
        if not (place / EXPORT_RECORD).is_file():
            continue
        try:
            record = json.loads((place / EXPORT_RECORD).read_text(encoding="utf-8"))
            yield from (f"{place.name}/{line}" for line in changes(place, record["files"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            yield f"{place.name}/{EXPORT_RECORD} is damaged"
            continue
        if forced := record.get("forced"):
            yield f"{place.name} was exported with --force although {forced[0]}"


def _in_memory(run: RunFolder, model: TextToImageModel) -> Iterator[str]:
    """Encoders in memory that are not what the run folder holds: the report would speak for other weights."""
    from torch import nn

    for name, state in run.manifest["encoders"].items():
        encoder, paths = model.encoders.get(name), _weights(run.encoder_dir(name))
        if state == "hardened" and isinstance(encoder, nn.Module) and paths:
            files = model.layout.encoders.get(name)
            if files is not None and not _same(encoder, files, paths):
                yield f"{name} in memory is not what {name}/{paths[0].name} holds"


def _other(run: RunFolder, subjects: Subjects) -> Iterator[str]:
    """An original that is not the one that was hardened: it would set another bar."""
    for name, digest in run.manifest["source"]["files"].items():
        if subjects.original.source.files.get(name) != digest:
            yield f"the original is not the model that the run was made from ({name} differs)"
            return


def _weights(folder: Path) -> list[Path]:
    """The files of an encoder's weights, shards included; none where they are missing, which
    `RunFolder.check` has said."""
    try:
        return weight_files(folder)
    except ModelError:
        return []


def _same(encoder: Any, files: Any, paths: list[Path]) -> bool:
    """Every tensor of the files is the module's, in the module's type."""
    from safetensors import safe_open

    from ..models.writing import file_keys

    own, names = encoder.state_dict(), file_keys(encoder, files)
    found: set[str] = set()
    for path in paths:
        with safe_open(path, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - a file, not a dict
                found.add(name)
                if name not in names:
                    return False
                tensor = own[names[name]]
                if not stored.get_tensor(name).to(tensor.dtype).equal(tensor.cpu()):
                    return False
    return found == set(names)
