"""A validation and an attack of the miniature pipeline, for one process or several: FOLDER NAME."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import torch
from support.validation_case import FAST, PixelDetector

import safetext_sdk as st
from safetext_sdk.detectors import DETECTORS


def main(folder: Path, name: str) -> None:
    torch.set_num_threads(1)
    DETECTORS.add("pixel", lambda spec, _: [PixelDetector(c, list(spec.labels)) for c in (0, 2)])
    original: Any = st.load_model(folder / "model", device="cpu")
    encoder = copy.deepcopy(original.encoders["text_encoder"])
    torch.manual_seed(0)
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    hardened = original.with_encoders({"text_encoder": encoder})
    policy = st.load_policy(folder / "policy.yaml")
    options: Any = {"settings": FAST, "batch_size": 2, "device": "cpu", "progress": False}
    report = st.validate(
        original, hardened, policy, out=folder / name, n=4, attacks=["context", "typos"], **options
    )
    assert report.rows
    st.attack(hardened, ["typos"], policy, original=original, out=folder / f"{name}-attack", n=4, **options)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
