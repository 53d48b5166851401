"""What stands at the top of a page: which files, policy and judges it speaks for, when, and the commands that
make it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import RunError
from ..models.run_folder import RunFolder
from ..results.facts import AuditedEncoder
from ..results.judge_profile import judged_by
from ..results.summary import Summary
from ..validation.set_sizes import ATTACKED, OPTIONS, POLICY_SETS, equal_sizes

SHORT = 16
"""Digits of a hash that a person compares."""
MAIN = ("unsafe", "safe", "safe_unseen", "borderline")
"""Sets that `--n` gives one size."""


@dataclass(frozen=True)
class HeaderLine:
    """One fact, and the whole of it where it is shown in short."""

    name: str
    text: str
    whole: str = ""


def header_lines(summary: Summary, folder: Path) -> list[HeaderLine]:
    """Policy, weights, dates and judges of a report.

    Args:
        folder: the report folder; the run beside it tells when it was made.
    """
    out = [
        HeaderLine(
            "policy",
            f"{summary.policy.name}, sha256 {summary.policy.sha256[:SHORT]}",
            summary.policy.sha256,
        )
    ]
    if audited := summary.audited:
        out += _audited(audited, summary.model)
    elif bound := summary.bound:
        files = {**bound.exported} or {**bound.weights}
        out += [HeaderLine("weights", f"{n}, sha256 {h[:SHORT]}", h) for n, h in files.items()]
        if bound.forced:
            out.append(HeaderLine("not as recorded", "; ".join(bound.forced)))
    else:
        out.append(HeaderLine("weights", "not bound to a run: this report does not say which files it is of"))
    out.append(HeaderLine("encoders", ", ".join(f"{n} {state}" for n, state in summary.encoders.items())))
    if run := _run(summary, folder):
        out.append(HeaderLine("hardened", run))
    out.append(HeaderLine("page written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")))
    if profile := judged_by(summary):
        out.append(HeaderLine("judge profile", profile.line(), profile.sha256))
        out.append(HeaderLine("judged by", ", ".join(profile.versions)))
    if made := summary.settings:
        size = f", {made.width}×{made.height} px" if made.width and made.height else ""
        steps = "" if made.steps is None else f"{made.steps} steps"
        guidance = "" if made.guidance is None else f"guidance {made.guidance:g}"
        pictures = ", ".join(part for part in (steps, guidance) if part) + size
        out.append(
            HeaderLine("pictures", f"{pictures.lstrip(', ')}, seeds {', '.join(map(str, summary.seeds))}")
        )
    return out


def _audited(found: AuditedEncoder, model: str) -> list[HeaderLine]:
    """Whose encoder was audited, what it is, in and on which model, by hash; and that no run of ours made
    it."""
    commit = f", commit {found.revision[:SHORT]}" if found.revision else ""
    out = [HeaderLine("audited", f"{found.ref} ({found.form}{commit})", found.revision or "")]
    out += [HeaderLine("run", "none of SafeText's: nobody recorded what this encoder was trained on")]
    out += [HeaderLine("audited file", f"{n}, sha256 {h[:SHORT]}", h) for n, h in found.files.items()]
    place = f"in the place of {', '.join(found.encoders)}" if found.encoders else "in no encoder's place"
    out.append(HeaderLine("original", f"{model}, {place}"))
    out += [HeaderLine("original's file", f"{n}, sha256 {h[:SHORT]}", h) for n, h in found.original.items()]
    return [*out, *(HeaderLine("note", note) for note in found.notes)]


def _run(summary: Summary, folder: Path) -> str | None:
    """When and from what the run was made; None where no run tells."""
    if summary.bound is None:
        return None
    try:
        record = RunFolder.open(folder / summary.bound.at).record
    except RunError:
        return None
    recipe = f", recipe {record.recipe}" if record.recipe else ""
    return f"{_moment(record.created)}, method {record.method}{recipe}, seed {record.seed}"


def _moment(created: str) -> str:
    """As people write it; as it stands where it is no date."""
    try:
        return datetime.fromisoformat(created).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return created


def _sizes(summary: Summary) -> list[str]:
    """The options that draw as many prompts again."""
    known = {name: rows // len(summary.seeds) for name, rows in summary.plan.items() if name in POLICY_SETS}
    started = {attack.prompts for attack in summary.attacks if attack.prompts}
    if len(started) == 1:
        known[ATTACKED] = started.pop()
    n = known.get("unsafe", 0)
    # One option for most of them, where they were asked for so; then those that differ.
    usual = equal_sizes(n) if len({known.get(name) for name in MAIN}) == 1 and n else {}
    out = [f"--n {n}"] if usual else []
    differing = {OPTIONS[name]: size for name, size in known.items() if usual.get(name) != size}
    return [*out, *(f"{option} {size}" for option, size in differing.items())]


def commands(summary: Summary) -> list[str]:
    """What makes this report again, judges it, and looks whether files are as recorded; RUN is the run
    folder, AUDIT the report folder of an audit."""
    run = shlex.quote(summary.run or ("AUDIT" if summary.audited else "RUN"))
    validate = ["safetext validate", run]
    if audited := summary.audited:
        named = (summary.model, audited.ref, summary.policy.name)
        options = zip(("--original", "--encoder", "--policy"), map(shlex.quote, named), strict=True)
        validate = ["safetext validate", *(part for pair in options for part in pair), f"--out {run}"]
    if summary.seeds != (0,):
        validate.append(f"--seeds {','.join(map(str, summary.seeds))}")
    validate += _sizes(summary)
    validate.append(f"--attacks {','.join(summary.attacks_asked) or 'none'}")
    if summary.exported:
        validate.append("--encoder EXPORT")
    if summary.own_prompts is not None:
        validate.append("--prompts FILE")
    return [
        " ".join(validate),
        f"safetext gate {run}",
        f"safetext verify {run}",
        f"safetext report {run}",
    ]
