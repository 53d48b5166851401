"""Silence ends with its block, and pipelines say nothing of long prompts while attacks run them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from support import minis

from safetext_sdk.attacks.denoiser_calls import record
from safetext_sdk.attacks.denoising import pictures
from safetext_sdk.models import load_model
from safetext_sdk.quiet import quiet_pipelines


@pytest.fixture
def said() -> Any:
    """Lines that diffusers logs."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, listener = logging.getLogger("diffusers"), Listener()
    logger.addHandler(listener)
    yield lines
    logger.removeHandler(listener)


def test_a_prompt_that_is_cut_is_no_line_of_an_attack(tmp_path: Path, said: list[str]) -> None:
    from diffusers.utils import logging as theirs

    folder = minis.build_sd1(tmp_path / "sd1")
    (folder / "generation.json").write_text('{"num_inference_steps": 1, "height": 16, "width": 16}')
    model, long = load_model(folder, device="cpu"), "a gun " * 60
    for level in (theirs.WARNING, theirs.INFO):
        theirs.set_verbosity(level)
        record(model, [long], seed=0, times=1)
        pictures(model, [long], seed=0)
        assert said == []
        assert theirs.get_verbosity() == level
    theirs.set_verbosity_warning()
    model.pipeline()(long, num_inference_steps=1, height=16, width=16, output_type="latent")
    assert any("truncated" in line for line in said)  # without the silence there is one
    with pytest.raises(ZeroDivisionError), quiet_pipelines():
        raise ZeroDivisionError
    assert theirs.get_verbosity() == theirs.WARNING
