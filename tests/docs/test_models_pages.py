"""The commands on the models' pages exist: sub-commands, flags, targets, settings, models, policies."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer.main
from safetext_cli.main import app
from safetext_exporters import EXPORTERS, options_of

from safetext_sdk.hardening.settings import TrainConfig
from safetext_sdk.models import CATALOGUE
from safetext_sdk.policy import shipped_policies

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "models").glob("*.md"))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def commands(page: Path) -> list[list[str]]:
    """Every ``safetext ...`` in code on a page, as words."""
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"`(safetext [^`]+)`", text) + re.findall(r"^    (safetext .+)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in code]


def flags(command: object) -> dict[str, object]:
    return {name: p for p in command.params for name in (*p.opts, *p.secondary_opts)}  # type: ignore[attr-defined]


def test_every_family_has_its_page_and_all_are_linked() -> None:
    alone = {p.stem for p in PAGES} - {"language-models"}
    shared = set(re.findall(r"\(`([\w-]+)`", (DOCS / "models" / "language-models.md").read_text("utf-8")))
    families = {entry.family for entry in CATALOGUE.values()}
    assert alone <= families
    assert families - alone <= shared
    assert not alone & shared
    overview = (DOCS / "models.md").read_text(encoding="utf-8")
    assert all(f"(models/{p.name})" in overview for p in PAGES)
    for page in (*PAGES, DOCS / "models.md"):
        for link in re.findall(r"\]\(([^)#]+\.md)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).is_file(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_commands_on_the_page_exist(page: Path) -> None:
    found = commands(page)
    assert {"harden", "validate", "gate", "export", "verify"} <= {words[0] for words in found}
    for words in found:
        command = COMMANDS[words[0]]
        rest = words[1:]
        if hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
        known = flags(command)
        for word in rest:
            assert not word.startswith("-") or word in known, (
                f"{page.name}: {' '.join(words)}: no flag {word}"
            )
        given = list(pairwise(rest))
        if words[0] == "harden":
            assert {"--policy", "--model", "--out"} <= set(rest)
        for flag, value in given:
            if flag == "--policy":
                assert value in shipped_policies()
            if flag == "--model" and not value.endswith(".safetensors"):
                assert value in CATALOGUE
            if flag == "--encoder" and words[0] == "harden":
                (model,) = [v for f, v in given if f == "--model"]
                assert value in {e.name for e in CATALOGUE[model].encoders}
            if flag == "--target":
                assert value in EXPORTERS.names()
            if flag == "--set" and words[0] == "export":
                (target,) = [v for f, v in given if f == "--target"]
                assert value.partition("=")[0] in options_of(target)
    for room, setting in re.findall(r"`--set (?:(\w+)\.)?(\w+)=", page.read_text(encoding="utf-8")):
        exported = {name for target in EXPORTERS.names() for name in options_of(target)}
        assert setting in (TrainConfig.model_fields if room == "train" else exported)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_stated_memory_is_the_catalogues(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    stated = re.search(r"\*\*Memory\*\* beside activations: ([\d.]+) GB", text)
    shown = (
        re.search(r"`safetext models show ([\w.-]+)`", text)
        if page.stem != "plain"
        else re.search(r"GB \(`([\w-]+)`\)", text)
    )
    assert stated is not None
    assert shown is not None
    assert float(stated[1]) == pytest.approx(CATALOGUE[shown[1]].memory_gb, rel=0.03)


def test_the_first_table_says_what_to_type_for_every_model() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    first = text[: text.index("\n## ")].splitlines()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in first if line.startswith("| ")][1:]
    typed = [name for cells in rows for name in re.findall(r"`([\w.-]+)`", cells[1])]
    assert sorted(typed) == sorted(CATALOGUE)
    for cells in rows:
        for name in re.findall(r"`([\w.-]+)`", cells[1]):
            entry = CATALOGUE[name]
            assert float(cells[3]) == entry.memory_gb
            assert ("(*)" in cells[0]) == entry.gated
            assert ("(+)" in cells[0]) == ("torchvision" in entry.note)
            assert ("LoRA" in cells[2]) == any(e.default == "lora" for e in entry.encoders)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_validates_with_as_many_prompts_as_its_gates_need(page: Path) -> None:
    """Its next command is the gate: a size below what `safetext plan` says could never pass it."""
    validated = [words for words in commands(page) if words[0] == "validate"]
    assert validated or page.stem == "tiny"
    assert not [words for words in validated if any(word == "--n" or word.endswith("-n") for word in words)]
