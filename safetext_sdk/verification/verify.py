"""Two questions about files in the field: were they changed, and is the safe encoder really loaded?

* `verify_files` compares a run folder or an export with the sha256 of every file in its record: changed,
  missing, added. That proves that nothing changed since the record was written; who wrote it is proved by a
  signature (``safetext export --sign``).
* `verify_against` asks the encoder itself: canary prompts of the run go through the target (an ONNX file, a
  folder, a checkpoint, a live pipeline), and their fingerprints say whether it is the hardened encoder, the
  original, neither, or only partly hardened. A front-end that silently loads another encoder is found however
  its files look.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import EXIT_FAIL, EXIT_PASS, EXIT_RUNTIME, RunError, SafeTextError
from ..files import sha256_file
from ..models.run_folder import MANIFEST, RunFolder

if TYPE_CHECKING:
    from ..models import TextToImageModel
    from .targets import Parts

EXPORT_RECORD = "export.json"
# Written after the manifest, each with records of its own (exports) or none that prove anything (report,
# checkpoints).
_LATER = ("report", "report-exported", "exports", "checkpoints")
_SIGNATURE = "model.sig"

Verdict = Literal["hardened", "original", "neither", "partly", "unknown"]


@dataclass(frozen=True)
class FileCheck:
    """What differs between a folder and its record. Paths are relative to ``folder``; ``checked`` counts the
    files in the record."""

    folder: Path
    checked: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not (self.changed or self.missing or self.added)

    @property
    def exit_code(self) -> int:
        """0 if nothing differs, else 1."""
        return EXIT_PASS if self.ok else EXIT_FAIL

    def text(self) -> str:
        """For a person: one line a difference, or one line that says there is none."""
        if self.ok:
            return f"{self.folder}: all {self.checked} files are as recorded"
        rows = [
            f"  {what}: {name}" for what in ("changed", "missing", "added") for name in getattr(self, what)
        ]
        return "\n".join([f"{self.folder}: NOT as recorded", *rows])

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder), "ok": self.ok, "exit_code": self.exit_code}


def verify_files(target: str | Path) -> FileCheck:
    """Compare a run folder (and the exports in it) or an exported folder with its recorded hashes.

    Args:
        target: folder with ``manifest.json`` (run) or ``export.json`` (export); a file in an exported folder
            stands for that folder.

    Raises:
        RunError: there is no record, or it cannot be read: nothing can be said, which is not a pass.
    """
    folder = record_folder(target)
    if (folder / MANIFEST).is_file():
        check = _compare(folder, _recorded(folder / MANIFEST), skip=_LATER)
        for record in sorted(folder.glob(f"exports/**/{EXPORT_RECORD}")):
            check = _joined(check, verify_files(record.parent))
        return check
    return _compare(folder, _recorded(folder / EXPORT_RECORD))


def record_folder(target: str | Path) -> Path:
    """The run or export folder that ``target`` is, or lies in.

    Raises:
        RunError: no record there.
    """
    target = Path(target)
    folder = target if target.is_dir() else target.parent
    for place in (folder, folder.parent):
        if (place / MANIFEST).is_file() or (place / EXPORT_RECORD).is_file():
            return place
    what = (
        "does not exist"
        if not target.exists()
        else f"has no {MANIFEST} and no {EXPORT_RECORD}, so there is nothing to compare it with"
    )
    raise RunError(f"{target} {what}")


def _recorded(path: Path) -> dict[str, str]:
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read as a record of files: {error}") from error
    if not isinstance(files, dict) or not files:
        raise RunError(f"{path} records no files, so nothing can be checked")
    return files


def _compare(folder: Path, recorded: dict[str, str], skip: tuple[str, ...] = ()) -> FileCheck:
    own = {MANIFEST, EXPORT_RECORD, _SIGNATURE}
    present = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in own and path.relative_to(folder).parts[0] not in skip:
            present[name] = path
    changed = tuple(n for n in recorded if n in present and sha256_file(present[n]) != recorded[n])
    return FileCheck(
        folder,
        len(recorded),
        changed,
        tuple(n for n in recorded if n not in present),
        tuple(n for n in present if n not in recorded),
    )


def _joined(check: FileCheck, inner: FileCheck) -> FileCheck:
    prefix = inner.folder.relative_to(check.folder).as_posix()
    names = {
        what: (*getattr(check, what), *(f"{prefix}/{n}" for n in getattr(inner, what)))
        for what in ("changed", "missing", "added")
    }
    return FileCheck(check.folder, check.checked + inner.checked, **names)


@dataclass(frozen=True)
class EncoderCheck:
    """What the canaries say about an encoder in the field.

    ``verdict``: ``hardened``; ``original``; ``neither``; ``partly`` (some of several encoders are hardened:
    see ``encoders``); ``unknown`` (could not tell: see ``reason``). ``to_hardened``, ``to_original``: largest
    relative distance of the fingerprints.
    """

    verdict: Verdict
    target: str
    reason: str
    to_hardened: float | None = None
    to_original: float | None = None
    encoders: dict[str, str] = field(default_factory=dict)
    details: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 hardened; 1 original, neither or partly; 3 could not tell."""
        return {"hardened": EXIT_PASS, "unknown": EXIT_RUNTIME}.get(self.verdict, EXIT_FAIL)

    def text(self) -> str:
        """One line for a person."""
        shown = "could not tell" if self.verdict == "unknown" else self.verdict
        return f"{self.target}: {shown}: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "exit_code": self.exit_code}


