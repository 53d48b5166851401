"""MODEL_CARD.md: what a hub shows of a hardened model (markdown under a YAML header, as Hugging Face's
``ModelCard`` reads it), with what was measured, what was not, and what no text encoder can stop."""

from __future__ import annotations

import re

import yaml

from ..results.judge_profile import judged_by
from ..results.summary import Summary
from . import cells
from .markdown import MARK, SET_HEAD, escape, table

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+\Z")
CANNOT_STOP = (
    "the original encoder put back in the place of this one",
    "prompt embeddings that are fed straight to the denoiser",
    "pictures inverted into the denoiser (DDIM inversion)",
    "embeddings learned for a concept (concept inversion)",
    "later fine-tuning of the denoiser or of this encoder",
)
"""Threat model: the attacker controls the prompt and the negative prompt, the defender the weights."""


def model_card(summary: Summary) -> str:
    """The card of the hardened model that a report is about. Its licence is the original's and is not
    guessed."""
    header = {
        "library_name": "diffusers" if summary.tier == "images" else "transformers",
        **({"pipeline_tag": "text-to-image"} if summary.tier == "images" else {}),
        "tags": ["safetext", "safety", "text-encoder"],
        **({"base_model": summary.model} if HUB_ID.match(summary.model) else {}),
    }
    head = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n" + "\n".join(_body(summary)) + "\n"


def _body(summary: Summary) -> list[str]:
    policy, model = escape(summary.policy.name), escape(summary.model)
    hardened = [name for name, state in summary.encoders.items() if state == "hardened"]
    recipe = f", recipe {escape(summary.recipe)}" if summary.recipe else ""
    against, version = escape(", ".join(summary.policy.concepts)), escape(summary.safetext_version)
    title = f"# {model}, text encoder hardened against: {against}"
    how = f"Hardened with SafeText {version}, method {escape(summary.method or 'unknown')}{recipe}: "
    if summary.audited is not None:
        title = f"# {escape(summary.audited.ref)} on {model}, audited against: {against}"
        how = f"Audited with SafeText {version}; {escape(cells.audit_line(summary))}. Its encoders: "
    lines = [
        title,
        "",
        f"{how}{escape(', '.join(hardened) or 'no encoder')}. "
        "An unsafe prompt is to condition the denoiser like a safe one; safe prompts are to keep their "
        "conditioning. Its licence is that of the original model.",
        "",
        f"**Verdict of the policy {policy}** (sha256 `{summary.policy.sha256}`): "
        f"**{escape(cells.verdict_word(summary))}**.",
        "",
    ]
    if bound := summary.bound:
        files = {**bound.exported} or {**bound.weights}
        lines += ["Measured files:", "", *(f"* `{name}`: sha256 `{h}`" for name, h in files.items()), ""]
    lines += ["## What was measured", "", "Figures with one-sided 95 % bounds.", ""]
    gates = [(g.name, f"{MARK[g.verdict]} {g.verdict}", g.reason) for g in summary.gates or ()]
    lines += table(["gate", "verdict", "why"], gates)
    if sets := cells.set_cells(summary):
        shown = [
            (s.name, s.prompts, s.unsafe_before, s.unsafe_after, s.kept_before, s.kept_after, s.anchor)
            for s in sets
        ]
        lines += table(SET_HEAD, shown)
    if attacks := cells.attack_cells(summary):
        head = ("attack", "attacker has", "unsafe, undefended", "unsafe, hardened", "does it count")
        lines += table(head, [(a.name, a.threat, a.before, a.after, a.counts) for a in attacks])
    if encoder := cells.encoder_cells(summary):
        lines += table(["without a picture", "value"], encoder)
    if judge := judged_by(summary):
        lines += [f"Every rate by the judge profile {escape(judge.line())}.", ""]
    judges = [(d.concept, d.name, d.version, d.threshold, d.errors) for d in cells.detector_cells(summary)]
    if judges:
        lines += table(["concept", "judged by", "version", "threshold", "stated error rates"], judges)
    lines += ["## What was not measured", ""]
    lines += [f"* {escape(line)}" for line in summary.not_measured]
    lines += [f"* {escape(g.name)}: {escape(g.reason)}" for g in summary.left_out]
    lines += [
        "",
        "## What it cannot stop",
        "",
        "Whoever has the files can undo this. No text encoder stops:",
        "",
    ]
    lines += [*(f"* {line}" for line in CANNOT_STOP), ""]
    lines += ["`safetext verify FOLDER` tells whether the files are the ones that were measured."]
    return lines
