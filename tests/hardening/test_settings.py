"""Settings of method and trainer are separate, say what was meant, and start from a recipe that is the same
everywhere."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from support.hardening_case import POLICY
from support.minis import build_sd1

from safetext_sdk.errors import UsageError
from safetext_sdk.hardening.recipes import RECIPES, recipe_of, rows, settled
from safetext_sdk.hardening.settings import TrainConfig, assignments, from_text
from safetext_sdk.methods import METHODS, Anchor, AnchorConfig, SafeText
from safetext_sdk.models import CATALOGUE

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LIBRARY = Path(__file__).parents[2] / "safetext_sdk"


def test_assignments_go_where_they_say() -> None:
    written = ["method.push=1.2", "train.learning_rate=3e-5", "train.compile=true", "train.lora_alpha=null"]
    assert assignments(written, AnchorConfig) == {
        "method": {"push": 1.2},
        "train": {"learning_rate": 3e-5, "compile": True, "lora_alpha": None},
    }
    method, train = from_text("anchor", [*written, "train.betas=[0.9, 0.999]"], 800)
    assert isinstance(method, Anchor)
    assert (method.config.push, train.steps, train.betas) == (1.2, 800, (0.9, 0.999))


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("push=1.2", "did you mean method.push?"),
        ("steps=5", "did you mean train.steps?"),
        ("trian.steps=5", "did you mean train.steps?"),
        ("learning_rat=5", "did you mean train.learning_rate"),
        ("qqq=5", "write method.NAME=VALUE or train.NAME=VALUE"),
        ("method.push", "write method.NAME=VALUE or train.NAME=VALUE"),
        ("=3", "write method.NAME=VALUE or train.NAME=VALUE"),
        ("train.steps=[", "not readable"),
        ("method.pusch=1", "method anchor has no setting 'pusch'; did you mean push?"),
        ("train.stepps=1", "the trainer has no setting 'stepps'; did you mean steps"),
        ("method.push=-1", "method anchor, setting 'push'"),
        ("train.steps=7", "contradict each other"),
    ],
)
def test_what_was_meant_is_said(written: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_text("anchor", [written], 8)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_both_have_reaches_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one dictionary a name that stands in the method and in the trainer reached both."""

    class WarmConfig(AnchorConfig):
        warmup: float = 7.0

    class Both(Anchor):
        name = "both"
        Config = WarmConfig

    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    METHODS.add("both", Both)
    method, train = from_text("both", ["train.warmup=0.5"])
    assert (method.config.warmup, train.warmup) == (7.0, 0.5)
    with pytest.raises(UsageError, match=r"did you mean method\.warmup or train\.warmup"):
        from_text("both", ["warmup=0.5"])


def test_the_model_chooses_its_recipe_and_the_user_goes_over_it() -> None:
    assert recipe_of("anchor", "tiny").name == recipe_of("safetext", "tiny").name == "tiny"
    assert recipe_of("anchor", "sd15").name == recipe_of("anchor", "/some/folder").name == "default"
    tiny = recipe_of("anchor", "tiny")
    _, train = settled(tiny, Anchor(), None)
    assert (train.steps, train.learning_rate, train.batch_size) == (200, 1e-3, 32)
    _, train = settled(tiny, Anchor(), TrainConfig(steps=300))  # the default, but asked for
    assert (train.steps, train.learning_rate) == (300, 1e-3)
    sentences = recipe_of("anchor", "/some/folder", "sentence-encoder")
    method, train = settled(sentences, Anchor(push=0.0), TrainConfig(extent=1.0))
    assert (method.config.push, method.config.contrast_anchors) == (0.0, 1024)
    assert (train.extent, train.steps, train.sequence_weight) == (1.0, 1600, 0.0)


def test_what_a_method_asks_for_yields_to_recipe_and_user() -> None:
    class Slow(SafeText):
        train_defaults = {"learning_rate": 1e-5, "steps": 50, "betas": (0.9, 0.999)}  # noqa: RUF012

    _, train = settled(recipe_of("safetext", "tiny"), Slow(), TrainConfig(steps=60))
    assert (train.learning_rate, train.steps, train.betas) == (1e-3, 60, (0.9, 0.999))


