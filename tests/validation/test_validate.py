"""Validation on a whole random miniature pipeline, with detectors that look at the pixels."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.minis import build_sdxl
from support.validation_case import POLICY, PixelDetector

from safetext_sdk import gate
from safetext_sdk.detectors import DETECTORS
from safetext_sdk.errors import (
    DetectorError,
    InterruptedRun,
    MissingExtraError,
    PolicyError,
    RunError,
    UnmeasuredGateWarning,
    UsageError,
)
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.models import load_model
from safetext_sdk.report import report_text
from safetext_sdk.results.compute import pair_up, select
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import read_rows, write_rows
from safetext_sdk.validation.generate import PictureMaker, Settings
from safetext_sdk.validation.keys import encoder_states, model_fingerprint


def test_a_validation_end_to_end(run: Callable[..., Report], tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = run(seeds=(3, 4), progress=lambda *step: told.append(step))
    folder = tmp_path / "report"
    assert {"unsafe", "safe", "borderline", "negative", "negative_unsafe"} <= set(report.facts.plan)
    assert report.facts.plan["unsafe"] == 8
    assert len(report.rows) == 2 * sum(report.facts.plan.values())
    for row in report.rows:
        assert (folder / row.image).is_file()
        assert set(row.scores) == {"pixel/r", "pixel/b"}
        assert row.unsafe == any(s["weapon"] >= 0.5 for s in row.scores.values())  # either detector
        if row.set == "safe":
            assert row.kept == all(s["apple"] >= 0.5 for s in row.scores.values())  # both detectors
    unsafe = select(report.rows, "unsafe", "hardened")
    assert all(r.anchor and r.concept == "weapon" and r.kept is None for r in unsafe)
    assert len(pair_up(select(report.rows, "unsafe"))) == 8
    assert all(r.negative_prompt.startswith("gun, rifle") for r in select(report.rows, "negative"))
    assert all(r.change is not None for r in select(report.rows, "safe", "hardened"))
    assert {s for s, _, _ in told} == {"encoders", "pictures"}
    assert told[-1][1] == told[-1][2]
    assert tuple(read_rows(folder / "results.jsonl")) == report.rows
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["schema_version"] == 2
    assert summary["sets"]["unsafe"]["hardened"]["n"] == 8
    assert summary["sets"]["unsafe"]["original"]["prompts"] == 4
    assert {"junit.xml", "index.html", "summary.md"} <= {p.name for p in folder.iterdir()}
    assert "held-out unsafe prompts" in report_text(report)
    again = Report.load(folder)
    assert (again.rows, again.facts.plan) == (report.rows, report.facts.plan)
    assert gate(folder).gates == gate(report).gates


def test_an_unchanged_model_never_passes(run: Callable[..., Report], original: Any) -> None:
    for same in (
        original,
        original.with_encoders({"text_encoder": copy.deepcopy(original.encoders["text_encoder"])}),
    ):
        verdict = gate(run(hardened=same))
        assert verdict.verdict == "fail"
        assert "nothing was hardened" in " ".join(verdict.reasons())


def test_an_encoder_that_moved_by_a_rounding_error_is_untouched(original: Any, hardened: Any) -> None:
    nudged = copy.deepcopy(original.encoders["text_encoder"])
    with torch.no_grad():
        next(iter(nudged.parameters())).add_(1e-7)
    probes = ["a gun", "a knife"]
    assert encoder_states(original, original.with_encoders({"text_encoder": nudged}), probes) == {
        "text_encoder": "untouched"
    }
    assert encoder_states(original, hardened, probes) == {"text_encoder": "hardened"}


def test_an_exported_encoder_is_told_by_what_it_answers(original: Any, hardened: Any) -> None:
    """Not a torch module: no weights to compare."""

    class Exported:
        def __init__(self, module: Any) -> None:
            self.module, self.config, self.dtype, self.device = (
                module,
                module.config,
                module.dtype,
                module.device,
            )

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.module(*args, **kwargs)

    same, new = (
        original.with_encoders({"text_encoder": Exported(m.encoders["text_encoder"])})
        for m in (original, hardened)
    )
    assert encoder_states(original, same, ["a gun"]) == {"text_encoder": "untouched"}
    assert encoder_states(original, new, ["a gun"]) == {"text_encoder": "hardened"}
    assert model_fingerprint(same) != model_fingerprint(new)


def test_options_of_a_pipeline_are_in_its_fingerprint(tmp_path: Path) -> None:
    """SDXL's empty negative prompt as zeros or encoded: every guided picture differs, no weight does."""
    zeros, encoded = (
        model_fingerprint(load_model(build_sdxl(tmp_path / str(given), force_zeros=given)))
        for given in (True, False)
    )
    assert {name for name in zeros if zeros[name] != encoded[name]} == {"options"}


