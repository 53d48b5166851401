"""The policy reference page, written from the schema: what is documented is what is checked."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ..metrics import every_metric
from ..policy.load import load_policy, shipped_policies
from ..policy.schema import Concept, DetectorSpec, Gate, Policy, PromptRef, Template
from ..prompts.corpora.statements import shipped_statements
from ..prompts.sources import SHIPPED

_INTRO = """\
# Policy files

<!-- Written by `safetext policy schema --page`; do not edit by hand. -->

A policy says what must not be shown, what it turns into, and when a release may pass. It is one YAML file that a person who
codes nothing can read:

```yaml
version: 1
name: no-tanks
extends: weapons                  # everything of the shipped policy, and:
concepts:
  - id: tank
    description: Armoured fighting vehicles
    terms:
      - [tank, battle tank, panzer]        # synonyms of one thing: some are held out for the test
      - [armoured car, halftrack]
    anchors: [a tractor]                   # "a tank on a hill" -> "a tractor on a hill"
    detectors:
      - {name: clip-zero-shot, labels: [a photo of a military tank]}
borderline_prompts: [a water tank on a roof, a tropical fish tank]
gates:
  unsafe_rate: {max: 0.05}
```

`safetext policy show FILE --sample 20` prints what it expands to, `safetext policy lint FILE` what is wrong with it, and
`safetext policy schema > policy.schema.json` gives editors its fields (first line of the policy:
`# yaml-language-server: $schema=policy.schema.json`).

## How it is expanded

* Terms go into caption templates. Each unsafe prompt has an **anchor prompt**: the same caption with the anchor in the term's place, or,
  where the anchor has `{context}`, the anchor with the same scene without the concept in it.
* `kind: object` terms get an article ("a gun"); `kind: state` terms stand as they are ("a man {term} in a park").
* Training, validation and test share no string. Whole words, whole templates and whole safe concepts are held out, by hash: adding a
  word leaves the others where they are. A word that is part of another one ("knife", "hunting knife") is always trained on. Hand-written
  safe and borderline prompts that name a held-out word are measured, never trained on.
* Terms teach a concept's words. How people write about it without them is taught by pairs of plain sentences
  (`unsafe_prompts: [{shipped: statements/nudity}]`; every shipped concept has its own). They train and are never measured: many show too
  little for a detector to judge. A pair that names a held-out word is left out.
* The embedded model draws a small world: with `--model tiny` only what that world has words for is measured.
* `extends` and several `--policy` options put policies together: lists grow; single values of the extending file win; of two gates given
  by several `--policy`, the stricter one.
* A concept counts as seen in a picture if **any** of its judges says so (`detector_rule`).
* A policy whose prompts combine sexual content with minors is refused.

Prompts from elsewhere:

```yaml
    unsafe_prompts:
      - a prompt written here
      - {text: another one, anchor: its own safe counterpart}
      - {shipped: statements/nudity}
      - {path: mine.csv, column: prompt, anchor_column: safe_prompt}
      - {hub: owner/name, file: data/train.parquet, revision: <commit>, column: text, sha256: <64 hex digits>}
```
"""


def reference_page() -> str:
    """The whole page as markdown."""
    parts = [_INTRO, "## Fields\n"]
    titles: list[tuple[type[BaseModel], str]] = [
        (Policy, "The file"),
        (Concept, "concepts"),
        (Template, "templates"),
        (PromptRef, "unsafe_prompts, safe_prompts, borderline_prompts"),
        (DetectorSpec, "detectors"),
        (Gate, "One gate"),
    ]
    for model, title in titles:
        parts += [f"### {title}\n", " ".join((model.__doc__ or "").split()) + "\n", _table(model)]
    parts += [
        "### gates\n",
        "What a gate can be set on. A figure without a gate is reported and decides nothing.\n",
        _gates(),
        "## Shipped sets of prompts\n",
        ", ".join(f"`{n}`" for n in [*SHIPPED, *shipped_statements()]) + ".\n",
        "## Shipped policies\n",
        _shipped(),
    ]
    return "\n".join(parts)


def _gates() -> str:
    rows = ["| gate | side | unit | meaning |", "|---|---|---|---|"]
    for name, metric in every_metric().items():
        rows.append(f"| `{name}` | `{metric.side}` | {metric.unit.name} | {metric.meaning} |")
    return "\n".join(rows) + "\n"


def _table(model: type[BaseModel]) -> str:
    rows = ["| field | value | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = (
            "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        )
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{field.alias or name}` | {_type(field.annotation)} | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined or value in ([], {}) or isinstance(value, BaseModel):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(a) for a in args if a is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in args)
    if origin is list:
        return f"list of {_type(args[0])}"
    if origin is dict:
        return f"{_type(args[0])}: {_type(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.__name__
    return {str: "text", int: "whole number", float: "number", bool: "`true`, `false`"}.get(
        annotation, "anything"
    )


def _shipped() -> str:
    rows = ["| policy | about | concepts | words | near misses | borderline |", "|---|---|---|---|---|---|"]
    for name in shipped_policies():
        policy = load_policy(name)
        words, near = (
            sum(len(c.words) for c in policy.concepts),
            sum(len(c.near_misses) for c in policy.concepts),
        )
        ids = ", ".join(f"{c.id} ({c.severity})" for c in policy.concepts)
        texts = sum(r.text is not None for r in policy.borderline_prompts)
        rows.append(f"| `{name}` | {policy.description} | {ids} | {words} | {near} | {texts} |")
    return "\n".join(rows) + "\n"
