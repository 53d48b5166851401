"""safetext compare: runs, other encoders and baselines in one table, on the same prompts and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options

if TYPE_CHECKING:
    from safetext_sdk.baselines import Baseline


def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Run folders, or encoders of others (as `validate --encoder` takes them).",
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", "-p", help="Judge by this policy instead of the first run's own."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The undefended model, instead of the one of the first run."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline", "-b", help="Baselines, comma-separated, or all; see `safetext baselines list`."
        ),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of a baseline: esd.steps=200; may be given several times."),
    ] = None,
    n: options.N = None,
    unsafe_n: options.UnsafeN = None,
    safe_n: options.SafeN = None,
    unseen_n: options.UnseenN = None,
    borderline_n: options.BorderlineN = None,
    negative_n: options.NegativeN = None,
    attack_n: options.AttackN = None,
    attacks: options.Attacks = None,
    budget: options.Budget = "paper",
    seeds: options.Seeds = "0",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("comparison"),
    device: options.Device = "auto",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure runs and baselines side by side; what is validated already is read, not drawn again."""
    rules = options.one_policy(policy) if policy else None
    made = baselines(split(baseline or ["original"]), config or [])
    from safetext_sdk import compare as run_compare
    from safetext_sdk.comparison.pages import terminal

    asked: dict[str, Any] = {"attacks": tuple(attacks)} if attacks else {}
    found = run_compare(
        list(runs or []),
        rules,
        model=model,
        baselines=made,
        out=out,
        n=options.sizes(
            n,
            unsafe=unsafe_n,
            safe=safe_n,
            unseen=unseen_n,
            borderline=borderline_n,
            negative=negative_n,
            attacked=attack_n,
        ),
        budget=options.budget(budget),
        seeds=options.whole_numbers("--seeds", seeds),
        device=device,
        progress=not quiet and not as_json,
        **asked,
    )
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    if not quiet:
        typer.echo(terminal(found))
    typer.echo(f"comparison: {out / 'index.html'}")


def split(values: list[str]) -> list[str]:
    """``["a,b", "c"]`` -> ``["a", "b", "c"]``."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def baselines(names: list[str], pairs: list[str]) -> list[Baseline[Any]]:
    """Baselines by name with their settings from ``name.setting=value``; ``all`` are those that come with
    this package."""
    from safetext_sdk.baselines import BASELINES
    from safetext_sdk.errors import UsageError

    known = [entry.name for entry in BASELINES.entries() if BASELINES.is_built_in(entry.name)]
    order = sorted(known, key=lambda name: (name != "original", name))
    wanted = list(dict.fromkeys(x for name in names for x in (order if name == "all" else [name])))
    given: dict[str, dict[str, object]] = {}
    for key, value in options.settings(pairs).items():
        name, dot, setting = key.partition(".")
        if not dot or name not in wanted:
            raise UsageError(f"--set {key}: write BASELINE.setting=value for one of {', '.join(wanted)}")
        given.setdefault(name, {})[setting] = value
    return [BASELINES.get(name)(**given.get(name, {})) for name in wanted]
