"""A step never waits for its device: tried on the ``meta`` device, which has no values that one could wait
for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from support.hardening_case import CONFIG, POLICY
from support.minis import build_sd1, build_sdxl
from torch.utils._python_dispatch import TorchDispatchMode

from safetext_sdk.hardening.assemble import HardeningPlan, make_trainer
from safetext_sdk.hardening.harden import training_texts
from safetext_sdk.hardening.settings import TrainConfig
from safetext_sdk.hardening.trainer import Trainer
from safetext_sdk.methods import Anchor, Des, Method, SafeText, Sage
from safetext_sdk.models import load_model
from safetext_sdk.policy import load_policy
from safetext_sdk.prompts.build import build_prompt_book

META = torch.device("meta")
METHODS: dict[str, Any] = {
    "anchor": lambda: Anchor(),
    "anchor-all": lambda: Anchor(push=1.2, margin=0.8, contrast=0.5, contrast_anchors=3),
    "safetext": lambda: SafeText(kick=0.05),
    "safetext-euclidean": lambda: SafeText(turn="euclidean"),
    "des": lambda: Des(),
    "sage": lambda: Sage(),
}
KEPT: dict[str, Any] = {
    "device": {},
    "host": {"cache_gb": 0, "host_cache_gb": 1},
    "nowhere": {"cache_gb": 0},
}


class Guard(TorchDispatchMode):
    """Fails at whatever would wait for the device, where ``meta`` itself does not: a copy to it that is not
    asked to take its turn, and an index that lies in the processor's memory."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = str(func), kwargs or {}
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        if name.startswith("aten._to_copy") and kwargs.get("device") == META and tensors[0].device != META:
            assert kwargs.get("non_blocking"), "a copy to the device waits for it"
        if name.startswith("aten.copy_") and len({t.device for t in tensors}) > 1:
            assert kwargs.get("non_blocking") or (len(args) > 2 and args[2]), "a copy waits for the device"
        if name.startswith(("aten.index", "aten._index_put")) and tensors and tensors[0].device == META:
            given = args[1] if isinstance(args[1], (list, tuple)) else [args[2]]
            for index in (i for i in given if i is not None):
                assert index.device == META, "an index on the processor is copied, and waited for"
                assert index.dtype not in (torch.bool, torch.uint8), "a mask as an index is counted first"
        return func(*args, **kwargs)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("no_wait")
    build_sd1(root / "sd1")
    build_sdxl(root / "sdxl")
    (root / "policy.yaml").write_text(POLICY)
    return root


def on_meta(place: Path, model: str, method: Method[Any], **train: Any) -> Trainer:
    """A trainer whose device holds no values; what is prepared is prepared on the processor."""
    original, policy = load_model(place / model, device="cpu"), load_policy(place / "policy.yaml")
    settings = TrainConfig(
        **{**CONFIG, "steps": 8, "batch_size": 5, "whole_every": 2, "buckets": 8, "read_every": 4, **train}
    )
    plan = HardeningPlan(method, settings, "default", 3, dict.fromkeys(original.encoders, "full"))
    book = build_prompt_book(policy, seed=3, model=original.id, size=settings.prompts)
    texts = training_texts(book, policy, original, plan)
    accelerator = Accelerator(cpu=True, mixed_precision=train.get("precision", "no"))
    made = make_trainer(original, plan, texts, place / "checkpoints", accelerator)
    made.prepare()
    teacher = made.teacher
    table = dataclasses.replace(made.context.table, importance=_alternating(made))
    for shelf in teacher.shelves:
        if not shelf.staged:
            shelf.pieces = {name: t.to(META) for name, t in shelf.pieces.items()}
    teacher.bundle.to(META)
    teacher.device = META
    made.context = dataclasses.replace(made.context, table=table, device=META)
    made.student.to(META)
    made.trainable = {n: p for n, p in made.student.bundle.named_parameters() if p.requires_grad}
    for name, value in vars(method).items():
        if name != "_words":  # which are picked on the processor, like all tokens
            setattr(method, name, _moved(value))
    return made


def _alternating(made: Trainer) -> Any:
    return torch.linspace(0.5, 1.5, len(made.context.table.concepts), dtype=torch.float64).numpy()


def _moved(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(META)
    return {k: _moved(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def one_step(made: Trainer, step: int) -> None:
    """As the loop takes it."""
    optimizer = made._optimizer()
    made._fit(2**30)
    with Guard():
        made._losses.add(step, made._step(made.stepped(), step))
        made.accelerator.clip_grad_norm_(made.trainable.values(), 1.0)
        optimizer.step()
    assert all(p.grad is None or p.grad.device == META for p in made.trainable.values())
    assert sum(p.grad is not None for p in made.trainable.values()) > 5


@pytest.mark.parametrize("name", METHODS)
def test_no_method_waits(place: Path, name: str) -> None:
    made = on_meta(place, "sd1", METHODS[name]())
    for step in (0, 1):  # a prefix, and all positions
        one_step(made, step)


@pytest.mark.parametrize("kept", KEPT)
def test_nor_do_the_outputs_of_the_original(place: Path, kept: str) -> None:
    made = on_meta(place, "sdxl", Anchor(push=1.0), **KEPT[kept])
    one_step(made, 0)


def test_nor_do_parts_of_a_step(place: Path) -> None:
    made = on_meta(place, "sd1", Anchor())
    made._fit(3)
    with Guard():
        made._step(made.student, 0)


@pytest.mark.parametrize("how", ["item", "copy", "index", "mask", "nonzero"])
def test_waiting_would_be_noticed(how: str) -> None:
    x = torch.zeros(4, device=META)
    does: dict[str, Any] = {
        "item": lambda: float(x.sum()),
        "copy": lambda: torch.zeros(4).to(META),
        "index": lambda: x[torch.arange(2)],
        "mask": lambda: x[x > 0],
        "nonzero": lambda: (x > 0).nonzero(),
    }
    with Guard(), pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
        does[how]()
