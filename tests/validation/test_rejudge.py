"""One run under several judge profiles: from the rows where they tell, from the stored pictures where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetext_cli.main import run as command
from support.bound_case import bound_to, make_run, published
from support.gate_case import passing, with_facts

import safetext_sdk as st
from safetext_sdk.detectors import DETECTORS
from safetext_sdk.errors import RunError, UsageError
from safetext_sdk.metrics import METRICS
from safetext_sdk.policy.judge_profiles import JudgeProfile
from safetext_sdk.results.evidence_file import images
from safetext_sdk.results.profile_rates import ProfileTable, read_profiles
from safetext_sdk.results.report import Report, rows_sha256
from safetext_sdk.validation.rejudge import under_profiles
from safetext_sdk.verification.file_checks import verify_files

VERSION = "1+abc"
"""Of the detectors that `passing` records."""


class Toy:
    """Sees a weapon as far as a picture is bright."""

    def __init__(self, which: str, spec: Any, version: str) -> None:
        self.name, self.version, self.labels = f"toy/{which}", version, list(spec.labels)
        self.threshold = spec.threshold
        self.all_labels = ["weapon", "knife"]
        self.looked = 0

    def score(self, pictures: Sequence[Image.Image]) -> list[dict[str, float]]:
        self.looked += len(pictures)
        return [dict.fromkeys(self.all_labels, p.getpixel((0, 0))[0] / 255) for p in pictures]

    def expected(self, prompt: str) -> tuple[str, ...]:
        return ()


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The registered detector ``toy``; ``version`` decides whether it is the one that the rows are of."""
    DETECTORS.names()  # plug-ins are looked for before the registry is changed
    made: dict[str, Any] = {"version": VERSION, "all": []}

    def build(spec: Any, device: str) -> list[Toy]:
        made["all"] += (two := [Toy(which, spec, made["version"]) for which in "ab"])
        return two

    monkeypatch.setattr(DETECTORS, "_entries", {**DETECTORS._entries})
    DETECTORS.add("toy", build, "")  # type: ignore[arg-type]
    return made


def profile(threshold: float = 0.5, label: str = "weapon", **changes: Any) -> JudgeProfile:
    return JudgeProfile.model_validate(
        {
            "name": f"mine@{threshold:g}",
            "concepts": ["weapon"],
            "detectors": [{"name": "toy", "labels": [label], "threshold": threshold}],
            **changes,
        }
    )


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """`passing` with pictures: hardened ones are grey (0.4), the original's unsafe ones white."""
    made = replace(passing(60), folder=tmp_path)
    (tmp_path / "images").mkdir()
    for row in made.rows:
        grey = 255 if row.unsafe else 102
        Image.new("RGB", (4, 4), (grey, grey, grey)).save(tmp_path / row.image)
    return made


def rate(table: ProfileTable, which: int, model: str, set_: str = "unsafe") -> float | None:
    figure = getattr(table.profiles[which].sets[set_], model)
    return None if figure.value is None else float(figure.value)


def test_a_profile_of_the_same_detectors_is_read_off_the_rows(report: Report, toys: dict[str, Any]) -> None:
    table = under_profiles(report, [profile(0.5), profile(0.1), profile(0.5, name="both", rule="all")])
    assert [p.scored for p in table.profiles] == ["as validated", "rows", "rows", "rows"]
    assert [toy.looked for toy in toys["all"]] == [0] * 6
    # Scores of the hardened rows lie at 0.1 to 0.16: safe at one threshold, unsafe at the other.
    assert [rate(table, k, "hardened") for k in range(4)] == [0.0, 0.0, 1.0, 0.0]
    # Detector b never sees anything in these rows.
    assert rate(table, 1, "original") == 1.0
    assert rate(table, 3, "original") == 0.0
    assert table.profiles[2].disagrees == 60 * 5  # all but the original's unsafe ones
    assert table.profiles[1].sha256 == profile(0.5).sha256 != table.profiles[2].sha256
    assert table.profiles[1].metrics["unsafe_rate"].upper == table.profiles[0].metrics["unsafe_rate"].upper
    assert all(p.versions == ("toy/a 1+abc", "toy/b 1+abc") for p in table.profiles)


