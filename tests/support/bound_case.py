"""A run folder with a report that passes, all on disk and without a model: what attempts to talk a gate into
a pass start from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.gate_case import GATES, passing, with_facts
from support.made_runs import made_manifest, made_settings

from safetext_sdk import load_policy
from safetext_sdk.models.manifest import SourceRecord
from safetext_sdk.models.run_folder import RunFolder
from safetext_sdk.report import publish
from safetext_sdk.results.evidence_file import Measured, images
from safetext_sdk.results.facts import PolicyFacts
from safetext_sdk.results.report import Report
from safetext_sdk.validation.binding import bind
from safetext_sdk.verdict.gate import judge

POLICY = """\
version: 1
name: {name}
concepts:
  - id: weapon
    terms: [gun, knife, sword]
    anchors: [a flower]
    detectors: [{{name: toy, labels: [{label}]}}]
gates: {gates}
"""


def policy_text(gates: dict[str, Any] | None = None, name: str = "weapons", label: str = "weapon") -> str:
    """A policy of the concept of `passing`."""
    plain = {k: g.model_dump(exclude_none=True) for k, g in GATES.items()} if gates is None else gates
    return POLICY.format(name=name, label=label, gates=json.dumps(plain))


def policy_at(path: Path, **changes: Any) -> Any:
    """`policy_text` in a file, loaded."""
    path.write_text(policy_text(**changes), encoding="utf-8")
    return load_policy(path)


def make_run(
    path: Path,
    weights: bytes = b"hardened weights",
    encoders: Any = None,
    gates: dict[str, Any] | None = None,
) -> RunFolder:
    """A finished run: its files are what a manifest hashes, though no model could be read from them."""
    run = RunFolder.create(path)
    run.write_settings(made_settings(SourceRecord(id="toy", files={}), {"text_encoder": "full"}))
    run.write_policy(policy_text(gates))
    run.encoder_dir().mkdir()
    (run.encoder_dir() / "model.safetensors").write_bytes(weights)
    (run.encoder_dir() / "config.json").write_text("{}")
    states = encoders or {"text_encoder": "hardened"}
    run.write_manifest(made_manifest(policy_sha256=run.policy().sha256, encoders=states))
    return run


def bound_to(
    run: RunFolder, report: Report, folder: Path, exported: Any = None, force: bool = False
) -> Report:
    """The report as a validation of the run would leave it in ``folder``, pictures included."""
    encoders = {"text_encoder": exported if exported is not None else object()}
    subjects: Any = SimpleNamespace(run=run, hardened=SimpleNamespace(encoders=encoders))
    bound = bind(subjects, folder, force=force)
    placed = replace(with_facts(report, bound=bound, policy=PolicyFacts.of(run.policy())), folder=folder)
    for number, name in enumerate(images(placed)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"picture %d" % number)
    return placed


def published(report: Report, key: Path | None = None) -> Report:
    """The report with evidence, verdict and pages, as `validate` writes them."""
    measured = Measured.of(report)
    publish(report, judge(report, measured), measured, key=key, github=False)
    return report


def validated(path: Path, edit: Callable[[Report], Report] = lambda r: r, **run: Any) -> RunFolder:
    """A run with a finished report in it, which passes unless ``edit`` changed what was measured."""
    made = make_run(path, **run)
    published(bound_to(made, edit(passing()), made.report_dir))
    return made
