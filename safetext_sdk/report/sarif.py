"""report.sarif: what did not pass, at the line of the policy that asked for it (SARIF 2.1.0, OASIS 2020).

A failed gate is an error, an inconclusive one a warning: neither is proven. Gates that passed are no finding.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import PolicyError
from ..policy.yamltext import Document, parse
from ..results.facts import Binding
from ..results.summary import GateResult, Summary

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"fail": "error", "inconclusive": "warning"}


@dataclass(frozen=True)
class PolicyPlace:
    """A policy file, and what it is called in the document: relative, with forward slashes."""

    uri: str
    document: Document

    @classmethod
    def of(cls, file: Path, relative_to: Path) -> PolicyPlace | None:
        """None where the file is gone or cannot be read as YAML."""
        try:
            document = parse(file.read_bytes(), str(file))
        except (OSError, PolicyError):
            return None
        name = os.path.relpath(file.resolve(), relative_to.resolve())
        return cls(quote(Path(name).as_posix()), document)

    def line(self, gate: GateResult) -> int:
        """The line that a gate's threshold stands on; for a check without one, that of all gates."""
        name, side = gate.metric or "", gate.side or ""
        concept = gate.name.removesuffix(f".{name}") if gate.name != name else ""
        plain: Any = self.document.data
        if concept and isinstance(plain, dict):
            ids = [c.get("id") if isinstance(c, dict) else None for c in plain.get("concepts") or ()]
            if concept in ids:
                return self.document.line(("concepts", ids.index(concept), "gates", name, side))
        return self.document.line(("gates", name, side))


def run_policy(summary: Summary, folder: Path) -> PolicyPlace | None:
    """The policy of the run beside a report; None where another one decided, or no run tells.

    Args:
        folder: the report folder; the place is named relative to it.
    """
    bound: Binding | None = summary.bound
    if bound is None or summary.decision is None or summary.decision.runs_own is not True:
        return None
    return PolicyPlace.of(folder / bound.at / "policy.yaml", folder)


def sarif(summary: Summary, policy: PolicyPlace | None) -> str:
    """The gates that did not pass as a SARIF document."""
    gates = [gate for gate in summary.gates or () if gate.verdict in LEVELS]
    rules = list(dict.fromkeys(gate.metric or gate.name for gate in gates))
    document = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "SafeText",
                        "version": summary.safetext_version,
                        "rules": [
                            {"id": rule, "shortDescription": {"text": _title(rule, summary)}}
                            for rule in rules
                        ],
                    }
                },
                "results": [_result(gate, rules, policy) for gate in gates],
                "properties": {
                    "verdict": summary.verdict,
                    "policy": summary.policy.name,
                    "policySha256": summary.policy.sha256,
                    "leftOut": [gate.name for gate in summary.left_out],
                },
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _title(rule: str, summary: Summary) -> str:
    return summary.metrics[rule].title if rule in summary.metrics else rule.replace("_", " ")


def _result(gate: GateResult, rules: list[str], policy: PolicyPlace | None) -> dict[str, Any]:
    rule = gate.metric or gate.name
    found: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": LEVELS[gate.verdict],
        "message": {"text": f"{gate.name}: {gate.verdict}: {gate.reason}"},
        "partialFingerprints": {"gate/v1": gate.name},
    }
    if policy is not None:
        place = {"artifactLocation": {"uri": policy.uri}, "region": {"startLine": policy.line(gate)}}
        found["locations"] = [{"physicalLocation": place}]
    return found
