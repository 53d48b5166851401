"""Entry point: builds the command tree and turns every outcome into one line and the right exit code.

Python and Typer exit 1 on an uncaught exception, which in a release pipeline reads as "gate failed". So there
is exactly one place that decides: errors of ours carry their code, Ctrl-C is 130, everything else is 3, with
the traceback only under SAFETEXT_DEBUG=1.
"""

from __future__ import annotations

import errno
import inspect
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import typer

from safetext_sdk.errors import (
    EXIT_INTERRUPTED,
    EXIT_RUNTIME,
    EXIT_USAGE,
    SafeTextError,
    SafeTextWarning,
)

from . import (
    attack,
    cache,
    compare,
    convert,
    demo,
    diff,
    doctor,
    export,
    gate,
    generate,
    harden,
    lists,
    plan,
    policy,
    report,
    validate,
    verify,
)
from .streams import outliving_readers

FULL = os.strerror(errno.ENOSPC)

app = typer.Typer(
    name="safetext",
    help="Harden the text encoder of a text-to-image model against unsafe prompts, prove it, gate it, "
    "ship it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("demo", rich_help_panel="Start here")(demo.demo)
app.command("harden", rich_help_panel="The main road")(harden.harden)
app.command("validate", rich_help_panel="The main road")(validate.validate)
app.command("gate", rich_help_panel="The main road")(gate.gate)
app.command("export", rich_help_panel="The main road")(export.export)
app.command("verify", rich_help_panel="The main road")(verify.verify)
app.command("attack", rich_help_panel="The main road")(attack.attack)
app.command("generate", rich_help_panel="Look")(generate.generate)
app.command("report", rich_help_panel="Look")(report.report)
app.command("compare", rich_help_panel="Look")(compare.compare)
app.command("diff", rich_help_panel="Look")(diff.diff)
app.command("convert", rich_help_panel="Look")(convert.convert)
app.command("plan", rich_help_panel="Look")(plan.plan)
app.command("doctor", rich_help_panel="Look")(doctor.doctor)
app.add_typer(policy.app, name="policy", rich_help_panel="Look")
app.add_typer(cache.app, name="cache", rich_help_panel="Look")
for name, sub in lists.apps().items():
    app.add_typer(sub, name=name, rich_help_panel="Look")


def _reflow(tree: typer.Typer) -> None:
    """Help is wrapped to the terminal, not where a docstring's lines end; only its paragraphs stay."""
    for command in tree.registered_commands:
        text = inspect.cleandoc(command.help or getattr(command.callback, "__doc__", None) or "")
        command.help = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    for group in tree.registered_groups:
        if group.typer_instance is not None:
            _reflow(group.typer_instance)


_reflow(app)


def _version(value: bool) -> None:
    if value:
        from safetext_sdk.versions import own_version

        typer.echo(f"safetext {own_version()}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code (see `safetext_sdk.errors`); never raises.
    """
    # Standard output may be a terminal of any encoding; a prompt in any language must not end a run.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    with outliving_readers():
        return _run(args)


def _run(args: list[str] | None) -> int:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show(warnings.showwarning)
            code = app(args=args, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as leave:  # a shell's completion; or 1 for a broken pipe, which would say "gate failed"
        if not leave.code:
            return 0
        _say("a process that this command talked to is gone")
        return EXIT_RUNTIME
    except SafeTextError as error:
        _say(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return EXIT_INTERRUPTED
    except typer.Exit as leave:
        return leave.exit_code
    except Exception as error:
        if _is_usage(error):
            error.show()  # type: ignore[attr-defined]
            return EXIT_USAGE
        if os.environ.get("SAFETEXT_DEBUG") == "1":
            raise SystemExit(_traceback()) from error
        _say(_describe(error))
        return EXIT_RUNTIME


def _is_usage(error: Exception) -> bool:
    """Typer's own usage errors: they all derive from the base class of `typer.BadParameter`."""
    usage = typer.BadParameter.__mro__[1]
    return isinstance(error, usage.__mro__[1]) and hasattr(error, "show")


def _describe(error: Exception) -> str:
    # safetensors, and torch around it, tell a full disk in exceptions of their own.
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or FULL in str(error):
        where = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        return f"{FULL}{where}; make room and run the same command again (harden: with --resume)"
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return (
        f"unexpected {type(error).__name__}: "
        f"{str(error).splitlines()[0] if str(error) else '(no message)'} (SAFETEXT_DEBUG=1 shows where)"
    )


def _traceback() -> int:
    import traceback

    traceback.print_exc()
    return EXIT_RUNTIME


def _show(usual: Callable[..., None]) -> Callable[..., None]:
    """Warnings that are meant for whoever runs a command come as one line; others as Python writes them."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, SafeTextWarning):
            typer.secho(f"warning: {message}", err=True, fg="yellow")
        else:
            usual(message, category, *where, **more)

    return show


def _say(text: str) -> None:
    typer.secho(f"error: {text}", err=True, fg="red")


if __name__ == "__main__":
    main()
