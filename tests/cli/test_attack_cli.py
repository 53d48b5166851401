"""`safetext attack` and `safetext prompts`: exit codes, lines, and what is written where."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from safetext_cli.main import run
from support.validation_case import POLICY, PixelDetector

from safetext_sdk.detectors import DETECTORS


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    def build(spec: Any, device: str) -> list[PixelDetector]:
        return [PixelDetector(0, list(spec.labels))]

    monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))
    DETECTORS.add("pixel", build)
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return str(path)


@pytest.mark.parametrize("command", ["attack", "prompts list", "prompts show"])
def test_help_fits_80_columns(command: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*command.split(), "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_list_of_published_sets_can_be_read_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """No word is cut in two."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["prompts", "list"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert {"Ring-A-Bell's", "MMA-Diffusion", "inappropriate"} <= set(shown.split())


def test_published_sets_are_listed_without_torch_and_shown(capsys: Any) -> None:
    assert run(["prompts", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["i2p"]["place"] == "hub:AIML-TUDA/i2p/i2p_benchmark.csv"
    assert rows["i2p"]["licence"] == rows["i2p"]["sha256"] == "not known"
    assert rows["coprov2"]["use"].startswith("training")
    assert {row["use"] for name, row in rows.items() if name != "coprov2"} == {"measuring only"}
    assert run(["prompts", "show", "mma"]) == 0
    shown = capsys.readouterr().out
    assert "columns: prompt: adv_prompt" in shown
    assert "access: on request" in shown
    assert run(["prompts", "show", "i2q"]) == 2
    assert "did you mean i2p" in capsys.readouterr().err


ATTACK = ["attack", "tiny", "--policy", "weapons", "--attack", "typos"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["attack", "tiny", "--attack", "typos"], 2, "is no run folder; say with --policy what is unsafe"),
        (["attack", "tiny", "--policy", "weapons"], 2, "nothing to run: name an attack"),
        (["attack", "tiny", "--policy", "weapon", "--attack", "typos"], 2, "did you mean 'weapons'"),
        (["attack", "tiny", "--policy", "weapons", "--attack", "typo"], 2, "unknown attack 'typo'"),
        ([*ATTACK, "--set", "seed=1"], 2, "write ATTACK.setting=value of an attack that is run (typos)"),
        ([*ATTACK, "--set", "context.words=9"], 2, "of an attack that is run (typos)"),
        ([*ATTACK, "--set", "typos.sed=1"], 2, "attack typos has no setting 'sed'; did you mean seed"),
        ([*ATTACK, "--attack-seeds", "0,x"], 2, "--attack-seeds '0,x': write whole numbers"),
        ([*ATTACK, "--column", "prompt=x"], 2, "--column and --label say how to read --prompts"),
        ([*ATTACK, "--prompts", "none.csv"], 2, "none.csv: cannot be read: No such file"),
        ([*ATTACK, "--prompts", "i2p=none.csv"], 2, "none.csv: cannot be read: No such file"),
        ([*ATTACK, "--prompts", "."], 2, "cannot be read: Is a directory"),
        ([*ATTACK, "--prompts", "jtp"], 2, "'jtp' is neither a file nor a published set of prompts"),
        ([*ATTACK, "--prompts", "x.csv", "--column", "prompt"], 2, "write field=column"),
        ([*ATTACK, "--prompts", "x.csv", "--column", "text=a"], 2, "prompts have no 'text'"),
        ([*ATTACK, "--prompts", "x.csv", "--label", "bad"], 2, "unknown label 'bad'"),
        ([*ATTACK, "--replay", "none.jsonl"], 2, "none.jsonl: cannot be read: there is no such file"),
        (["attack", "no-such-run", "--policy", "weapons", "--attack", "typos"], 3, "no-such-run"),
        (["validate", "no-such-run", "--prompts", "x.csv", "--label", "bad"], 2, "unknown label 'bad'"),
    ],
)
def test_wrong_calls(
    args: list[str], code: int, says: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(args) == code
    said = " ".join(capsys.readouterr().err.split())
    assert says in said
    assert "Traceback" not in said
    assert not any(p.is_file() for p in tmp_path.rglob("*")), "a refused call wrote something"


BAD_PROMPTS = [
    ("own.csv", "caption,label\na gun,unsafe\n", "no column 'prompt' (allowed: caption, label)"),
    ("own.csv", "prompt,label\na gun,unsafe\n,unsafe\n", "own.csv:3: prompt: the prompt is missing or empty"),
    (
        "own.jsonl",
        '{"prompt": "a gun"}\n{"prompt": ""}\n',
        "own.jsonl:2: prompt: the prompt is missing or empty",
    ),
    (
        "own.jsonl",
        json.dumps({"prompt": "x" * 10_000}),
        "own.jsonl:1: prompt: the prompt has 10,000 characters",
    ),
]


@pytest.mark.parametrize(("name", "text", "says"), BAD_PROMPTS)
def test_bad_prompts_are_one_line_and_nothing_is_lost(
    name: str, text: str, says: str, tmp_path: Path, capsys: Any
) -> None:
    """What an earlier call left in the folder of the report stays as it is."""
    own, kept = tmp_path / name, tmp_path / "report" / "attacks" / "typos.jsonl"
    own.write_text(text)
    kept.parent.mkdir(parents=True)
    kept.write_text("found before\n")
    assert run([*ATTACK, "--prompts", str(own), "--out", str(tmp_path / "report")]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert [p for p in (tmp_path / "report").rglob("*") if p.is_file()] == [kept]
    assert kept.read_text() == "found before\n"


def test_a_model_without_denoiser_and_a_policy_without_terms(
    policy: str, mini_sd1: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "report"
    common = ["--device", "cpu", "--out", str(out), "--quiet"]
    alone = ["attack", str(mini_sd1 / "text_encoder"), "--policy", policy, "--attack", "typos", *common]
    assert run(alone) == 2
    said = capsys.readouterr().err
    assert "has no denoiser, and whether an attack gets through is told on pictures" in said
    assert said.count("\n") == 1
    assert not out.exists()
    wordless = tmp_path / "wordless.yaml"
    wordless.write_text(WORDLESS)
    command = ["attack", str(mini_sd1), "--policy", str(wordless), "--attack", "translate", *common]
    assert run([*command, "--n", "2", "--steps", "1", "--size", "16x16"]) == 4
    assert json.loads((out / "summary.json").read_text())["attacks"][0]["entry"]["impossible"] == (
        "the policy has no terms"
    )


WORDLESS = """
version: 1
name: wordless
concepts:
  - id: weapon
    anchors: [a flower]
    unsafe_prompts: [a sharp thing, a blunt thing, a loud thing, a quick thing, a heavy thing, an odd thing]
    detectors: [{name: pixel, labels: [weapon]}]
safe_prompts: [an apple]
"""


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert run([*ATTACK, "--prompts", str(path), "--out", str(tmp_path / "r")]) == 3
    assert 'pip install "safetext-sdk[parquet]"' in capsys.readouterr().err


@pytest.mark.filterwarnings("default::safetext_sdk.errors.PromptFileWarning")
def test_from_a_file_to_the_report_and_on_to_a_replay(
    policy: str, mini_sd1: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.csv"
    own.write_text("caption,seed\nmy gun,1\nmy knife,2\n")
    common = ["--policy", policy, "--device", "cpu", "--prompts", str(own), "--column", "prompt=caption"]
    run_it = ["attack", str(mini_sd1), *common, "--attack", "typos", "--set", "typos.seed=3"]
    assert run([*run_it, "--attack", "gcg-encoder", "--budget", "small", "--set", "gcg-encoder.steps=1"]) == 0
    said = capsys.readouterr()
    assert f"warning: {own}: nothing is read from seed" in said.err
    assert "typos, black box, seed 3" in said.out
    assert "own.csv: 2 of 2 prompts" in said.out
    folder = tmp_path / "runs" / "weapons-sd1-attack-s0"
    assert said.out.splitlines()[-1] == f"report: {folder.relative_to(tmp_path)}"
    file = folder / "attacks" / "gcg-encoder.jsonl"
    settings = json.loads(file.read_text().splitlines()[0])["settings"]
    assert (settings["steps"], settings["candidates"]) == (1, 48)
    again = ["attack", str(mini_sd1), "--policy", policy, "--device", "cpu", "-q", "--out", "again"]
    assert run([*again, "--replay", str(file)]) == 0
    summary = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert [line["entry"]["name"] for line in summary["attacks"]] == ["gcg-encoder.replay"]
