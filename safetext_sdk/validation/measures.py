"""Metrics of pictures in a validation: which are asked for, made ready before the first picture, taken after
the last one, and written into the facts."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from ..errors import NotMeasuredError, SafeTextError, UnmeasuredMetricWarning
from ..metrics.asked import Asked, asked_measures
from ..metrics.evidence import Evidence
from ..metrics.pictures import PictureMeasure, Pictures, Taken
from ..results.figures import Figure
from ..results.measures import MeasureEntry, PictureValue, values_file
from ..results.report import Report
from .measure_tools import LoadedTools

if TYPE_CHECKING:
    from .session import Session, Step


@dataclass(frozen=True)
class Measuring:
    """The metrics of a validation, ready to be taken, and those that cannot be."""

    asked: Mapping[str, Asked]
    ready: Mapping[str, PictureMeasure[Any]]
    missing: Mapping[str, str]
    tell: Step

    @classmethod
    def prepare(cls, session: Session) -> Measuring:
        """Load what is asked for. What is not there is warned about now, and not after hours of drawing."""
        asked = asked_measures(session.policy, session.plan.chosen_metrics(), session.subjects.original.id)
        ready: dict[str, PictureMeasure[Any]] = {}
        missing: dict[str, str] = {}
        tools = LoadedTools.of(session) if asked else None
        for name, each in asked.items():
            assert tools is not None
            if session.detectors is None:
                missing[name] = "a model without a denoiser draws no pictures"
                continue
            try:
                ready[name] = each.kind(each.config, tools)
            except SafeTextError as error:
                missing[name] = str(error)
            except Exception as error:
                missing[name] = f"the metric cannot be made ready: {type(error).__name__}: {error}"
            if name in missing:
                warnings.warn(f"{name} will not be measured: {missing[name]}", UnmeasuredMetricWarning, 3)
        return cls(asked, ready, missing, session.tell)

    def taken(self, report: Report) -> Report:
        """The report with every figure that was asked for; the same report where none was.

        Nothing is written here: values of single pictures go into place with the rows and the summary, and
        until then an older report that lies there keeps its own.
        """
        if report.folder is None or not self.asked:
            return report
        pictures = Pictures(Evidence(report.facts, report.rows), report.folder)
        entries: list[MeasureEntry] = []
        values: dict[str, str] = {}
        for k, (name, each) in enumerate(self.asked.items()):
            self.tell("metrics", k, len(self.asked))
            entry, lines = self._entry(name, each, pictures)
            entries.append(entry)
            if lines:
                values[values_file(name)] = lines
        self.tell("metrics", len(self.asked), len(self.asked))
        absent = [f"the metric {e.name}: {e.not_measured}" for e in entries if e.not_measured]
        facts = report.facts.model_copy(
            update={"measures": tuple(entries), "not_measured": (*report.facts.not_measured, *absent)}
        )
        return replace(report, facts=facts, values=values)

    def _entry(self, name: str, asked: Asked, pictures: Pictures) -> tuple[MeasureEntry, str]:
        """What is recorded of a metric, and the lines of its single pictures."""
        made = self.ready.get(name)
        settings: dict[str, JsonValue] = dict(asked.config.model_dump(mode="json", exclude_none=True))
        entry = MeasureEntry(name=name, version=asked.kind.version, asked_by=asked.by, settings=settings)
        if made is None:
            return entry.model_copy(update={"not_measured": self.missing[name]}), ""
        lines = ""
        try:
            found = made.take(pictures)
            lines = "".join(map(_line, found.values))
            update = _recorded(found, lines) | {"settings": made.settings}
        except NotMeasuredError as error:
            update = {"not_measured": str(error)}
        except Exception as error:
            update = {"not_measured": f"the metric failed: {type(error).__name__}: {error}"}
        if not update.get("not_measured") and found.interval.n == 0:
            update["not_measured"] = found.missing or asked.metric.absent or "there was nothing to measure"
        return MeasureEntry.model_validate({**dict(entry), **update}), lines


def _recorded(found: Taken, lines: str) -> dict[str, Any]:
    out: dict[str, Any] = {"notes": found.notes, "set": found.set}
    if found.interval.n:
        out |= {"figure": Figure.of(found.interval), "original": found.original}
    if lines:
        out["values_sha256"] = hashlib.sha256(lines.encode()).hexdigest()
    return out


def _line(value: PictureValue) -> str:
    return value.model_dump_json() + "\n"
