"""junit.xml: one test case a gate, for every CI that shows test results.

An inconclusive gate is an error element, a failed one a failure element, one that was left out a skipped one:
none is ever green.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ..results.summary import Summary

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    """XML 1.0 has no form for most control characters."""
    return _ILLEGAL.sub("\ufffd", text)


def _properties(summary: Summary) -> list[tuple[str, str]]:
    """Who decided, what was allowed, and whether the report is signed."""
    found = summary.decision
    if found is None:
        return [("signature", "unsigned")]
    return [
        ("signature", found.signature),
        ("policy", found.policy),
        ("policy_sha256", found.policy_sha256),
        ("absent_gates", ", ".join(found.absent_gates)),
        ("partial_gates", str(found.partial).lower()),
        ("missing_pictures_allowed", str(found.missing_pictures_allowed).lower()),
    ]


def junit_xml(summary: Summary) -> str:
    """The gates of a summary as a JUnit document."""
    gates = summary.gates or ()
    said: list[str] = [g.verdict for g in gates] + ["left out"] * len(summary.left_out)
    name = f"safetext {summary.model} {summary.policy.name}"
    counts = {
        "tests": str(len(said)),
        "failures": str(said.count("fail")),
        "errors": str(said.count("inconclusive")),
        "skipped": str(len(summary.left_out)),
    }
    root = ElementTree.Element("testsuites", {"name": _clean(name), **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(name), **counts})
    told = ElementTree.SubElement(suite, "properties")
    for key, value in _properties(summary):
        ElementTree.SubElement(told, "property", {"name": key, "value": _clean(value)})
    for gate in gates:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "safetext.gate", "name": _clean(gate.name)}
        )
        if gate.verdict != "pass":
            tag = "failure" if gate.verdict == "fail" else "error"
            ElementTree.SubElement(
                case, tag, {"message": _clean(gate.reason), "type": gate.verdict}
            ).text = _clean(gate.reason)
        else:
            ElementTree.SubElement(case, "system-out").text = _clean(gate.reason)
    for left in summary.left_out:
        attributes = {"classname": "safetext.gate", "name": _clean(left.name)}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        ElementTree.SubElement(case, "skipped", {"message": _clean(left.reason)})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
