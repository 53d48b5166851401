"""Is the safe encoder really loaded?

`verify_against` asks the encoder itself: canary prompts of the run go through the target (an ONNX file, a
folder, a checkpoint, a live pipeline), and their fingerprints say whether it is the hardened encoder, the
original, neither, or only partly hardened. A front-end that silently loads another encoder is found however
its files look.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..errors import EXIT_FAIL, EXIT_PASS, EXIT_RUNTIME, RunError, SafeTextError
from ..models.canaries import TOLERANCE, compare, fingerprint
from ..models.model import TextToImageModel
from ..models.run_folder import MANIFEST, RunFolder
from .find_encoders import Parts, WeightSet, find_encoders, frame_of

Verdict = Literal["hardened", "original", "neither", "partly", "unknown"]
_WORSE: tuple[Verdict, ...] = ("hardened", "unknown", "partly", "neither", "original")
"""Answers on several sets of weights, the worst last: what is known to be wrong outweighs what is unknown."""


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
        RunError: ``run`` is not a finished run, or it has no canaries.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    if not folder.manifest.get("canaries"):
        raise RunError(f"{folder.path / MANIFEST} has no canaries, so no encoder can be recognised with it")
    name = str(target) if isinstance(target, str | Path) else type(target).__name__

    def ask() -> EncoderCheck:
        frame = frame_of(folder)
        return identify(frame, find_encoders(target, frame, folder), folder.manifest, name)

    return _answered(ask, name)


def _answered(ask: Callable[[], EncoderCheck], name: str) -> EncoderCheck:
    """The answer, or that there is none and why."""
    try:
        return ask()
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

    Where there are further weights for an encoder, each takes its place in turn, and the worst answer stands:
    a front-end may load any of them.

    Args:
        frame: the run's hardened model; it stands in for encoders that ``parts`` lacks.
        parts: what was found in the target.
        manifest: the run's manifest.
        name: the target, for messages.
    """
    first = _of_one_set(frame, parts, manifest, name)
    if not parts.further:
        return first
    found = [(", ".join(parts.files.values()), first)]
    for each in parts.further:
        ask = partial(_with_further, frame, parts, each, manifest, name)
        found.append((each.file, _answered(ask, name)))
    file, worst = max(found, key=lambda answer: _WORSE.index(answer[1].verdict))
    several = f"the target has {len(found)} sets of weights ({'; '.join(file for file, _ in found)})"
    if worst.verdict == "hardened":
        return replace(worst, reason=f"{worst.reason}; {several}, and each is hardened")
    return replace(worst, reason=f"{file}: {worst.reason}; {several}")


def _with_further(
    frame: TextToImageModel, parts: Parts, further: WeightSet, manifest: Mapping[str, Any], name: str
) -> EncoderCheck:
    """With these weights in the place of the first ones."""
    encoders = {**parts.encoders, **further.read().encoders}
    return _of_one_set(frame, replace(parts, encoders=encoders), manifest, name)


def _of_one_set(
    frame: TextToImageModel, parts: Parts, manifest: Mapping[str, Any], name: str
) -> EncoderCheck:
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
    for count in range(1, len(given)):
        for names in itertools.combinations(given, count):
            mended = model.with_encoders({n: frame.encoders[n] for n in names})
            if compare(_measure(mended, canaries), canaries, tolerance).verdict == "hardened":
                return names
    return ()
