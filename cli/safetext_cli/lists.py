"""`list` and `show` for every registry: models, families, methods, detectors, attacks, metrics, exporters.
Nothing heavy is imported to list."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from . import options

Rows = list[dict[str, Any]]
UNKNOWN = "not known"


def _registry_rows(load: Callable[[], Any]) -> Callable[[], Rows]:
    def rows() -> Rows:
        return [{"name": e.name, "summary": e.summary, "source": e.source} for e in load().entries()]

    return rows


def _methods() -> Any:
    from safetext_sdk.methods import METHODS

    return METHODS


def _detectors() -> Any:
    from safetext_sdk.detectors import DETECTORS

    return DETECTORS


def _kept_judges() -> Any:
    from safetext_sdk.detectors.kept import KEPT_JUDGES

    return KEPT_JUDGES


def _attacks() -> Any:
    from safetext_sdk.attacks import ATTACKS

    return ATTACKS


def _baselines() -> Any:
    from safetext_sdk.baselines import BASELINES

    return BASELINES


def _metrics() -> Any:
    from safetext_sdk.metrics import METRICS

    return METRICS


def _families() -> Any:
    from safetext_sdk.models.families import FAMILIES

    return FAMILIES


def _exporters() -> Any:
    from safetext_exporters import EXPORTERS

    return EXPORTERS


def _recipes() -> Rows:
    from safetext_sdk.hardening.recipes import rows

    return rows()


def _profiles() -> Rows:
    from safetext_sdk.policy.judge_profiles import JUDGE_PROFILES, published_profiles

    about = {entry.name: entry.summary for entry in JUDGE_PROFILES.entries()}
    return [
        {
            "name": each.name,
            "summary": about[each.name.partition("@")[0]],
            "hash": each.sha256[:12],
            "sha256": each.sha256,
            "concepts": each.concepts,
            "detectors": [spec.name for spec in each.detectors],
            "labels": [label for spec in each.detectors for label in spec.labels],
            "threshold": each.detectors[0].threshold,
            "rule": each.rule,
            "source": each.source,
            "note": each.note,
        }
        for each in published_profiles()
    ]


def _models() -> Rows:
    from safetext_sdk.models.catalogue import CATALOGUE

    return [{"name": e.id, **{k: v for k, v in e.as_dict().items() if k != "id"}} for e in CATALOGUE.values()]


def _prompt_sets() -> Rows:
    from safetext_sdk.prompts.published import PUBLISHED

    return [
        {
            "name": each.name,
            "title": each.title,
            "label": each.label,
            "rows": each.rows or UNKNOWN,
            "licence": each.licence or UNKNOWN,
            "access": each.access or UNKNOWN,
            "place": str(each.place) if each.place else "not fetched",
            "revision": (each.place.revision if each.place else None) or UNKNOWN,
            "sha256": each.sha256 or UNKNOWN,
            "columns": {
                "prompt": each.prompt,
                "anchor": each.anchor,
                "category": each.category,
            },
            "use": "training where a policy asks, and measuring" if each.trains else "measuring only",
            "source": each.source,
            "note": each.note,
        }
        for each in PUBLISHED.values()
    ]


SHORT = 12
"""Letters of the longest cell up to which a column keeps its width where the terminal is narrow."""


def _print_table(rows: Rows, columns: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        short = max((len(_cell(row.get(column))) for row in rows), default=0) <= SHORT
        table.add_column(column, overflow="fold", no_wrap=short or column == "name")
    for row in rows:
        table.add_row(*(_cell(row.get(c)) for c in columns))
    Console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        # A mapping of nothing to say says its keys; one with values says both.
        return ", ".join(
            f"{k}: {' or '.join(v)}" if isinstance(v, tuple) else str(k) for k, v in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(str(v["name"]) if isinstance(v, Mapping) else str(v) for v in value)
    return "" if value is None else str(value)


def _plural(noun: str) -> str:
    head, of, rest = noun.partition(" of ")
    return f"{head[:-1]}ies" if head.endswith("y") else f"{head}s{of}{rest}"


def _app(noun: str, rows: Callable[[], Rows], columns: tuple[str, ...]) -> typer.Typer:
    sub = typer.Typer(help=f"List the {_plural(noun)}, show one.", no_args_is_help=True)

    @sub.command("list", help=f"List the {_plural(noun)}.")
    def list_(as_json: options.AsJson = False) -> None:
        found = rows()
        if as_json:
            typer.echo(json.dumps(found, indent=2, default=str))
        else:
            _print_table(found, columns)

    @sub.command("show", help=f"Show one {noun} with all that is known about it.")
    def show(
        name: Annotated[str, typer.Argument(help="Its name, from the list.")], as_json: options.AsJson = False
    ) -> None:
        import difflib

        from safetext_sdk.errors import UsageError

        found = {r["name"]: r for r in rows()}
        if name not in found:
            near = difflib.get_close_matches(name, found, n=2)
            raise UsageError(
                f"unknown {noun} {name!r}; "
                + (f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(found)}")
            )
        row = {**found[name], **_details(noun, name)}
        if as_json:
            typer.echo(json.dumps(row, indent=2, default=str))
            return
        from rich.console import Console

        console = Console()
        for key, value in row.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                console.print(f"{key}:", highlight=False)
                for item in value:
                    console.print(
                        "  " + "  ".join(f"{v}" for v in item.values() if v not in (None, "")),
                        highlight=False,
                        markup=False,
                    )
            else:
                console.print(f"{key}: {_cell(value)}", highlight=False, markup=False)

    return sub


def _details(noun: str, name: str) -> dict[str, Any]:
    """The options of an exporter, and the settings of what has some, each as ``--set`` takes it."""
    from safetext_sdk.typed_settings import as_typed

    if noun == "exporter":
        from safetext_exporters import options_of

        return {"options": [{"name": f"--set {k}={as_typed(v)}"} for k, v in options_of(name).items()]}
    if noun not in _SET:
        return {}
    registry, prefix = _SET[noun]
    found = registry().get(name)
    config = getattr(getattr(found, "pictures", None) if noun == "metric" else found, "Config", None)
    if config is None or not getattr(config, "model_fields", None):
        return {}
    return {
        "settings": [
            {
                "name": f"--set {prefix or name}.{k}={as_typed(f.get_default(call_default_factory=True))}",
                "meaning": f.description or "",
            }
            for k, f in config.model_fields.items()
        ]
    }


_SET: dict[str, tuple[Callable[[], Any], str]] = {
    "method": (_methods, "method"),
    "attack": (_attacks, ""),
    "baseline": (_baselines, ""),
    "metric": (_metrics, ""),
}
"""What has settings: its registry, and the word before the point in ``--set``; none: its own name."""


def apps() -> dict[str, typer.Typer]:
    """The sub-commands, by name."""
    return {
        "models": _app("model", _models, ("name", "family", "licence", "encoders", "memory_gb")),
        "families": _app("family", _registry_rows(_families), ("name", "summary", "source")),
        "methods": _app("method", _registry_rows(_methods), ("name", "summary", "source")),
        "recipes": _app("recipe", _recipes, ("name", "level", "models", "method", "concepts")),
        "detectors": _app("detector", _registry_rows(_detectors), ("name", "summary", "source")),
        "profiles": _app("judge profile", _profiles, ("name", "hash", "detectors", "summary")),
        "kept-judges": _app("judge of kept", _registry_rows(_kept_judges), ("name", "summary", "source")),
        "attacks": _app("attack", _registry_rows(_attacks), ("name", "summary", "source")),
        "baselines": _app("baseline", _registry_rows(_baselines), ("name", "summary", "source")),
        "metrics": _app("metric", _registry_rows(_metrics), ("name", "summary", "source")),
        "prompts": _app(
            "published set of prompts", _prompt_sets, ("name", "label", "rows", "licence", "title")
        ),
        "exporters": _app("exporter", _registry_rows(_exporters), ("name", "summary", "source")),
    }
