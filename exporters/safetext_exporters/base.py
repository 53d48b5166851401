"""What every export target shares: the subject (what is exported), the result, and the record that travels
with the files.

* An export is built in a hidden folder beside its goal and renamed when it is whole, so that half an export
  never has a final name.
* ``export.json`` in each export lists the sha256 of every file, where the weights came from, and the canary
  fingerprints of the hardened
  and the original encoder: ``safetext verify`` needs nothing else.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from safetext_sdk.errors import EXIT_FAIL, ModelError, RunError, UsageError
from safetext_sdk.files import atomic_folder, sha256_file, sweep, write_json_atomic
from safetext_sdk.models.run_folder import EXPORT_RECORD, RunFolder
from safetext_sdk.versions import versions_of

if TYPE_CHECKING:
    from safetext_sdk.models import HardenedModel, TextToImageModel

SCHEMA_VERSION = 1
_PACKAGES = ("safetext-sdk", "torch", "transformers", "onnx", "onnxscript", "onnxruntime", "tensorrt-rtx")


@dataclasses.dataclass
class Subject:
    """What is exported: a model with its hardened encoders and, where there is one, the run that made
    them."""

    model: TextToImageModel
    run: RunFolder | None = None
    forced: tuple[str, ...] = ()
    """What of the run is not as its manifest says, where it is exported all the same."""

    @property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest, or {} for a bare model."""
        return self.run.manifest if self.run is not None else {}

    def hardened(self) -> list[str]:
        """Names of the encoders that were hardened; all of them for a bare model."""
        states = self.manifest.get("encoders", {})
        return [name for name in self.model.encoders if states.get(name, "hardened") == "hardened"]


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What an export left on disk.

    ``path``: the file or folder to ship. ``folder``: the export's folder, with ``export.json``.
    ``files``: ``{path relative to that folder: sha256}``. ``parity``: per encoder, the record of how near the
    exported file is to the torch encoder; {} where the weights themselves were copied.
    ``notes``: what the user has to know, one line each.
    """

    target: str
    path: Path
    folder: Path
    files: dict[str, str]
    parity: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """For a person: what was written, how near it is, and what has to be known."""
        lines = [f"{self.target}: {len(self.files)} files in {self.folder}"]
        for name, record in self.parity.items():
            worst = max(record["outputs"].items(), key=lambda item: float(item[1]["relative"]))
            cosine = min(row["cosine"] for row in record["outputs"].values())
            figures = (
                f"largest difference to torch {worst[1]['max_abs']:.2g} ({worst[0]}), least cosine "
                f"{cosine:.6f}"
            )
            lines.append(f"  {name}: {record['precision']}, {figures}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def as_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "path": str(self.path), "folder": str(self.folder)}


class Options(BaseModel):
    """Base of a target's options: each has a default, and a name that nobody knows is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


O = TypeVar("O", bound=Options)  # noqa: E741


@dataclasses.dataclass(frozen=True)
class Exporter(Generic[O]):
    """One target: its options, and the function that writes a subject to a folder with them.

    A target is one file that ends in such an object; `EXPORTERS`, or an entry point of the group
    ``safetext.exporters``, names it.
    """

    options: type[O]
    write: Callable[[Subject, Path, O], ExportResult]

    def defaults(self) -> dict[str, Any]:
        """Names and defaults of the options."""
        return {name: field.default for name, field in self.options.model_fields.items()}

    def __call__(self, subject: Subject, out: Path, given: Mapping[str, Any], target: str) -> ExportResult:
        """Check the options that were given and write the export.

        Raises:
            UsageError: an option that the target does not have, or a value of another kind.
        """
        return self.write(subject, out, self.checked(given, target))

    def checked(self, given: Mapping[str, Any], target: str) -> O:
        """The options that were given, over their defaults.

        Raises:
            UsageError: an option that the target does not have, or a value of another kind.
        """
        if unknown := sorted(set(given) - set(self.options.model_fields)):
            raise UsageError(
                f"target {target} has no option {', '.join(unknown)}; it has "
                f"{', '.join(self.options.model_fields) or 'none'}"
            )
        try:
            return self.options(**given)
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(f"target {target}: {first['loc'][0]}: {first['msg']}") from None


def as_subject(
    source: HardenedModel | RunFolder | TextToImageModel | str | Path, *, force: bool = False
) -> Subject:
    """Whatever the caller has, as a `Subject`.

    Args:
        source: what `safetext_sdk.harden` gave, a run folder (object or path), or any loaded model.
        force: take a run whose files are not as recorded; the export's record names them.

    Raises:
        RunError: a path that is not a finished run, or files that are not as its manifest says.
        UsageError: something else.
    """
    if isinstance(source, str | Path):
        source = RunFolder.open(source)
    run = source if isinstance(source, RunFolder) else getattr(source, "run", None)
    found = tuple(run.check()) if isinstance(run, RunFolder) and run.finished else ()
    if found and not force:
        raise RunError(
            f"{run} is not as recorded ({'; '.join(found[:3])}{'; ...' if len(found) > 3 else ''}); nothing "
            "was exported. With --force it is exported all the same, and the export's record says so"
        )
    return dataclasses.replace(_subject(source), forced=found)


def _subject(source: Any) -> Subject:
    if isinstance(source, RunFolder):
        from safetext_sdk.models import load_model

        return Subject(load_model(source.path, device="cpu"), source)
    if hasattr(source, "run") and hasattr(source, "model"):
        model = source.model
        if str(model.dtype) != "torch.float32" or model.device.type != "cpu":
            # What a GPU works with is a copy in half precision; what ships are the run's files.
            return _subject(source.run)
        return Subject(model, source.run)
    if hasattr(source, "encoders") and hasattr(source, "tokenizers"):
        return Subject(source)
    raise UsageError(
        f"cannot export a {type(source).__name__}; give a run folder, the result of harden(), or a loaded "
        "model"
    )


