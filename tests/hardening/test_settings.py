"""Settings of method and trainer are separate, say what was meant, and start from a recipe that is the same
everywhere."""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from support.hardening_case import POLICY, run
from support.minis import build_plain_bert, build_plain_clip, build_sd1

from safetext_sdk.errors import UsageError
from safetext_sdk.hardening.recipes import LEVELS, MANY, RECIPES, Recipe, kind_of, recipe_of, rows, settled
from safetext_sdk.hardening.settings import TrainConfig, assignments, from_text
from safetext_sdk.methods import METHODS, Anchor, AnchorConfig, SafeText
from safetext_sdk.models import CATALOGUE, load_model
from safetext_sdk.policy import load_policy
from safetext_sdk.prompts import build_prompt_book

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LIBRARY = Path(__file__).parents[2] / "safetext_sdk"
MEASURES_SPEED = ("harden_speed",)


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
        ("train.word_places=[0, 0, 0, 1]", "the trainer, setting 'word_places': safe prompts need a place"),
        ("train.betas=[0.9, 1.5]", "the trainer, setting 'betas.1': Input should be less than 1"),
        ("train.steps=7", "contradict each other"),
    ],
)
def test_what_was_meant_is_said(written: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_text("anchor", [written], 8)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_setting_that_does_not_go_with_the_recipe_is_said(tmp_path: Path) -> None:
    method, train = from_text("anchor", ["train.statements=0.5"])
    recipe = recipe_of("anchor", "tiny", None, kind="tiny")
    with pytest.raises(UsageError) as caught:
        settled(recipe, method, train)
    assert f"the trainer with recipe {recipe.name}, setting " in str(caught.value)
    assert "together must leave room for the prompt book" in str(caught.value)
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
    tiny_levels = {level: recipe_of("anchor", "tiny", level) for level in LEVELS}
    assert [r.name for r in tiny_levels.values()] == ["tiny-anchor-fast", "tiny-anchor", "tiny-anchor-long"]
    lengths = [settled(r, Anchor(), None)[1].steps for r in tiny_levels.values()]
    assert lengths == sorted(set(lengths))
    assert recipe_of("anchor", "tiny") == tiny_levels["default"]
    assert recipe_of("safetext", "tiny").name == recipe_of("anchor", "tiny", "tiny").name == "tiny"
    assert recipe_of("anchor", "sd15").name == recipe_of("anchor", "/some/folder").name == "default"
    tiny = recipe_of("anchor", "tiny")
    _, train = settled(tiny, Anchor(), None)
    assert (train.learning_rate, train.batch_size) == (1e-3, 32)
    _, train = settled(tiny, Anchor(), TrainConfig(steps=300))  # the default, but asked for
    assert (train.steps, train.learning_rate) == (300, 1e-3)
    sentences = recipe_of("anchor", "/some/folder", "sentence-encoder")
    method, train = settled(sentences, Anchor(push=0.0), TrainConfig(extent=1.0))
    assert (method.config.push, method.config.contrast_anchors) == (0.0, 1024)
    assert (train.extent, train.sequence_weight) == (1.0, 0.0)


def test_the_number_of_concepts_chooses_between_recipes() -> None:
    def name(concepts: int, method: str = "anchor", level: str | None = None) -> str:
        return recipe_of(method, "minilm", level, concepts=concepts).name

    assert name(MANY) == name(50, level="default") == "sentence-encoder"
    assert name(1) == name(MANY - 1) == "sentence-encoder-few"
    assert name(1, "safetext") == name(50, "safetext") == "sentence-encoder-safetext"
    assert name(MANY, level="fast") == "sentence-encoder-fast"
    assert name(1, level="fast") == "sentence-encoder-few"
    shown = {row["name"]: row for row in rows()}
    assert shown["sentence-encoder"]["concepts"] == f"{MANY} or more"
    assert shown["sentence-encoder-few"]["concepts"] == f"up to {MANY - 1}"
    assert shown["sentence-encoder-safetext"]["concepts"] == "any"


def test_levels_are_those_that_were_measured() -> None:
    assert recipe_of("anchor", "sd15", "default").name == "default"
    with pytest.raises(UsageError, match=r"'fast' is not measured for anchor on this kind.*it has default"):
        recipe_of("anchor", "sd15", "fast")
    with pytest.raises(UsageError, match=r"'fast' is not measured for safetext.*it has default"):
        recipe_of("safetext", "minilm", "fast")
    with pytest.raises(UsageError, match="unknown recipe 'fats'; did you mean fast"):
        recipe_of("anchor", "sd15", "fats")


def test_a_model_of_ones_own_is_known_by_its_encoder(tmp_path: Path) -> None:
    sentences, clip = build_plain_bert(tmp_path / "bert"), build_plain_clip(tmp_path / "clip")
    assert kind_of(load_model(sentences)) == "sentence-encoder"
    assert kind_of(load_model(clip)) == kind_of(load_model(build_sd1(tmp_path / "sd1"))) == ""


def test_steps_follow_the_prompts_unless_they_are_set() -> None:
    recipe = recipe_of("anchor", "minilm", concepts=30)
    _, train = settled(recipe, Anchor(), None)
    assert train.steps_for(9800) == math.ceil(2.6 * 9800 / 16)
    assert train.steps_for(10) == train.steps == 400  # no fewer
    _, train = settled(recipe, Anchor(), TrainConfig(steps=7))
    assert train.steps_for(9800) == 7
    _, train = settled(recipe, Anchor(), TrainConfig(steps=7, epochs=1.0))
    assert train.steps_for(160) == 10


def test_a_run_records_the_steps_that_its_prompts_ask_for(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    model = load_model(build_plain_bert(tmp_path / "bert"))

    def harden_again(resume: bool) -> Any:
        train = {"epochs": 2.0, "checkpoint_steps": 3}
        return run(model, tmp_path / "policy.yaml", tmp_path / "run", 2, resume, train=train).run

    done = harden_again(False)
    record = done.manifest
    unsafe = len(build_prompt_book(load_policy(tmp_path / "policy.yaml"), seed=3, size=24).train.unsafe)
    assert record["config"]["train"]["steps"] == math.ceil(2 * unsafe / 4) > 2
    assert (record["recipe"], record["config"]["train"]["sequence_weight"]) == ("sentence-encoder-few", 0.0)
    written = done.path.joinpath("manifest.json").read_text()
    assert harden_again(True).path.joinpath("manifest.json").read_text() == written


def test_the_expected_time_is_that_of_the_steps() -> None:
    recipe = Recipe("r", "somewhere", step_seconds={"cpu": (1.5, "this"), "cuda": (0.02, "that card")})
    assert "about 30 minutes" in recipe.expected_time(1200, "cpu")
    assert "about 24 seconds" in recipe.expected_time(1200, "cuda")
    assert "as measured on that card" in recipe.expected_time(1200, "cuda")
    assert "not measured for this recipe on mps" in recipe.expected_time(1200, "mps")


def test_what_a_method_asks_for_yields_to_recipe_and_user() -> None:
    class Slow(SafeText):
        train_defaults = {"learning_rate": 1e-5, "steps": 50, "betas": (0.9, 0.999)}  # noqa: RUF012

    _, train = settled(recipe_of("safetext", "tiny"), Slow(), TrainConfig(steps=60))
    assert (train.learning_rate, train.steps, train.betas) == (1e-3, 60, (0.9, 0.999))


def test_recipes_are_named_once_and_say_where_they_come_from() -> None:
    names = [r.name for r in RECIPES]
    keys = [(r.name, r.method) for r in RECIPES]
    assert len(keys) == len(set(keys))
    assert {*names} & {*LEVELS} == {"default"}  # else a level could mean a row
    assert all(r.source for r in RECIPES)
    assert {entry.recipe for entry in CATALOGUE.values()} <= {r.kind or "default" for r in RECIPES}
    for recipe in RECIPES:
        if recipe.method and recipe.settings is not None:
            assert type(recipe.settings) is METHODS.get(recipe.method).Config
    for one, other in itertools.combinations(RECIPES, 2):
        alike = (one.kind, one.method) == (other.kind, other.method) and {*one.levels} & {*other.levels}
        assert not alike or one.concepts[1] < other.concepts[0] or other.concepts[1] < one.concepts[0]
    shown = {row["name"]: row for row in rows()}
    assert "train.learning_rate=0.001" in shown["tiny"]["settings"]
    assert "method.push=1.5" in shown["sentence-encoder"]["settings"]


def test_the_benchmark_on_real_english_has_no_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its hardenings is a line of `safetext harden`; an ablation changes the one setting that it is
    about."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark: Any = importlib.import_module("real_english")
    known = {r.name for r in RECIPES}
    for name, asked in {**benchmark.HARDENINGS, **benchmark.FURTHER}.items():
        assert asked.recipe is None or asked.recipe in known, name
        assert len(asked.ablation) <= 1, name
        from_text(asked.method, asked.ablation)
    assert not any(asked.ablation for asked in benchmark.HARDENINGS.values())


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("*.py")), ids=lambda f: f.stem)
def test_no_benchmark_has_settings_of_its_own(file: Path) -> None:
    """Settings come from the table: a benchmark builds a method or a `TrainConfig` for nothing but steps, an
    extent of 1, or what it measures the speed of."""
    if file.stem in MEASURES_SPEED:
        return
    allowed = {"steps", "extent"}
    kinds = {METHODS.get(name).__name__ for name in METHODS.names()}
    kinds |= {METHODS.get(name).Config.__name__ for name in METHODS.names()} | {"TrainConfig"}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in kinds:
            assert {word.arg for word in node.keywords} <= allowed, ast.unparse(node)
            assert not node.args, ast.unparse(node)


