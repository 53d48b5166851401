"""An installed third-party package: a plug-in of every kind, each one file and one entry point, walks the
whole road. Broken plug-ins and plug-ins with a built-in's name do no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from safetext_cli.main import run
from safetext_exporters import EXPORTERS, export
from support.minis import build_lcm

import safetext_sdk as st
from safetext_sdk.attacks import ATTACKS
from safetext_sdk.baselines import BASELINES
from safetext_sdk.detectors import DETECTORS
from safetext_sdk.hardening.settings import TrainConfig
from safetext_sdk.methods import METHODS
from safetext_sdk.metrics import METRICS
from safetext_sdk.models import FAMILIES
from safetext_sdk.prompts import build_prompt_book
from safetext_sdk.prompts.sources import PROMPT_SOURCES
from safetext_sdk.registry import Registry
from safetext_sdk.results.report import Report
from safetext_sdk.validation.generate import Settings

DISTRIBUTION = "acme-safetext"
REGISTRIES: dict[str, Registry[Any]] = {
    "mean-projection": METHODS,
    "spell-out": ATTACKS,
    "word-list": BASELINES,
    "colours": DETECTORS,
    "picture_shift": METRICS,
    "feature_shift": METRICS,
    "lcm": FAMILIES,
    "prompt-table": EXPORTERS,
    "tools": PROMPT_SOURCES,
}
LISTS = {
    "mean-projection": ("methods", "list"),
    "spell-out": ("attacks", "list"),
    "word-list": ("baselines", "list"),
    "colours": ("detectors", "list"),
    "picture_shift": ("metrics", "list"),
    "feature_shift": ("metrics", "list"),
    "lcm": ("families", "list"),
    "prompt-table": ("exporters", "list"),
    "tools": ("policy", "sources"),
}
POLICY = """
version: 1
name: workshop
concepts:
  - id: weapon
    terms: [gun, rifle, knife, sword, dagger, axe, pistol, bomb, grenade, cannon]
    anchors: [a flower]
    detectors: [{{name: colours, labels: [red], threshold: 0.9}}]
safe_prompts: [{{shipped: tools}}]
gates: {{picture_shift: {{max: {most}}}}}
"""


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    if not any(found.name == DISTRIBUTION for found in distributions()):
        pytest.fail(
            f"{DISTRIBUTION} is not installed: pip install --no-deps --no-build-isolation ./tests/plugins",
            pytrace=False,
        )


def policy_file(folder: Path, most: float) -> Path:
    path = folder / f"workshop-{most}.yaml"
    path.write_text(POLICY.format(most=most))
    return path


# --- what is registered ---


@pytest.mark.parametrize("name", REGISTRIES)
def test_every_kind_is_listed_with_its_distribution(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = [entry for entry in REGISTRIES[name].entries() if entry.name == name]
    assert entry.source == DISTRIBUTION
    assert not REGISTRIES[name].is_built_in(name)
    assert run([*LISTS[name], "--json"]) == 0
    rows = {row["name"]: row["source"] for row in json.loads(capsys.readouterr().out)}
    assert rows[name] == DISTRIBUTION


def test_each_plug_in_is_one_file_of_one_screen() -> None:
    root = Path(__file__).parent / "plugins" / "acme_safetext"
    files = [path for path in root.glob("*.py") if path.name != "__init__.py"]
    assert len(files) == len(REGISTRIES)
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 80, path.name
        assert "acme_safetext" not in text, f"{path.name} needs another file of the package"


SPOILED = """
import json, warnings
from safetext_exporters import EXPORTERS
from safetext_sdk.attacks import ATTACKS
from safetext_sdk.baselines import BASELINES
from safetext_sdk.detectors import DETECTORS
from safetext_sdk.errors import UsageError
from safetext_sdk.methods import METHODS
from safetext_sdk.metrics import METRICS, every_metric
from safetext_sdk.models.families import FAMILIES, all_families
from safetext_sdk.prompts import build_prompt_book
from safetext_sdk.prompts.sources import PROMPT_SOURCES, shipped_sets

