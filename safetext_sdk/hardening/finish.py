"""The end of a run: from trained encoders to files, and last the manifest that says what they are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from datetime import UTC, datetime
from typing import Any

from ..models.canaries import fingerprint
from ..models.layout import encoder_files
from ..models.manifest import CanaryRecord, Manifest, RunSettings, TrainingRecord
from ..models.model import TextToImageModel
from ..models.read_encoder import load_encoder
from ..models.run_folder import RunFolder
from ..models.writing import round_to_stored, write_encoder, write_tokenizer
from ..prompts.prompt_book import PromptBook
from .assemble import HardeningPlan
from .trainable import merge_lora, narrow, scale_change, write_lora, write_merged_lora
from .trainer import Trainer


def write_encoders(
    run: RunFolder, model: TextToImageModel, plan: HardeningPlan, trainer: Trainer
) -> TextToImageModel:
    """Merge, round to the stored types, and write encoders, tokenizers and adapters. What is returned is what
    was written.

    An encoder that is held in less than fp32 is merged from file to file, one shard at a time, and read back:
    there is never a whole copy of it in fp32.
    """
    main: bool = trainer.accelerator.is_main_process
    students: Any = trainer.student.bundle.encoders
    originals: Any = trainer.teacher.bundle.encoders
    for name in plan.how:
        scale_change(students[name], originals[name], plan.train.extent)
    adapters = {name: students[name] for name, way in plan.how.items() if way == "lora"}
    if adapters and main:
        loads = adapters.keys() <= model.reader.lora_by_pipeline
        write_lora(adapters, model.layout.encoders, run.path / "lora", for_pipeline=loads)
    finished: dict[str, Any] = {}
    for name, way in plan.how.items():
        files = model.layout.encoders[name]
        if main:
            write_tokenizer(model.tokenizers[name], model.layout.tokenizers[name], run.tokenizer_dir(name))
        if way == "lora" and not files.prefix and narrow(students[name]):
            if main:
                write_merged_lora(students[name], originals[name], files, run.encoder_dir(name))
            trainer.accelerator.wait_for_everyone()
            written = encoder_files(run.encoder_dir(name), name, files.architecture)
            finished[name] = load_encoder(written, model.device, model.dtype)
            continue
        encoder = merge_lora(students[name], files) if way == "lora" else students[name]
        encoder.requires_grad_(False).eval()
        round_to_stored(encoder, files)
        if main:
            write_encoder(encoder, files, run.encoder_dir(name))
        finished[name] = encoder.to(model.device, model.dtype)
    return model.with_encoders(finished)


def write_manifest(
    run: RunFolder,
    models: tuple[TextToImageModel, TextToImageModel],
    settings: RunSettings,
    book: PromptBook,
    trainer: Trainer,
) -> None:
    """Put the manifest in place, which makes the run a finished one, and drop its checkpoints.

    Args:
        run: with everything written.
        models: the original and the hardened one.
        settings: what the run was started with.
        book: what it was trained on.
        trainer: at its end.
    """
    original, hardened = models
    how: dict[str, Any] = {n: way for n, way in settings.encoders.items() if way != "untouched"}
    run.write_manifest(
        Manifest(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            family=original.family,
            source=settings.source,
            method=settings.method,
            recipe=settings.recipe,
            config=settings.config,
            seed=settings.seed,
            policy_sha256=settings.policy_sha256,
            book_sha256=book_digest(book),
            encoders={name: "hardened" if name in how else "untouched" for name in original.encoders},
            how=how,
            training=TrainingRecord(
                steps=trainer.progress.done,
                losses=_thin(trainer.progress.losses),
                processes=trainer.accelerator.num_processes,
                seconds=trainer.seconds,
            ),
            canaries={
                p: CanaryRecord(
                    original=fingerprint(original.encode([p])), hardened=fingerprint(hardened.encode([p]))
                )
                for p in canary_prompts(book)
            },
            versions=settings.versions,
            device=settings.device,
        )
    )
    for old in run.checkpoints_dir.glob("step-*"):
        shutil.rmtree(old, ignore_errors=True)


def book_digest(book: PromptBook) -> str:
    """Hex sha256 of every prompt of every split, with anchors and kinds."""
    content = json.dumps(dataclasses.asdict(book), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def canary_prompts(book: PromptBook) -> list[str]:
    """A dozen prompts, unsafe and safe, by which a deployed encoder is recognised later."""
    unsafe, safe = book.train.unsafe, book.train.safe
    spread = [unsafe[i * len(unsafe) // 8].text for i in range(min(8, len(unsafe)))]
    return list(
        dict.fromkeys([*spread, *[safe[i * len(safe) // 3].text for i in range(min(3, len(safe)))], ""])
    )


def _thin(losses: list[Any], keep: int = 100) -> list[Any]:
    """About ``keep`` of the recorded losses, the last one always."""
    stride = max(1, len(losses) // keep)
    return losses[::stride] + ([losses[-1]] if losses and (len(losses) - 1) % stride else [])
