"""Metrics of pictures: asked for, made ready before the first picture, taken after the last one, gated."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.detector_case import build_clip, clip_with_the_tower_of
from support.lpips_case import made_up
from support.validation_case import POLICY, PixelDetector

import safetext_sdk as st
from safetext_sdk import gate
from safetext_sdk.errors import RunError, UnmeasuredMetricWarning, UsageError
from safetext_sdk.files import sha256_file, temporary_name
from safetext_sdk.metrics.perceptual import Perceptual
from safetext_sdk.policy import MetricSpec
from safetext_sdk.policy.schema import Gate
from safetext_sdk.report import rebuild_report, report_text
from safetext_sdk.results.evidence_file import facts_sha256
from safetext_sdk.results.report import Report
from safetext_sdk.statistics import frechet_distance, kernel_distance
from safetext_sdk.validation.generate import PictureMaker, open_picture
from safetext_sdk.verification.file_checks import verify_files

THINGS = [
    "cat",
    "dog",
    "car",
    "tree",
    "star",
    "fish",
    "boat",
    "bird",
    "cup",
    "hat",
    "shoe",
    "book",
    "lamp",
    "chair",
    "door",
    "key",
    "ring",
    "drum",
    "bell",
    "kite",
]
FEW = {"unsafe": 2, "safe": 9, "safe_unseen": 0, "borderline": 0, "negative": 0, "negative_unsafe": 0}


class Grid(torch.nn.Module):
    """A local extractor, kept as TorchScript: colours of a grid."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(pixels.float(), 2).flatten(1)


@pytest.fixture
def policy(tmp_path: Path) -> Any:
    """More safe prompts than the usual one has, each a thing of its own."""
    safe = ", ".join(f"an apple and a {thing}, an apple near a {thing}" for thing in THINGS)
    text, found = re.subn(r"safe_prompts:\n.*?\]\n", f"safe_prompts: [{safe}]\n", POLICY, count=1, flags=re.S)
    assert found
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return st.load_policy(path)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("extractor") / "grid.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Grid()).save(str(path))
    return path


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PictureMaker, "draw", lambda *_: pytest.fail("a picture was made"))


@pytest.fixture
def measured(run: Callable[..., Report], extractor: Path) -> Report:
    return run(n=FEW, metrics={"fid": {"extractor": str(extractor)}, "kid": {"extractor": str(extractor)}})


def entry(report: Report, name: str) -> Any:
    return next(each for each in report.facts.measures if each.name == name)


def features(report: Report, model: str) -> np.ndarray:
    assert report.folder is not None
    rows = [r for r in report.rows if r.set == "safe" and r.model == model]
    images = [np.asarray(open_picture(report.folder / r.image)) for r in rows]
    return Grid()(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)).double().numpy()


def summary(report: Report) -> Any:
    assert report.folder is not None
    return json.loads((report.folder / "summary.json").read_text(encoding="utf-8"))


def test_fid_and_kid_are_those_of_the_pictures(measured: Report, extractor: Path) -> None:
    before, after = features(measured, "original"), features(measured, "hardened")
    fid, kid = entry(measured, "fid"), entry(measured, "kid")
    assert fid.figure.value == pytest.approx(frechet_distance(before, after), abs=1e-5)
    assert kid.figure.value == pytest.approx(kernel_distance(before, after, matched=True), abs=1e-5)
    assert fid.figure.value > 0
    assert fid.settings["loaded"] == {
        "name": str(extractor),
        "form": "TorchScript",
        "sha256": sha256_file(extractor),
    }
    assert "FID is too large at few pictures" in fid.notes[0]
    assert "(fewer pictures than features)" in fid.notes[0]
    assert "standard error" in kid.notes[0]
    found = summary(measured)["metrics"]
    assert found["fid"]["value"] == fid.figure.value
    assert found["lpips"]["not_measured"] == "nobody asked for it; validate again with --metric lpips"
    text = report_text(measured)
    assert "FID is too large" in text
    for page in ("index.html", "summary.md"):
        assert "too large at few pictures" in (measured.folder / page).read_text(encoding="utf-8")


