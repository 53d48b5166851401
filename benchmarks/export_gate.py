"""Does an exported encoder still pass the gate? Every precision of a run on `tiny`, judged on pictures with
the same prompts and seeds.

    safetext harden --policy weapons --model tiny --out runs/weapons
    python benchmarks/export_gate.py --run runs/weapons
    python benchmarks/export_gate.py --run runs/weapons --n 20 --precisions fp32 int8      # a first look

For each precision the run is exported (target ``onnx``), then the whole validation is done with the exported
file as the pipeline's encoder (`safetext validate RUN --encoder FILE` does the same), and the policy's gates
decide on its rows. The row "torch" is the run's own weights. "change" compares the pictures of the unsafe and
the safe prompts with torch's at equal seeds: mean absolute difference, 0 to 255.
Resumable: pictures that exist are not made again. Exit code 0 unless something could not be measured: the
    verdicts are the result.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetext_exporters import export

import safetext_sdk as st
from safetext_sdk.metrics import every_metric
from safetext_sdk.metrics.evidence import evidence_of
from safetext_sdk.metrics.measure import measure
from safetext_sdk.results.compute import share_of
from safetext_sdk.results.rows import Question
from safetext_sdk.statistics.intervals import Interval

COLUMNS = (
    "encoder",
    "MB",
    "unsafe rate",
    "kept drop",
    "anchor shown",
    "over-refusal",
    "change",
    "redirected",
    "verdict",
    "not passed",
)
PRECISIONS = ("fp32", "fp16", "int8")


def shown(interval: Interval) -> str:
    """Value with its one-sided 95 % bounds and count."""
    if interval.n == 0:
        return "not measured"
    return f"{interval.value:.1%} ({interval.lower:.1%} to {interval.upper:.1%}, n = {interval.n})"


def pictures(report: st.Report) -> dict[Question, Path]:
    """The hardened pictures of a report, by question."""
    assert report.folder is not None
    return {r.question: report.folder / r.image for r in report.rows if r.model == "hardened"}


def change(report: st.Report, torch_report: st.Report) -> str:
    """Mean and largest mean absolute difference of a picture to torch's, in grey levels."""
    ours, theirs = pictures(report), pictures(torch_report)
    differences = []
    for question in ours.keys() & theirs.keys():
        with Image.open(ours[question]) as a, Image.open(theirs[question]) as b:
            differences.append(float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean()))
    if len(differences) != len(ours):
        raise SystemExit(
            f"{len(ours) - len(differences)} pictures have no counterpart by torch: other prompts or seeds?"
        )
    return f"mean {np.mean(differences):.2f}, worst {max(differences):.2f}"


def row(name: str, megabytes: float, report: st.Report, torch_report: st.Report) -> dict[str, str]:
    """One line of the table."""
    verdict, evidence = st.gate(report), evidence_of(report)
    found = {name: measure(metric, evidence).interval for name, metric in every_metric().items()}
    share = found["redirected_share"]
    return {
        "encoder": name,
        "MB": f"{megabytes:.1f}",
        "unsafe rate": shown(found["unsafe_rate"]),
        "kept drop": shown(found["kept_drop"]),
        "anchor shown": shown(found["anchor_shown"]),
        "over-refusal": shown(found["over_refusal"]),
        "change": "-" if report is torch_report else change(report, torch_report),
        "redirected": f"{share.value:.1%}" if share.n else "not measured",
        "verdict": verdict.verdict,
        "not passed": ", ".join(f"{g.name} ({g.verdict})" for g in verdict.gates if g.verdict != "pass")
        or "-",
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="a finished run, usually on tiny")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for exports, pictures and reports; default: beside the run, RUN-export-gate",
    )
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--n", type=int, default=100, help="distinct prompts a set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    out: Path = options.out or options.run.with_name(f"{options.run.name}-export-gate")
    common: dict[str, Any] = {"n": options.n, "seeds": tuple(options.seeds), "cache": out / "pictures"}
    common["attacks"] = "none"  # the question is what a precision does to plain prompts
    weights = sum(p.stat().st_size for p in options.run.glob("text_encoder*/*.safetensors")) / 1e6
    torch_report = st.validate(None, options.run, out=out / "torch", **common)
    before = evidence_of(torch_report).single(share_of("unsafe"), "unsafe", "original")
    rows = [row("torch", weights, torch_report, torch_report)]
    for precision in options.precisions:
        result = export(options.run, "onnx", out=out / f"onnx-{precision}", precision=precision)
        size = sum(p.stat().st_size for p in result.folder.rglob("model.onnx*")) / 1e6
        report = st.validate(None, options.run, encoder=result.folder, out=out / precision, **common)
        rows.append(row(f"onnx {precision}", size, report, torch_report))
    print(
        f"{torch_report.facts.model}, policy {torch_report.facts.policy.name}, {options.n} "
        f"prompts a set, seeds {options.seeds}."
    )
    print(f"Undefended model: unsafe rate {shown(before)}.\n")
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for line in rows:
        print("| " + " | ".join(line[c] for c in COLUMNS) + " |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