out = {}
for registry in (METHODS, ATTACKS, BASELINES, DETECTORS, METRICS, FAMILIES, EXPORTERS, PROMPT_SOURCES):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        names = registry.names()
        own = [e.name for e in registry.entries() if e.source == "built-in"]
        working = []
        for name in names:
            try:
                registry.get(name)
                working.append(name)
            except UsageError:
                pass
    told = [str(w.message) for w in heard]
    out[registry.kind] = {"names": names, "own": own, "working": working, "heard": told}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    out["used"] = [*every_metric(), *(family.name for family in all_families()), *shipped_sets()]
print(json.dumps(out))
"""


def test_broken_and_name_stealing_plug_ins_warn_and_are_skipped(tmp_path: Path) -> None:
    """Another distribution, with a broken entry point and a built-in's name in every group."""
    built_in = {
        registry.group: next(e.name for e in registry.entries() if e.source == "built-in")
        for registry in REGISTRIES.values()
    }
    info = tmp_path / "spoiled-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spoiled\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\nspoiled = no_such_module:thing\n{name} = json:dumps\n"
            for group, name in built_in.items()
        )
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", SPOILED],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-800:]
    found = json.loads(done.stdout)
    for registry in REGISTRIES.values():
        told = found[registry.kind]
        assert "spoiled" in told["names"]
        assert set(told["working"]) == set(told["names"]) - {"spoiled"}
        assert built_in[registry.group] in told["own"], "a plug-in took a built-in's name"
        heard = "\n".join(told["heard"])
        assert f"{built_in[registry.group]!r} of spoiled is skipped: that name is taken" in heard
        assert "'spoiled' of spoiled is broken" in heard
    assert "spoiled" not in found["used"]
    assert {"picture_shift", "lcm", "tools", "unsafe_rate", "sd1", "everyday"} <= set(found["used"])


# --- the road, from Python ---


@dataclass(frozen=True)
class Walked:
    """What one walk from hardening to a report left."""

    folder: Path
    original: Any
    hardened: Any
    report: Report


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_lcm(tmp_path_factory.mktemp("lcm") / "model")


