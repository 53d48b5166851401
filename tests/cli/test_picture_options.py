"""How pictures are made, said on the command line: the same options everywhere, and what they come to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetext_cli import options
from safetext_cli.demo import Stages
from safetext_cli.main import run

import safetext_sdk
from safetext_sdk.errors import UsageError
from safetext_sdk.validation.generate import Settings


def test_sizes() -> None:
    assert options.pixels(None) is None
    assert options.pixels("512") == (512, 512)
    assert options.pixels("768x512") == (768, 512)
    for wrong in ("big", "512x", "1x2x3", "-64", "0", "500"):
        with pytest.raises(UsageError, match="--size"):
            options.pixels(wrong)
    assert options.picture_settings() is None
    assert options.picture_settings(8, "768x512", 3.0) == Settings(
        steps=8, guidance=3.0, width=768, height=512
    )


def test_the_cache_is_a_folder_or_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert options.picture_cache("off") is None
    assert options.picture_cache("here") == Path("here")
    monkeypatch.setenv("SAFETEXT_CACHE", str(tmp_path))
    assert options.picture_cache(None) == tmp_path


@pytest.mark.parametrize("command", ["validate", "attack"])
def test_they_reach_the_library(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}

    def takes(*_: Any, **options: Any) -> Any:
        given.update(options)
        return SimpleNamespace(folder=tmp_path, possible=True)

    monkeypatch.setattr(safetext_sdk, command, takes)
    monkeypatch.setenv("SAFETEXT_CACHE", str(tmp_path / "cache"))
    more = ["--policy", "weapons"] if command == "attack" else []
    words = f"{command} somewhere --quiet --steps 4 --size 64x32 --precision bf16 --batch-size 3".split()
    assert run([*words, *more]) == 0
    assert given["settings"] == Settings(steps=4, width=64, height=32)
    assert (given["precision"], given["batch_size"], given["cache"]) == ("bf16", 3, tmp_path / "cache")
    assert run([*words, *more, "--cache", "off"]) == 0
    assert given["cache"] is None


@pytest.mark.parametrize(
    "command", ["validate nowhere", "attack nowhere", "demo", "generate tiny --prompt x"]
)
def test_a_wrong_size_is_told_before_anything_is_loaded(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command.split(), "--size", "huge"]) == 2
    assert "write pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "wanted"),
    [([], "fast"), (["--recipe", "thorough"], "thorough"), (["--model", "some/folder"], None)],
)
def test_the_demo_hardens_with_a_recipe_of_the_table_and_says_which(
    more: list[str],
    wanted: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``fast`` on the model that has one; other models take their default."""
    import safetext_sdk as st
    from safetext_sdk.errors import ModelError
    from safetext_sdk.hardening.recipes import recipe_of
    from safetext_sdk.validation import first_look

    asked: dict[str, Any] = {}

    def harden(*_: Any, **given: Any) -> Any:
        asked.update(given)
        raise ModelError("enough seen")

    monkeypatch.setattr(st, "load_model", lambda *_, **__: None)
    monkeypatch.setattr(st, "harden", harden)
    monkeypatch.setattr(first_look, "FirstLook", lambda *_, **__: SimpleNamespace(before=lambda: "a.png"))
    run(["demo", "--out", str(tmp_path / "demo"), *more])
    assert asked["recipe"] == wanted
    said = capsys.readouterr().out
    assert (f"--recipe {wanted}" in said) == (wanted is not None)
    if wanted is not None:
        assert recipe_of("anchor", "tiny", asked["recipe"]).kind == "tiny"


def test_the_demo_counts_its_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 3.5, 5.0, 6.0])
    monkeypatch.setattr("safetext_cli.demo.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("safetext_cli.demo.time.process_time", lambda: 0.0)
    stages = Stages()
    for _ in range(2):
        with stages.stage("harden"):
            pass
    assert stages.taken == {"harden": (3.5, 0.0)}
    assert stages.lines()[1].split() == ["harden", "4", "s", "0", "s"]
