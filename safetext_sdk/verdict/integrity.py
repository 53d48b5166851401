"""Is the report about these files? Asked before any bound is looked at.

A verdict is worth what it is bound to: the run's files must be as its manifest says, the manifest the one
that was validated, the weights those that were measured, and the report what the validation wrote. What
contradicts a record fails; what has no record proves nothing and is inconclusive.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import MissingExtraError, SafeTextError
from ..files import sha256_file
from ..models.run_folder import MANIFEST, RunFolder
from ..results.evidence_file import (
    EVIDENCE,
    EVIDENCE_SIGNATURE,
    Measured,
    changed_pictures,
    facts_sha256,
    images,
)
from ..results.facts import AuditedEncoder, Binding, PolicyFacts
from ..results.picture_places import find_pictures
from ..results.report import Report, rows_sha256
from ..results.summary import FAIL, INCONCLUSIVE, PASS, GateResult, PictureSample, VerdictWord
from ..signing import SignatureMismatch, check

SHOWN = 3
"""Names in one line; a count stands for the rest."""


@dataclass(frozen=True)
class FileRules:
    """What a gate asks of the files.

    Attributes:
        allow_missing_pictures: pictures may be gone (recorded in the verdict).
        sample: how many pictures are compared with their hash; presence is asked of all.
        seed: of the choice; None: a new one, so that nobody can know which pictures are looked at.
        public_key: the report must be signed, and the signature hold with this key.
    """

    allow_missing_pictures: bool = False
    sample: int = 64
    seed: int | None = None
    public_key: Path | None = None


@dataclass(frozen=True)
class FileFindings:
    """What the files say."""

    gates: list[GateResult] = field(default_factory=list)
    sample: PictureSample | None = None
    run_policy_sha256: str | None = None
    """Of the policy that hardening used; None where no run tells."""


def look_at_files(report: Report, measured: Measured | None, rules: FileRules = FileRules()) -> FileFindings:
    """Every check of files.

    Args:
        report: what is judged.
        measured: what its evidence says of it; None: it has no evidence.
        rules: what is asked.
    """
    if report.folder is None:
        reason = "the report lies in memory alone: nothing ties it to files"
        return FileFindings([_result("report_as_measured", INCONCLUSIVE, reason)])
    gates = [report_as_measured(report, measured), run_as_measured(report)]
    if rules.public_key is not None:
        gates.append(signature_holds(report.folder, rules.public_key))
    sample = None
    if report.rows:
        pictures, sample = pictures_as_measured(report, report.folder, measured, rules)
        gates.append(pictures)
    return FileFindings(gates, sample, _run_policy(report))


def report_as_measured(report: Report, measured: Measured | None) -> GateResult:
    """Facts and rows are those that the validation wrote."""
    name = "report_as_measured"
    if measured is None:
        reason = f"no {EVIDENCE} says what was measured; validate again"
        return _result(name, INCONCLUSIVE, reason)
    bound = report.facts.bound
    wrong = [
        what
        for what, recorded, found in (
            (
                "what summary.json says about the validation",
                measured.facts_sha256,
                facts_sha256(report.facts),
            ),
            ("results.jsonl", measured.results_sha256, rows_sha256(report.rows)),
            ("the policy", measured.policy_sha256, report.facts.policy.sha256),
            ("the run", measured.manifest_sha256, bound.manifest_sha256 if bound else None),
            ("the weights", measured.weights, report.facts.measured_files()),
        )
        if recorded != found
    ]
    if wrong:
        return _result(name, FAIL, f"{', '.join(wrong)} is not what {EVIDENCE} records; validate again")
    return _result(name, PASS, f"facts and rows are as {EVIDENCE} records")


def run_as_measured(report: Report) -> GateResult:
    """The run that the report speaks for is there, unchanged, and the one that was measured."""
    name, bound, run = "run_as_measured", report.facts.bound, run_of(report)
    if bound is None:
        if run is not None:
            reason = f"the report was made without a run, so it does not speak for the one in {run.path}"
            return _result(name, FAIL, reason)
        if report.facts.audited is not None:
            return encoder_as_measured(report, report.facts.audited)
        return _result(name, INCONCLUSIVE, "the report was made without a run: nothing ties it to weights")
    try:
        found = list(_differences(report, bound, run)) if run is not None else ["its run folder is not there"]
    except (SafeTextError, OSError) as error:
        found = [str(error)]
    if found:
        return _result(name, FAIL, _few(found))
    n = len(bound.weights) + len(bound.exported)
    return _result(name, PASS, f"manifest, files and weights are those that were measured (weights: {n})")


def encoder_as_measured(report: Report, audited: AuditedEncoder) -> GateResult:
    """The files of an encoder of others are there, with the hashes of those that were measured: what stands
    in for the record of a run, which such an encoder has none of."""
    name, folder = "encoder_as_measured", report.folder
    if folder is None or not audited.files:
        return _result(name, INCONCLUSIVE, "the report names no file: nothing ties it to weights")
    try:
        found = [
            f"{Path(file).name} is {'not the one that was measured' if there else 'not there'}"
            for file, sha in audited.files.items()
            if not (there := (folder / file).is_file()) or sha256_file(folder / file) != sha
        ]
    except OSError as error:
        found = [str(error)]
    if found:
        return _result(name, FAIL, _few(found))
    reason = f"no run of ours: the {audited.form} is the one that was measured (files: {len(audited.files)})"
    return _result(name, PASS, reason)


def run_of(report: Report) -> RunFolder | None:
    """The run folder that the report lies in, else the one that it names; None: there is none."""
    if report.folder is None:
        return None
    # As it is written, links not followed: a link to the report of a good run does not make a bad run good.
    folder = Path(os.path.abspath(report.folder))
    for place in (folder, folder.parent):
        if RunFolder.is_run(place):
            return RunFolder(place)
    bound = report.facts.bound
    return RunFolder(Path(os.path.abspath(folder / bound.at))) if bound is not None else None


def _differences(report: Report, bound: Binding, run: RunFolder) -> Iterator[str]:
    if not run.finished:
        yield f"{run.path.name} has no {MANIFEST}"
        return
    if sha256_file(run.path / MANIFEST) != bound.manifest_sha256:
        yield "the report is about another run, or this one was hardened again since; validate it"
    record = run.record
    yield from run.check()
    for file, sha in bound.weights.items():
        if record.files.get(file) != sha:
            yield f"{file} is not the file that was measured"
    for file, sha in bound.exported.items():
        if report.folder is None or exported_sha256(report.folder / file) != sha:
            yield f"the exported {Path(file).name} is missing or not the one that was measured"
    if not bound.weights and not bound.exported:
        yield "the report names no weights"
    for encoder, state in record.encoders.items():
        if state == "untouched" and report.facts.encoders.get(encoder) == "hardened":
            yield f"the report calls {encoder} hardened, the manifest says untouched"
    if bound.forced:
        yield f"validated with --force although {_few(list(bound.forced))}"
    recorded = report.facts.policy
    if recorded.sha256 == record.policy_sha256 and PolicyFacts.of(run.policy()) != recorded:
        yield "the gates in summary.json are not those of the run's policy"


def exported_sha256(path: Path) -> str | None:
    """Hash of an exported file as an `OnnxEncoder` gives it, without onnxruntime; None if it is gone."""
    from ..models.onnx_encoder import file_sha256

    return file_sha256(path) if path.is_file() else None


def pictures_as_measured(
    report: Report, folder: Path, measured: Measured | None, rules: FileRules
) -> tuple[GateResult, PictureSample]:
    """Every picture is there, and a random sample has the recorded hash."""
    name, named = "pictures_as_measured", images(report)
    found = find_pictures(folder, named)
    missing, outside = found.missing, found.outside
    there = sorted([*found.there, *outside])
    seed = secrets.randbits(32) if rules.seed is None else rules.seed
    chosen = random.Random(seed).sample(there, min(rules.sample, len(there)))
    sample = PictureSample(size=len(chosen), of=len(named), seed=seed)
    if measured is None:
        return _result(name, INCONCLUSIVE, "no hash of a picture was recorded"), sample
    recorded = measured.pictures
    if outside:
        return _result(name, FAIL, f"a row names a picture outside of the report: {_few(outside)}"), sample
    if strange := [n for n in named if n not in recorded]:
        return _result(name, FAIL, f"no hash was recorded of {_few(strange)}"), sample
    if changed := changed_pictures(folder, {n: recorded[n] for n in chosen}):
        return _result(name, FAIL, f"not the pictures that were scored: {_few(changed)}"), sample
    text = f"{len(there)} of {len(named)} pictures are there, {len(chosen)} compared with their hash"
    if missing and not rules.allow_missing_pictures:
        return _result(name, INCONCLUSIVE, f"{text}; missing: {_few(missing)}"), sample
    if missing:
        text = f"{text}; {len(missing)} missing ones were allowed"
    return _result(name, PASS, text, n=len(chosen)), sample


def signature_holds(folder: Path, public_key: Path) -> GateResult:
    """The evidence is signed by the owner of a key."""
    name = "signature"
    try:
        check(folder / EVIDENCE, folder / EVIDENCE_SIGNATURE, public_key)
    except MissingExtraError:
        raise
    except SignatureMismatch as error:
        return _result(name, FAIL, str(error))
    return _result(name, PASS, f"{EVIDENCE} is signed, and the signature holds with {public_key.name}")


def _run_policy(report: Report) -> str | None:
    run = run_of(report)
    try:
        return run.record.policy_sha256 if run is not None and run.finished else None
    except SafeTextError:
        return None


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(names[:SHOWN]) + more


def _result(name: str, verdict: VerdictWord, reason: str, n: int = 0) -> GateResult:
    return GateResult(name=name, verdict=verdict, reason=reason, n=n)
