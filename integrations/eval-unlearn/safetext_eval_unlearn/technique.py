"""The technique: a model with a hardened encoder, or with one that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image

import safetext_sdk as st
from safetext_sdk.errors import UsageError
from safetext_sdk.models.given_encoders import read_given

IGNORED = ("erase_concept", "use_fp16")
"""Settings that eval-unlearn's runner passes to every technique and that mean nothing here: the concepts are
those of the policy that the encoder was hardened with."""


class SafeTextTechnique:
    """Draws with a text encoder that took the place of its model's own.

    Args:
        run: run folder of `safetext harden`.
        model, encoder: instead of ``run``: an undefended model, and an encoder by path or hub id; without an
            encoder the model is drawn with as it is (the control).
        device: as `safetext_sdk.load_model` takes it.
        steps, guidance: of the pipeline; None: the model's own.

    Raises:
        UsageError: neither a run nor a model, or both, or an unknown setting.
        NotHardenedError: the run's encoder is not the one that was hardened.
    """

    def __init__(
        self,
        run: str | None = None,
        model: str | None = None,
        encoder: str | None = None,
        *,
        device: str = "auto",
        steps: int | None = None,
        guidance: float | None = None,
        **others: Any,
    ) -> None:
        if unknown := sorted(set(others) - set(IGNORED)):
            raise UsageError(f"the technique safetext has no setting {unknown[0]!r}")
        if (run is None) == (model is None) or (run is not None and encoder is not None):
            raise UsageError("name a run, or a model (with an encoder, if it is not to be its own)")
        self.model = st.load_model(run if run is not None else str(model), device=device)
        if encoder is not None:
            self.model = self.model.with_encoders(read_given(encoder, self.model).encoders)
        self.pipe = self.model.pipeline()
        if run is not None:
            st.guard(self.pipe, run)
        self.arguments = dict(self.model.generation_defaults)
        given = {"num_inference_steps": steps, "guidance_scale": guidance}
        self.arguments |= {name: value for name, value in given.items() if value is not None}

    def generate(self, prompts: Sequence[str], seed: int | None = None, **arguments: Any) -> list[Image]:
        """One picture a prompt, picture ``i`` with the seed ``seed + i``."""
        pictures = []
        for i, prompt in enumerate(prompts):
            # On the CPU, so that a seed is the same noise on every machine.
            noise = torch.Generator().manual_seed(seed + i) if seed is not None else None
            made = self.pipe(prompt, generator=noise, **{**self.arguments, **arguments})
            pictures.append(made.images[0])
        return pictures
