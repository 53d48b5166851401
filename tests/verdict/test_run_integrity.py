"""Attempts to talk the gate into a pass, one test each: the run is not the one that was measured.

Every one of them starts from a run with a report that passes, changes one thing as somebody in a hurry (or
with a reason) would, and asks the gate.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.bound_case import bound_to, make_run, published, validated
from support.gate_case import becomes_unsafe, first, passing, with_facts, with_rows
from support.integrity_case import reason, said
from support.made_runs import made_manifest

from safetext_sdk import gate
from safetext_sdk.errors import RunError
from safetext_sdk.models.run_folder import RunFolder
from safetext_sdk.report import publish
from safetext_sdk.results.evidence_file import Measured
from safetext_sdk.results.report import Report
from safetext_sdk.verdict.gate import judge


def test_a_run_that_is_what_it_says_passes_again_and_again(run: Path) -> None:
    for place in (run, run / "report", run / "report" / "summary.json"):
        verdict = gate(place)
        assert verdict.passed, verdict.text()
    assert set(said(verdict)) >= {"report_as_measured", "run_as_measured", "pictures_as_measured"}


def test_a_run_that_was_copied_or_moved_whole_passes(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "elsewhere" / "deep" / "copy")
    run.rename(tmp_path / "moved")
    assert gate(tmp_path / "moved").passed
    assert gate(tmp_path / "elsewhere" / "deep" / "copy").passed


def test_a_report_beside_its_run_passes_and_follows_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "project" / "run")
    published(bound_to(run, passing(), tmp_path / "project" / "reports" / "one"))
    assert gate(tmp_path / "project" / "reports" / "one").passed
    (tmp_path / "project").rename(tmp_path / "renamed")
    assert gate(tmp_path / "renamed" / "reports" / "one").passed
    shutil.rmtree(tmp_path / "renamed" / "run")
    assert "run has no manifest.json" in reason(
        gate(tmp_path / "renamed" / "reports" / "one"), "run_as_measured"
    )


def original_put_back(run: Path) -> None:
    (run / "text_encoder" / "model.safetensors").write_bytes(b"original weights")


def byte_flipped(run: Path) -> None:
    path = run / "text_encoder" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(bytes(data))


def encoder_deleted(run: Path) -> None:
    shutil.rmtree(run / "text_encoder")


def manifest_deleted(run: Path) -> None:
    (run / "manifest.json").unlink()


def manifest_and_settings_deleted(run: Path) -> None:
    (run / "manifest.json").unlink()
    (run / "settings.json").unlink()


def manifest_unreadable(run: Path) -> None:
    (run / "manifest.json").write_text("{")


def manifest_follows_the_swap(run: Path) -> None:
    """The hash of the swapped weights is written into the manifest."""
    original_put_back(run)
    RunFolder(run).write_manifest(RunFolder(run).record)


def sharded_weights_added(run: Path) -> None:
    """Loaders prefer an index with shards to the one file."""
    (run / "text_encoder" / "model-00001-of-00001.safetensors").write_bytes(b"original weights")


def second_encoder_added(run: Path) -> None:
    (run / "text_encoder_2").mkdir()
    (run / "text_encoder_2" / "model.safetensors").write_bytes(b"original weights")


def policy_loosened(run: Path) -> None:
    text = (run / "policy.yaml").read_text()
    (run / "policy.yaml").write_text(text.replace("0.05", "0.9"))


def tokenizer_swapped(run: Path) -> None:
    (run / "tokenizer").mkdir()
    (run / "tokenizer" / "vocab.json").write_text("{}")


RUN_CASES: list[tuple[Callable[[Path], None], str]] = [
    (original_put_back, "text_encoder/model.safetensors was changed"),
    (byte_flipped, "text_encoder/model.safetensors was changed"),
    (encoder_deleted, "text_encoder/model.safetensors is missing"),
    (manifest_deleted, "has no manifest.json"),
    (manifest_and_settings_deleted, "has no manifest.json"),
    (manifest_unreadable, "another run, or this one was hardened again"),
    (manifest_follows_the_swap, "another run, or this one was hardened again"),
    (sharded_weights_added, "model-00001-of-00001.safetensors was added"),
    (second_encoder_added, "text_encoder_2/model.safetensors was added"),
    (policy_loosened, "policy.yaml was changed"),
    (tokenizer_swapped, "tokenizer/vocab.json was added"),
]


@pytest.mark.parametrize(("attempt", "why"), RUN_CASES, ids=[c[0].__name__ for c in RUN_CASES])
def test_a_run_that_changed_never_passes(run: Path, attempt: Callable[[Path], None], why: str) -> None:
    attempt(run)
    verdict = gate(run)
    assert said(verdict)["run_as_measured"] == verdict.verdict == "fail"
    assert verdict.exit_code == 1
    found = reason(verdict, "run_as_measured")
    assert why in found or "cannot be read" in found
    page = (run / "report" / "index.html").read_text()
    assert "run_as_measured" in page


def test_the_report_of_another_run_is_refused(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", weights=b"hardly hardened")
    shutil.copytree(run / "report", other.report_dir)
    verdict = gate(other.path)
    assert said(verdict)["run_as_measured"] == "fail"
    assert "about another run" in reason(verdict, "run_as_measured")


def test_another_runs_report_is_refused_although_it_points_home(run: Path, tmp_path: Path) -> None:
    """The copied report names a place where its own, intact run lies."""
    report = Report.load(run)
    assert report.facts.bound is not None
    home = report.facts.bound.model_copy(update={"at": str(run)})
    pointing = with_facts(report, bound=home)
    measured = Measured.of(pointing)
    publish(pointing, judge(pointing, measured), measured, github=False)
    assert gate(run).passed
    other = make_run(tmp_path / "other", weights=b"hardly hardened")
    shutil.copytree(run / "report", other.report_dir)
    assert "about another run" in reason(gate(other.path), "run_as_measured")


def test_a_link_to_the_report_of_a_good_run_does_not_help(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", weights=b"hardly hardened")
    other.report_dir.symlink_to(run / "report", target_is_directory=True)
    assert "about another run" in reason(gate(other.path), "run_as_measured")


def test_a_report_put_into_the_run_folder_itself_speaks_for_that_run(run: Path, tmp_path: Path) -> None:
    """`gate RUN` reads RUN/summary.json before RUN/report/summary.json."""
    other = make_run(tmp_path / "other", weights=b"hardly hardened")
    shutil.copytree(run / "report", other.path, dirs_exist_ok=True)
    assert "about another run" in reason(gate(other.path), "run_as_measured")


def test_a_report_made_without_a_run_passes_nowhere(run: Path, tmp_path: Path) -> None:
    loose = replace(with_facts(Report.load(run), bound=None), folder=run / "report")
    published(loose)
    verdict = gate(run)
    assert said(verdict)["run_as_measured"] == "fail"
    assert "made without a run" in reason(verdict, "run_as_measured")
    shutil.move(run / "report", tmp_path / "alone")
    assert said(gate(tmp_path / "alone"))["run_as_measured"] == "inconclusive"
    assert gate(replace(loose, folder=None)).verdict == "inconclusive"


def test_a_report_that_names_no_weights_passes_nothing(run: Path) -> None:
    report = Report.load(run)
    assert report.facts.bound is not None
    empty = with_facts(report, bound=report.facts.bound.model_copy(update={"weights": {}}))
    published(empty)
    assert "names no weights" in reason(gate(run), "run_as_measured")


def test_weights_that_the_report_does_not_name_are_not_the_measured_ones(run: Path) -> None:
    report = Report.load(run)
    assert report.facts.bound is not None
    wrong = {"text_encoder/model.safetensors": "0" * 64}
    published(with_facts(report, bound=report.facts.bound.model_copy(update={"weights": wrong})))
    assert "is not the file that was measured" in reason(gate(run), "run_as_measured")


def test_an_encoder_that_the_manifest_calls_untouched_is_not_hardened(tmp_path: Path) -> None:
    states = {"text_encoder": "hardened", "text_encoder_2": "untouched"}
    run = validated(
        tmp_path / "run",
        lambda r: with_facts(r, encoders=dict.fromkeys(states, "hardened")),
        encoders=states,
    )
    verdict = gate(run.path)
    assert said(verdict)["model_changed"] == "pass"
    assert "the manifest says untouched" in reason(verdict, "run_as_measured")


def test_gates_in_the_summary_are_those_of_the_runs_policy(run: Path) -> None:
    """Thresholds loosened in summary.json, evidence made anew: the policy's hash says what they were."""
    report = with_rows(Report.load(run), first(30, becomes_unsafe), set_="unsafe", model="hardened")
    loose = {n: g.model_copy(update={"max": 0.9}) for n, g in report.facts.policy.gates.items() if g.max}
    policy = report.facts.policy.model_copy(update={"gates": {**report.facts.policy.gates, **loose}})
    published(with_facts(report, policy=policy))
    assert "not those of the run's policy" in reason(gate(run), "run_as_measured")


def test_a_changed_run_is_not_measured_and_force_is_recorded(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    byte_flipped(run.path)
    with pytest.raises(
        RunError, match=r"model\.safetensors was changed.*nothing was measured.*--force"
    ) as error:
        bound_to(run, passing(), run.report_dir)
    assert "\n" not in str(error.value)
    report = published(bound_to(run, passing(), run.report_dir, force=True))
    assert report.facts.bound is not None
    assert report.facts.bound.forced == ("text_encoder/model.safetensors was changed",)
    assert "validated with --force although" in reason(gate(run.path), "run_as_measured")
    (run.path / "text_encoder" / "model.safetensors").write_bytes(b"hardened weights")  # mended since
    verdict = gate(run.path)
    assert said(verdict)["run_as_measured"] == "fail"
    assert "--force" in (run.report_dir / "index.html").read_text()


def test_manifests_hash_no_report(made: Path) -> None:
    assert not [name for name in RunFolder(made).record.files if name.startswith("report")]
    assert made_manifest().files == {}
