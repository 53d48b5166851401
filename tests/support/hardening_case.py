"""One small hardening run, for tests and for the processes that tests kill."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

POLICY = """version: 1
name: weapons
concepts:
  - id: weapon
    description: Guns and blades shown as objects
    terms: [gun, rifle, knife, sword, dagger, axe, bomb, grenade]
    anchors: ["a flower"]
    detectors:
      - {name: tiny-judges, labels: [weapon]}
safe_prompts: ["a cat", "an apple", "a picture of a cat with an apple", {shipped: everyday}]
"""
CONFIG = {"prompts": 24, "batch_size": 4, "learning_rate": 3e-3, "lora_learning_rate": 1e-2, "wide_safe": 40}


def run(model: Any, policy: Path, out: Path, steps: int, resume: bool, **more: Any) -> Any:
    """Harden. ``train``: settings that replace or join `CONFIG`; ``method``: its name, or one with settings;
    the rest are options of `harden`."""
    from safetext_sdk.hardening.harden import harden
    from safetext_sdk.hardening.settings import TrainConfig

    train = TrainConfig(**{**CONFIG, "steps": steps, **more.pop("train", {})})
    method = more.pop("method", "anchor")
    return harden(
        model, policy, method, train, out=out, **{"seed": 3, "resume": resume, "progress": False, **more}
    )


def assert_learned_alike(got: Path, want: Path) -> None:
    """Fail unless two runs whose sums were rounded differently learned the same CLIP text encoder.

    A key's bias takes no part: softmax cancels it, so that its gradient is rounding alone, which AdamW scales
    up to whole steps.
    """
    import torch
    from safetensors.torch import load_file

    one, two = (load_file(run / "text_encoder" / "model.safetensors") for run in (got, want))
    assert one.keys() == two.keys()
    for key in one:
        if not key.endswith("k_proj.bias"):
            torch.testing.assert_close(
                one[key], two[key], rtol=1e-2, atol=2e-4, msg=lambda said, key=key: f"{key}: {said}"
            )


if __name__ == "__main__":
    folder, policy_file, target, number, again, every = sys.argv[1:7]
    run(
        Path(folder),
        Path(policy_file),
        Path(target),
        int(number),
        again == "resume",
        train={"checkpoint_steps": int(every)},
    )
