"""The exception tree. Every error that a user can cause or mend is one of these, says what to do, and has an
exit code.

Exit codes (the same in every output mode): 0 pass, 1 gate failed or `verify` mismatch, 2 usage or policy
error, 3 runtime error, 4 inconclusive, 130 interrupted. Anything that is not a `SafeTextError` becomes 3 at
the top
of the CLI: an uncaught exception must never read as "gate failed", nor as a pass.
"""

from __future__ import annotations

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_USAGE = 2
EXIT_RUNTIME = 3
EXIT_INCONCLUSIVE = 4
EXIT_INTERRUPTED = 130


class SafeTextError(Exception):
    """Base class. The message is one clear line for a person; ``exit_code`` is what the command returns."""

    exit_code = EXIT_RUNTIME


class UsageError(SafeTextError):
    """The call itself is wrong: an unknown name, an option out of range, options that exclude each other."""

    exit_code = EXIT_USAGE


class PolicyError(UsageError):
    """A policy file (or a prompt file it names) is wrong.

    Args:
        problem: what is wrong, in one line.
        file: the file, if there is one.
        line: 1-based line in the file, if known.
        field: dotted path of the field, e.g. ``concepts.0.terms``.
        allowed: what would have been right.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
        allowed: str | None = None,
    ) -> None:
        self.problem, self.file, self.line, self.field, self.allowed = problem, file, line, field, allowed
        where = f"{file}:{line}" if file and line else file
        text = ": ".join(part for part in (where, field, problem) if part)
        super().__init__(f"{text} (allowed: {allowed})" if allowed else text)


class ModelError(SafeTextError):
    """A model cannot be found, read or used: wrong architecture, truncated weights, a pickle file, no
    network."""


class RunError(SafeTextError):
    """A run folder is missing, incomplete, changed, or belongs to other settings."""


class NotHardenedError(SafeTextError):
    """A pipeline that is about to serve does not hold the hardened encoder, or it cannot be told."""

    exit_code = EXIT_FAIL


class DetectorError(SafeTextError):
    """A detector cannot be built or fails while scoring. Never read as "nothing unsafe found"."""


class SafeTextWarning(UserWarning):
    """Base of the warnings that are meant for whoever runs a command: shown as one line."""


class PromptFileWarning(SafeTextWarning):
    """A file of prompts holds something that is not used, or that is used with a condition."""


class UnmeasuredGateWarning(SafeTextWarning):
    """A gate of the policy cannot be measured on this model; said before any picture is made."""


class UnmeasuredMetricWarning(SafeTextWarning):
    """A metric that was asked for cannot be taken; said before any picture is made."""


class NotMeasuredError(SafeTextError):
    """A metric cannot be taken: the message says what is not there and how to get it. Never read as 0."""


class MissingExtraError(SafeTextError):
    """An optional dependency is not installed.

    Args:
        what: what needs it, e.g. ``"the nudenet detector"``.
        extra: name of the extra, e.g. ``"nudenet"``.
    """

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f'{what} needs an extra: pip install "safetext-sdk[{extra}]"')


class InterruptedRun(SafeTextError):
    """Ctrl-C arrived; what was done is on disk and the same command with ``--resume`` goes on."""

    exit_code = EXIT_INTERRUPTED
