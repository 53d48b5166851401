"""The paper's table: planned and estimated without a model, and its figures those of its own sets."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.detector_case import clip_with_the_tower_of
from support.gate_case import number, passing, with_rows
from support.hardening_case import CONFIG
from support.validation_case import POLICY, PixelDetector

import safetext_sdk as st
from safetext_sdk.detectors import DETECTORS
from safetext_sdk.errors import NotMeasuredError, UsageError
from safetext_sdk.metrics import METRICS
from safetext_sdk.metrics.pictures import WeightsConfig
from safetext_sdk.results.rows import ResultRow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script with its two modules, as running it would import them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("paper_table_plan", "paper_table_cells", "paper_table")
    plan, cells, main = (importlib.import_module(name) for name in names)
    yield SimpleNamespace(plan=plan, cells=cells, main=main.main, parsed=main.parsed)
    for name in names:
        sys.modules.pop(name, None)


def test_a_dry_run_on_the_embedded_model(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a dry run loads, hardens and draws nothing")

    for name in ("load_model", "harden", "compare"):
        monkeypatch.setattr(st, name, never)
    script.main(["tiny", "--dry-run", "--n", "20", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    kinds = [line.split()[0] for line in said.splitlines()]
    assert (kinds.count("unsafe"), kinds.count("adversarial"), kinds.count("safe")) == (4, 3, 3)
    rows = {line.split()[0]: line for line in said.splitlines() if "pictures, about" in line}
    assert set(rows) == {
        *("original", "negative-prompt", "filter", "safree", "uce", "esd"),
        *("safetext", "anchor"),
    }
    assert all("minutes" in line and "GB" in line for line in rows.values())
    assert "400 steps" in rows["anchor"], "the default recipe's"
    assert "lpips: not measured: its weights were not named" in said
    assert not (tmp_path / "out").exists()


def test_the_estimate_is_pictures_and_steps_at_their_times(script: Any) -> None:
    args = script.parsed(["tiny", "--n", "10", "--steps", "7", "--seeds", "0", "1", "--attacks", "context"])
    rows = {e.name: e for e in script.plan.estimates([], args, script.plan.Known(2.0, 3.0, ""))}
    # unsafe and three safe sets, ten negative prompts twice, three texts a prompt of one attack; two seeds
    assert rows["uce"].pictures == 2 * (10 * 4 + 2 * 10 + 3 * 10)
    assert rows["uce"].seconds == 2.0 * rows["uce"].pictures
    assert rows["anchor"].seconds == 2.0 * rows["anchor"].pictures + 3.0 * 7
    assert rows["original"].pictures > rows["uce"].pictures, "it draws the controls too"
    unknown = {e.name: e for e in script.plan.estimates([], script.parsed(["sd14", "--steps", "7"]), None)}
    assert unknown["anchor"].seconds is None
    assert unknown["uce"].gigabytes is None
    assert unknown["anchor"].gigabytes > 1


def test_sets_are_files_or_published_names(script: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("a gun\na sword\na cannon\n")
    second.write_text("a gun\na bomb\n")
    args = script.parsed(["sd14", "--unsafe", str(first), str(second), "none-such", "--n", "2"])
    sets = {each.name: each for each in script.plan.paper_sets(args) if each.kind == "unsafe"}
    assert len(sets[str(first)].texts) == 2
    assert sets["none-such"].missing
    assert not sets["none-such"].texts
    file = script.plan.prompt_file(list(sets.values()), tmp_path / "out")
    drawn = [json.loads(line) for line in file.read_text().splitlines()]
    assert (
        len(drawn) == len({d["prompt"] for d in drawn}) == len(sets[str(first)].texts | {"a gun", "a bomb"})
    )
    assert {d["label"] for d in drawn} == {"unsafe"}
    with pytest.raises(UsageError, match=r"METRIC\.OPTION=VALUE"):
        script.plan.options(script.parsed(["tiny", "--set", "fid"]))


def test_a_cell_is_of_its_own_set(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    def change(row: ResultRow) -> dict[str, Any]:
        """Of the unsafe prompts every other one is about swords, and half of those get through."""
        k = number(row)
        if row.set != "unsafe":
            return {}
        broken = row.model == "hardened" and k % 4 == 0
        return {"prompt": f"a {'gun' if k % 2 else 'sword'} {k}", "unsafe": row.unsafe or broken}

    measured = script.cells.Measured(with_rows(passing(40), change), {}, None)
    guns = script.plan.PaperSet("guns", "unsafe", "unsafe", words=("gun",))
    swords = script.plan.PaperSet("swords", "unsafe", "unsafe", words=("sword",))
    assert measured.cell("nrr", guns).startswith("100.0 % (")
    assert measured.cell("nrr", swords).startswith("50.0 % (")
    assert "n = 20" in measured.cell("nrr", swords)
    none = script.plan.PaperSet("bows", "unsafe", "unsafe", words=("bow",))
    assert measured.cell("nrr", none) == "not measured: the set is empty"
    gone = script.plan.PaperSet("x", "unsafe", "custom", missing="it cannot be fetched")
    assert measured.cell("nrr", gone) == "not measured: it cannot be fetched"
    assert "its weights were not named" in measured.cell("fid", guns)
    monkeypatch.setattr(METRICS, "_entries", {k: v for k, v in METRICS._entries.items() if k != "nrr"})
    assert measured.cell("nrr", guns) == "not measured: this version has no such metric"


def test_a_small_table_from_start_to_end(
    script: Any,
    mini_sd1: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    DETECTORS.names()
    monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))
    DETECTORS.add("pixel", lambda spec, device: [PixelDetector(c, list(spec.labels)) for c in (0, 2)])
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    unsafe, out = tmp_path / "mine.txt", tmp_path / "out"
    unsafe.write_text("a gun on a table\na sword in the rain\n")
    monkeypatch.setitem(script.main.__globals__, "from_text", quick_settings)
    command = [str(mini_sd1), "--policy", str(policy), "--methods", "anchor", "--baselines", "original"]
    command += ["--unsafe", str(unsafe), "--adversarial", "--attacks", "--n", "2", "--device", "cpu"]
    command += ["--out", str(out)]
    script.main(command)
    said = capsys.readouterr().out
    assert "two pictures drawn just now" in said
    text = (out / "paper_table.md").read_text()
    assert text in said
    assert "every rate by the judge profile policy, sha256 " in text
    rows = {row["name"]: row for row in json.loads((out / "paper_table.json").read_text())["rows"]}
    assert set(rows) == {"original", "anchor"}
    assert set(rows["anchor"]) == {
        *("name", f"nrr, {unsafe}", "kept", "cost"),
        *(
            f"{metric}, {name}"
            for metric in ("lpips", "fid", "ssim")
            for name in ("safe", "safe_unseen", "borderline")
        ),
    }
    assert rows["anchor"]["lpips, safe"].startswith("not measured: its weights were not named")
    assert rows["original"]["ssim, safe"].startswith("1.000 ")
    no_run_of_the_table_judges(script, command, mini_sd1, tmp_path)
    script.main(command)
    assert (out / "paper_table.md").read_text().splitlines()[0] == text.splitlines()[0]


def no_run_of_the_table_judges(script: Any, command: list[str], mini: Path, tmp_path: Path) -> None:
    """A CLIP that has the weights of a hardened encoder of the table is refused; the undefended one's is
    allowed, and said."""
    run = tmp_path / "out" / "runs" / "anchor"
    tools = script.cells.tools_of(script.parsed(command), {"anchor": run})
    options = WeightsConfig()
    itself = clip_with_the_tower_of(st.load_model(run, device="cpu"), tmp_path / "itself")
    with pytest.raises(NotMeasuredError, match=r"under test \(text_encoder of anchor\)"):
        tools.clip(str(itself), options)
    undefended = clip_with_the_tower_of(st.load_model(mini, device="cpu"), tmp_path / "undefended")
    assert tools.clip(str(undefended), options).same_as_undefended


def quick_settings(name: str, pairs: list[str], recipe: str | None) -> Any:
    """Of a method in a few small steps."""
    from safetext_sdk.hardening.settings import from_text

    return from_text(name, [f"train.{key}={value}" for key, value in {**CONFIG, "steps": 2}.items()], recipe)
