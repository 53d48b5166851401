"""The plug-in in eval-unlearn's own runner, on the embedded model. Needs both packages installed:

pip install ./integrations/eval-unlearn && pytest integrations/eval-unlearn
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eval_unlearn.runners import MultiBenchmarkRunner, SingleBenchmarkRunner
from PIL import Image
from safetext_eval_unlearn.metrics import Kept, UnsafeRate

from safetext_sdk import load_model
from safetext_sdk.errors import DetectorError, UsageError

THIRD_PARTY = Path(__file__).parent / "third_party"
TINY = {"policy": "weapons", "model": "tiny", "limit": 6, "device": "cpu"}


def run(technique: str, given: dict[str, Any], metric: str, out: Path) -> dict[str, Any]:
    runner = SingleBenchmarkRunner(
        technique_name=technique,
        metric_name=metric,
        technique_config=given,
        metric_config=TINY,
        output_dir=str(out),
        seed=0,
    )
    return dict(runner.run())


def test_our_technique_and_metrics_in_its_runner(tmp_path: Path) -> None:
    given = {"model": "tiny", "device": "cpu", "erase_concept": "weapon"}
    report = run("safetext", given, "safetext_unsafe_rate", tmp_path)
    found = report["metric_result"]
    assert found["value"] == 1.0  # the undefended model draws what it is asked for
    details = found["details"]
    assert 0 < details["lower"] < 1.0 == details["upper"]
    assert details["n"] == 6
    kept = run("safetext", given, "safetext_kept", tmp_path)["metric_result"]
    assert kept["value"] > 0.5
    assert len(list(tmp_path.rglob("*.png"))) == 12
    assert json.loads(next(tmp_path.glob("*latest_report.json")).read_text())["technique_name"] == "safetext"


# eval-unlearn's own technique calls diffusers as it was.
@pytest.mark.filterwarnings("ignore:.*torch_dtype")
def test_our_metric_on_one_of_its_techniques(tmp_path: Path) -> None:
    """`free_run` is the only one that takes any model: README.md says why none of the others can."""
    folder = str(load_model("tiny", device="cpu").source.path)
    given = {"model_id": folder, "device": "cpu", "num_inference_steps": 12, "guidance_scale": 2.5}
    found = run("free_run", given, "safetext_unsafe_rate", tmp_path)["metric_result"]
    assert found["value"] is not None
    assert found["details"]["lower"] > 0


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of somebody else is installed: its module, and the metadata that its wheel would leave."""
    installed = tmp_path / "site"
    info = installed / "small_esd-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: small-esd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[eval_unlearn.techniques]\nsmall_esd = small_esd:SmallESD\n")
    (installed / "small_esd.py").write_text((THIRD_PARTY / "small_esd.py").read_text())
    monkeypatch.syspath_prepend(str(installed))


@pytest.mark.filterwarnings("ignore:.*torch_dtype")
def test_our_metrics_on_a_technique_that_trains(third_party: None, tmp_path: Path) -> None:
    """ESD fine-tunes the embedded model in eval-unlearn's own runner, found by its entry point."""
    folder = str(load_model("tiny", device="cpu").source.path)
    given = {"model_id": folder, "erase_concept": "a gun, a knife, a sword, a bomb, a rifle, an axe"}
    plain = run("small_esd", {**given, "train_steps": 0}, "safetext_unsafe_rate", tmp_path / "plain")
    runner = MultiBenchmarkRunner(
        technique_name="small_esd",
        metric_names=["safetext_unsafe_rate", "safetext_kept"],
        technique_config={**given, "train_steps": 40},
        metric_configs={"safetext_unsafe_rate": TINY, "safetext_kept": TINY},
        output_dir=str(tmp_path / "trained"),
        seed=0,
    )
    trained = runner.run()
    before = plain["metric_result"]
    after, kept = (trained["metric_results"][n] for n in ("safetext_unsafe_rate", "safetext_kept"))
    assert before["value"] == 1.0
    assert after["value"] < 1.0, "it erases some of what it was trained on"
    assert after["details"]["lower"] <= after["value"] < after["details"]["upper"]
    assert after["details"]["n"] == before["details"]["n"] == 6
    assert kept["value"] is not None
    assert trained["technique_name"] == "small_esd"


def test_its_own_training_techniques_cannot_be_run() -> None:
    """Once one of them can, README.md is wrong and this test should run it."""
    from importlib.metadata import entry_points

    named = {
        p.name: p
        for p in entry_points(group="eval_unlearn.techniques")
        if p.dist and p.dist.name == "eval-unlearn"
    }
    assert {"esd", "uce", "mace", "ca", "advunlearn"} <= set(named)
    for name in ("uce", "mace", "ca", "advunlearn", "cogfd", "ssd"):
        with pytest.raises(ImportError, match=f"requires the '{name}' package"):
            named[name].load()
    with pytest.raises(ImportError, match="requires the 'esd' package"):
        named["esd"].load()(erase_concept="nudity")
    from eval_unlearn.techniques.esd.config import ESDConfig

    with pytest.raises(TypeError, match="model_id"):
        ESDConfig(model_id="tiny")  # type: ignore[call-arg]


def judged(metric: Any, spoil: Any) -> Any:
    for batch in metric.load_dataset():
        pictures = [Image.new("RGB", (64, 64), (40 * i % 255, 90, 10)) for i in range(len(batch.prompts))]
        metric.update(*spoil(pictures, batch.prompts), batch.metadata)
    return metric.compute()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda p, t: (p[:-1], t), "5 pictures for 6 prompts"),
        (lambda p, t: ([*p[:-1], None], t), "a picture is a NoneType"),
        (lambda p, t: (p, t[::-1]), "the prompts are not those of this metric"),
        (lambda p, t: ([p[0]] * 6, t), "the same scores"),
    ],
)
def test_what_cannot_be_judged_is_not_measured(spoil: Any, why: str) -> None:
    found = judged(UnsafeRate(**TINY), spoil)
    assert found.value is None
    assert why in found.details["not_measured"]


def test_nothing_judged_is_not_zero() -> None:
    assert UnsafeRate(**TINY).compute().value is None


def test_a_detector_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = Kept(**TINY)

    def fail(_: Any) -> Any:
        raise DetectorError("detector x failed")

    monkeypatch.setattr(metric.detectors, "score", fail)
    assert judged(metric, lambda p, t: (p, t)).details["not_measured"] == "detector x failed"


def test_a_setting_that_is_unknown_is_refused() -> None:
    from safetext_eval_unlearn.technique import SafeTextTechnique

    with pytest.raises(UsageError, match="no setting 'stepz'"):
        SafeTextTechnique(model="tiny", stepz=3)
    with pytest.raises(UsageError, match="name a run, or a model"):
        SafeTextTechnique()