def verify_against(run: str | Path | RunFolder, target: Any) -> EncoderCheck:
    """Say whether ``target`` holds the hardened encoder(s) of ``run``.

    Args:
        run: a finished run folder.
        target: path of an ONNX file, an exported or diffusers folder, an encoder folder or a single-file
            checkpoint; or a live diffusers pipeline; or a `TextToImageModel`. Its own tokenizer is used where
            it has one.

    Raises:
        RunError: ``run`` is no finished run, or it has no canaries.
    """
    from .targets import frame_of, parts_of

    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    if not folder.manifest.get("canaries"):
        raise RunError(f"{folder.path / MANIFEST} has no canaries, so no encoder can be recognised with it")
    name = str(target) if isinstance(target, str | Path) else type(target).__name__
    try:
        frame = frame_of(folder)
        parts = parts_of(target, frame, folder)
        return identify(frame, parts, folder.manifest, name)
    except SafeTextError as error:
        return EncoderCheck("unknown", name, _one_line(error))
    except Exception as error:
        # A damaged file fails in whichever library reads it, with that library's own class. That is an
        # answer, not a crash: nothing can be said of this target, and nobody may take it for a pass.
        return EncoderCheck("unknown", name, f"it cannot be read: {type(error).__name__}: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else "no reason given"


def identify(frame: TextToImageModel, parts: Parts, manifest: Mapping[str, Any], name: str) -> EncoderCheck:
    """What the encoders of ``parts`` are, by the canaries of ``manifest``.

    Args:
        frame: the run's hardened model; it stands in for encoders that ``parts`` lacks.
        parts: what was found in the target.
        manifest: the run's manifest.
        name: the target, for messages.
    """
    from ..models.canaries import TOLERANCE, compare

    canaries: Mapping[str, Any] = manifest["canaries"]
    coarse = any(getattr(e, "quantized", False) for e in parts.encoders.values())
    # int8 moves a fingerprint by 0.1 to 0.2; twice the tolerance must still lie below the gap between
    # original and hardened.
    tolerance = 5 * TOLERANCE if coarse else TOLERANCE
    model = replace(
        frame.with_encoders(parts.encoders),
        tokenizers={**frame.tokenizers, **parts.tokenizers},
        device=parts.device,
    )
    found = compare(_measure(model, canaries), canaries, tolerance)
    if found.verdict == "unknown":
        reason = "no canary of this run tells its hardened encoder from the original"
        return EncoderCheck("unknown", name, reason, found.to_hardened, found.to_original)
    figures = (found.to_hardened, found.to_original)
    if found.verdict == "hardened":
        notes = [
            f"{n} was not in the target; the run's own was used"
            for n in frame.encoders
            if n not in parts.encoders
        ]
        notes += [
            f"{n} was never hardened in this run"
            for n, state in manifest.get("encoders", {}).items()
            if state != "hardened"
        ]
        reason = "; ".join(
            [f"fingerprints are within {found.to_hardened:.3f} of the hardened encoder's", *notes]
        )
        return EncoderCheck(
            "hardened", name, reason, *figures, dict.fromkeys(parts.encoders, "hardened"), found.details
        )
    # Where a run left one encoder alone, that one is right in the original too; a target that is the original
    # is called so.
    if found.verdict != "original" and (
        wrong := _not_hardened(model, frame, parts.encoders, canaries, tolerance)
    ):
        states = {n: "not hardened" if n in wrong else "hardened" for n in parts.encoders}
        return EncoderCheck(
            "partly",
            name,
            f"{' and '.join(wrong)} is not the hardened one, the rest is",
            *figures,
            states,
            found.details,
        )
    said = (
        "it is the original encoder"
        if found.verdict == "original"
        else "it is neither the hardened encoder nor the original"
    )
    reason = f"{said} (distance {figures[0]:.3f} to the hardened, {figures[1]:.3f} to the original)"
    return EncoderCheck(
        found.verdict, name, reason, *figures, dict.fromkeys(parts.encoders, found.verdict), found.details
    )


def _measure(model: TextToImageModel, canaries: Mapping[str, Any]) -> dict[str, list[float]]:
    from ..models.canaries import fingerprint

    # One prompt at a time, as the fingerprints were taken: a quantised encoder scales its activations over
    # the whole batch.
    return {prompt: fingerprint(model.encode([prompt])) for prompt in canaries}


def _not_hardened(
    model: TextToImageModel,
    frame: TextToImageModel,
    given: Mapping[str, Any],
    canaries: Mapping[str, Any],
    tolerance: float,
) -> tuple[str, ...]:
    """The fewest encoders of the target that, replaced by the run's own, make it the hardened model; () if
    not even that does."""
    from ..models.canaries import compare

    for count in range(1, len(given)):
        for names in itertools.combinations(given, count):
            mended = model.with_encoders({n: frame.encoders[n] for n in names})
            if compare(_measure(mended, canaries), canaries, tolerance).verdict == "hardened":
                return names
    return ()
