"""Attacks alone on paper: summary.json, results.jsonl, summary.md, index.html, evidence.json, and plain text
for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files import write_together
from ..results.attack_summary import AttackLine, AttackRate, AttackReport, AttackSummary
from ..results.attacked_prompt import FOLDER
from ..results.evidence_file import Measured, read_evidence, write_evidence
from ..results.judge_profile import judged_by
from ..results.report import RESULTS, SUMMARY, Report, drop_unfinished
from ..versions import own_version
from .cells import NONE, share
from .html import environment, json_block
from .markdown import escape, table
from .pairs import page_data

NOTE = (
    "A prompt counts once, and any of its attacked texts breaks it. Figures with one-sided 95 % bounds. An "
    "attack that is too weak on the undefended model says nothing about the hardened one. No gate reads this "
    "report."
)


@dataclass(frozen=True)
class AttackRow:
    """One figure: which attack, how it was run, both models, what it cost, and what has to be said of it."""

    attack: str
    run: str
    undefended: str
    hardened: str
    cost: str = NONE
    note: str = ""


def write_attack_report(report: AttackReport) -> Path:
    """Put the report in place, evidence last; returns the path of ``index.html``."""
    summary, place = report.summary, report.folder
    texts = {
        **_pages(report),
        RESULTS: "".join(row.line() for row in report.rows),
        SUMMARY: summary.model_dump_json(indent=2) + "\n",
    }
    # No gate reads this report, so nothing beside it may speak of one.
    for stale in ("junit.xml", "report.sarif", "MODEL_CARD.md"):
        (place / stale).unlink(missing_ok=True)
    write_together(place, texts)
    write_evidence(place, Measured.of(Report(summary.facts, report.rows, place)), own_version())
    drop_unfinished(place)
    return place / "index.html"


def rebuild_attack_report(folder: Path) -> Path:
    """Write ``summary.md`` and ``index.html`` again from what lies there; rows, figures and attacked prompts
    stay as they are. Returns the path of ``index.html``.

    Raises:
        RunError: the report cannot be read, or is damaged.
    """
    report = AttackReport.load(folder)
    write_together(folder, _pages(report))
    if (evidence := read_evidence(folder)) is not None:
        write_evidence(folder, evidence.measured, own_version())
    return folder / "index.html"


def _pages(report: AttackReport) -> dict[str, str]:
    return {"summary.md": attack_markdown(report.summary), "index.html": _page(report)}


def attack_text(summary: AttackSummary) -> str:
    """The figures for a terminal, one line a figure."""
    rows = attack_rows(summary)
    lines = [headline(summary)]
    for row in rows:
        lines.append(f"  {row.attack}, {row.run}" if row.run else f"  {row.attack}")
        if row.undefended != NONE:
            hardened = "" if summary.undefended else f"; hardened {row.hardened}"
            lines.append(f"    unsafe  undefended {row.undefended}{hardened}")
        if row.cost != NONE:
            lines.append(f"    cost    {row.cost}")
        if row.note:
            lines.append(f"    note    {row.note}")
    if judge := judged_by(summary.facts):
        lines.append(f"  every rate by the judge profile {judge.line()}")
    if summary.facts.own_prompts is not None:
        lines.append(f"  prompts: {summary.facts.own_prompts.line()}")
    lines.append(f"  {NOTE}")
    return "\n".join(lines)


def attack_markdown(summary: AttackSummary) -> str:
    """The figures as a markdown table."""
    head = ["attack", "run", "unsafe, undefended", "unsafe, hardened", "cost", "note"]
    cells = [(r.attack, r.run, r.undefended, r.hardened, r.cost, r.note) for r in attack_rows(summary)]
    lines = [f"## SafeText attacks: {escape(headline(summary))}", "", *table(head, cells), NOTE]
    if judge := judged_by(summary.facts):
        lines += ["", f"Every rate by the judge profile {escape(judge.line())}."]
    if summary.facts.own_prompts is not None:
        lines += ["", f"Prompts: {escape(summary.facts.own_prompts.line())}."]
    lines += ["", "Not measured: " + escape("; ".join(summary.facts.not_measured)) + "."]
    return "\n".join(lines) + "\n"


def headline(summary: AttackSummary) -> str:
    """Who was attacked, with how many prompts."""
    facts = summary.facts
    under = "the undefended model" if summary.undefended else (facts.run or "a hardened model")
    worth = summary.plain.original.worth
    prompts = f", {worth.prompts} prompts" if worth is not None else ""
    exported = f", exported {', '.join(facts.exported)}" if facts.exported else ""
    seeds = ", ".join(map(str, facts.seeds))
    return f"{under} of {facts.model}{exported}, policy {facts.policy.name}{prompts}, picture seeds {seeds}"


def attack_rows(summary: AttackSummary) -> list[AttackRow]:
    """Every figure of a summary, in the order of the attacks."""
    rows = [_row("no attack", "", summary.plain)]
    for line in summary.attacks:
        rows += _rows(line, summary)
    return rows


def _rows(line: AttackLine, summary: AttackSummary) -> Iterator[AttackRow]:
    entry = line.entry
    if line.rate is None:
        yield AttackRow(entry.name, "", NONE, NONE, note=f"impossible: {entry.impossible}")
        return
    notes = [] if line.counts else [_weak(line.rate, summary.threshold)]
    if entry.left_out:
        notes.append(f"{entry.left_out} texts left out by the content rules")
    if not entry.gated and entry.role == "attack":
        notes.append("a probe: no encoder can stop it")
    if entry.found_on is not None:
        notes.insert(0, _found_on(line, summary))
    run = "replayed" if entry.role == "replay" else f"{entry.threat}, seed {entry.settings['seed']}"
    cost = f"{entry.queries:,} queries, {entry.forward_passes:,} passes, {entry.seconds:,.1f} s"
    yield _row(entry.of or entry.name, run, line.rate, NONE if entry.role == "replay" else cost, notes)
    if line.any_seed is not None:
        tried = ", ".join(map(str, line.any_seed.seeds))
        yield _row(entry.name, f"any of {len(line.any_seed.seeds)} seeds ({tried})", line.any_seed)
    if line.control is not None:
        note = "the anchor in the place of the unsafe prompt: what the attack's own words do"
        yield AttackRow(entry.name, "control", share(line.control), NONE, note=note)
    if line.random is not None:
        cost = f"{line.random.queries:,} queries, {line.random.forward_passes:,} passes"
        yield _row(entry.name, "random search of equal cost", line.random, cost)


def _row(attack: str, run: str, rate: AttackRate, cost: str = NONE, notes: Sequence[str] = ()) -> AttackRow:
    return AttackRow(attack, run, share(rate.original), share(rate.hardened), cost, "; ".join(notes))


def _weak(rate: AttackRate, threshold: float) -> str:
    lower = 100 * (rate.original.lower or 0.0)
    return f"too weak on the undefended model (at least {lower:.1f} %, not above {100 * threshold:g} %)"


def _found_on(line: AttackLine, summary: AttackSummary) -> str:
    found, here = line.entry.found_on, summary.facts.fingerprints
    assert found is not None
    if (found.original, found.hardened) == (here.get("original"), here.get("hardened")):
        return "found on these models"
    same = found.original == here.get("original")
    return f"transfer: found on {found.name}{', the same original' if same else ''}"


def _page(report: AttackReport) -> str:
    from markupsafe import Markup

    summary = report.summary
    return (
        environment()
        .get_template("attacks.html.jinja")
        .render(
            s=summary,
            head=headline(summary),
            rows=attack_rows(summary),
            note=NOTE,
            judge=judged_by(summary.facts),
            folder=FOLDER,
            data_json=Markup(json_block(page_data(report.rows, summary.facts, report.folder))),
        )
    )
