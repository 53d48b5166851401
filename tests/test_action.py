"""The GitHub Action's own scripts, run by bash as GitHub runs them: every outcome has the right code."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.small_case import small_policy

ROOT = Path(__file__).parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
PACKAGES = [str(ROOT), str(ROOT / "cli"), str(ROOT / "exporters")]
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]


def step(name: str) -> dict[str, Any]:
    (found,) = [s for s in ACTION["runs"]["steps"] if s.get("name") == name]
    return dict(found)


def program(folder: Path, name: str, text: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


class Job:
    """One use of the action in a folder: inputs are given as GitHub gives them, outputs read as it reads
    them."""

    def __init__(self, folder: Path, **inputs: str) -> None:
        self.folder = folder
        usual = {name: str(each.get("default", "")) for name, each in ACTION["inputs"].items()}
        self.inputs = usual | {name.replace("_", "-"): value for name, value in inputs.items()}
        self.output = folder / "output"
        self.page = folder / "page.md"

    def run(self, name: str, **more: str) -> int:
        found = step(name)
        variables = {}
        for key, value in found.get("env", {}).items():
            inner = value.removeprefix("${{ ").removesuffix(" }}")
            variables[key] = self.inputs.get(inner.removeprefix("inputs."), "")
        environment = {
            **os.environ,
            **variables,
            **more,
            # The packages of this checkout, installed or not.
            "PYTHONPATH": os.pathsep.join([*PACKAGES, os.environ.get("PYTHONPATH", "")]),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.page),
        }
        return subprocess.run([*BASH, found["run"]], cwd=self.folder, env=environment, check=False).returncode

    def gate(self) -> dict[str, str]:
        """The step that measures, and the code that the job ends with."""
        assert self.run("measure and judge") == 0
        said = dict(line.split("=", 1) for line in self.output.read_text().splitlines())
        return {**said, "job": str(self.run("verdict", CODE=said["code"]))}


FAKE = """
echo "$*" >> calls
case "$1 ${FAIL_AT:-}" in
  "$FAIL_AT $FAIL_AT") exit "$FAIL_WITH" ;;
esac
"""


@pytest.mark.parametrize(
    ("command", "code", "verdict", "job"),
    [
        ("gate", 0, "pass", 0),
        ("gate", 1, "fail", 1),
        ("gate", 4, "inconclusive", 4),
        ("gate", 2, "error", 2),
        ("gate", 3, "error", 3),
        ("validate", 3, "error", 3),
        ("validate", 130, "error", 130),
        ("validate", 1, "error", 3),  # not a gate that failed
        ("harden", 4, "error", 3),
        ("policy", 2, "error", 2),
    ],
)
def test_every_exit_code(
    command: str, code: int, verdict: str, job: int, tmp_path: Path, monkeypatch
) -> None:
    program(tmp_path, "safetext", FAKE)
    monkeypatch.setenv("FAIL_AT", command)
    monkeypatch.setenv("FAIL_WITH", str(code))
    found = Job(tmp_path, policy="weapons", model="tiny", harden="true").gate()
    assert (found["verdict"], found["job"]) == (verdict, str(job))


def test_what_is_called(tmp_path: Path) -> None:
    program(tmp_path, "safetext", FAKE)
    evil = "weapons; touch stolen $(touch stolen)"
    Job(tmp_path, policy=evil, model="sd14", encoder="owner/name/sub", validate_options="--n 8").gate()
    assert not (tmp_path / "stolen").exists()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [
        f"policy lint {evil}",
        f"validate --original sd14 --encoder owner/name/sub --policy {evil} --out safetext-audit --quiet "
        "--n 8",
        "gate safetext-audit",
    ]
    (tmp_path / "calls").unlink()
    Job(tmp_path, policy="p", model="m", run="r", baseline="old", gate_options="--margin 0.1").gate()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[1:] == ["validate r --policy p --quiet", "gate r/report --baseline old --margin 0.1"]


@pytest.mark.parametrize("options", ["--encoder r/exports/onnx --n 4", "--n 4 --encoder=r/exports/onnx"])
def test_the_report_on_an_export_is_the_one_that_is_judged(options: str, tmp_path: Path) -> None:
    program(tmp_path, "safetext", FAKE)
    found = Job(tmp_path, policy="p", model="m", run="r", validate_options=options).gate()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[1:] == [f"validate r --policy p --quiet {options}", "gate r/report-exported"]
    assert found["report"] == "r/report-exported"
    assert found["verdict"] == "pass"


@pytest.mark.parametrize("options", ["--out there", "--n 4 --out=there", "-o there", "-othere"])
@pytest.mark.parametrize("of", ["harden", "validate"])
@pytest.mark.parametrize("encoder", ["", "owner/name"])
def test_no_option_sends_run_or_report_elsewhere(
    options: str, of: str, encoder: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An older report would be judged in the place of the one that was made."""
    program(tmp_path, "safetext", FAKE)
    inputs = {f"{of}_options": options, "encoder": encoder}
    found = Job(tmp_path, policy="p", model="m", run="r", harden="true", **inputs).gate()
    assert (found["verdict"], found["code"], found["job"]) == ("error", "2", "2")
    assert not (tmp_path / "calls").exists(), "nothing is begun"
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"error: {of}-options cannot have -")


