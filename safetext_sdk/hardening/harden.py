"""`harden`: from a model and a policy to a run folder with hardened encoders."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ..errors import PolicyError, RunError, UsageError
from ..methods import METHODS, Method
from ..methods.base import checked, make_config
from ..metrics.gates import check_gate
from ..models.canaries import fingerprint
from ..models.catalogue import CATALOGUE, training_bytes
from ..models.loading import load_hardened_encoders, load_model, pick_device
from ..models.model import HardenedModel, TextToImageModel
from ..models.run_folder import RunFolder
from ..models.writing import round_to_stored, write_encoder, write_tokenizer
from ..policy.load import load_policy
from ..policy.schema import Policy
from ..progress import Bar
from ..prompts.build import PromptBook, build_prompt_book
from .assemble import fill_teacher, make_trainer
from .retain_set import build_safe_set
from .settings import TrainConfig
from .trainable import kind_of, merge_lora, scale_change, write_lora
from .trainer import Trainer

_PACKAGES = (
    "safetext-sdk",
    "torch",
    "transformers",
    "diffusers",
    "peft",
    "accelerate",
    "safetensors",
    "tokenizers",
    "numpy",
)


def harden(
    model: TextToImageModel | str | Path,
    policy: Policy | str | Path,
    method: str = "anchor",
    *,
    out: str | Path,
    steps: int | None = None,
    seed: int = 0,
    lora: bool | int = False,
    resume: bool = False,
    config: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
    encoders: Sequence[str] | None = None,
    allow_partial: bool = False,
    progress: bool = True,
) -> HardenedModel:
    """Harden the text encoders of a model against a policy.

    The model that is passed in is not changed. All encoders that read the prompt are hardened together; T5 by
    LoRA, others in full unless ``lora``.

    Args:
        model: a loaded model, or anything that `load_model` takes.
        policy: a policy, its file, or the name of a shipped one.
        method: name of a method (`safetext methods list`).
        out: run folder; must be new, or empty, or an unfinished run with ``resume``.
        steps: optimiser steps; None = the method's and model's default.
        seed: of prompt expansion, order of prompts, LoRA start; the same seed on the same machine gives the
            same weights.
        lora: train LoRA instead of all weights; a number is its rank.
        resume: go on from the last checkpoint; ends with the same weights, bit for bit, as a run that was
        never stopped. A finished run is returned.
        config: settings of the trainer and of the method, in one flat dictionary.
        device, precision: where and how to compute (used when ``model`` is a name; ``precision`` also for
            autocast: ``bf16`` or ``fp16``).
        encoders: names of the encoders to harden; None = all. Fewer need ``allow_partial``.
        allow_partial: accept a partly hardened model; no gate passes one.
        progress: show a progress bar on standard error.

    Raises:
        UsageError: unknown method, setting or encoder. PolicyError: nothing to train on. ModelError: see
            `load_model`.
        RunError: the folder is in use, or was started with other settings.
        InterruptedRun: Ctrl-C; a checkpoint is on disk.
    """
    kind = METHODS.get(method)
    if not isinstance(model, TextToImageModel):
        model = load_model(model, device=process_device(device), precision=precision)
    if not isinstance(policy, Policy):
        policy = load_policy(policy, check_gate=check_gate)
    names = _chosen(model, encoders, allow_partial)
    train, made = settings(
        kind, model, {**(config or {}), **({} if steps is None else {"steps": steps})}, lora
    )
    how = {n: "lora" if lora or kind_of(model.layout.encoders[n]) == "t5" else "full" for n in names}
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # else a second run in this process could not choose another precision
    accelerator = Accelerator(cpu=model.device.type == "cpu", mixed_precision=_mixed(model, precision))
    if (
        train.batch_size % accelerator.num_processes
        or round(train.batch_size * train.safe_share) % accelerator.num_processes
    ):
        raise UsageError(
            f"batch_size and its safe share must be divisible by the {accelerator.num_processes} processes"
        )
    # Of several processes one takes the folder; to the others it would look as if it were in use.
    run = RunFolder.create(out, resume=resume) if accelerator.is_main_process else RunFolder(out)
    accelerator.wait_for_everyone()
    asked = _asked(model, policy, made, train, seed, how)
    if resume and (run.path / "settings.json").is_file():
        _same(run, asked)
        if run.finished:
            return HardenedModel(model.with_encoders(load_hardened_encoders(run, model)), run)
    book = build_prompt_book(
        policy, seed=seed, model=model.id, **({} if train.prompts is None else {"size": train.prompts})
    )
    pairs = [(p.text, p.anchor) for p in book.train.unsafe]
    if not pairs:
        raise PolicyError(
            "the policy expands to no unsafe training prompt", allowed="concepts with terms or unsafe_prompts"
        )
    if accelerator.is_main_process:
        run.write_settings(asked)
        run.write_policy(policy.to_yaml())
    safe = build_safe_set(
        book, policy, next(iter(model.tokenizers.values())), seed=seed, wide=train.wide_safe
    )
    texts = [(s.text, s.kind) for s in safe]
    trainer, students = make_trainer(
        model, how, pairs, texts, made, train, seed=seed, folder=run.checkpoints_dir, accelerator=accelerator
    )
    with Bar(train.steps, progress and accelerator.is_main_process) as bar:
        bar.say(_plan(model, how))
        bar.say(
            f"{len(pairs)} unsafe and {len(safe)} safe texts; method {made.name}, {train.steps} steps of "
            ""
            ""
            ""
            ""
            f"{train.batch_size} + "
            f"{round(train.batch_size * train.safe_share)}"
        )
        fill_teacher(trainer.teacher, made, train)
        trainer.run(resume, bar.update)
    accelerator.wait_for_everyone()
    hardened = _finish(run, model, accelerator, students, how, policy, book, trainer, asked)
    return HardenedModel(hardened, run)


def settings(
    kind: type[Method[Any]], model: TextToImageModel, given: Mapping[str, Any], lora: bool | int = False
) -> tuple[TrainConfig, Method[Any]]:
    """Split one flat dictionary into the trainer's and the method's settings, over the defaults of method and
    model."""
    recipe = CATALOGUE[model.id].recipe if model.id in CATALOGUE else {}
    merged: dict[str, Any] = {**kind.defaults, **recipe, **given}
    if lora is not False and lora is not True:
        merged["lora_rank"] = lora
    own = set(kind.Config.model_fields)
    unknown = sorted(set(merged) - own - set(TrainConfig.model_fields))
    unknown = [key for key in unknown if key in given]
    if unknown:
        allowed = ", ".join([*TrainConfig.model_fields, *kind.Config.model_fields])
        raise UsageError(
            f"no setting {unknown[0]!r} in the trainer or in method {kind.name}; allowed: {allowed}"
        )
    train = checked(
        TrainConfig, {k: v for k, v in merged.items() if k in TrainConfig.model_fields}, "the trainer"
    )
    return train, kind(make_config(kind, {k: v for k, v in merged.items() if k in own}))


def process_device(device: str) -> str:
    """``device``, or this process's own GPU where ``accelerate launch`` started one process for each."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return device
    from accelerate.state import PartialState

    return str(PartialState(cpu=pick_device(device).type == "cpu").device)


