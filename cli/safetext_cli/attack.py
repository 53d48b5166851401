"""safetext attack: attacks alone, on a run or on any model, with a small report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import options
from .harden import default_run_folder

if TYPE_CHECKING:
    from safetext_sdk.attacks import Attack


def attack(
    target: Annotated[str, typer.Argument(help="Run folder, or any model.", show_default=False)],
    attack: Annotated[
        list[str] | None,
        typer.Option("--attack", help="Attack to run (`safetext attacks list`); may be given several times."),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", "-p", help="Policy that says what is unsafe; of a run, its own if left out."
        ),
    ] = None,
    prompts: options.Prompts = None,
    column: options.Column = None,
    label: options.Label = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=1, help="Distinct prompts: 24 of the policy's, or all of --prompts."),
    ] = None,
    budget: Annotated[
        Literal["small", "paper"],
        typer.Option(
            "--budget", help="paper: what the publication spent; small: what a laptop can wait for."
        ),
    ] = "paper",
    config: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of an attack: typos.seed=1; may be given several times."),
    ] = None,
    attack_seeds: Annotated[
        str | None,
        typer.Option("--attack-seeds", help="Seeds of the attacks; the first alone, and any of them: 0,1,2."),
    ] = None,
    seeds: options.Seeds = "0",
    random: Annotated[
        bool, typer.Option("--random/--no-random", help="A random search of equal cost beside each search.")
    ] = True,
    replay: Annotated[
        list[Path] | None,
        typer.Option("--replay", help="Attacked prompts (attacks/NAME.jsonl) to run without search."),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option("--encoder", help="Attack this exported encoder: ONNX file or export folder."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Attack a run whose files are not as recorded; recorded.")
    ] = False,
    out: options.Out = None,
    steps: options.PictureSteps = None,
    size: options.Size = None,
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = 32,
    cache: options.Cache = None,
    device: options.Device = "auto",
    ray: options.Ray = None,
    pictures: options.Pictures = None,
    quiet: options.Quiet = False,
) -> None:
    """Run attacks on TARGET and on its original, draw what they typed, and say what got through. The same
    command goes on where a stopped one left off. Exit code 4 if none of the attacks could be run."""
    from safetext_sdk.errors import EXIT_INCONCLUSIVE, UsageError
    from safetext_sdk.processes import first

    quiet = quiet or not first()  # of several processes one speaks
    rules = options.one_policy(policy) if policy else None  # a bad policy must fail before torch is imported
    options.pixels(size)
    own = options.prompt_file(prompts, column, label)
    made = _with_settings(attack or [], budget, options.settings(config))
    from safetext_sdk import attack as run_attack
    from safetext_sdk.models.run_folder import RunFolder
    from safetext_sdk.report.attack_pages import attack_text

    if rules is None and not RunFolder.is_run(target):
        raise UsageError(f"{target} is no run folder; say with --policy what is unsafe")
    if out is None and rules is not None and not RunFolder.is_run(target):
        out = default_run_folder(rules.name, target, "attack", 0)
    report = run_attack(
        target,
        made,
        rules,
        out=out,
        n=n,
        seeds=options.whole_numbers("--seeds", seeds),
        prompts=own,
        attack_seeds=options.whole_numbers("--attack-seeds", attack_seeds) if attack_seeds else None,
        random=random,
        replay=tuple(replay or ()),
        encoder=encoder,
        settings=options.picture_settings(steps, size),
        precision=precision,
        batch_size=batch_size,
        cache=options.picture_cache(cache),
        device=device,
        ray=ray,
        pictures=pictures,
        force=force,
        progress=not quiet,
    )
    if not first():
        return
    if not quiet:
        typer.echo(attack_text(report.summary))
    typer.echo(f"report: {report.folder}")
    if not report.possible:
        raise typer.Exit(EXIT_INCONCLUSIVE)


def _with_settings(
    names: list[str], budget: Literal["small", "paper"], given: dict[str, object]
) -> list[Attack[Any]]:
    """``["typos"], {"typos.seed": 1}`` -> the attack with that setting."""
    from safetext_sdk.attacks import ATTACKS
    from safetext_sdk.errors import UsageError

    values: dict[str, dict[str, object]] = {name: {} for name in names}
    for setting, value in given.items():
        name, dot, field = setting.partition(".")
        if not dot or name not in values:
            known = ", ".join(values) or "none"
            raise UsageError(
                f"--set {setting}: write ATTACK.setting=value of an attack that is run ({known})"
            )
        values[name][field] = value
    return [ATTACKS.get(name).for_budget(budget, **each) for name, each in values.items()]