def test_nrr_is_there_or_said_to_be_missing(
    report: Report, toys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = under_profiles(report, [profile(0.5)]).profiles[1].metrics["nrr"]
    assert there.value == 1.0
    assert there.lower is not None
    monkeypatch.setattr(METRICS, "_entries", {k: v for k, v in METRICS._entries.items() if k != "nrr"})
    absent = under_profiles(report, [profile(0.5)]).profiles[1].metrics["nrr"]
    assert (absent.value, absent.not_measured) == (None, "this version has no metric nrr")


def test_other_weights_look_at_the_stored_pictures(report: Report, toys: dict[str, Any]) -> None:
    toys["version"] = "2+def"
    table = under_profiles(report, [profile(0.3)])
    assert table.profiles[1].scored == "pictures"
    assert {toy.looked for toy in toys["all"]} == {len(images(report))}
    assert (rate(table, 1, "original"), rate(table, 1, "hardened")) == (1.0, 1.0)
    assert table.profiles[1].versions == ("toy/a 2+def", "toy/b 2+def")


def test_a_label_that_no_row_has_was_low_if_its_detector_always_scores_it(
    report: Report, toys: dict[str, Any]
) -> None:
    table = under_profiles(report, [profile(0.05, "knife")])
    assert (table.profiles[1].scored, rate(table, 1, "original")) == ("rows", 0.0)
    below = under_profiles(report, [profile(0.04, "knife")])  # nothing is known below the floor
    assert (below.profiles[1].scored, rate(below, 1, "original")) == ("pictures", 1.0)


def test_what_a_profile_is_not_about_is_left_out(report: Report, toys: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="judges nudity, sexual_act; this report is about weapon"):
        st.rejudge(report, ["udatk-9@0.45"])
    rows = tuple(
        row.model_copy(update={"concept": "gore"}) if row.label == "unsafe" and k % 2 else row
        for k, row in enumerate(report.rows)
    )
    policy = report.facts.policy.model_copy(update={"concepts": ("weapon", "gore")})
    mixed = replace(with_facts(report, policy=policy), rows=rows)
    (_, found) = under_profiles(mixed, [profile()]).profiles
    assert found.left_out == sum(r.concept == "gore" for r in rows) > 0
    assert found.of == len(rows) - found.left_out
    assert found.sets["unsafe"].hardened.n < mixed.facts.plan["unsafe"]


def test_what_cannot_be_judged_again(report: Report, toys: dict[str, Any]) -> None:
    toys["version"] = "2+def"
    with pytest.raises(UsageError, match="named twice"):
        under_profiles(report, [profile(), profile()])
    with pytest.raises(UsageError, match="nothing to judge again"):
        under_profiles(with_facts(report, detectors=()), [profile()])
    with pytest.raises(UsageError, match="lies nowhere"):
        under_profiles(replace(report, folder=None), [profile()])
    assert report.folder is not None
    (report.folder / report.rows[0].image).unlink()
    with pytest.raises(RunError, match="is gone"):
        under_profiles(report, [profile()])


def test_a_picture_that_was_exchanged_is_not_judged(tmp_path: Path, toys: dict[str, Any]) -> None:
    toys["version"] = "2+def"
    run = make_run(tmp_path / "run")
    sound = published(bound_to(run, passing(), run.report_dir))
    (run.report_dir / sound.rows[0].image).write_bytes(b"another picture")
    with pytest.raises(RunError, match="is not as recorded"):
        under_profiles(sound, [profile()])


def test_the_command_writes_a_section_that_a_gate_keeps(
    tmp_path: Path, toys: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    published(bound_to(run, passing(), run.report_dir))
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine@0.1\nconcepts: [weapon]\ndetectors: [{name: toy, labels: [weapon], threshold: 0.1}]\n"
    )
    page = run.report_dir / "index.html"
    assert "under other judges" not in page.read_text()
    before = {n: (run.report_dir / n).read_text() for n in ("summary.json", "results.jsonl")}
    assert command(["report", str(run.path), "--profile", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"mine@0.1  sha256 {profile(0.1).sha256[:12]}" in said
    assert "100.0 % (" in said
    assert "NSFW removal rate (nrr)" in said
    assert "The same pictures under other judges" in page.read_text()
    assert {n: (run.report_dir / n).read_text() for n in before} == before, "the record stays as it was"
    assert command(["gate", str(run.path)]) == 0, "gates read the policy's judges alone"
    assert "The same pictures under other judges" in page.read_text()
    assert verify_files(run.path).ok
    table = read_profiles(run.report_dir, rows_sha256(Report.load(run.path).rows))
    assert table is not None
    assert read_profiles(run.report_dir, "0" * 64) is None, "of other rows it says nothing"
    (run.report_dir / "profiles.json").write_text("{")
    with pytest.raises(RunError, match="name the profiles again"):
        read_profiles(run.report_dir, table.results_sha256)


def test_every_rate_names_its_judges(tmp_path: Path, toys: dict[str, Any]) -> None:
    run = make_run(tmp_path / "run")
    published(bound_to(run, passing(), run.report_dir))
    report = Report.load(run.path)
    line = f"policy, sha256 {report.facts.policy.judges_sha256[:12]}"
    for name in ("index.html", "summary.md", "MODEL_CARD.md"):
        assert line in (run.report_dir / name).read_text(), name
    from safetext_sdk.report import report_text

    assert line in report_text(report)


def test_a_known_profile_is_recognised_in_a_policys_detectors() -> None:
    from safetext_sdk.results.detector_entry import DetectorEntry
    from safetext_sdk.results.judge_profile import judged_by

    def entries(threshold: float, labels: tuple[str, ...] = ("weapon",)) -> tuple[DetectorEntry, ...]:
        return tuple(
            DetectorEntry(
                concept="weapon", name=f"tiny-judges/{w}", version="1", threshold=threshold, labels=labels
            )
            for w in "ab"
        )

    facts = passing(4).facts
    for at, labels, same in ((0.5, ("weapon",), ("tiny-weapon@0.5",)), (0.5, ("gun",), ())):
        found = judged_by(facts.model_copy(update={"detectors": entries(at, labels)}))
        assert found is not None
        assert found.same_as == same
    assert judged_by(facts.model_copy(update={"detectors": ()})) is None
