"""Options that several commands share, written once so that they are called and explained the same
everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from safetext_sdk.policy import Policy as PolicyFile
    from safetext_sdk.validation.generate import Settings
    from safetext_sdk.validation.own_prompts import PromptFile

Policy = Annotated[
    list[str],
    typer.Option(
        "--policy", "-p", help="Policy file, or the name of a shipped one; may be given several times."
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="Model: a name of `safetext models list`, a hub id, a folder or a single file."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results.")]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Measured settings to start from: fast, default or thorough, or a name of `safetext recipes "
        "list`.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Precision = Annotated[str, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")]
PictureSteps = Annotated[
    int | None,
    typer.Option("--steps", min=1, help="Denoising steps of a picture; the model's default if left out."),
]
Size = Annotated[
    str | None,
    typer.Option("--size", help="Side of the pictures in pixels, 512 or WIDTHxHEIGHT; the model's default."),
]
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        help="Folder of the undefended model's pictures that all runs share, or off; the user's cache "
        "folder if left out (`safetext cache show`).",
        show_default=False,
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Pictures at once; fewer where memory runs out.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Draw and score on a Ray cluster: auto (the one of this machine), local, or its address.",
        show_default=False,
    ),
]
Pictures = Annotated[
    str | None,
    typer.Option(
        "--pictures",
        help="With --ray: where workers keep pictures (s3://bucket/run, a folder); else they must see the "
        "report folder.",
        show_default=False,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no summary: only the outcome, and errors.")
]
Sign = Annotated[
    Path | None,
    typer.Option(
        "--sign", help="Private key file (PEM): sign the report's evidence.json with model-signing."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
N = Annotated[
    int | None,
    typer.Option("--n", min=1, help="Distinct prompts a set, instead of what `safetext plan` says."),
]
Seeds = Annotated[str, typer.Option("--seeds", help="Picture seeds, comma-separated.")]
UnsafeN = Annotated[int | None, typer.Option("--unsafe-n", min=0, help="Unsafe prompts.")]
SafeN = Annotated[int | None, typer.Option("--safe-n", min=0, help="Safe prompts.")]
UnseenN = Annotated[
    int | None, typer.Option("--unseen-n", min=0, help="Safe prompts of concepts that hardening never saw.")
]
BorderlineN = Annotated[
    int | None, typer.Option("--borderline-n", min=0, help="Safe prompts that look unsafe.")
]
NegativeN = Annotated[
    int | None,
    typer.Option("--negative-n", min=0, help="Prompts with unsafe words in the negative prompt, a set."),
]
Prompts = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        help="Own prompts: a .jsonl, .json, .csv, .txt or .parquet file, a published set (`safetext prompts "
        "list`), a part of one (i2p/sexual), or a set with a local copy (i2p=FILE).",
    ),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="What a column of --prompts is called, if not prompt, label or concept, e.g. prompt=caption; "
        "may be given several times.",
    ),
]
Label = Annotated[
    str | None,
    typer.Option("--label", help="Label of prompts that have none: unsafe, safe or borderline."),
]
AttackN = Annotated[
    int | None,
    typer.Option("--attack-n", min=0, help="Unsafe prompts that each attack starts from."),
]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attacks",
        help="none, standard (the default: context, typos, paraphrase), strong (these with more contexts, "
        "and all others that can run on this model), or names of `safetext attacks list`; commas between, or "
        "several times.",
        show_default=False,
    ),
]
Budget = Annotated[
    str, typer.Option("--budget", help="Of optimising attacks: paper (what was published) or small.")
]
Judged = Annotated[
    Path,
    typer.Argument(
        help="Run folder, or a report folder (RUN/report-exported, audits/NAME).", show_default=False
    ),
]
Run = Annotated[Path, typer.Argument(help="Run folder that `safetext harden` made.", show_default=False)]


def starting(what: str, quiet: bool) -> None:
    """A line at once on stderr: importing torch and reading a model takes seconds in which nothing moves."""
    if not quiet:
        typer.echo(f"{what} ...", err=True)


_SETS = {"unseen": ("safe_unseen",), "negative": ("negative", "negative_unsafe")}
"""Sets that an option of sizes stands for, where they are not called like it."""


def sizes(n: int | None, **given: int | None) -> int | dict[str, int] | None:
    """Distinct prompts a set as `validate` takes them: ``--n`` for all sets, an option of one set before it
    (``unseen`` for ``--unseen-n``); what neither names is planned."""
    named = {
        set_: size for name, size in given.items() if size is not None for set_ in _SETS.get(name, (name,))
    }
    if not named:
        return n
    from safetext_sdk.validation.set_sizes import equal_sizes

    return named if n is None else {**equal_sizes(n), **named}


def budget(name: str) -> Literal["small", "paper"]:
    """``--budget``, checked."""
    from safetext_sdk.errors import UsageError

    if name == "small":
        return "small"
    if name == "paper":
        return "paper"
    raise UsageError(f"--budget {name!r}: write small or paper")


def settings(pairs: list[str] | None) -> dict[str, object]:
    """``["precision=int8", "check=true"]`` -> ``{"precision": "int8", "check": True}``; who takes them checks
    them."""
    from safetext_sdk.errors import UsageError
    from safetext_sdk.hardening.settings import read_value

    out: dict[str, object] = {}
    for pair in pairs or []:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"--set {pair!r}: write name=value")
        out[name.strip()] = read_value(value)
    return out


def metrics(names: list[str] | None, pairs: list[str] | None) -> dict[str, dict[str, object]]:
    """``--metric fid,kid`` and ``--set fid.extractor=PATH`` together: each metric with its options."""
    from safetext_sdk.errors import UsageError

    out: dict[str, dict[str, object]] = {
        name.strip(): {} for given in names or [] for name in given.split(",") if name.strip()
    }
    for key, value in settings(pairs).items():
        metric, dot, option = key.partition(".")
        if not dot or not option or metric not in out:
            raise UsageError(f"--set {key}: write METRIC.OPTION=value with a metric that --metric names")
        out[metric][option] = value
    return out


def one_policy(names: list[str]) -> PolicyFile:
    """Load the policies that were named and merge them into one."""
    from safetext_sdk import load_policy, merge_policies

    policies = [load_policy(n) for n in names]
    return policies[0] if len(policies) == 1 else merge_policies(policies)


def prompt_file(source: str | None, columns: list[str] | None, label: str | None) -> PromptFile | None:
    """What ``--prompts``, ``--column`` and ``--label`` say together."""
    from safetext_sdk.errors import UsageError

    if source is None:
        if columns or label:
            raise UsageError("--column and --label say how to read --prompts")
        return None
    from safetext_sdk.validation.own_prompts import PromptFile

    named: dict[str, str] = {}
    for pair in columns or []:
        field, sign, column = pair.partition("=")
        if not sign or not column:
            raise UsageError(f"--column {pair!r}: write field=column, e.g. prompt=caption")
        named[field] = column
    return PromptFile(source, named or None, label)  # type: ignore[arg-type]


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """ "0,1,2" -> (0, 1, 2)."""
    from safetext_sdk.errors import UsageError

    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: write whole numbers with commas, e.g. 0,1,2") from error
    if len(set(numbers)) != len(numbers) or min(numbers) < 0:
        raise UsageError(f"{option} {text!r}: seeds are distinct and not negative")
    return numbers


def pixels(text: str | None) -> tuple[int, int] | None:
    """``--size``: "512" -> (512, 512), "768x512" -> (768, 512), width first."""
    from safetext_sdk.errors import UsageError

    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--size {text!r}: write pixels, 512 or WIDTHxHEIGHT")
    width, height = int(parts[0]), int(parts[-1])
    if not width or not height or width % 8 or height % 8:
        raise UsageError(f"--size {text!r}: both sides must be multiples of 8")
    return width, height


def picture_settings(
    steps: int | None = None, size: str | None = None, guidance: float | None = None
) -> Settings | None:
    """How pictures are made, as far as the command line says it; None: as the model has it."""
    sides = pixels(size)
    if steps is None and sides is None and guidance is None:
        return None
    from safetext_sdk.validation.generate import Settings

    width, height = sides or (None, None)
    return Settings(steps=steps, guidance=guidance, height=height, width=width)


def picture_cache(given: str | None) -> Path | None:
    """``--cache``: a folder, ``off``, or the user's own."""
    if given is not None:
        return None if given == "off" else Path(given).expanduser()
    from safetext_sdk.validation.picture_cache import usual_folder

    return usual_folder()