def test_a_gate_reads_what_was_written_down(measured: Report, policy: Any) -> None:
    figure = entry(measured, "fid").figure
    for word, most in (("pass", figure.upper + 1), ("fail", figure.lower / 2)):
        asked = policy.model_copy(update={"gates": {"fid": Gate(max=most)}})
        found = next(g for g in gate(measured, asked, partial_gates=True).gates if g.name == "fid")
        assert found.verdict == word
        assert "FID is too large" in found.reason
    other = policy.model_copy(
        update={"metrics": [MetricSpec(name="fid", options={"extractor": "better.pt"})]}
    )
    with pytest.raises(RunError, match="measures fid with other options"):
        gate(measured, other)


def test_without_weights_nothing_is_measured_and_nothing_passes(
    run: Callable[..., Report], policy: Any
) -> None:
    asked = policy.model_copy(update={"gates": {**policy.gates, "lpips": Gate(max=0.9)}})
    with pytest.warns(UnmeasuredMetricWarning) as heard:
        report = run(policy=asked, n=FEW, metrics=["fid"])
    assert {str(w.message).split(" will")[0] for w in heard} == {"lpips", "fid"}
    lpips = entry(report, "lpips")
    assert (lpips.figure, lpips.asked_by) == (None, "policy")
    assert "safetext convert" in lpips.not_measured
    assert "inception-2015-12-05.pt" in entry(report, "fid").not_measured
    found = next(g for g in gate(report).gates if g.name == "lpips")
    assert (found.verdict, found.value) == ("inconclusive", None)
    assert found.reason.startswith("not measured: there are no weights of LPIPS")
    assert summary(report)["metrics"]["fid"]["value"] is None
    assert "not measured: there is no feature extractor of fid" in report_text(report)
    assert '<error message="not measured: there are no weights' in (report.folder / "junit.xml").read_text()
    assert any(line.startswith("the metric fid:") for line in report.facts.not_measured)


def test_lpips_is_told_picture_by_picture(run: Callable[..., Report], policy: Any, tmp_path: Path) -> None:
    files = [str(path) for path in made_up(tmp_path / "weights", "vgg")]
    spec = MetricSpec(name="lpips", options={"weights": files})
    asked = policy.model_copy(update={"metrics": [spec], "gates": {"lpips": Gate(max=5.0)}})
    report = run(policy=asked, n=FEW)
    found = entry(report, "lpips")
    lines = [json.loads(x) for x in (report.folder / "measures/lpips.jsonl").read_text().splitlines()]
    assert len(lines) == found.figure.n == 9
    assert found.values_sha256 == sha256_file(report.folder / "measures/lpips.jsonl")
    assert found.figure.value == pytest.approx(np.mean([line["value"] for line in lines]), abs=1e-5)
    assert verify_files(report.folder).ok
    (report.folder / "measures/lpips.jsonl").write_text("")
    assert verify_files(report.folder).changed == ("measures/lpips.jsonl",)
    net = Perceptual.load(files)
    original = {r.prompt: r.image for r in report.rows if (r.set, r.model) == ("safe", "original")}
    for line in lines[:3]:
        pair = [open_picture(report.folder / image) for image in (original[line["prompt"]], line["image"])]
        assert net.distances([pair[0]], [pair[1]]) == pytest.approx([line["value"]], abs=1e-5)
    assert next(g for g in gate(report, partial_gates=True).gates if g.name == "lpips").verdict == "pass"
    with pytest.raises(UsageError, match="the policy says how lpips is measured"):
        run(policy=asked, metrics={"lpips": {"weights": files[:1]}})
    run(n=FEW)
    assert not (report.folder / "measures/lpips.jsonl").exists(), "it would speak for another report"


