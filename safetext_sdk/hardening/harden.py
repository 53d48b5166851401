"""`harden`: from a model and a policy to a run folder with hardened encoders."""

from __future__ import annotations

import difflib
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch

from ..device import DTYPES
from ..errors import PolicyError, RunError, UsageError
from ..methods import METHODS, Method
from ..methods.base import overlaid
from ..metrics.gates import check_gate
from ..models.catalogue import training_bytes
from ..models.loading import load_hardened_encoders, load_model, names_run
from ..models.manifest import ConfigRecord, RunSettings, SourceRecord
from ..models.model import HardenedModel, TextToImageModel
from ..models.run_folder import RunFolder
from ..policy.load import load_policy
from ..policy.schema import Policy
from ..processes import process_device
from ..progress import Bar
from ..prompts.build import build_prompt_book
from ..prompts.prompt_book import PromptBook
from ..typed_settings import checked
from ..versions import versions_of
from .assemble import HardeningPlan, TrainingTexts, make_trainer
from .compiled import graphs_made
from .finish import book_digest, write_encoders, write_manifest
from .further_texts import book_pairs, further_texts, never_read
from .look_alikes import sorted_by_reading
from .recipes import Recipe, kind_of, recipe_of, settled
from .retain_set import build_safe_set
from .settings import TrainConfig

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


class HardenOptions(TypedDict, total=False):
    """Options of `harden` by name; see `_Options` for what they are when left out."""

    recipe: str | None
    seed: int
    lora: bool | int
    encoders: Sequence[str] | None
    allow_partial: bool
    resume: bool
    device: str
    precision: str
    progress: bool


@dataclass(frozen=True)
class _Options:
    recipe: str | None = None
    seed: int = 0
    lora: bool | int = False
    encoders: Sequence[str] | None = None
    allow_partial: bool = False
    resume: bool = False
    device: str = "auto"
    precision: str = "auto"
    progress: bool = True


def harden(
    model: TextToImageModel | str | Path,
    policy: Policy | str | Path,
    method: str | Method[Any] = "anchor",
    train: TrainConfig | None = None,
    *,
    out: str | Path,
    **options: Unpack[HardenOptions],
) -> HardenedModel:
    """Harden the text encoders of a model against a policy.

        harden("tiny", "weapons", out="runs/weapons")
        harden("sd15", "nudity", Anchor(push=1.2), TrainConfig(steps=800), out="runs/nudity", seed=1)

    The model that is passed in is not changed. All encoders that read the prompt are hardened together; T5 by
    LoRA, others in full unless ``lora``.

    Args:
        model: a loaded model, or anything that `load_model` takes but a run folder: see Raises.
        policy: a policy, its file, or the name of a shipped one.
        method: a method with its settings, or its name (`safetext methods list`).
        train: settings of the trainer. What neither it nor ``method`` sets is as the recipe has it.
        out: run folder; must be new, or empty, or an unfinished run with ``resume``.
        **options: by name, all with defaults:

            recipe: ``fast``, ``default`` or ``thorough``, as measured for this kind of encoder, method and
                number of concepts; or a recipe's own name (`recipes.RECIPES`). ``default``.
            seed: of prompt expansion, order of prompts, LoRA start; the same seed on the same machine gives
                the same weights. 0.
            lora: train LoRA instead of all weights; a number is its rank. False.
            encoders: names of the encoders to harden; None = all. Fewer need ``allow_partial``.
            allow_partial: accept a partly hardened model; no gate passes one. False.
            resume: go on from the last checkpoint; ends with the same weights, bit for bit, as a run that was
                never stopped. A finished run is returned. False.
            device, precision: where and how to compute (used when ``model`` is a name; ``precision`` also for
                autocast: ``bf16`` or ``fp16``). ``auto``.
            progress: show a progress bar on standard error. True.

    Raises:
        UsageError: unknown method, setting, recipe, option or encoder; or a model whose encoders are not its
            source's, as a run's are not: what another hardening did would be lost.
        PolicyError: nothing to train on.
        ModelError: see `load_model`.
        RunError: the folder is in use, or was started with other settings.
        InterruptedRun: Ctrl-C; a checkpoint is on disk.
    """
    given = _options(options)
    chosen = METHODS.get(method)() if isinstance(method, str) else method
    model = _original(model, given)
    if not isinstance(policy, Policy):
        policy = load_policy(policy, check_gate=check_gate)
    kind, concepts = kind_of(model), len(policy.concepts)
    recipe = recipe_of(chosen.name, model.id, given.recipe, kind=kind, concepts=concepts)
    plan = _plan(model, recipe, chosen, train, given)
    accelerator = _accelerator(model, given.precision)
    _divisible(plan.train, accelerator.num_processes)
    size = {} if plan.train.prompts is None else {"size": plan.train.prompts}
    book = build_prompt_book(policy, seed=plan.seed, model=model.id, languages=model.languages, **size)
    plan = with_steps(plan, book)
    # Of several processes one takes the folder; to the others it would look as if it were in use.
    main: bool = accelerator.is_main_process
    run = RunFolder.create(out, resume=given.resume) if main else RunFolder(out)
    accelerator.wait_for_everyone()
    asked = _asked(model, policy, plan, book, accelerator.mixed_precision)
    if given.resume and (run.path / "settings.json").is_file():
        _same(run, asked)
        if run.finished:
            return HardenedModel(model.with_encoders(load_hardened_encoders(run, model)), run)
    begun = time.monotonic()
    texts = training_texts(book, policy, model, plan)
    trainer = make_trainer(model, plan, texts, run.checkpoints_dir, accelerator)
    trainer.begun = begun
    if main:
        run.write_settings(asked)
        run.write_policy(policy.to_yaml())
    with Bar(plan.train.steps, given.progress and main) as bar:
        for line in announcement(model, plan, recipe, texts):
            bar.say(line)
        trainer.prepare()
        trainer.run(given.resume, bar.update)
        if plan.train.compile:
            bar.say(f"graphs compiled in this process: {graphs_made()}")
    accelerator.wait_for_everyone()
    hardened = write_encoders(run, model, plan, trainer)
    if main:
        write_manifest(run, (model, hardened), asked, book, trainer)
    accelerator.wait_for_everyone()
    return HardenedModel(hardened, run)


