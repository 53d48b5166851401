"""What is minimised does not depend on how many prompts fit through the encoders at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from support.hardening_case import CONFIG, POLICY, run
from support.minis import build_plain_bert, build_sd1, build_sdxl
from support.sketch_method import Sketch

from safetext_sdk.hardening.assemble import HardeningPlan, make_trainer
from safetext_sdk.hardening.harden import training_texts
from safetext_sdk.hardening.settings import TrainConfig
from safetext_sdk.hardening.trainer import Trainer
from safetext_sdk.methods import METHODS, Adversarial, Anchor, Des, EsdEncoder, Method, SafeText, Sage
from safetext_sdk.models import load_model
from safetext_sdk.policy import load_policy
from safetext_sdk.prompts.build import build_prompt_book

METHODS_TRIED: dict[str, Any] = {
    "anchor": lambda: Anchor(),
    "anchor-all": lambda: Anchor(
        push=1.2, margin=0.8, contrast=0.5, contrast_anchors=3, safe_weight=2.0, temperature=0.2
    ),
    "safetext": lambda: SafeText(kick=0.05),
    "safetext-signed": lambda: SafeText(kick=0.05, cosine="signed"),
    "des": lambda: Des(),
    "sage": lambda: Sage(),
    "esd-encoder": lambda: EsdEncoder(pictures=1, picture_steps=2),
    "adversarial": lambda: Adversarial(rounds=1, step_size=0.3),
    "sketch": lambda: Sketch(),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gradients")
    build_sd1(root / "sd1")
    build_sdxl(root / "sdxl")
    build_plain_bert(root / "bert")
    (root / "policy.yaml").write_text(POLICY)
    return root


def trainer(place: Path, model: str, method: Method[Any], **train: Any) -> Trainer:
    """A trainer before its first step."""
    original, policy = load_model(place / model, device="cpu"), load_policy(place / "policy.yaml")
    settings = TrainConfig(**{**CONFIG, "steps": 8, "batch_size": 5, "whole_every": 2, **train})
    plan = HardeningPlan(method, settings, "default", 3, dict.fromkeys(original.encoders, "full"))
    book = build_prompt_book(policy, seed=3, model=original.id, size=settings.prompts)
    texts = training_texts(book, policy, original, plan)
    made = make_trainer(original, plan, texts, place / "checkpoints", Accelerator(cpu=True))
    made.prepare()
    method.start(made.trainable, 3)
    return made


def gradients(made: Trainer, micro: int, step: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    for parameter in made.trainable.values():
        parameter.grad = None
    made._fit(micro)
    parts = made._gradients(made.student, step)
    found = {n: p.grad.clone() for n, p in made.trainable.items() if p.grad is not None}
    return found, {name: float(value) for name, value in parts.items()}


def check(made: Trainer) -> None:
    for step in (0, 1):  # a prefix, and all positions
        whole, parts = gradients(made, 2**30, step)
        largest = max(float(g.abs().max()) for g in whole.values())
        assert largest > 0
        for micro in (1, 2, 3, 7):
            found, again = gradients(made, micro, step)
            assert found.keys() == whole.keys()
            assert again == pytest.approx(parts, rel=1e-4, abs=1e-6)
            for name, gradient in whole.items():
                torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=2e-5 * largest, msg=name)


@pytest.mark.parametrize("share", [1.0, 0.2, 2.6])
@pytest.mark.parametrize("name", METHODS_TRIED)
def test_micro_batches_have_the_gradient_of_the_whole(place: Path, name: str, share: float) -> None:
    """Also where unsafe and safe prompts do not divide alike, and where the loss compares prompts."""
    check(trainer(place, "sd1", METHODS_TRIED[name](), safe_share=share))


@pytest.mark.parametrize("model", ["sdxl", "bert"])
def test_also_with_pooled_outputs_and_masks(place: Path, model: str) -> None:
    check(trainer(place, model, METHODS_TRIED["anchor-all"](), safe_share=0.6))


def test_every_shipped_method_is_tried() -> None:
    built_in = {entry.name for entry in METHODS.entries() if entry.source == "built-in"}
    assert built_in <= {make().name for make in METHODS_TRIED.values()}


def test_the_safe_term_keeps_its_weight_whatever_the_parts(place: Path) -> None:
    """5 unsafe and 1 safe prompt in parts of 2: the safe term is a mean over one prompt, not over fifths."""
    made = trainer(place, "sd1", Anchor(safe_weight=4.0), safe_share=0.2)
    with torch.no_grad():
        for parameter in made.trainable.values():
            parameter.mul_(1.05)  # so that safe prompts have moved
    _, whole = gradients(made, 2**30, 1)
    _, parts = gradients(made, 2, 1)
    assert whole["safe"] > 1e-4
    assert parts["safe"] == pytest.approx(whole["safe"], rel=1e-5)
    assert parts["loss"] == pytest.approx(parts["unsafe"] + 4 * parts["safe"], rel=1e-5)


def test_the_method_on_the_page_trains(place: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    (code,) = (
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Near" in block
    )
    room: dict[str, Any] = {"__name__": "page"}
    exec(code, room)
    method = room["Near"](weight=0.5)
    train = {"batch_size": 8, "learning_rate": 1e-3}
    done = run(place / "sd1", place / "policy.yaml", tmp_path / "run", 60, False, method=method, train=train)
    original = load_model(place / "sd1", device="cpu")
    before, after = (m.encode(["a gun"]).flat() for m in (original, done.model))
    anchor = original.encode(["a flower"]).flat()
    assert (after - anchor).norm() < 0.9 * (before - anchor).norm()
    assert done.run.record.method == "near"


def test_a_method_of_one_file_trains_stops_and_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    from safetext_sdk import progress
    from safetext_sdk.errors import InterruptedRun

    def go(out: str, **more: Any) -> Any:
        return run(
            place / "sd1",
            place / "policy.yaml",
            tmp_path / out,
            6,
            more.pop("resume", False),
            method=Sketch(),
            **more,
        )

    whole = go("whole")
    losses = whole.run.manifest["training"]["losses"]
    assert set(losses[0][1]) == {"loss", "unsafe", "safe", "word", "spread", "kept"}
    assert losses[-1][1]["unsafe"] < losses[0][1]["unsafe"]
    assert whole.run.record.config.train["betas"] == [0.9, 0.999]  # what the method asks for

    def stop(self: Any, done: int, losses: Any) -> None:
        import os
        import signal

        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(progress.Bar, "update", stop)
        with pytest.raises(InterruptedRun):
            go("cut")
    go("cut", resume=True)
    one, two = (
        load_file(tmp_path / name / "text_encoder" / "model.safetensors") for name in ("whole", "cut")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
