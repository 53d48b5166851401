"""The command line: exit codes, messages of one line, listings, help at 80 columns."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from safetext_cli.main import run
from safetext_cli.options import settings

from safetext_sdk.errors import ModelError, UsageError

COMMANDS = [
    "demo",
    "harden",
    "validate",
    "gate",
    "export",
    "verify",
    "generate",
    "compare",
    "doctor",
    "policy show",
    "policy lint",
    "models list",
    "methods list",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(command: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*command.split(), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "noun",
    [
        "models",
        "methods",
        "recipes",
        "detectors",
        "kept-judges",
        "attacks",
        "baselines",
        "metrics",
        "exporters",
    ],
)
def test_lists_as_json_and_show(noun: str, capsys) -> None:
    assert run([noun, "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    assert all(r["name"] for r in rows)
    assert run([noun, "show", rows[0]["name"]]) == 0
    assert rows[0]["name"] in capsys.readouterr().out
    assert run([noun, "show", "no-such-thing"]) == 2
    assert "unknown" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["harden"], 2, "policy"),
        (["harden", "--policy", "no-such-policy"], 2, "no-such-policy"),
        (["harden", "--policy", "weapons", "--method", "no-such-method", "--out", "X"], 2, "no-such-method"),
        (["harden", "--policy", "weapons", "--set", "lr", "--out", "X"], 2, "NAME=VALUE"),
        (["harden", "--policy", "weapons", "--model", "no-such-model", "--out", "X"], 3, "no-such-model"),
        (["validate", "no-such-run"], 3, "no-such-run"),
        (["validate", "no-such-run", "--seeds", "1,x"], 2, "whole numbers"),
        (["validate", "no-such-run", "--seeds", "1,1"], 2, "distinct"),
        (["gate", "no-such-run"], 3, "no-such-run"),
        (["export", "no-such-run"], 3, "no-such-run"),
        (["generate", "tiny", "--prompt", "a cat", "--out", "picture.txt"], 2, "png"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_calls(args: list[str], code: int, says: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(args) == code
    captured = capsys.readouterr()
    assert says in captured.err
    assert "Traceback" not in captured.err
    assert not any(p.is_file() for p in tmp_path.rglob("*")), "a refused call wrote something"


def test_anything_unexpected_is_3_and_never_1(monkeypatch, capsys) -> None:
    import safetext_sdk

    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setitem(safetext_sdk.__dict__, "gate", broken)
    assert run(["gate", "anything"]) == 3
    err = capsys.readouterr().err
    assert "ZeroDivisionError: boom" in err
    assert "Traceback" not in err


def test_interrupt_is_130(monkeypatch) -> None:
    import safetext_sdk

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(safetext_sdk.__dict__, "gate", interrupted)
    assert run(["gate", "anything"]) == 130


def test_disk_full_is_one_line(monkeypatch, capsys) -> None:
    import safetext_sdk

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device", "runs/x")

    monkeypatch.setitem(safetext_sdk.__dict__, "gate", full)
    assert run(["gate", "anything"]) == 3
    assert "No space left on device: runs/x" in capsys.readouterr().err


def test_settings_read_numbers_as_people_write_them() -> None:
    assert settings(["rate=3e-5", "signed=false", "steps=10", "name=x", "where=there"]) == {
        "rate": 3e-5,
        "signed": False,
        "steps": 10,
        "name": "x",
        "where": "there",
    }
    assert settings(None) == {}
    with pytest.raises(UsageError, match="name=value"):
        settings(["=3"])
    with pytest.raises(UsageError, match="not readable"):
        settings(["x=["])


def test_exit_codes_of_the_error_tree() -> None:
    assert UsageError("x").exit_code == 2
    assert ModelError("x").exit_code == 3


def test_the_installed_command_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "safetext_cli.main", "--version"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout.startswith("safetext 0.")


def test_doctor_reports(capsys) -> None:
    code = run(["doctor", "--json"])
    rows = json.loads(capsys.readouterr().out)
    names = {r["name"] for r in rows}
    assert {"python", "torch", "device", "clip_skip", "disk", "tiny"} <= names
    assert code == (3 if any(r["state"] == "problem" for r in rows) else 0)


def test_a_gate_that_cannot_be_measured_is_one_line_for_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    from safetext_cli import main

    from safetext_sdk.errors import UnmeasuredGateWarning

    def app(**_: object) -> int:
        warnings.warn("the gate x cannot be measured", UnmeasuredGateWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(main, "app", app)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main.run([]) == 0
    assert capsys.readouterr().err.splitlines()[0] == "warning: the gate x cannot be measured"


@pytest.mark.parametrize(
    ("command", "code"),
    [("policy list", 0), ("policy show no-such-policy", 2), ("gate no-such-report", None)],
)
def test_a_reader_who_leaves_changes_no_exit_code(command: str, code: int | None) -> None:
    """``safetext ... | head``: typer's own code for a closed pipe is 1, which says that a gate failed."""
    call = [sys.executable, "-c", "from safetext_cli.main import main; main()", *command.split()]
    want = subprocess.run(call, capture_output=True, check=False).returncode if code is None else code
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(call, stdout=write, stderr=write, check=False)
    os.close(write)
    assert (done.returncode, want) != (1, 1)
    assert done.returncode == want


def test_a_verdict_that_nobody_reads_keeps_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from safetext_cli import main

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    def verdict(**options: object) -> None:
        typer.echo("inconclusive")
        raise typer.Exit(4)

    monkeypatch.setattr(main, "app", lambda **options: verdict())
    monkeypatch.setattr(sys, "stdout", Closed())
    assert run(["gate"]) == 4