def with_steps(plan: HardeningPlan, book: PromptBook) -> HardeningPlan:
    """The plan with its steps in numbers, where they follow the number of prompts."""
    steps = plan.train.steps_for(len(book.train.unsafe))
    return replace(plan, train=plan.train.model_copy(update={"steps": steps}))


def training_texts(
    book: PromptBook, policy: Policy, model: TextToImageModel, plan: HardeningPlan
) -> TrainingTexts:
    """What a run is trained on.

    Raises:
        PolicyError: no unsafe prompt.
    """
    pairs = book_pairs(book)
    if not pairs:
        raise PolicyError(
            "the policy expands to no unsafe training prompt", allowed="concepts with terms or unsafe_prompts"
        )
    tokenizer = next(iter(model.tokenizers.values()))
    safe = build_safe_set(book, policy, tokenizer, seed=plan.seed, wide=plan.train.wide_safe)
    further = further_texts(book, policy, safe, tokenizer, plan, partial(sorted_by_reading, model))
    every = (*safe, *further.safe)
    return TrainingTexts(
        [*pairs, *further.pairs],
        [(s.text, s.kind) for s in every],
        {c.id: c for c in policy.concepts},
        plan.train.further_shares,
        never_read(book, policy),
        {s.text: s.kept_as for s in every if s.kept_as is not None},
    )


def announcement(
    model: TextToImageModel, plan: HardeningPlan, recipe: Recipe, texts: TrainingTexts
) -> list[str]:
    """What is said before the start: encoders and memory, recipe, size of the training."""
    parts, total = [], 0
    for name, way in plan.how.items():
        count = sum(p.numel() for p in model.encoders[name].parameters())
        total += training_bytes(count, way, model.dtype.itemsize)
        total += 4 * count if plan.train.average and way == "full" else 0  # the mean of the weights
        parts.append(f"{name} ({'all weights' if way == 'full' else 'LoRA'}, {count / 1e6:.1f} M)")
    train = plan.train
    written = Counter([*(pair.source for pair in texts.pairs), *(kind for _, kind in texts.safe)])
    added = ", ".join(f"{name} {share:.0%} ({written[name]})" for name, share in texts.shares.items())
    return [
        f"hardening {', '.join(parts)} on {model.device}: about {total / 1e9:.2f} GB beside activations",
        f"recipe {recipe.name}: {recipe.source}; {recipe.expected_time(train.steps, model.device.type)}",
        f"{len(texts.pairs)} unsafe and {len(texts.safe)} safe texts; method {plan.method.name}, "
        f"{train.steps} steps of {train.batch_size} + {train.safe_size}",
        *([f"shares of a step, and texts written for them: {added}"] if added else []),
    ]


def versions() -> dict[str, str]:
    """Versions of what took part, as installed."""
    return {"python": platform.python_version(), **versions_of(_PACKAGES)}


