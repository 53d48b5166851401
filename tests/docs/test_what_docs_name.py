"""What the docs name is there: every `safetext` command with its options, every dotted Python name, every
file of this repository."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from safetext_cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINE = re.compile(r"^(?:    )?(?:- run: )?\$? ?(safetext [a-z].*)$", re.MULTILINE)
INLINE = re.compile(r"`(safetext [a-z][^`]*)`")
DOTTED = re.compile(r"\b((?:safetext_sdk|safetext_exporters)(?:\.\w+)+)")
PLACE = re.compile(r"\.(py|md|toml|yaml|json|jsonl|html)\b")
"""Paths like ``safetext_sdk.egg`` are no names."""
FILE = re.compile(r"`((?:tests|benchmarks|examples|lab|safetext_sdk|exporters|cli)/[\w./*-]+\.\w+)`")


def commands(page: Path) -> Iterator[list[str]]:
    """Every command line of a page, in words."""
    text = page.read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", "", text)
    for found in (*LINE.findall(joined), *INLINE.findall(" ".join(text.split()))):
        plain = re.split(r"\s#\s|\s\|\s|&&|;|\s>", found)[0]
        try:
            yield shlex.split(plain)
        except ValueError:  # an apostrophe of the sentence around it
            yield plain.split()


@cache
def tree() -> Any:
    """All commands, built once."""
    return typer.main.get_command(app)


def wrong(words: list[str]) -> str:
    """What a command line has that the command does not; empty if nothing."""
    found = tree()
    rest = words[1:]
    while hasattr(found, "commands") and rest and re.fullmatch(r"[a-z][a-z-]*", rest[0]):
        if rest[0] not in found.commands:
            return f"no command {rest[0]}"
        found, rest = found.commands[rest[0]], rest[1:]
    known = {name for p in found.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    given = [word.split("=")[0] for word in rest if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)]
    return ", ".join(f"no option {name}" for name in given if name not in known)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_its_commands_and_options_exist(page: Path) -> None:
    missing = {" ".join(words): why for words in commands(page) if (why := wrong(words))}
    assert not missing


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    parts = dotted.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for name in parts[k:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_its_python_names_exist(page: Path) -> None:
    text = PLACE.sub(" ", page.read_text(encoding="utf-8"))
    missing = {name for name in DOTTED.findall(text) if not exists(name)}
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_its_files_exist(page: Path) -> None:
    named = FILE.findall(page.read_text(encoding="utf-8"))
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_what_is_not_there_is_found() -> None:
    assert wrong(["safetext", "validate", "RUN", "--nope"]) == "no option --nope"
    assert wrong(["safetext", "nope"]) == "no command nope"
    assert wrong(["safetext", "policy", "show", "X", "--sample", "2"]) == ""
    assert not exists("safetext_sdk.metrics.nope")
    assert FILE.findall("`tests/no_file.py` and `policies` and `a/b.py`") == ["tests/no_file.py"]
    assert exists("safetext_sdk.results.schemas.results_schema")
