"""A report on paper: summary.json, junit.xml, report.sarif, markdown, a model card, index.html,
evidence.json, and plain text for a terminal. No torch here.

Everything reads the summary and the metric objects; only pairs and curves of the HTML page look at rows.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_together

if TYPE_CHECKING:
    from ..results.evidence_file import Measured, Signature
    from ..results.report import Report
    from ..results.summary import Summary
    from ..verdict.decision import Verdict
    from .sarif import PolicyPlace

HELD = ("signature", "pass")
"""The gate that says that a signature holds, and its verdict."""

__all__ = ["publish", "rebuild_report", "report_text", "write_report"]


def report_text(report: Report) -> str:
    """The figures of a report for a terminal, without a verdict."""
    from ..metrics.summary import summarise
    from ..results.evidence_file import signature_of
    from .terminal import terminal_text

    return terminal_text(summarise(report), signature_of(report.folder))


def publish(
    report: Report,
    verdict: Verdict,
    measured: Measured | None,
    *,
    key: str | Path | None = None,
    github: bool = True,
) -> Verdict:
    """Put a report with its verdict in place, the evidence last, and sign it if a key is given.

    A signed report of which nothing would change stays as it is: judging it again does not cost it its
    signature. One that changes without a key is unsigned again.

    Args:
        measured: what a validation found; None: there is no evidence, and none is made up.
        key: private key (PEM).
        github: as in `write_report`.

    Returns:
        The verdict, which knows now whether the report is signed.

    Raises:
        UsageError: a key that cannot sign, or nothing to sign.
        MissingExtraError: model-signing is not installed.
    """
    from ..errors import UsageError
    from ..results.evidence_file import EVIDENCE, EVIDENCE_SIGNATURE, write_evidence
    from ..signing import sign
    from ..versions import own_version

    place = report.folder
    if place is None or (key is not None and measured is None):
        raise UsageError(
            f"there is no {EVIDENCE} to sign; validate again" if place else "the report lies nowhere"
        )
    # That a signature holds is said, but not written: it would change what is signed.
    kept = replace(verdict, gates=tuple(g for g in verdict.gates if (g.name, g.verdict) != HELD))
    stands = key is None and _stands(report, kept, measured, place)
    word: Signature = "signed" if key is not None or stands else "unsigned"
    if stands:
        _show_on_github(_marked(kept, word), report, github)
    else:
        (place / EVIDENCE_SIGNATURE).unlink(missing_ok=True)
        write_report(report, _marked(kept, word), github=github)
        if measured is not None:
            write_evidence(place, measured, own_version())
        if key is not None:
            sign(place / EVIDENCE, place / EVIDENCE_SIGNATURE, key)
    return _marked(verdict, word)


def _marked(verdict: Verdict, signature: Signature) -> Verdict:
    if verdict.decision is None:
        return verdict
    return replace(verdict, decision=verdict.decision.model_copy(update={"signature": signature}))


def _stands(report: Report, verdict: Verdict, measured: Measured | None, place: Path) -> bool:
    """Whether a signed report says all this already; which pictures were looked at does not matter."""
    from ..metrics.summary import summarise
    from ..results.evidence_file import page_hashes, read_evidence, signature_of
    from ..results.report import SUMMARY

    evidence = read_evidence(place) if signature_of(place) == "signed" else None
    if evidence is None or evidence.measured != measured or evidence.files != page_hashes(place):
        return False
    decision = _marked(verdict, "signed").decision
    same = summarise(report, verdict.gates, verdict.verdict, decision, verdict.left_out)
    text = (place / SUMMARY).read_text(encoding="utf-8")
    old = type(same).model_validate_json(text, strict=True)
    return _without_sample(old) == _without_sample(type(same).model_validate_json(same.model_dump_json()))


def _without_sample(summary: Summary) -> Summary:
    decision = summary.decision and summary.decision.model_copy(update={"sample": None})
    return summary.model_copy(update={"decision": decision})


def write_report(
    report: Report, verdict: Verdict, folder: str | Path | None = None, *, github: bool = True
) -> Path:
    """Write the pages into the report folder; the evidence is `publish`'s. Returns the path of
    ``index.html``.

    Args:
        github: append the markdown summary to the file that ``$GITHUB_STEP_SUMMARY`` names, if it is set.
    """
    from ..metrics.summary import summarise
    from ..results.measures import drop_values
    from ..results.parquet_file import PARQUET, is_copy
    from .sarif import run_policy

    place = Path(folder or report.folder or ".")
    summary = summarise(report, verdict.gates, verdict.verdict, verdict.decision, verdict.left_out)
    pages = _pages(summary, report, place, run_policy(summary, place))
    if not is_copy(place / PARQUET, summary.results_sha256):
        (place / PARQUET).unlink(missing_ok=True)
    # At once: a validation that is killed here must not leave new rows beside an old summary.
    write_together(place, {**pages, **report.texts(summary, place)})
    drop_values(place, summary.measures)
    _show_on_github(verdict, report, github)
    return place / "index.html"


def _pages(summary: Summary, report: Report, place: Path, policy: PolicyPlace | None) -> dict[str, str]:
    """Every page, by name. ``policy``: the file that SARIF points into."""
    from .html import page
    from .junit import junit_xml
    from .markdown import markdown
    from .model_card import model_card
    from .sarif import sarif

    return {
        "junit.xml": junit_xml(summary),
        "report.sarif": sarif(summary, policy),
        "summary.md": markdown(summary),
        "MODEL_CARD.md": model_card(summary),
        "index.html": page(summary, report.rows, place),
    }


def rebuild_report(path: str | Path, policy: str | Path | None = None, *, parquet: bool = False) -> Path:
    """Write all pages of a report again from what lies there: nothing is generated, scored or judged, and
    rows, summary and verdict stay as they are. A report of attacks alone has two pages, and no verdict.

    Args:
        path: a run folder or a report folder; of a run its validation, or its attacks where there is none.
        policy: the file that the gates stand in, for ``report.sarif`` to point into, named there relative to
            the working folder; None: the run's own copy.
        parquet: write ``results.parquet`` as well, the rows as columns.

    Returns:
        The path of ``index.html``.

    Raises:
        RunError: there is no finished report, or no verdict yet.
        UsageError: the report is signed and its pages would change, ``policy`` is not the one that decided,
            or none decided because the report is of attacks alone.
        PolicyError: ``policy`` cannot be read.
        MissingExtraError: ``parquet``, and pyarrow is not installed.
    """
    from ..errors import RunError, UsageError
    from ..results.attack_summary import attack_folder
    from ..results.evidence_file import read_evidence, signature_of, write_evidence
    from ..results.parquet_file import PARQUET, write_parquet
    from ..results.report import SUMMARY, Report
    from ..results.summary import Summary
    from ..versions import own_version
    from .sarif import PolicyPlace, run_policy

    if (attacks := attack_folder(Path(path))) is not None:
        from .attack_pages import rebuild_attack_report

        if policy is not None:
            raise UsageError(f"{attacks} is a report of attacks alone: no gate reads it, no policy decides")
        return rebuild_attack_report(attacks)
    report = Report.load(path)
    place = report.folder
    assert place is not None
    summary = Summary.model_validate_json((place / SUMMARY).read_text(encoding="utf-8"), strict=True)
    if summary.decision is None:
        raise RunError(f"{place} has no verdict yet; run `safetext gate` first")
    if signature_of(place) == "signed":
        raise UsageError(
            "the report is signed, its pages included; `safetext gate RUN --sign KEY` writes and signs them "
            "again"
        )
    named = run_policy(summary, place)
    if policy is not None:
        _check_decided(policy, summary)
        named = PolicyPlace.of(Path(policy), Path())
    if parquet:
        write_parquet(report.rows, summary.results_sha256, place / PARQUET)
    write_together(place, _pages(summary, report, place, named))
    if (evidence := read_evidence(place)) is not None:
        write_evidence(place, evidence.measured, own_version())
    return place / "index.html"


def _check_decided(policy: str | Path, summary: Summary) -> None:
    """Refuse a policy that is not the one whose gates decided."""
    from ..errors import UsageError
    from ..policy.load import load_policy

    decided = summary.decision
    if decided is not None and load_policy(policy).sha256 != decided.policy_sha256:
        raise UsageError(f"{policy} is not the policy that decided ({decided.policy_sha256[:12]})")


def _show_on_github(verdict: Verdict, report: Report, wanted: bool) -> None:
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    if wanted and step:
        from ..metrics.summary import summarise
        from .markdown import markdown

        summary = summarise(report, verdict.gates, verdict.verdict, verdict.decision, verdict.left_out)
        with Path(step).open("a", encoding="utf-8") as handle:
            handle.write(markdown(summary) + "\n")