def _chosen(model: TextToImageModel, encoders: Sequence[str] | None, allow_partial: bool) -> list[str]:
    names = list(model.encoders) if encoders is None else list(encoders)
    if unknown := [n for n in names if n not in model.encoders]:
        raise UsageError(f"{model.id} has no encoder {unknown[0]!r}; it has {', '.join(model.encoders)}")
    left = [n for n in model.encoders if n not in names]
    if not names:
        raise UsageError("no encoder is chosen")
    if left and not allow_partial:
        raise UsageError(
            f"{', '.join(left)} reads the prompt and would stay as it is: the model would be partly "
            "hardened; add --allow-partial "
            f"if that is meant"
        )
    return names


def _mixed(model: TextToImageModel, precision: str) -> str:
    if precision in ("bf16", "fp16"):
        return precision
    return (
        "bf16"
        if model.device.type == "cuda" and precision == "auto" and torch.cuda.is_bf16_supported()
        else "no"
    )


def _plan(model: TextToImageModel, how: Mapping[str, str]) -> str:
    parts, total = [], 0
    for name, way in how.items():
        count = sum(p.numel() for p in model.encoders[name].parameters())
        total += training_bytes(count, way, model.dtype.itemsize)
        parts.append(f"{name} ({'all weights' if way == 'full' else 'LoRA'}, {count / 1e6:.1f} M)")
    return f"hardening {', '.join(parts)} on {model.device}: about {total / 1e9:.2f} GB beside activations"