def default_out(subject: Subject, target: str) -> Path:
    """``RUN/exports/<target>``.

    Raises:
        UsageError: a bare model has no run folder to put it in.
    """
    if subject.run is None:
        raise UsageError("this model has no run folder; say where the export goes (out=...)")
    return subject.run.exports_dir / target


def clip_encoders(subject: Subject, target: str) -> dict[str, Any]:
    """The CLIP encoders that reading the prompt needs, by name.

    Raises:
        ModelError: none of the encoders is CLIP.
    """
    return _chosen(subject, target, _is_clip, "CLIP")


def clip_and_t5_encoders(subject: Subject, target: str) -> dict[str, Any]:
    """The same with T5 and UMT5 encoders.

    Raises:
        ModelError: there is neither.
    """
    from .t5_graph import is_t5

    return _chosen(subject, target, lambda encoder: _is_clip(encoder) or is_t5(encoder), "CLIP and T5")


def comfyui_encoders(subject: Subject, target: str) -> dict[str, Any]:
    """Those that ComfyUI's own loader has files for.

    Raises:
        ModelError: there is none.
    """
    from .comfyui_language import is_language

    return _chosen(
        subject, target, lambda encoder: _is_clip(encoder) or is_language(encoder), "CLIP, T5 and Qwen3"
    )


def language_encoders(subject: Subject, target: str) -> dict[str, Any]:
    """The T5 and Qwen3 encoders.

    Raises:
        ModelError: there is none.
    """
    from .comfyui_language import is_language

    return _chosen(subject, target, is_language, "T5 and Qwen3")


def _is_clip(encoder: Any) -> bool:
    from .graph import clip_core

    try:
        clip_core(encoder)
    except ModelError:
        return False
    return True


def _chosen(subject: Subject, target: str, fits: Callable[[Any], bool], kinds: str) -> dict[str, Any]:
    found = {name: encoder for name, encoder in subject.model.encoders.items() if fits(encoder)}
    if not found:
        there = ", ".join(type(e).__name__ for e in subject.model.encoders.values())
        raise ModelError(f"target {target} takes {kinds} text encoders; {subject.model.id} has {there}")
    return found


def left_out(subject: Subject, taken: Mapping[str, Any], kinds: str = "CLIP") -> tuple[str, ...]:
    """One note for each encoder that a target could not take."""
    return tuple(
        f"{name} ({type(e).__name__}) is not in this export; only {kinds} encoders are"
        for name, e in subject.model.encoders.items()
        if name not in taken
    )


def hashes(folder: Path) -> dict[str, str]:
    """``{relative path: sha256}`` of every file under ``folder`` but the record itself and signatures,
    sorted."""
    paths = sorted(
        p for p in folder.rglob("*") if p.is_file() and p.name != EXPORT_RECORD and p.suffix != ".sig"
    )
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in paths}


def write_record(
    folder: Path,
    subject: Subject,
    target: str,
    options: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Write ``export.json`` last, over every file that is there; returns the hashes."""
    manifest = subject.manifest
    files = hashes(folder)
    source = manifest.get("source") or subject.model.source.as_dict()
    record = {
        "schema_version": SCHEMA_VERSION,
        "target": target,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "options": dict(options),
        "model": {"id": subject.model.id, "family": subject.model.family},
        "source": {key: source.get(key) for key in ("id", "revision", "files")},
        "method": manifest.get("method"),
        "policy_sha256": manifest.get("policy_sha256"),
        "encoders": manifest.get("encoders") or dict.fromkeys(subject.model.encoders, "untouched"),
        "canaries": manifest.get("canaries", {}),
        "versions": versions_of(_PACKAGES),
        **({"forced": list(subject.forced)} if subject.forced else {}),
        **(extra or {}),
        "files": files,
    }
    write_json_atomic(folder / EXPORT_RECORD, record)
    return files


def self_check(subject: Subject, written: Path, *, strict: bool = True) -> dict[str, Any]:
    """Put the run's canaries through what was just written, before it gets its final name.

    Args:
        subject: what is exported.
        written: file or folder in the staging folder.
        strict: refuse anything that the canaries do not recognise as hardened (False: only record it, as for
            int8).

    Returns:
        ``{"verdict", "reason"}`` for the record; verdict ``not run`` for a bare model.

    Raises:
        ModelError: the written encoder is not the hardened one.
    """
    from safetext_sdk.verification.find_encoders import find_encoders
    from safetext_sdk.verification.identify import identify

    if subject.run is None or not subject.manifest.get("canaries"):
        return {"verdict": "not run", "reason": "this model has no run folder with canaries"}
    check = identify(
        subject.model, find_encoders(written, subject.model, subject.run), subject.manifest, written.name
    )
    if strict and check.exit_code == EXIT_FAIL:
        raise ModelError(f"what was written is not the hardened encoder: {check.reason}; nothing was kept")
    return {"verdict": check.verdict, "reason": check.reason}


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A hidden folder that becomes ``out`` when the block ends without an error.

    Raises:
        UsageError: ``out`` exists and is not an earlier export: nobody's folder is replaced by surprise.
    """
    out = Path(out)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / EXPORT_RECORD).is_file()):
        raise UsageError(f"{out} exists and is not an earlier export; choose another place")
    sweep(out.parent, out.name)
    with atomic_folder(out) as folder:
        yield folder
