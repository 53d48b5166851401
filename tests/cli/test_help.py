"""What a command says of itself: help that is whole at 80 columns, and lists that read as people write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from safetext_cli.main import app, run

from safetext_sdk.hardening.recipes import RECIPES, rows
from safetext_sdk.hardening.settings import from_text


def every_command(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from every_command(below, (*words, name))


TREE = dict(every_command(typer.main.get_command(app)))


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_no_name_of_an_option_is_cut_off_at_80_columns(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for option in TREE[words].params:
        assert getattr(option, "hidden", False) or all(name in shown for name in option.opts if "-" in name)


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_help_breaks_its_lines_at_the_terminal_and_nowhere_else(words: tuple[str, ...]) -> None:
    """A docstring's own line ends would leave half-empty lines in every list of commands."""
    assert all("\n" not in part for part in (TREE[words].help or "").split("\n\n"))


def test_lists_are_called_by_their_plurals() -> None:
    assert TREE["kept-judges",].help == "List the judges of kept, show one."
    assert TREE["prompts", "list"].help == "List the published sets of prompts."
    assert TREE["families",].help == "List the families, show one."


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["attacks", "show", "context"], "--set context.contexts=3"),
        (["baselines", "show", "esd"], "--set esd.steps=1000"),
        (["metrics", "show", "fid"], "--set fid.extractor="),
        (["methods", "show", "safetext"], "--set method.strength= "),
    ],
)
def test_show_has_the_settings_as_they_are_typed(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 0
    assert says in capsys.readouterr().out


def test_what_a_recipe_changes_can_be_typed_as_it_is_shown() -> None:
    for recipe, row in zip(RECIPES, rows(), strict=True):
        _, train = from_text(recipe.method or "anchor", row["settings"])
        assert train == recipe.train, recipe.name


def test_recipes_fit_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["recipes", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 2 * len(RECIPES) + 1


def test_a_long_name_of_a_source_stands_apart_from_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "sources"]) == 0
    assert "everyday-languages  captions" in capsys.readouterr().out