def test_the_command_line_records_recipe_and_settings(tmp_path: Path, capsys: Any) -> None:
    from safetext_cli.main import run as command

    build_sd1(tmp_path / "model")
    (tmp_path / "policy.yaml").write_text(POLICY)
    small = ["train.prompts=8", "train.batch_size=2", "train.wide_safe=0", "method.push=0.5"]
    args = ["harden", "-p", str(tmp_path / "policy.yaml"), "-m", str(tmp_path / "model"), "--steps", "2"]
    args += [*(word for s in small for word in ("--set", s)), "--recipe", "tiny", "-o", str(tmp_path / "run")]
    assert command(args) == 0
    assert "recipe tiny: " in capsys.readouterr().err  # said before the start
    for name in ("manifest.json", "settings.json"):
        record = json.loads((tmp_path / "run" / name).read_text())
        assert (record["schema_version"], record["recipe"], record["method"]) == (2, "tiny", "anchor")
        assert record["config"]["train"]["steps"] == 2
        assert record["config"]["train"]["learning_rate"] == 1e-3
        assert record["config"]["method"]["push"] == 0.5
    assert command([*args, "--resume", "--set", "method.push=0.6"]) == 3
    assert "method.push = 0.5, not 0.6" in capsys.readouterr().err


def test_the_trainer_names_no_method_and_no_setting_of_one() -> None:
    names = set(METHODS.names())
    for name in METHODS.names():
        # A margin also is a prefix's (train.prefix_margin), and a prefix that of names in a file.
        names |= set(METHODS.get(name).Config.model_fields) - {"margin", "prefix"}
    for room in (
        "trainer",
        "averaging",
        "gradients",
        "assemble",
        "teacher",
        "trainable",
        "checkpoints",
        "finish",
    ):
        tree = ast.parse((LIBRARY / "hardening" / f"{room}.py").read_text(encoding="utf-8"))
        used = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        settings = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} - {"anchor"}
        assert not names & (used | settings), room


def test_the_manifest_holds_the_digest_of_the_whole_prompt_book(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    from safetext_sdk.hardening.finish import book_digest
    from safetext_sdk.policy import Policy
    from safetext_sdk.prompts import build
    from safetext_sdk.prompts.build import build_prompt_book

    monkeypatch.setattr(build, "_KEPT", 0)
    policy = Policy.model_validate(yaml.safe_load(POLICY))
    one, other = (build_prompt_book(policy, seed=seed, size=24) for seed in (0, 1))
    assert book_digest(one) == book_digest(build_prompt_book(policy, seed=0, size=24))
    assert book_digest(one) != book_digest(other)
    before = book_digest(one)
    one.test.unsafe.pop()
    assert book_digest(one) != before
