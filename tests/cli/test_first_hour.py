"""What a new user stumbles over in the first hour: each stumble is told in a line that says what to do."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer.main
from rich.console import Console
from safetext_cli.main import app, run
from safetext_exporters import EXPORTERS, options_of
from support.hardening_case import POLICY

import safetext_sdk as st
from safetext_sdk.errors import PolicyError, PromptFileWarning, UsageError
from safetext_sdk.files import sweep, temporary_name
from safetext_sdk.models.run_folder import RunFolder
from safetext_sdk.policy.prompt_ref import PromptRef
from safetext_sdk.prompts.prompt_files import read_rows
from safetext_sdk.results.summary import GateResult
from safetext_sdk.validation.telling import told
from safetext_sdk.verdict.decision import Verdict, next_step

# --- names ---


def test_an_unknown_target_lists_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "no-run", "-t", "nope"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in EXPORTERS.names())
    assert "did you mean" not in said
    assert run(["export", "no-run", "-t", "onx"]) == 2
    assert "did you mean onnx?" in capsys.readouterr().err


@pytest.mark.parametrize("target", EXPORTERS.names())
def test_an_exporter_shows_its_options(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exporters", "show", target]) == 0
    said = capsys.readouterr().out
    assert all(f"--set {name}=" in said for name in options_of(target))


def test_validate_speaks_of_run_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--policy", "weapons"]):
        assert run(["validate", "nope", *more]) == 3
        said = capsys.readouterr().err
        assert "nope is not a run folder (there is no such folder)" in said
        assert "safetext harden" in said


# --- what is said, and when ---


def test_validate_has_an_option_for_every_set() -> None:
    command = typer.main.get_command(app).commands["validate"]  # type: ignore[attr-defined]
    from safetext_sdk.validation.set_sizes import OPTIONS

    known = {name for p in command.params for name in p.opts}
    assert set(OPTIONS.values()) <= known


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pass",), "safetext export runs/w"),
        (("inconclusive", "pass"), "options that the undecided gates name"),
        (("fail", "inconclusive"), "exits with 1"),
    ],
)
def test_the_next_step_follows_the_verdict(words: tuple[Any, ...], says: str) -> None:
    verdict = Verdict(tuple(GateResult.model_construct(name="g", verdict=word) for word in words))
    assert says in next_step(verdict, "runs/w")
    assert "\n" not in next_step(verdict, "runs/w")


@pytest.mark.parametrize("command", [["validate", "absent"], ["harden", "--policy", "weapons"]])
def test_something_is_said_within_five_seconds(command: list[str], tmp_path: Path) -> None:
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "safetext_cli.main", *command],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"loading ")
        assert time.monotonic() - started < 5
    finally:
        process.kill()
        process.communicate()


def test_progress_moves_by_itself_and_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    import rich.console

    shown = io.StringIO()
    monkeypatch.setattr(
        rich.console,
        "Console",
        lambda **_: Console(file=shown, force_terminal=True, width=80, color_system=None),
    )
    with told(True) as tell:
        time.sleep(0.5)
        before = shown.getvalue()
        tell("attack coordinate-descent-on-the-denoiser", 1234, 100_000)
        tell("pictures", 99_999, 100_000)
        time.sleep(0.5)
    assert before.count("preparing") >= 2, "nothing moved before the first step"
    lines = [line for part in shown.getvalue().split("\n") for line in part.split("\r")]
    assert any("99999/100000" in line for line in lines)
    plain = [Console(width=200).render_str(line).plain for line in lines]
    assert max(len(_without_control(line)) for line in plain) <= 80


def _without_control(line: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip()


# --- killed, full ---


def test_a_run_that_was_killed_says_resume(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "settings.json").write_text("{}")
    with pytest.raises(st.RunError, match=r"unfinished run; add --resume"):
        RunFolder.create(tmp_path / "run")


def test_what_a_kill_left_is_swept(tmp_path: Path) -> None:
    place = tmp_path / "run"
    (place / "checkpoints").mkdir(parents=True)
    temporary_name(place / "checkpoints" / "step-000001").mkdir()
    temporary_name(place / "settings.json").touch()
    mine = place / "checkpoints" / ".notes.tmp-1"
    mine.touch()
    (place / "settings.json").write_text("{}")
    RunFolder.create(place, resume=True)
    assert sorted(p.relative_to(place).as_posix() for p in place.rglob("*")) == [
        "checkpoints",
        "checkpoints/.notes.tmp-1",
        "settings.json",
    ]


def test_a_folder_of_leftovers_alone_is_free(tmp_path: Path) -> None:
    temporary_name(tmp_path / "settings.json").touch()
    RunFolder.create(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_the_named_leftovers_are_swept(tmp_path: Path) -> None:
    temporary_name(tmp_path / "onnx").mkdir()
    other = temporary_name(tmp_path / "diffusers")
    other.mkdir()
    assert sweep(tmp_path, "onnx") == 1
    assert list(tmp_path.iterdir()) == [other]


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, kind: str) -> Iterator[None]:
    """A disk that takes a little of each checkpoint: told as the system does, or as safetensors does."""
    import safetensors.torch

    def save(state: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"x" * 100)
        if kind == "system":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        raise safetensors.SafetensorError(  # type: ignore[attr-defined]
            f"Error while serializing: I/O error: {os.strerror(errno.ENOSPC)} (os error 28)"
        )

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", save)
        yield


@pytest.mark.parametrize("kind", ["system", "safetensors"])
def test_a_full_disk_in_harden_is_one_line_and_resumes(
    kind: str,
    mini_sd1: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    policy, out = tmp_path / "policy.yaml", tmp_path / "run"
    policy.write_text(POLICY)
    call = ["harden", "--policy", str(policy), "--model", str(mini_sd1), "--out", str(out), "--quiet"]
    for setting in ("prompts=24", "batch_size=4", "wide_safe=40", "checkpoint_steps=1"):
        call += ["--set", f"train.{setting}"]
    call += ["--steps", "2"]
    with full_disk(monkeypatch, kind):
        assert run(call) == 3
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: No space left on device")
    assert "--resume" in said
    assert len(said.splitlines()) == 1
    assert run(call) == 3
    assert "add --resume" in capsys.readouterr().err
    assert run([*call, "--resume"]) == 0
    assert not list(out.rglob(".*.tmp-*"))


# --- prompts and policies ---


@pytest.mark.parametrize("bad", ["a gun\x00", "a \ud800gun"])
@pytest.mark.parametrize("column", ["prompt", "anchor"])
def test_damaged_texts_in_a_file_of_a_policy_are_refused_with_their_line(
    bad: str, column: str, tmp_path: Path
) -> None:
    rows = [{"prompt": "a gun", "anchor": "a cat"}, {"prompt": "a gun", "anchor": "a cat", column: bad}]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    ref = PromptRef(path=str(file), anchor_column="anchor")
    with pytest.raises(PolicyError, match=r"pairs.jsonl:2.*no text has"):
        read_rows(ref, "concepts.0.unsafe_prompts.0")


@pytest.mark.parametrize("bad", ["a gun\x00", os.fsdecode(b"a \xff gun")])
def test_damaged_texts_on_the_command_line_are_refused(bad: str) -> None:
    from safetext_sdk.validation.generate import Request
    from safetext_sdk.validation.picture_grid import picture_grid

    with pytest.raises(UsageError, match="no text has"):
        picture_grid([], [Request(bad, 0)])


def policy_with_file(folder: Path, path: str, more: str = "") -> Path:
    (folder / "p").mkdir()
    file = folder / "p" / "policy.yaml"
    file.write_text(POLICY.replace('"a cat", "an apple"', f"{{path: {path}{more}}}"))
    return file


def test_a_file_outside_of_the_policys_folder_is_told_with_its_line(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "safe.txt").write_text("a red apple\n")
    file = policy_with_file(tmp_path, "../safe.txt")
    with pytest.warns(PromptFileWarning, match=r"policy.yaml:10: .*lies outside .*sha256: \w{64}"):
        policy = st.load_policy(file)
    # Pinned content is known content: the policy that a run keeps is read without a word.
    (tmp_path / "run").mkdir()
    kept = tmp_path / "run" / "policy.yaml"
    kept.write_text(policy.to_yaml())
    assert st.load_policy(kept).sha256 == policy.sha256
    digest = hashlib.sha256(b"a red apple\n").hexdigest()
    file.write_text(file.read_text().replace("safe.txt}", f"safe.txt, sha256: {digest}}}"))
    st.load_policy(file)


def test_a_file_beside_the_policy_is_taken_silently(tmp_path: Path) -> None:
    file = policy_with_file(tmp_path, "safe.txt")
    (tmp_path / "p" / "safe.txt").write_text("a red apple\n")
    st.load_policy(file)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["policy", "lint", "{file}"], "unknown field"),
        (["harden", "--policy", "{file}"], "policy.yaml:1"),
    ],
)
def test_unknown_keys_of_a_policy_are_refused_with_the_line(
    args: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("colour: red\n" + POLICY)
    assert run([a.format(file=file) for a in args]) == 2
    captured = capsys.readouterr()
    assert says in captured.out + captured.err