def test_recipes_are_named_once_a_method_and_say_where_they_come_from() -> None:
    keys = [(r.name, r.method) for r in RECIPES]
    assert len(keys) == len(set(keys))
    assert all(r.source for r in RECIPES)
    assert {entry.recipe for entry in CATALOGUE.values()} <= {r.name for r in RECIPES}
    for recipe in RECIPES:
        if recipe.method:
            assert type(recipe.settings) is METHODS.get(recipe.method).Config
    shown = {row["name"]: row for row in rows()}
    assert shown["tiny"]["settings"] == ["train.steps=200", "train.learning_rate=0.001"]
    assert "method.push=1.5" in shown["sentence-encoder"]["settings"]


def test_the_benchmark_on_real_english_has_no_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its two runs are recipes, and those have the settings that docs/real-english.md states."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark = importlib.import_module("real_english")
    found = {}
    for name, recipe in benchmark.RECIPES.items():
        method, train = settled(recipe_of("anchor", "", recipe), Anchor(), None)
        a: Any = method.config
        found[name] = (
            (
                train.steps,
                train.batch_size,
                train.safe_size,
                train.learning_rate,
                train.extent,
                train.prompts,
            ),
            (a.push, a.margin, a.margin_weight, a.contrast, a.safe_weight, a.contrast_anchors, a.temperature),
        )
    assert found == {
        "policies": ((1600, 16, 40, 4e-4, 0.86, 9800), (1.5, 0.8, 2, 0.4, 6, 1024, 0.12)),
        "pairs": ((1600, 16, 24, 2e-4, 1, 10_000), (1.2, 0.6, 1, 0.35, 3, 0, 0.07)),
    }
    assert not [name for name in vars(benchmark) if name in ("SETTINGS", "COMMON")]


def test_the_command_line_records_recipe_and_settings(tmp_path: Path, capsys: Any) -> None:
    from safetext_cli.main import run

    build_sd1(tmp_path / "model")
    (tmp_path / "policy.yaml").write_text(POLICY)
    small = ["train.prompts=8", "train.batch_size=2", "train.wide_safe=0", "method.push=0.5"]
    args = ["harden", "-p", str(tmp_path / "policy.yaml"), "-m", str(tmp_path / "model"), "--steps", "2"]
    args += [*(word for s in small for word in ("--set", s)), "--recipe", "tiny", "-o", str(tmp_path / "run")]
    assert run(args) == 0
    assert "recipe tiny: " in capsys.readouterr().err  # said before the start
    for name in ("manifest.json", "settings.json"):
        record = json.loads((tmp_path / "run" / name).read_text())
        assert (record["schema_version"], record["recipe"], record["method"]) == (2, "tiny", "anchor")
        assert record["config"]["train"]["steps"] == 2
        assert record["config"]["train"]["learning_rate"] == 1e-3
        assert record["config"]["method"]["push"] == 0.5
    assert run([*args, "--resume", "--set", "method.push=0.6"]) == 3
    assert "method.push = 0.5, not 0.6" in capsys.readouterr().err


def test_the_trainer_names_no_method_and_no_setting_of_one() -> None:
    names = set(METHODS.names())
    for name in METHODS.names():
        names |= set(METHODS.get(name).Config.model_fields) - {
            "margin"
        }  # also a prefix's (train.prefix_margin)
    for room in ("trainer", "gradients", "assemble", "teacher", "trainable", "checkpoints", "finish"):
        tree = ast.parse((LIBRARY / "hardening" / f"{room}.py").read_text(encoding="utf-8"))
        used = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        settings = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} - {"anchor"}
        assert not names & (used | settings), room


def test_the_manifest_holds_the_digest_of_the_whole_prompt_book() -> None:
    import yaml

    from safetext_sdk.hardening.finish import book_digest
    from safetext_sdk.policy import Policy
    from safetext_sdk.prompts.build import build_prompt_book

    policy = Policy.model_validate(yaml.safe_load(POLICY))
    one, other = (build_prompt_book(policy, seed=seed, size=24) for seed in (0, 1))
    assert book_digest(one) == book_digest(build_prompt_book(policy, seed=0, size=24))
    assert book_digest(one) != book_digest(other)
    before = book_digest(one)
    one.test.unsafe.pop()
    assert book_digest(one) != before
