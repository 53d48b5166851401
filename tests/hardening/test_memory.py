"""What a GPU run depends on, as far as it can be tried without one: memory that runs out, precision, the
memory that is announced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.hardening_case import POLICY, assert_learned_alike, run
from support.minis import build_sd1

from safetext_sdk.errors import ModelError
from safetext_sdk.hardening.assemble import HardeningPlan, TrainingTexts
from safetext_sdk.hardening.harden import announcement, harden, mixed_precision
from safetext_sdk.hardening.recipes import recipe_of
from safetext_sdk.hardening.settings import TrainConfig
from safetext_sdk.hardening.trainable import Student
from safetext_sdk.methods import Anchor
from safetext_sdk.models import CATALOGUE, load_model
from safetext_sdk.models.catalogue import training_bytes

SMALL: dict[str, Any] = {
    "prompts": 8,
    "wide_safe": 0,
    "learning_rate": 3e-3,
    "lora_learning_rate": 1e-2,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("memory")
    build_sd1(root / "model")
    (root / "policy.yaml").write_text(POLICY)
    return root


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = load_file(folder / "text_encoder" / "model.safetensors")
    return {key.removeprefix("text_model."): value for key, value in found.items()}


def small_memory(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """More than ``room`` prompts at once "run out of memory" in the middle of a step. Returns what was
    tried, with gradients, but for the one prompt that tells before the first step which weights are read."""
    tried: list[int] = []
    asked: list[int] = []
    real = Student.forward

    def forward(self: Student, tokens: Any, shift: Any = None) -> Any:
        count = len(tokens["text_encoder"]["input_ids"])
        if torch.is_grad_enabled():
            (tried if asked else asked).append(count)
            assert asked == [1]
        if count > room:
            for parameter in self.parameters():  # half a step's gradients are there already
                parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
            raise torch.OutOfMemoryError("simulated")
        return real(self, tokens, shift)

    monkeypatch.setattr(Student, "forward", forward)
    return tried


def test_the_batch_is_halved_until_it_fits_and_the_result_stays_the_same(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {**SMALL, "batch_size": 8, "safe_share": 0.4}  # 8 + 3: no half divides it evenly
    run(place / "model", place / "policy.yaml", tmp_path / "whole", 3, False, train=train)
    tried = small_memory(monkeypatch, 3)
    run(place / "model", place / "policy.yaml", tmp_path / "parts", 3, False, train=train)
    assert tried[0] == 11
    # 5 at once is tried without gradients first; then 2, found once, kept for the steps that follow.
    assert tried[1:] == 3 * [2, 2, 2, 2, 2, 1]
    assert_learned_alike(tmp_path / "parts", tmp_path / "whole")


def test_what_helps_is_said_when_one_prompt_does_not_fit(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = small_memory(monkeypatch, 0)
    with pytest.raises(
        ModelError, match=r"out of memory.*lora=True.*train\.gradient_checkpointing=true.*train\.cache_gb=0"
    ) as caught:
        run(
            place / "model",
            place / "policy.yaml",
            tmp_path / "run",
            3,
            False,
            train={**SMALL, "batch_size": 4},
        )
    assert tried == [8]
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "text_encoder").exists()


def test_a_given_micro_batch_is_where_it_starts(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = small_memory(monkeypatch, 99)
    run(
        place / "model",
        place / "policy.yaml",
        tmp_path / "run",
        2,
        False,
        train={**SMALL, "batch_size": 6, "micro_batch": 3},
    )
    assert tried == 2 * [3, 3, 3, 3]


def test_lora_beside_a_half_precision_model_keeps_the_source_exact(place: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    model = load_model(place / "model", device="cpu", precision="bf16")
    done = harden(
        model,
        place / "policy.yaml",
        train=TrainConfig(**SMALL, steps=3, batch_size=2),
        out=tmp_path / "run",
        lora=2,
        progress=False,
    )
    assert done.model.dtype == torch.bfloat16
    assert {p.dtype for p in done.model.encoders["text_encoder"].parameters()} == {torch.bfloat16}
    original = load_model(place / "model", device="cpu", precision="fp32").encoders["text_encoder"]
    merged = (
        PeftModel.from_pretrained(original, tmp_path / "run" / "lora" / "text_encoder")
        .merge_and_unload()
        .state_dict()
    )
    written, source, moved = weights(tmp_path / "run"), weights(place / "model"), 0
    for key, value in merged.items():
        key = key.removeprefix("text_model.")
        assert written[key].dtype == torch.float32
        torch.testing.assert_close(written[key], value, rtol=0, atol=1e-6)
        if "_proj" in key or "fc" in key:
            moved += not torch.equal(written[key], source[key])
        else:
            assert torch.equal(written[key], source[key])  # not rounded on the way
    assert moved > 0


def test_precision_follows_device_and_wish(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(place / "model", device="cpu")
    assert [mixed_precision(model, p) for p in ("auto", "fp32", "bf16", "fp16")] == [
        "no",
        "no",
        "bf16",
        "fp16",
    ]
    model.device = torch.device("cuda")
    for able, wanted in ((True, "bf16"), (False, "no")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able: able)
        assert [mixed_precision(model, p) for p in ("auto", "fp32", "fp16")] == [wanted, "no", "fp16"]


def test_slow_or_lossy_settings_are_off_unless_asked_for() -> None:
    config = TrainConfig()
    assert not config.compile
    assert not config.gradient_checkpointing
    assert config.micro_batch == 0
    assert config.lora_alpha is None


def test_memory_is_stated_before_the_start(place: Path) -> None:
    assert training_bytes(100, "full", 4) == 2000  # original, copy, gradient, two moments
    assert training_bytes(100, "full", 2) == 2200  # and the model as it was loaded
    assert training_bytes(100, "lora", 2) == 216
    assert CATALOGUE["flux-dev"].memory_gb < CATALOGUE["sdxl"].memory_gb < CATALOGUE["sd35-large"].memory_gb
    model = load_model(place / "model", device="cpu", precision="fp32")
    plan = HardeningPlan(Anchor(), TrainConfig(steps=7), "default", 0, {"text_encoder": "full"})
    lines = announcement(model, plan, recipe_of("anchor", "x"), TrainingTexts([], [], {}))
    assert "text_encoder (all weights," in lines[0]
    assert f"about {training_bytes(model.parameters(), 'full', 4) / 1e9:.2f} GB" in lines[0]
    assert lines[1].startswith("recipe default: ")
    averaged = replace(plan, train=TrainConfig(average=0.5))
    more = announcement(model, averaged, recipe_of("anchor", "x"), TrainingTexts([], [], {}))
    gigabytes = (training_bytes(model.parameters(), "full", 4) + 4 * model.parameters()) / 1e9
    assert f"about {gigabytes:.2f} GB" in more[0]
    assert "method anchor, 7 steps of 32 + 32" in lines[2]
