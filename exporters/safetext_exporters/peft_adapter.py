"""Target ``peft``: the LoRA adapters of a run that was hardened with LoRA, for peft and, where it loads them,
for diffusers' ``load_lora_weights``.

The adapters are the run's own files. Before they are handed out, each is put on a fresh copy of the original
encoder and compared with the hardened weights, so that a missing ``lora_alpha`` or a wrong key cannot weaken
the defence without a word.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from safetext_sdk.errors import ModelError, UsageError

from .base import Exporter, ExportResult, Options, Subject, staging, write_record

_FOLDER = "lora"
TOLERANCE = 2e-2
"""Largest difference of a merged weight over the largest weight of its tensor; half precision rounds by
1e-3."""


def export_peft(subject: Subject, out: Path, options: Options) -> ExportResult:
    """Copy the run's adapters (``<encoder>/adapter_model.safetensors``, and one file for diffusers) after
    checking that they do the job.

    Raises:
        UsageError: a bare model, or a run that trained full weights.
        ModelError: an adapter that does not turn the original encoder into the hardened one.
    """
    if subject.run is None:
        raise UsageError("target peft needs a run folder; a bare model has no adapter")
    source = subject.run.path / _FOLDER
    if not source.is_dir():
        raise UsageError(
            f"{subject.run.path} was hardened in full weights and has no adapter; harden with lora=True, "
            "or use target diffusers"
        )
    parities: dict[str, Any] = {}
    with staging(out) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        for name in subject.hardened():
            if (folder / name / "adapter_model.safetensors").is_file():
                parities[name] = check_adapter(subject, name, folder / name)
        if not parities:
            raise ModelError(f"{source} holds no adapter of an encoder")
        files = write_record(folder, subject, "peft", {}, {"merged_weights": parities})
        by_hand = not (folder / "pytorch_lora_weights.safetensors").is_file()
    notes = [
        "an adapter can be switched off by whoever holds it; ship merged weights (target diffusers) where "
        "that matters"
    ]
    if by_hand:
        notes.append(
            f"for peft alone: load_lora_weights of this model's pipeline leaves {', '.join(parities)} as it "
            "was and says nothing, so there is no file for it"
        )
    return ExportResult("peft", out, out, files, {}, tuple(notes))


def check_adapter(subject: Subject, name: str, folder: Path) -> dict[str, float]:
    """Largest relative difference between original + adapter and the hardened weights.

    Raises:
        ModelError: above `TOLERANCE`.
    """
    from peft import PeftModel

    from safetext_sdk.models.read_encoder import load_encoder

    fresh = load_encoder(subject.model.layout.encoders[name], torch.device("cpu"), torch.float32)
    merged = PeftModel.from_pretrained(fresh, str(folder)).merge_and_unload().state_dict()
    worst, moved = 0.0, False
    for key, want in subject.model.encoders[name].state_dict().items():
        if not want.is_floating_point():
            continue
        want = want.float().cpu()
        difference = float((merged[key].float() - want).abs().max()) / max(float(want.abs().max()), 1e-9)
        worst, moved = max(worst, difference), moved or difference > 0
    if worst > TOLERANCE:
        raise ModelError(
            f"the adapter of {name} does not give the hardened weights (a weight is off by {worst:.2g} of "
            "its tensor's largest)"
        )
    return {"relative": worst}


EXPORTER = Exporter(Options, export_peft)
