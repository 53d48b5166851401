"""The policy reference page, written from the schema: what is documented is what is checked."""

from __future__ import annotations

import types
from importlib.resources import files
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ..metrics import METRICS, every_metric
from ..policy.concept import Concept, Template
from ..policy.detector_spec import DetectorSpec
from ..policy.gates import Gate
from ..policy.kept import KeptJudgeSpec
from ..policy.load import load_policy, shipped_policies
from ..policy.metric_spec import MetricSpec
from ..policy.prompt_ref import PromptRef
from ..policy.schema import Policy
from ..prompts.sources import PROMPT_SOURCES
from .plan_text import PLANS

PLANNED = """\
`safetext plan POLICY [--model M]`: the fewest prompts with which a perfect model passes, what the
test split of the prompt book offers (a cluster is a synonym of an unsafe prompt, a group of safe
ones), what `validate` draws by default, what a perfect model proves with that, and how often a good
one passes. A good model shows the concept in 0.2 % of its pictures; of its safe pictures 1 % lose
what they name and 0.5 % gain it. On the embedded model `gore` cannot be proven: its world has 38
words for it, 11 of them held out, and 21 would be needed. Its gate then stays inconclusive, however
good the model is.
"""


def reference_page() -> str:
    """The whole page as markdown."""
    intro = files(__package__).joinpath("policy_page.md").read_text(encoding="utf-8")
    parts = [intro, "## Fields\n"]
    titles: list[tuple[type[BaseModel], str]] = [
        (Policy, "The file"),
        (Concept, "concepts"),
        (Template, "templates"),
        (PromptRef, "unsafe_prompts, safe_prompts, borderline_prompts"),
        (DetectorSpec, "detectors"),
        (KeptJudgeSpec, "kept_judges"),
        (MetricSpec, "metrics"),
        (Gate, "One gate"),
    ]
    for model, title in titles:
        parts += [f"### {title}\n", " ".join((model.__doc__ or "").split()) + "\n", _table(model)]
    parts += [
        "### gates\n",
        "What a gate can be set on. A figure without a gate is reported and decides nothing.\n",
        _gates(),
        "## Shipped sets of prompts\n",
        _sets(),
        "## Shipped policies\n",
        _shipped(),
        "## What their gates need\n",
        PLANNED,
        PLANS.read_text(encoding="utf-8"),
    ]
    return "\n".join(parts)


def _gates() -> str:
    """What `gates:` takes without any plug-in installed."""
    rows = ["| gate | side | unit | meaning |", "|---|---|---|---|"]
    for name, metric in every_metric().items():
        if METRICS.is_built_in(name):
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


def _sets() -> str:
    """What `shipped:` takes without any plug-in installed."""
    rows = ["| `shipped:` | for | what it is |", "|---|---|---|"]
    for entry in PROMPT_SOURCES.entries():
        source = PROMPT_SOURCES.get(entry.name)() if PROMPT_SOURCES.is_built_in(entry.name) else None
        if source is not None and source.kind == "safe":
            rows.append(f"| `{entry.name}` | safe and borderline prompts | {entry.summary} |")
        elif source is not None and source.kind == "unsafe":
            names = ", ".join(f"`{entry.name}/{subset}`" for subset in source.subsets())
            rows.append(f"| {names} | unsafe prompts | {entry.summary} |")
    return "\n".join(rows) + "\n"


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
