"""Hardening: it learns, it stops and goes on to the same weights, it refuses what it must, it writes what it
says."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.hardening_case import POLICY, assert_learned_alike, run
from support.minis import build_sd1

from safetext_sdk.errors import InterruptedRun, RunError, UsageError
from safetext_sdk.hardening.settings import TrainConfig
from safetext_sdk.methods import Anchor, SafeText
from safetext_sdk.models import load_model
from safetext_sdk.models.run_folder import RunFolder

CASE = Path(__file__).parents[1] / "support" / "hardening_case.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("harden")
    build_sd1(root / "model")
    (root / "policy.yaml").write_text(POLICY)
    return root


def go(place: Path, out: Path, steps: int = 12, resume: bool = False, **more: Any) -> Any:
    return run(place / "model", place / "policy.yaml", out, steps, resume, **more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "text_encoder" / "model.safetensors")


def same(a: Path, b: Path) -> bool:
    x, y = weights(a), weights(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


@pytest.fixture(scope="module")
def straight(place: Path) -> Path:
    """A run that nobody disturbed."""
    return go(place, place / "straight").path


@pytest.mark.parametrize("method", ["anchor", "safetext"])
@pytest.mark.parametrize("lora", [False, 4])
def test_it_learns_and_leaves_the_given_model_alone(
    place: Path, tmp_path: Path, method: str, lora: bool | int
) -> None:
    from safetext_sdk.hardening.harden import harden

    model = load_model(place / "model")
    before = {k: v.clone() for k, v in model.encoders["text_encoder"].state_dict().items()}
    train = TrainConfig(
        steps=40, prompts=24, batch_size=8, learning_rate=3e-3, lora_learning_rate=1e-2, wide_safe=40
    )
    # The distance term pulls back with full force at once, the cosine only once it is off its peak: a
    # miniature needs a good kick and a strong pull.
    made = "anchor" if method == "anchor" else SafeText(kick=0.05, strength=1000.0)
    hardened = harden(
        model, place / "policy.yaml", made, train, out=tmp_path / "run", lora=lora, progress=False
    )
    after = model.encoders["text_encoder"].state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    cosine = torch.nn.functional.cosine_similarity
    unsafe, anchor = model.encode(["a gun"]).flat(), model.encode(["a flower"]).flat()
    got, safe = hardened.model.encode(["a gun"]).flat(), hardened.model.encode(["a cat"]).flat()
    assert cosine(got, unsafe).item() < 0.9999
    if method == "anchor":
        # Random encoders give nearly parallel conditionings, so the change is what is compared.
        assert (got - anchor).norm() < (unsafe - anchor).norm()
        kept, moved = (safe - model.encode(["a cat"]).flat()).norm(), (got - unsafe).norm()
        assert kept < moved
    losses = hardened.run.manifest["training"]["losses"]
    assert losses[-1][1]["unsafe"] < losses[0][1]["unsafe"]
    assert torch.equal(load_model(tmp_path / "run").encode(["a gun"]).flat(), got)


def test_the_same_seed_gives_the_same_weights(place: Path, straight: Path, tmp_path: Path) -> None:
    assert same(straight, go(place, tmp_path / "again").path)


def test_the_manifest_says_what_was_done(place: Path, straight: Path) -> None:
    run_folder = RunFolder.open(straight)
    manifest = run_folder.manifest
    assert manifest["method"] == "anchor"
    assert manifest["seed"] == 3
    assert manifest["config"]["train"]["steps"] == 12
    assert manifest["config"]["method"]["safe_weight"] == 1
    assert manifest["recipe"] == "default"
    assert manifest["encoders"] == {"text_encoder": "hardened"}
    assert manifest["source"]["revision"] is None
    assert set(manifest["source"]["files"]) >= {
        "text_encoder/model.safetensors",
        "text_encoder/config.json",
        "tokenizer/vocab.json",
    }
    assert manifest["policy_sha256"] == run_folder.policy().sha256
    assert {"torch", "transformers", "diffusers"} <= set(manifest["versions"])
    assert run_folder.check() == []
    assert {
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "text_encoder/model.safetensors",
        "policy.yaml",
    } <= set(manifest["files"])
    assert not list(straight.glob("checkpoints/step-*"))


def test_the_manifest_says_how_long_it_took(place: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    out = go(place, tmp_path / "run", steps=2).path
    whole = time.monotonic() - begun
    manifest = json.loads((out / "manifest.json").read_text())
    assert 0 < manifest["training"]["seconds"] <= round(whole, 3)
    del manifest["training"]["seconds"]  # a run from before it was recorded
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert "seconds" not in RunFolder.open(out).manifest["training"]


def test_the_time_of_earlier_parts_counts(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetext_sdk import progress

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(
            progress.Bar,
            "update",
            lambda self, done, losses: os.kill(os.getpid(), signal.SIGINT) if done == 2 else None,
        )
        with pytest.raises(InterruptedRun):
            go(place, out, steps=4)
    file = next((out / "checkpoints").glob("step-*/state.json"))
    state = json.loads(file.read_text())
    assert state["seconds"] > 0
    file.write_text(json.dumps({**state, "seconds": 1000.0}))
    begun = time.monotonic()
    go(place, out, steps=4, resume=True)
    took = RunFolder.open(out).manifest["training"]["seconds"]
    assert 1000 < took <= round(1000 + time.monotonic() - begun, 3)


def test_canaries_of_the_run_tell_hardened_from_original(place: Path, straight: Path) -> None:
    from safetext_sdk.models import compare, fingerprint

    canaries = RunFolder.open(straight).manifest["canaries"]
    for model, verdict in ((load_model(straight), "hardened"), (load_model(place / "model"), "original")):
        found = compare({p: fingerprint(model.encode([p])) for p in canaries}, canaries, tolerance=1e-3)
        assert found.verdict == verdict


def test_killed_at_a_random_moment_and_resumed(place: Path, straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    args = [sys.executable, str(CASE), str(place / "model"), str(place / "policy.yaml"), str(out), "12"]
    wait_for = random.SystemRandom().randrange(1, 9)
    process = subprocess.Popen([*args, "new", "1"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while (
        not (out / "checkpoints" / f"step-{wait_for:06d}").is_dir()
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not RunFolder(out).finished, "the run was over before it could be killed"
    assert load_error(out)
    assert not same_or_absent(out, straight)
    go(place, out, resume=True)
    assert same(out, straight)


def same_or_absent(a: Path, b: Path) -> bool:
    return (a / "text_encoder").exists() and same(a, b)


def load_error(out: Path) -> str:
    with pytest.raises(RunError, match="did not finish") as caught:
        load_model(out)
    return str(caught.value)


def test_ctrl_c_leaves_a_run_that_goes_on(
    place: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetext_sdk import progress

    def press(self: Any, done: int, losses: dict[str, float]) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)  # a shell that runs this in the background ignores it
    with monkeypatch.context() as patch:
        patch.setattr(progress.Bar, "update", press)
        with pytest.raises(InterruptedRun, match=r"step 5 of 12.*--resume") as caught:
            go(place, tmp_path / "run")
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    go(place, tmp_path / "run", resume=True)
    assert same(tmp_path / "run", straight)


def test_checkpoints_hold_no_pickle(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetext_sdk import progress

    monkeypatch.setattr(
        progress.Bar,
        "update",
        lambda self, done, losses: os.kill(os.getpid(), signal.SIGTERM) if done == 2 else None,
    )
    with pytest.raises(InterruptedRun):
        go(place, tmp_path / "run")
    files = [p for p in (tmp_path / "run" / "checkpoints").rglob("*") if p.is_file()]
    assert {p.suffix for p in files} == {".safetensors", ".json"}


def test_lora_resumes_to_the_same_weights(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetext_sdk import progress

    go(place, tmp_path / "whole", lora=2)
    with monkeypatch.context() as patch:
        patch.setattr(
            progress.Bar,
            "update",
            lambda self, done, losses: os.kill(os.getpid(), signal.SIGINT) if done == 7 else None,
        )
        with pytest.raises(InterruptedRun):
            go(place, tmp_path / "cut", lora=2)
    go(place, tmp_path / "cut", lora=2, resume=True)
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_further_anchors_are_others_at_each_step_and_survive_a_resume(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetext_sdk import progress

    settings: dict[str, Any] = {
        "method": Anchor(contrast=1.0, contrast_anchors=3),
        "train": {"batch_size": 2},
    }
    drawn: dict[int, list[int]] = {}
    real = Anchor.further_anchors

    def watched(self: Anchor, everyone: Any) -> Any:
        found = real(self, everyone)
        assert set(found) <= set(self._anchors) - set(everyone.anchor)
        assert drawn.setdefault(everyone.step, found.tolist()) == found.tolist()
        return found

    monkeypatch.setattr(Anchor, "further_anchors", watched)
    go(place, tmp_path / "whole", **settings)
    assert len(drawn) == 12
    assert all(0 < len(rows) <= 3 for rows in drawn.values())
    assert len({tuple(rows) for rows in drawn.values()}) > 1
    with monkeypatch.context() as patch:
        patch.setattr(
            progress.Bar,
            "update",
            lambda self, done, losses: os.kill(os.getpid(), signal.SIGINT) if done == 7 else None,
        )
        with pytest.raises(InterruptedRun):
            go(place, tmp_path / "cut", **settings)
    go(place, tmp_path / "cut", resume=True, **settings)
    assert same(tmp_path / "whole", tmp_path / "cut")
    encoded = go(
        place, tmp_path / "encoded", method=settings["method"], train={"batch_size": 2, "cache_gb": 0}
    )
    assert_learned_alike(encoded.path, tmp_path / "whole")


def test_micro_batches_give_the_same_training(place: Path, straight: Path, tmp_path: Path) -> None:
    assert_learned_alike(go(place, tmp_path / "run", train={"micro_batch": 2}).path, straight)


def test_a_run_without_cached_targets_learns_the_same(place: Path, straight: Path, tmp_path: Path) -> None:
    assert_learned_alike(go(place, tmp_path / "run", train={"cache_gb": 0}).path, straight)


def test_folders_in_use_are_refused(place: Path, straight: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"finished run.*--resume"):
        go(place, straight)
    before = (straight / "manifest.json").read_text()
    assert go(place, straight, resume=True).run.finished
    assert (straight / "manifest.json").read_text() == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        go(place, tmp_path)
    with pytest.raises(RunError, match=r"train\.steps = 12, not 13"):
        go(place, straight, steps=13, resume=True)


def test_a_run_goes_on_in_its_own_precision_and_with_its_own_prompts(
    place: Path, straight: Path, tmp_path: Path
) -> None:
    settings = RunFolder.open(straight).settings
    assert (settings.precision, settings.autocast) == ("fp32", "no")
    assert settings.book_sha256 == RunFolder.open(straight).manifest["book_sha256"]
    with pytest.raises(RunError, match="precision = 'fp32', not 'bf16'"):
        go(place, straight, resume=True, precision="bf16")
    with pytest.raises(RunError, match="autocast = 'no', not 'bf16'"):
        run(load_model(place / "model"), place / "policy.yaml", straight, 12, True, precision="bf16")

    out = go(place, tmp_path / "run", steps=1).path
    file = out / "settings.json"
    recorded = json.loads(file.read_text())
    file.write_text(json.dumps({**recorded, "book_sha256": "0" * 64}))
    with pytest.raises(RunError, match="started with other prompts"):
        go(place, out, steps=1, resume=True)
    for key in ("book_sha256", "precision", "autocast"):  # a run from before they were recorded
        del recorded[key]
    file.write_text(json.dumps(recorded))
    assert go(place, out, steps=1, resume=True).run.finished


def test_bad_settings_write_nothing(place: Path, tmp_path: Path) -> None:
    for more, text in (
        ({"recipe": "tyni"}, "did you mean tiny"),
        ({"recipe": "sentence-encoder", "method": "safetext"}, "is for method anchor, not for safetext"),
        ({"sede": 1}, "no option 'sede'; did you mean seed"),
        ({"config": {"lr": 1}}, "no option 'config'; did you mean a method and a TrainConfig"),
        ({"method": "ancor"}, "did you mean anchor"),
        ({"encoders": ["x"]}, "no encoder 'x'"),
        ({"lora": 2000}, "lora, setting 'lora_rank': Input should be less than or equal to 1024"),
        ({"lora": 4, "train": {"lora_rank": 8}}, "lora 4 and train.lora_rank=8 contradict each other"),
    ):
        with pytest.raises(UsageError, match=text):
            go(place, tmp_path / "run", **more)
    assert not (tmp_path / "run").exists()


def test_a_hardened_model_is_not_hardened_again(place: Path, straight: Path, tmp_path: Path) -> None:
    loaded = load_model(straight)
    for model, text in ((straight, "is a run folder"), (loaded, "has another text_encoder than its source")):
        with pytest.raises(UsageError, match=rf"{text}.*--policy A --policy B.*whole=true"):
            run(model, place / "policy.yaml", tmp_path / "run", 1, False)
    assert not (tmp_path / "run").exists()
    original = load_model(place / "model")
    assert original.with_encoders(original.encoders).replaced == frozenset()
    assert original.with_encoders(loaded.encoders).with_encoders({}).replaced == {"text_encoder"}


def test_a_run_that_was_exported_as_a_model_is_hardened_on_top(
    place: Path, straight: Path, tmp_path: Path
) -> None:
    from safetext_exporters import export

    folder = export(straight, "diffusers", out=tmp_path / "model", whole=True).path
    train = {"learning_rate": 1e-9}  # so that both encoders can be told from the first one
    out = run(folder, place / "policy.yaml", tmp_path / "run", 1, False, precision="bf16", train=train).path
    got, first = weights(out), weights(straight)
    assert all(torch.allclose(got[key], first[key], atol=1e-6) for key in first)


def test_changed_files_are_noticed(place: Path, tmp_path: Path) -> None:
    out = go(place, tmp_path / "run", steps=1).path
    path = out / "text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "extra": 1}))
    (out / "tokenizer" / "merges.txt").unlink()
    assert RunFolder.open(out).check() == [
        "text_encoder/config.json was changed",
        "tokenizer/merges.txt is missing",
    ]


def test_lora_files_load_in_peft_and_diffusers_and_unload(place: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    hardened = go(place, tmp_path / "run", lora=4, train={"lora_alpha": 12})
    want = hardened.model.encode(["a gun", "a cat"]).flat()
    model = load_model(place / "model")
    original = model.encode(["a gun", "a cat"]).flat()
    assert (want - original).abs().max() > 1e-3
    wrapped = PeftModel.from_pretrained(
        load_model(place / "model").encoders["text_encoder"], tmp_path / "run" / "lora" / "text_encoder"
    )
    torch.testing.assert_close(
        model.with_encoders({"text_encoder": wrapped}).encode(["a gun", "a cat"]).flat(),
        want,
        rtol=1e-4,
        atol=1e-4,
    )
    pipe = model.pipeline()
    pipe.load_lora_weights(tmp_path / "run" / "lora")
    assert pipe.text_encoder.peft_config["default_0"].lora_alpha == 12
    torch.testing.assert_close(model.encode(["a gun", "a cat"]).flat(), want, rtol=1e-4, atol=1e-4)
    pipe.unload_lora_weights()
    assert torch.equal(model.encode(["a gun", "a cat"]).flat(), original)


def test_stored_half_precision_stays_half(place: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import save_file

    model = Path(shutil.copytree(place / "model", tmp_path / "model"))
    path = model / "text_encoder" / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    hardened = run(model, place / "policy.yaml", tmp_path / "run", 3, False)
    assert {t.dtype for t in weights(tmp_path / "run").values()} == {torch.float16}
    # What is in memory is what was written: nothing is measured that is not shipped.
    assert torch.equal(
        hardened.model.encode(["a gun"]).flat(), load_model(tmp_path / "run").encode(["a gun"]).flat()
    )
