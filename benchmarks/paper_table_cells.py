"""The paper's table: a cell of it, from the report of one contender."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paper_table_plan import DISTANCES, RATES, PaperSet, options, unavailable

import safetext_sdk as st
from safetext_sdk.comparison.entries import ComparedEntry, Comparison
from safetext_sdk.metrics import METRICS, SHARE
from safetext_sdk.metrics.evidence import Evidence
from safetext_sdk.metrics.measure import measure
from safetext_sdk.models import TextToImageModel
from safetext_sdk.models.loading import load_hardened_encoders
from safetext_sdk.models.run_folder import RunFolder
from safetext_sdk.results.judge_profile import judged_by
from safetext_sdk.results.report import Report
from safetext_sdk.validation.measure_tools import LoadedTools

Cell = Callable[[ComparedEntry, "Measured"], str]


class Measured:
    """The cells of one row, from its report.

    Args:
        report: of one contender.
        given: options of metrics.
        tools: models for metrics of pictures; None: no such metric is asked for.
    """

    def __init__(
        self, report: Report, given: Mapping[str, Mapping[str, Any]], tools: LoadedTools | None
    ) -> None:
        self.report, self.given, self.tools = report, given, tools

    def cell(self, name: str, each: PaperSet) -> str:
        """A metric of a set, with bounds, or why there is none."""
        if each.missing:
            return f"not measured: {each.missing}"
        if why := unavailable(name, self.given):
            return f"not measured: {why}"
        metric = METRICS.get(name)
        wanted = "safe" if each.kind == "safe" else "unsafe"
        # A metric reads one set by its name; here it is handed this one under that name.
        rows = tuple(r.model_copy(update={"set": wanted}) for r in self.report.rows if each.has(r))
        if not rows:
            return "not measured: the set is empty"
        evidence = Evidence(self.report.facts, rows)
        kind = getattr(metric, "pictures", None)
        if kind is None:
            found = measure(metric, evidence)
            interval, missing = found.interval, found.missing
        else:
            interval, missing = self._of_pictures(kind, name, evidence)
        if missing or interval.n == 0:
            return f"not measured: {missing or metric.absent}"
        return metric.unit.bounds(interval.value, interval.lower, interval.upper, interval.n)

    def _of_pictures(self, kind: Any, name: str, evidence: Evidence) -> tuple[Any, str]:
        from safetext_sdk.metrics.pictures import Pictures

        config = kind.Config(**self.given.get(name, {}))
        folder = self.report.folder
        assert folder is not None
        found = kind(config, self.tools).take(Pictures(evidence, folder))
        return found.interval, found.missing


def tools_of(args: argparse.Namespace, runs: Mapping[str, Path]) -> LoadedTools:
    """Models for metrics of pictures, loaded when one asks. A CLIP with the weights of any hardened encoder
    of the table judges none of its rows."""
    original = st.load_model(args.model, device=args.device)

    def hardened() -> Iterator[tuple[str, TextToImageModel]]:
        for name, path in runs.items():
            encoders = load_hardened_encoders(RunFolder.open(path), original)
            yield name, original.with_encoders(encoders)

    return LoadedTools(args.device if args.device != "auto" else "cpu", original, hardened)


def share_cell(entry: ComparedEntry, attack: str) -> str:
    """Unsafe rate under an attack."""
    found = entry.figures.attacks.get(attack)
    return SHARE.bounds(found.value, found.lower, found.upper, found.n) if found else "–"


def cost_cell(entry: ComparedEntry) -> str:
    """Learning once, and one picture."""
    learning = "–" if entry.cost.learning is None else f"{entry.cost.learning:.0f} s"
    picture = "–" if entry.cost.picture is None else f"{entry.cost.picture:.2f} s a picture"
    return f"{learning}; {picture}"


def columns(sets: Sequence[PaperSet], attacks: Sequence[str]) -> list[tuple[str, Cell]]:
    """The head of every column, and how its cell is made."""
    out: list[tuple[str, Cell]] = []
    for each in sets:
        names = DISTANCES if each.kind == "safe" else RATES
        for name in names:
            out.append((f"{name}, {each.name}", lambda e, m, name=name, each=each: m.cell(name, each)))
    for attack in attacks:
        out.append((f"unsafe, {attack}", lambda e, m, attack=attack: share_cell(e, attack)))
    kept: Cell = lambda e, m: (  # noqa: E731
        SHARE.bounds(f.value, f.lower, f.upper, f.n) if (f := e.figures.kept) else "–"
    )
    return [*out, ("kept", kept), ("cost", lambda e, m: cost_cell(e))]


def table(
    found: Comparison, sets: Sequence[PaperSet], args: argparse.Namespace, runs: Mapping[str, Path]
) -> tuple[str, list[dict[str, str]]]:
    """The table as markdown, one figure a line and one contender a column, and its cells by row."""
    given, tools = options(args), tools_of(args, runs)
    heads = columns(sets, args.attacks)
    cells, judge = [], None
    for entry in found.entries:
        if entry.report is None:
            cells.append(
                {"name": entry.name} | {head: f"impossible: {entry.impossible}" for head, _ in heads}
            )
            continue
        report = Report.load(args.out / entry.report)
        judge = judge or judged_by(report.facts)
        measured = Measured(report, given, tools)
        cells.append({"name": entry.name} | {head: make(entry, measured) for head, make in heads})
    by = f"every rate by the judge profile {judge.line()}" if judge else "no picture was judged"
    lines = [f"{found.model}, policy {found.policy}; {by}.", ""]
    lines += ["| | " + " | ".join(cell["name"] for cell in cells) + " |", "|" + "---|" * (len(cells) + 1)]
    lines += ["| " + " | ".join([head, *(cell[head] for cell in cells)]) + " |" for head, _ in heads]
    return "\n".join(lines) + "\n", cells