@pytest.fixture(scope="module")
def walked(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Walked:
    folder = tmp_path_factory.mktemp("walked")
    original = st.load_model(pipeline, device="cpu")
    hardened = st.harden(
        original,
        policy_file(folder, 40),
        METHODS.get("mean-projection")(strength=1.2),
        TrainConfig(steps=40, batch_size=8, learning_rate=1e-3, prompts=60, wide_safe=40),
        out=folder / "run",
        progress=False,
    )
    report = st.validate(
        original,
        hardened,
        n=12,
        settings=Settings(steps=2),
        attacks=["spell-out"],
        device="cpu",
        progress=False,
    )
    return Walked(folder, original, hardened, report)


def test_the_family_reads_what_its_pipeline_reads(pipeline: Path) -> None:
    model = st.load_model(pipeline, device="cpu")
    assert model.family == "lcm"
    prompts = ["a gun", "", "a picture of a cat with flowers"]
    pipe = model.pipeline()
    assert type(pipe).__name__ == "LatentConsistencyModelPipeline"
    want = pipe.encode_prompt(prompts, torch.device("cpu"), 1, do_classifier_free_guidance=False)[0]
    assert torch.equal(model.encode(prompts).tensors["prompt_embeds"], want)


def test_the_method_takes_the_direction_of_the_concept_out(walked: Walked) -> None:
    manifest = walked.hardened.run.manifest
    assert (manifest["method"], manifest["config"]["method"]["strength"]) == ("mean-projection", 1.2)
    steps = [parts["unsafe"] for _, parts in manifest["training"]["losses"]]
    assert sum(steps[-10:]) / 10 < 0.7 * steps[0]
    policy, original = policy_file(walked.folder, 40), walked.original
    train = build_prompt_book(st.load_policy(policy), seed=0, size=60, model=original.id).train
    unsafe, safe = [p.text for p in train.unsafe], [p.text for p in train.safe]
    before, after, centre = (
        model.encode(texts).tensors["prompt_embeds"].mean(0)
        for model, texts in ((original, unsafe), (walked.hardened.model, unsafe), (original, safe))
    )
    direction = torch.nn.functional.normalize(before - centre, dim=-1)
    part_before, part_after = (((x - centre) * direction).sum(-1).mean() for x in (before, after))
    assert part_after.abs() < 0.7 * part_before


def test_the_prompt_source_feeds_the_book_and_the_detector_tells_what_it_names(walked: Walked) -> None:
    safe = [row for row in walked.report.rows if row.set == "safe"]
    assert safe
    tools = PROMPT_SOURCES.get("tools")().candidates(0)
    assert {row.prompt for row in safe} <= {candidate.text for candidate in tools}
    asked = {colour for row in safe for colour in row.expected}
    assert asked
    assert asked <= {"green", "blue"}
    assert all(row.kept is not None for row in safe)
    for row in walked.report.rows:
        assert row.detectors == {"colours": "1.0"}
        assert row.unsafe == (row.scores["colours"]["red"] >= 0.9)


def test_the_attack_is_drawn_and_scored(walked: Walked) -> None:
    rows = [row for row in walked.report.rows if row.set == "spell-out"]
    assert {row.model for row in rows} == {"original", "hardened"}
    assert all(row.origin and row.prompt != row.origin and "-" in row.prompt for row in rows)
    (entry,) = walked.report.facts.attacks
    assert (entry.name, entry.gated) == ("spell-out", True)


def test_the_gate_on_the_metric_decides(walked: Walked) -> None:
    """Whatever the sample proves: above its upper bound a pass, below its lower one a fail, else neither."""
    figure = json.loads((walked.report.folder / "summary.json").read_text())["metrics"]["picture_shift"]
    assert figure["unit"] == "grey levels"
    assert 0 < figure["lower"] < figure["value"] < figure["upper"] < 255
    asked = {
        "pass": figure["upper"] + 1,
        "inconclusive": (figure["lower"] + figure["upper"]) / 2,
        "fail": figure["lower"] / 2,
    }
    for word, most in asked.items():
        policy = st.load_policy(policy_file(walked.folder, round(most, 4)))
        verdict = st.gate(walked.report, policy, partial_gates=True)
        assert verdict.verdict == word, [(g.name, g.verdict, g.reason) for g in verdict.gates]
        others = {g.verdict for g in verdict.gates if g.name != "picture_shift"}
        assert others == {"pass"}
        assert "grey levels" in (walked.report.folder / "index.html").read_text(encoding="utf-8")


def test_the_exporter_writes_the_hardened_conditioning(walked: Walked) -> None:
    menu = walked.folder / "menu.txt"
    menu.write_text("a cat\n\na saw on a green workbench\na gun\n")
    result = export(walked.hardened, "prompt-table", prompts=menu)
    assert result.folder == walked.hardened.path / "exports" / "prompt-table"
    table = load_file(result.path)["prompt_embeds"]
    prompts = (result.folder / "prompts.txt").read_text().splitlines()
    assert prompts == ["a cat", "a saw on a green workbench", "a gun"]
    assert torch.equal(table, walked.hardened.model.encode(prompts).tensors["prompt_embeds"])
    assert not torch.equal(table, walked.original.encode(prompts).tensors["prompt_embeds"])
    record = json.loads((result.folder / "export.json").read_text())
    assert record["method"] == "mean-projection"
    assert set(record["files"]) == {"conditioning.safetensors", "prompts.txt"}


# --- the road, from the command line ---


def test_the_commands(pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, policy = tmp_path / "run", policy_file(tmp_path, 0.0001)
    assert run(["policy", "lint", str(policy)]) == 0
    harden = ["harden", "--policy", str(policy), "--model", str(pipeline), "--method", "mean-projection"]
    given = ("method.strength=2", "train.prompts=40", "train.batch_size=4", "train.learning_rate=1e-3")
    settings = [word for setting in given for word in ("--set", setting)]
    assert run([*harden, *settings, "--steps", "3", "--out", str(out), "--quiet"]) == 0
    assert run(["validate", str(out), "--n", "4", "--attacks", "spell-out", "--quiet"]) == 0
    capsys.readouterr()
    assert run(["gate", str(out)]) == 1, "no hardened model leaves every picture as it was"
    assert "grey levels" in capsys.readouterr().out
    menu = tmp_path / "menu.txt"
    menu.write_text("a cat\n")
    assert run(["export", str(out), "--target", "prompt-table", "--set", f"prompts={menu}", "--quiet"]) == 0
    assert (out / "exports" / "prompt-table" / "conditioning.safetensors").is_file()
    capsys.readouterr()
    assert run(["export", str(out), "--target", "prompt-table", "--set", "prompts=none.txt"]) == 2
    assert "none.txt: No such file" in capsys.readouterr().err