def _options(given: HardenOptions) -> _Options:
    known = [f.name for f in fields(_Options)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            settings = {"steps": "TrainConfig(steps=...)", "config": "a method and a TrainConfig"}
            hint = settings.get(name) or (" or ".join(near) if near else f"one of {', '.join(known)}")
            raise UsageError(f"harden has no option {name!r}; did you mean {hint}?")
    return _Options(**given)


def _original(model: TextToImageModel | str | Path, given: _Options) -> TextToImageModel:
    """The model to harden, with the encoders of its source.

    Training and writing read the source's files again, and the manifest names them: of other encoders the
    result would hold nothing, or a part that no record describes.

    Raises:
        UsageError: its encoders are others, because it is a run folder or was changed in memory.
    """
    if not isinstance(model, TextToImageModel):
        if not names_run(model):
            return load_model(model, device=process_device(given.device), precision=given.precision)
        what = f"{model} is a run folder"
    elif not model.replaced:
        return model
    else:
        what = f"{model.id} has another {', '.join(sorted(model.replaced))} than its source"
    raise UsageError(
        f"{what}: hardening starts from the source's files, and what changed its encoders would be lost; "
        "harden the original with all policies at once (--policy A --policy B), or export the run as a "
        "model of its own (safetext export RUN --target diffusers --set whole=true) and harden that folder"
    )


def _plan(
    model: TextToImageModel, recipe: Recipe, method: Method[Any], train: TrainConfig | None, given: _Options
) -> HardeningPlan:
    made, settings = settled(recipe, method, train)
    if given.lora is not True and given.lora is not False:
        rank = checked(TrainConfig, {"lora_rank": given.lora}, "lora")
        if train is not None and "lora_rank" in train.model_fields_set and train.lora_rank != rank.lora_rank:
            raise UsageError(f"lora {given.lora} and train.lora_rank={train.lora_rank} contradict each other")
        settings = overlaid(settings, rank, "the trainer")
    names = _chosen(model, given.encoders, given.allow_partial)
    uncut = [spec.name for spec in model.reader.encoders if spec.whole and spec.name in model.encoders]
    if settings.positions and uncut:
        raise UsageError(
            f"train.positions={settings.positions}: {model.reader.title} puts its prompts at the end of what "
            f"{uncut[0]} reads, where they would be cut off; leave train.positions at 0"
        )
    usual = model.reader.hardened_by_default
    how = {n: "lora" if given.lora else usual(model.layout.encoders[n]) for n in names}
    return HardeningPlan(made, settings, recipe.name, given.seed, how)


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
            "hardened; add --allow-partial if that is meant"
        )
    return names


def _accelerator(model: TextToImageModel, precision: str) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # else a second run in this process could not choose another precision
    return Accelerator(cpu=model.device.type == "cpu", mixed_precision=mixed_precision(model, precision))


def mixed_precision(model: TextToImageModel, precision: str) -> str:
    """The autocast of a run: ``bf16``, ``fp16`` or ``no``."""
    if precision in ("bf16", "fp16"):
        return precision
    able = model.device.type == "cuda" and precision == "auto" and torch.cuda.is_bf16_supported()
    return "bf16" if able else "no"


def _divisible(train: TrainConfig, processes: int) -> None:
    if train.batch_size % processes or train.safe_size % processes:
        raise UsageError(f"batch_size and its safe share must be divisible by the {processes} processes")


def _asked(
    model: TextToImageModel, policy: Policy, plan: HardeningPlan, book: PromptBook, autocast: str
) -> RunSettings:
    return RunSettings(
        source=SourceRecord(**model.source.as_dict()),
        policy_sha256=policy.sha256,
        method=plan.method.name,
        recipe=plan.recipe,
        config=ConfigRecord(
            method=plan.method.config.model_dump(mode="json"), train=plan.train.model_dump(mode="json")
        ),
        seed=plan.seed,
        encoders={name: plan.how.get(name, "untouched") for name in model.encoders},
        device=model.device.type,
        versions=versions(),
        book_sha256=book_digest(book),
        precision=next((name for name, dtype in DTYPES.items() if dtype == model.dtype), str(model.dtype)),
        autocast=autocast,
    )


def _same(run: RunFolder, asked: RunSettings) -> None:
    """Resuming with other settings would give weights that no record describes."""
    before = run.settings
    for key in ("method", "seed", "policy_sha256", "encoders", "device"):
        _equal(run, key, getattr(before, key), getattr(asked, key))
    for key in ("precision", "autocast"):
        if (recorded := getattr(before, key)) is not None:
            _equal(run, key, recorded, getattr(asked, key))
    if before.book_sha256 not in (None, asked.book_sha256):
        raise RunError(
            f"{run.path} was started with other prompts than the same policy gives now, by another version "
            "of the library or of a plug-in; use the same, or another --out"
        )
    if before.source.files != asked.source.files:
        raise RunError(f"{run.path} was started from other model files; use the same, or another --out")
    for room in ("method", "train"):
        old: Mapping[str, Any] = getattr(before.config, room)
        for key, value in getattr(asked.config, room).items():
            # Where steps follow the prompts, they are a function of what else is compared here.
            follows = key == "steps" and asked.config.train.get("epochs")
            if not (room == "train" and (key.startswith("checkpoint") or follows)):
                _equal(run, f"{room}.{key}", old.get(key), value)


def _equal(run: RunFolder, key: str, before: Any, now: Any) -> None:
    if before != now:
        raise RunError(
            f"{run.path} was started with {key} = {before!r}, not {now!r}; use the same, or another --out"
        )