def _asked(
    model: TextToImageModel,
    policy: Policy,
    method: Method[Any],
    train: TrainConfig,
    seed: int,
    how: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "source": model.source.as_dict(),
        "policy_sha256": policy.sha256,
        "method": method.name,
        "config": {**train.model_dump(mode="json"), **method.config.model_dump(mode="json")},
        "seed": seed,
        "encoders": {name: how.get(name, "untouched") for name in model.encoders},
        "device": model.device.type,
        "versions": versions(),
    }


def _same(run: RunFolder, asked: Mapping[str, Any]) -> None:
    """Resuming with other settings would give weights that no record describes."""
    before = run.settings
    for key in ("method", "seed", "policy_sha256", "encoders", "device"):
        if before.get(key) != asked[key]:
            raise RunError(
                f"{run.path} was started with {key} {before.get(key)!r}, not {asked[key]!r}; use the "
                "same, or another --out"
            )
    if before["source"]["files"] != asked["source"]["files"]:
        raise RunError(f"{run.path} was started from other model files; use the same, or another --out")
    for key, value in asked["config"].items():
        if before["config"].get(key) != value and not key.startswith("checkpoint"):
            raise RunError(
                f"{run.path} was started with {key} = {before['config'].get(key)!r}, not {value!r}; use "
                "the same, or another --out"
            )


def versions() -> dict[str, str]:
    """Versions of what took part, as installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def canary_prompts(book: PromptBook) -> list[str]:
    """A dozen prompts, unsafe and safe, by which a deployed encoder is recognised later."""
    unsafe, safe = book.train.unsafe, book.train.safe
    spread = [unsafe[i * len(unsafe) // 8].text for i in range(min(8, len(unsafe)))]
    return list(
        dict.fromkeys([*spread, *[safe[i * len(safe) // 3].text for i in range(min(3, len(safe)))], ""])
    )


def _finish(
    run: RunFolder,
    model: TextToImageModel,
    accelerator: Any,
    students: Mapping[str, Any],
    how: Mapping[str, str],
    policy: Policy,
    book: PromptBook,
    trainer: Trainer,
    asked: dict[str, Any],
) -> TextToImageModel:
    """Merge, round to the stored types, write encoders, tokenizers, adapters, and last the manifest."""
    main: bool = accelerator.is_main_process
    for name in how:
        scale_change(students[name], trainer.teacher.bundle.encoders[name], trainer.config.extent)
    adapters = {name: students[name] for name, way in how.items() if way == "lora"}
    if adapters and main:
        write_lora(adapters, model.layout.encoders, run.path / "lora")
    finished: dict[str, Any] = {}
    for name, way in how.items():
        encoder = merge_lora(students[name], model.layout.encoders[name]) if way == "lora" else students[name]
        encoder.requires_grad_(False).eval()
        files = model.layout.encoders[name]
        round_to_stored(encoder, files)
        if main:
            write_encoder(encoder, files, run.encoder_dir(name))
            write_tokenizer(model.tokenizers[name], model.layout.tokenizers[name], run.tokenizer_dir(name))
        finished[name] = encoder.to(model.device, model.dtype)
    hardened = model.with_encoders(finished)
    if main:
        prompts = canary_prompts(book)
        canaries = {
            p: {"original": fingerprint(model.encode([p])), "hardened": fingerprint(hardened.encode([p]))}
            for p in prompts
        }
        run.write_manifest(
            {
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "family": model.family,
                **{
                    k: asked[k]
                    for k in ("source", "method", "config", "seed", "policy_sha256", "device", "versions")
                },
                "encoders": {name: "hardened" if name in how else "untouched" for name in model.encoders},
                "how": dict(how),
                "training": {
                    "steps": trainer.progress.done,
                    "losses": _thin(trainer.progress.losses),
                    "processes": accelerator.num_processes,
                },
                "canaries": canaries,
            }
        )
        for old in run.checkpoints_dir.glob("step-*"):
            shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()
    return hardened


def _thin(losses: list[Any], keep: int = 100) -> list[Any]:
    """About ``keep`` of the recorded losses, the last one always."""
    stride = max(1, len(losses) // keep)
    return losses[::stride] + ([losses[-1]] if losses and (len(losses) - 1) % stride else [])