def test_the_comment(tmp_path: Path) -> None:
    program(tmp_path, "gh", 'echo "$*" > said; cat "${@: -1}" > body')
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "summary.md").write_text("the verdict")
    job = Job(tmp_path)
    assert job.run("comment", PULL="7", REPORT="report", VERDICT="fail") == 0
    assert (tmp_path / "said").read_text().startswith("pr comment 7 --edit-last --create-if-none --body-file")
    assert (tmp_path / "body").read_text() == "the verdict"
    # A report of an earlier job must not speak for one that broke.
    assert job.run("comment", PULL="7", REPORT="report", VERDICT="error") == 0
    assert "no verdict" in (tmp_path / "body").read_text()


@pytest.mark.slow
def test_harden_validate_gate_and_summary_on_the_embedded_model(tmp_path: Path) -> None:
    program(tmp_path, "safetext", f'exec "{sys.executable}" -m safetext_cli.main "$@"')
    job = Job(
        tmp_path,
        policy=str(small_policy(tmp_path)),
        model="tiny",
        harden="true",
        run="run",
        harden_options="--steps 5 --set train.prompts=40 --device cpu",
        validate_options="--n 4 --attacks none --device cpu",
    )
    found = job.gate()
    assert found["verdict"] in (
        "fail",
        "inconclusive",
    )  # five steps harden little, four prompts prove less
    assert found["job"] == {"fail": "1", "inconclusive": "4"}[found["verdict"]]
    assert (tmp_path / found["report"] / "junit.xml").is_file()
    assert "weapons" in job.page.read_text()


def test_the_examples_and_hooks_are_whole(tmp_path: Path) -> None:
    """What they call is there, and options are spelt as the commands have them."""
    from safetext_cli.main import run

    gitlab = yaml.safe_load((ROOT / "examples" / "ci" / "gitlab.yml").read_text(encoding="utf-8"))
    lines = [line for line in gitlab["safetext-gate"]["script"] if line.startswith("safetext ")]
    assert [line.split()[1] for line in lines] == ["policy", "harden", "validate", "gate"]
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    command = hook["entry"].split()[1:]
    path = small_policy(tmp_path)
    assert run([*command, str(path), str(path)]) == 0


def test_the_hook_tells_every_file_that_is_wrong(tmp_path: Path, capsys) -> None:
    from safetext_cli.main import run

    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("version: 1\nname: x\nconceptz: []\n")
    paths = [str(tmp_path / f"{name}.yaml") for name in ("one", "two")]
    assert run(["policy", "lint", "--each", *paths]) == 2
    said = capsys.readouterr().err
    assert all(path in said for path in paths)