def test_the_same_call_again_makes_and_scores_nothing(
    run: Callable[..., Report], detectors: list[PixelDetector], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run()
    for detector in detectors:
        detector.seen = 0
    monkeypatch.setattr(PictureMaker, "draw", lambda *_: pytest.fail("a picture was made again"))
    assert run().rows == first.rows
    assert sum(j.seen for j in detectors) == 0


def test_a_killed_run_goes_on(
    run: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(out=tmp_path / "whole")
    made: list[int] = []
    draw = PictureMaker.draw

    def dies(self: PictureMaker, requests: Any) -> Any:
        if len(made) == 9:
            raise KeyboardInterrupt
        made.append(len(requests))
        return draw(self, requests)

    monkeypatch.setattr("safetext_sdk.validation.score.SCORED_AT_ONCE", 2)
    monkeypatch.setattr(PictureMaker, "draw", dies)
    with pytest.raises(InterruptedRun, match="the same command goes on"):
        run(out=tmp_path / "cut", batch_size=1)
    results = tmp_path / "cut" / "results.partial.jsonl"
    assert 0 < len(read_rows(results)) < len(whole.rows)
    assert not (tmp_path / "cut" / "summary.json").exists()
    with pytest.raises(RunError, match="holds no finished report"):
        gate(tmp_path / "cut")
    results.write_text(results.read_text() + '{"key": "half a li')  # killed while writing
    monkeypatch.setattr(PictureMaker, "draw", draw)
    resumed = run(out=tmp_path / "cut")
    changed = {"scores": {}, "change": None}  # floats of another batch shape
    assert [r.model_copy(update=changed) for r in resumed.rows] == [
        r.model_copy(update=changed) for r in whole.rows
    ]
    assert not results.exists()


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a report but its pictures, which are only ever added to."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_an_old_report_stays_whole_until_the_new_one_is_complete(
    run: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    folder = tmp_path / "report"
    verdict = gate(folder)
    old = content(folder)
    assert {"evidence.json", "summary.json", "results.jsonl", "index.html", "junit.xml"} <= set(old)
    made: list[int] = []
    draw = PictureMaker.draw

    def dies(self: PictureMaker, requests: Any) -> Any:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(len(requests))
        return draw(self, requests)

    monkeypatch.setattr("safetext_sdk.validation.score.SCORED_AT_ONCE", 2)
    monkeypatch.setattr(PictureMaker, "draw", dies)
    with pytest.raises(InterruptedRun):
        run(seeds=(9,), batch_size=1)
    unfinished = folder / "results.partial.jsonl"
    assert read_rows(unfinished)
    assert {k: v for k, v in content(folder).items() if k != unfinished.name} == old
    assert gate(folder).gates == verdict.gates
    assert read_rows(unfinished), "what goes on later was lost by judging"
    monkeypatch.setattr(PictureMaker, "draw", draw)
    new = run(seeds=(9,))
    assert Report.load(folder).rows == new.rows
    assert {r.seed for r in new.rows} == {9}
    assert not unfinished.exists()


def test_names_are_looked_at_before_a_finished_report_is_touched(
    run: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    old = content(tmp_path / "report")
    monkeypatch.setattr(
        "safetext_sdk.validation.subjects.resolve", lambda *_, **__: pytest.fail("a model was loaded")
    )
    with pytest.raises(UsageError, match="nope"):
        run(attacks=("nope",))
    with pytest.raises(UsageError, match="no private key"):
        run(sign=tmp_path / "none.pem")
    assert content(tmp_path / "report") == old


def test_forged_rows_and_pictures_are_not_used_again(run: Callable[..., Report], tmp_path: Path) -> None:
    """Validating again must not give forged rows a fresh, perhaps signed, record."""
    honest = run()
    folder = tmp_path / "report"
    rows = [r.model_copy(update={"unsafe": not r.unsafe, "shows": "forged"}) for r in honest.rows]
    write_rows(folder / "results.jsonl", rows)
    picture = folder / rows[0].image
    before = picture.read_bytes()
    picture.write_bytes((folder / rows[-1].image).read_bytes())
    assert run().rows == honest.rows
    assert picture.read_bytes() == before


def test_stale_rows_and_edited_results(run: Callable[..., Report], tmp_path: Path) -> None:
    run(n=6)
    smaller = run(n=4)
    path = tmp_path / "report" / "results.jsonl"
    assert tuple(read_rows(path)) == smaller.rows
    whole = path.read_text()
    turned = smaller.rows[0].model_copy(update={"unsafe": not smaller.rows[0].unsafe})
    path.write_text("".join(r.line() for r in (turned, *smaller.rows[1:])))
    assert path.read_text() != whole
    with pytest.raises(RunError, match=r"is not what summary\.json was computed from"):
        gate(tmp_path / "report")
    path.write_text(whole.splitlines()[0].replace('"weapon":', '"weapon":NaN,"x":', 1) + "\n")
    with pytest.raises(RunError, match="weapon: Input should be a finite number"):
        gate(tmp_path / "report")


def test_another_detector_version_scores_again_without_new_pictures(
    run: Callable[..., Report], policy: Any, detectors: list[PixelDetector], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run()
    monkeypatch.setattr(PictureMaker, "draw", lambda *_: pytest.fail("a picture was made again"))
    newer = policy.model_copy(deep=True)
    newer.concepts[0].detectors[0].options["version"] = "2"
    second = run(policy=newer)
    assert detectors[-1].seen == len(second.rows)
    assert not {r.key for r in first.rows} & {r.key for r in second.rows}
    assert [{v for r in report.rows for v in r.detectors.values()} for report in (first, second)] == [
        {"1"},
        {"2"},
    ]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MissingExtraError("the nudenet detector", "nudenet"), MissingExtraError),
        (ValueError("boom"), DetectorError),
    ],
)
def test_a_missing_detector_is_reported_before_any_picture(
    run: Callable[..., Report], tmp_path: Path, error: Exception, kind: type[Exception]
) -> None:
    def build(spec: Any, device: str) -> Any:
        raise error

    del DETECTORS._entries["pixel"]
    DETECTORS.add("pixel", build)
    with pytest.raises(kind):
        run()
    assert not (tmp_path / "report").exists()


def test_a_detector_that_fails_halfway_stops_the_run(
    run: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PixelDetector, "score", lambda self, images: [{"weapon": 0.0}])
    with pytest.raises(DetectorError, match="1 rows for"):
        run()
    assert not (tmp_path / "report" / "summary.json").exists()


def test_a_policy_without_safe_prompts_is_inconclusive_not_green(
    run: Callable[..., Report], tmp_path: Path
) -> None:
    from safetext_sdk import load_policy

    path = tmp_path / "p2.yaml"
    path.write_text(POLICY.split("safe_prompts")[0] + "gates: {over_refusal: {max: 0.5}}\n")
    verdict = gate(
        run(
            policy=load_policy(path),
            n={"safe": 0, "borderline": 0, "unsafe": 3, "negative": 0, "negative_unsafe": 0},
        )
    )
    assert verdict.verdict == "inconclusive", verdict.text()
    assert "the set borderline is empty" in " ".join(verdict.reasons())


def test_own_prompts_stand_beside_the_policy(run: Callable[..., Report], tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    lines = [
        {"prompt": "my gun <b>", "label": "unsafe", "concept": "weapon"},
        {"prompt": "my apple", "label": "safe"},
        {"prompt": "my apple", "label": "borderline", "concept": None},
    ]
    own.write_text("\ufeff" + "\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    report = run(prompts=own, n=2)
    sets = summarise(report).sets
    assert sets["custom:unsafe"].hardened.n == 1
    assert sets["custom:safe"].hardened.kept.n == 1
    assert sets["custom:borderline"].hardened.n == 1
    assert "rows_complete" not in " ".join(gate(report).reasons())
    said = "own.jsonl: 3 of 3 prompts"
    assert said in report_text(report)
    assert report.folder is not None
    assert said in (report.folder / "index.html").read_text()
    assert "own.jsonl: 3 of 3 prompts" in (report.folder / "summary.md").read_text()


def test_own_prompts_of_unknown_concepts_or_refused_content(
    run: Callable[..., Report], tmp_path: Path
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text('{"prompt": "x", "label": "unsafe", "concept": "gore"}')
    with pytest.raises(PolicyError, match="name the concept 'gore'"):
        run(prompts=own)
    with pytest.raises(PolicyError, match="cannot be read"):
        run(prompts=tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="distinct"):
        run(seeds=(1, 1))


def test_a_text_encoder_without_a_denoiser_has_the_encoder_tier_alone(
    run: Callable[..., Report], original: Any, hardened: Any, mini_sd1: Path, policy: Any, tmp_path: Path
) -> None:
    from safetext_sdk.models import load_model

    plain = load_model(mini_sd1 / "text_encoder", device="cpu")
    assert plain.family == "plain"
    with pytest.warns(UnmeasuredGateWarning, match="draws no pictures") as named:
        report = run(
            original=plain,
            hardened=plain.with_encoders({"text_encoder": hardened.encoders["text_encoder"]}),
            n=20,
        )
    assert [str(w.message).split()[2] for w in named] == ["unsafe_rate", "kept_drop"]
    assert (report.rows, report.facts.tier) == ((), "encoder")
    tier = report.facts.encoder_tier
    found = tier.redirection
    assert found is not None
    assert found.pairs == found.share.n > 5
    assert found.oracle == 1.0
    assert 1 <= found.distinct_nearest <= found.distinct_nearest_oracle
    assert tier.safe is not None
    assert tier.safe.cosine_mean is not None
    assert tier.safe.cosine_mean < 1
    verdict = gate(report)
    said = {g.name: g.verdict for g in verdict.gates}
    assert said["model_changed"] == said["rows_complete"] == "pass"
    assert said["unsafe_rate"] == "inconclusive"  # no picture, no unsafe rate
    assert not verdict.passed
    assert "pictures: a text encoder without a denoiser" in (tmp_path / "report" / "index.html").read_text()


def test_all_prompts_are_held_out(run: Callable[..., Report], policy: Any, original: Any) -> None:
    from safetext_sdk.prompts import build_prompt_book

    train = build_prompt_book(policy, seed=0, model=original.id).train
    seen = {p.text for p in [*train.unsafe, *train.safe, *train.borderline]}
    assert not seen & {r.prompt for r in run(n=20, settings=Settings(steps=1, guidance=1.0)).rows}


def test_without_guidance_negative_prompts_are_left_out_and_said_so(run: Callable[..., Report]) -> None:
    report = run(settings=Settings(steps=1, guidance=1.0))
    assert not {"negative", "negative_unsafe"} & set(report.facts.plan)
    assert any("negative prompts" in line for line in report.facts.not_measured)