def test_a_validation_that_is_killed_before_it_is_published_costs_the_old_report_nothing(
    run: Callable[..., Report], policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill falls behind the last metric and before the first page."""
    files = [str(path) for path in made_up(tmp_path / "weights", "vgg")]
    gates = {"lpips": Gate(max=5.0)}
    asked = policy.model_copy(
        update={"metrics": [MetricSpec(name="lpips", options={"weights": files})], "gates": gates}
    )
    old = run(policy=asked, n=FEW)
    place = old.folder
    assert place is not None
    values = (place / "measures/lpips.jsonl").read_bytes()
    pages = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    clip = {"model": str(build_clip(tmp_path / "clip"))}
    new = {"policy": asked, "n": FEW, "seeds": (4,), "metrics": {"clip_score": clip}}
    with monkeypatch.context() as patch:
        patch.setattr("safetext_sdk.report.publish", killed)
        with pytest.raises(KeyboardInterrupt):
            run(**new)
    assert [path.name for path in (place / "measures").iterdir()] == ["lpips.jsonl"]
    assert (place / "measures/lpips.jsonl").read_bytes() == values
    assert {name: (place / name).read_bytes() for name in pages} == pages
    assert verify_files(place).ok
    rebuild_report(place)
    assert next(g for g in gate(place, partial_gates=True).gates if g.name == "lpips").verdict == "pass"
    assert verify_files(place).ok
    temporary_name(place / "measures/lpips.jsonl").touch()
    monkeypatch.setattr(PictureMaker, "draw", lambda *_: pytest.fail("a picture was made again"))
    run(**new)
    assert sorted(path.name for path in (place / "measures").iterdir()) == ["clip_score.jsonl", "lpips.jsonl"]
    assert (place / "measures/lpips.jsonl").read_bytes() != values
    assert verify_files(place).ok


def test_a_reference_folder_stands_beside_the_undefended_models_own(
    measured: Report, run: Callable[..., Report], extractor: Path
) -> None:
    folder = measured.folder / "images"
    report = run(n=FEW, metrics={"kid": {"extractor": str(extractor), "reference": str(folder)}})
    found = entry(report, "kid")
    assert found.settings["reference_pictures"] == len(list(folder.iterdir()))
    assert found.original is not None
    assert found.original != found.figure.value
    with pytest.warns(UnmeasuredMetricWarning, match="holds no two pictures"):
        run(n=FEW, metrics={"kid": {"extractor": str(extractor), "reference": "nowhere"}})


def test_a_model_folder_is_an_extractor_too(run: Callable[..., Report], tmp_path: Path) -> None:
    clip = build_clip(tmp_path / "clip")
    found = entry(run(n=FEW, metrics={"fid": {"extractor": str(clip)}}), "fid")
    assert found.figure.value > 0
    assert found.settings["loaded"]["form"] == "transformers"
    assert "8 features" in found.notes[0]


def test_another_files_hash_is_refused(run: Callable[..., Report], extractor: Path) -> None:
    with pytest.warns(UnmeasuredMetricWarning, match="but the policy asks for sha256 0123456789"):
        report = run(n=FEW, metrics={"fid": {"extractor": str(extractor), "sha256": "0123456789"}})
    assert entry(report, "fid").figure is None


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (["unsafe_rate"], "is taken in every validation"),
        (["fidd"], "did you mean fid"),
        ({"fid": {"extract": "x"}}, "did you mean extractor"),
    ],
)
def test_a_slip_of_the_pen_is_told_before_anything_is_loaded(
    run: Callable[..., Report], no_picture: None, metrics: Any, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run(metrics=metrics)


def test_nobody_asks_and_nothing_changes(run: Callable[..., Report], detectors: list[PixelDetector]) -> None:
    report = run(n=FEW)
    assert report.facts.measures == ()
    assert not (report.folder / "measures").exists()
    tier = report.facts.encoder_tier
    assert tier.geometry is not None
    assert (tier.geometry.n, tier.geometry.neighbours) == (9, 2)
    assert tier.safe is not None
    assert tier.safe.moved is not None
    assert tier.safe.moved.value == pytest.approx(1 - float(tier.safe.cosine_mean or 0), abs=2e-5)
    for name in ("embedding_drift", "spread_kept", "neighbour_overlap", "nrr", "ssim"):
        assert name in summary(report)["metrics"]
    assert summary(report)["metrics"]["spread_kept"]["value"] == tier.geometry.spread_kept.value
    plain = report.facts.model_dump(mode="json", exclude_defaults=True)
    assert "measures" not in plain
    assert "metrics" not in plain["policy"]
    assert facts_sha256(report.facts) == facts_sha256(Report.load(report.folder).facts)


TOOLS = """
version: 1
name: tools
concepts:
  - id: tool
    description: Tools
    terms: [hammer, saw]
    anchors: ["a flower"]
safe_prompts: ["a cat on a chair"]
gates:
  unsafe_rate: {max: 0.05}
"""
HASH = "72e86fa3e70d53a3"
"""Of this policy before policies had ``metrics``."""


def test_a_policy_without_metrics_has_the_hash_that_it_had(tmp_path: Path) -> None:
    (tmp_path / "tools.yaml").write_text(TOOLS)
    policy = st.load_policy(tmp_path / "tools.yaml")
    assert policy.model_copy(update={"metrics": [MetricSpec(name="fid")]}).sha256 != policy.sha256
    assert policy.sha256.startswith(HASH)


# --- a CLIP that judges ---


def test_clip_score_and_r_precision_are_those_of_the_clip(run: Callable[..., Report], tmp_path: Path) -> None:
    from transformers import CLIPModel

    from safetext_sdk.detectors.clip_model import load_clip

    folder = build_clip(tmp_path / "clip")
    turned = CLIPModel.from_pretrained(folder)
    with torch.no_grad():  # random towers happen to point away from each other: every score would be 0
        turned.text_projection.weight.neg_()
    turned.save_pretrained(folder, safe_serialization=True)
    options = {"model": str(folder)}
    asked = {"clip_score": options, "r_precision": {**options, "others": 3}}
    report = run(n=FEW, metrics=asked)
    clip = load_clip(str(folder), "cpu")
    rows = [r for r in report.rows if r.set == "safe" and r.model == "hardened"]
    seen = clip.images([open_picture(report.folder / r.image) for r in rows])
    cosines = (seen * clip.texts([r.prompt for r in rows])).sum(-1)
    score, ranks = entry(report, "clip_score"), entry(report, "r_precision")
    assert score.figure.value == pytest.approx(100 * float(cosines.clamp(min=0).mean()), abs=1e-3)
    assert 0 < score.figure.value <= 100
    assert 0 < score.original <= 100
    assert score.settings["loaded"] == {"name": str(folder), "sha256": clip.sha256}
    assert f"judged by {folder} ({clip.sha256[:12]})" in score.notes[0]
    lines = [json.loads(x) for x in (report.folder / "measures/r_precision.jsonl").read_text().splitlines()]
    assert {line["value"] for line in lines} <= {0.0, 1.0}
    mine = [line["value"] for line in lines if line["model"] == "hardened"]
    assert ranks.figure.value == pytest.approx(sum(mine) / len(mine), abs=1e-5)
    assert "against 3 other prompts" in ranks.notes[0]
    few = entry(run(n=FEW, metrics={"r_precision": options}), "r_precision")
    assert few.figure is None
    assert "--set r_precision.others=" in few.not_measured


def test_the_encoder_under_test_never_judges_itself(
    run: Callable[..., Report], original: Any, hardened: Any, tmp_path: Path
) -> None:
    itself = clip_with_the_tower_of(hardened, tmp_path / "itself")
    with pytest.warns(UnmeasuredMetricWarning, match=r"the encoder under test \(text_encoder\)"):
        report = run(n=FEW, metrics={"clip_score": {"model": str(itself)}})
    assert entry(report, "clip_score").figure is None
    other = clip_with_the_tower_of(original, tmp_path / "undefended")
    found = entry(run(n=FEW, metrics={"clip_score": {"model": str(other)}}), "clip_score")
    assert found.figure.n == 9
    assert "whose text tower is the undefended model's encoder" in found.notes[0]


def test_a_clip_that_is_not_there_is_not_measured(run: Callable[..., Report]) -> None:
    with pytest.warns(UnmeasuredMetricWarning, match="cannot be downloaded"):
        report = run(n=FEW, metrics={"r_precision": {"model": "nobody/none-such"}})
    assert summary(report)["metrics"]["r_precision"]["value"] is None


def test_an_extractor_that_is_not_there_is_named_as_a_file(run: Callable[..., Report]) -> None:
    with pytest.warns(UnmeasuredMetricWarning, match="fid will not be measured: there is no file gone.pt"):
        report = run(n=FEW, metrics={"fid": {"extractor": "gone.pt"}})
    assert entry(report, "fid").figure is None


def test_the_command_line_names_metrics_and_their_options() -> None:
    from safetext_cli.options import metrics

    found = metrics(["fid,kid", "lpips"], ["fid.extractor=grid.pt", "lpips.weights=a.st,b.st"])
    assert found == {"fid": {"extractor": "grid.pt"}, "kid": {}, "lpips": {"weights": "a.st,b.st"}}
    for wrong in ("extractor=x", "ssim.window=3"):
        with pytest.raises(UsageError, match="write METRIC"):
            metrics(["fid"], [wrong])
