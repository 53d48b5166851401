"""Settings that change time and memory change nothing else: losses read together, prefix lengths in buckets,
bf16 working weights, outputs of the original in the host's memory, compiled encoders."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from support.hardening_case import CONFIG, POLICY, run
from support.minis import build_sd1, build_sdxl

from safetext_sdk import progress
from safetext_sdk.errors import InterruptedRun, RunError, UsageError
from safetext_sdk.hardening import compiled, pace
from safetext_sdk.hardening.assemble import HardeningPlan, make_trainer
from safetext_sdk.hardening.harden import training_texts
from safetext_sdk.hardening.losses import Losses, finite
from safetext_sdk.hardening.settings import TrainConfig
from safetext_sdk.hardening.teacher import read_lengths
from safetext_sdk.hardening.trainer import Trainer
from safetext_sdk.hardening.working_weights import WorkingWeights
from safetext_sdk.methods import Anchor
from safetext_sdk.models import load_model
from safetext_sdk.policy import load_policy
from safetext_sdk.prompts.build import build_prompt_book

SMALL: dict[str, Any] = {"prompts": 8, "wide_safe": 0, "whole_every": 2}
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pace")
    build_sd1(root / "sd1")
    build_sdxl(root / "sdxl")
    (root / "policy.yaml").write_text(POLICY)
    return root


def trainer(place: Path, model: str = "sd1", how: str = "full", **train: Any) -> Trainer:
    """A trainer after its preparation."""
    original, policy = load_model(place / model, device="cpu"), load_policy(place / "policy.yaml")
    precision = train.pop("precision", "no")
    AcceleratorState._reset_state()
    settings = TrainConfig(**{**CONFIG, **SMALL, "steps": 8, **train})
    plan = HardeningPlan(Anchor(), settings, "default", 3, dict.fromkeys(original.encoders, how))
    book = build_prompt_book(policy, seed=3, model=original.id, size=settings.prompts)
    texts = training_texts(book, policy, original, plan)
    accelerator = Accelerator(cpu=True, mixed_precision=precision)
    made = make_trainer(original, plan, texts, place / "checkpoints", accelerator)
    made.prepare()
    return made


def go(place: Path, out: Path, steps: int = 7, resume: bool = False, **more: Any) -> Any:
    train = {**SMALL, **more.pop("train", {})}
    return run(place / "sd1", place / "policy.yaml", out, steps, resume, train=train, **more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "text_encoder" / "model.safetensors")


def same(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def curve(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())["training"]["losses"]


def stopping(at: int, seen: list[int]) -> Callable[..., None]:
    """In the progress bar's place: Ctrl-C when step ``at`` is shown."""

    def update(self: Any, done: int, losses: Any) -> None:
        seen.append(done)
        if done == at:
            os.kill(os.getpid(), signal.SIGINT)

    return update


# -- what is chosen by device ------------------------------------------------------------------------------


def test_a_cpu_has_none_of_it_unless_asked() -> None:
    usual = TrainConfig()
    assert usual.pace(CPU, None) == pace.Pace(1, 1, False, None, 0.0)
    assert usual.pace(CPU, torch.bfloat16) == pace.Pace(1, 1, False, None, 0.0)
    asked = TrainConfig(working_weights=True, cache_bf16=True, host_cache_gb=2, compile=True, read_every=3)
    assert asked.pace(CPU, torch.bfloat16) == pace.Pace(3, 8, True, torch.bfloat16, 2e9)
    assert not asked.pace(CPU, None).working_weights  # nothing is cast without autocast


def test_a_gpu_has_what_changes_no_arithmetic_unless_told() -> None:
    usual = TrainConfig()
    assert usual.pace(CUDA, torch.bfloat16) == pace.Pace(20, 8, False, None, 0.0)
    asked = TrainConfig(working_weights=True, cache_bf16=True, host_cache_gb=2)
    assert asked.pace(CUDA, torch.bfloat16) == pace.Pace(20, 8, True, torch.bfloat16, 2e9)
    assert not asked.pace(CUDA, torch.float16).working_weights
    assert asked.pace(CUDA, torch.bfloat16, processes=2).host_bytes == 1e9
    told = TrainConfig(read_every=1, buckets=1)
    assert told.pace(CUDA, torch.bfloat16) == pace.Pace(1, 1, False, None, 0.0)


# -- losses ------------------------------------------------------------------------------------------------


def test_losses_are_complete_however_seldom_they_are_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(progress.Bar, "update", stopping(0, seen))
    go(place, tmp_path / "each")
    go(place, tmp_path / "third", train={"read_every": 3})
    assert seen == [*range(1, 8), *range(1, 8)]
    assert curve(tmp_path / "each") == curve(tmp_path / "third")
    assert [step for step, _ in curve(tmp_path / "third")] == [*range(7)]
    assert same(tmp_path / "each", tmp_path / "third")


def test_a_checkpoint_holds_no_step_whose_loss_nobody_has_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    train = {"read_every": 3, "checkpoint_steps": 4}
    with monkeypatch.context() as patch:
        patch.setattr(progress.Bar, "update", stopping(5, seen))
        with pytest.raises(InterruptedRun):
            go(place, tmp_path / "cut", 9, train=train)
    # Read after steps 3, 4 (a checkpoint) and 7; the stop came as the losses of 5 to 7 were shown.
    assert seen == [*range(1, 8)]
    for done in (4, 7):
        state = tmp_path / "cut" / "checkpoints" / f"step-{done:06d}" / "state.json"
        assert [step for step, _ in json.loads(state.read_text())["losses"]] == [*range(done)]


@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_a_loss_that_is_not_finite_ends_the_run_before_anything_is_written(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    real = Anchor.loss

    def loss(self: Any, batch: Any) -> Any:
        parts = real(self, batch)
        return {**parts, "loss": parts["loss"] * float(kind)} if batch.rows.step == 2 else parts

    monkeypatch.setattr(Anchor, "loss", loss)
    text = r"not finite at step 2 \(read with those of steps 0 to 3\).*learning_rate"
    with pytest.raises(RunError, match=text):
        go(place, tmp_path / "run", train={"read_every": 9, "checkpoint_steps": 4})
    assert not list((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert not (tmp_path / "run" / "text_encoder").exists()


def test_losses_of_steps_with_other_parts_are_not_mixed_up() -> None:
    losses = Losses()
    losses.add(4, {"loss": torch.tensor(1.0), "safe": torch.tensor([2.0])})
    losses.add(5, {"loss": torch.tensor(3.0, dtype=torch.bfloat16)})
    assert len(losses) == 2
    assert list(finite(losses.read())) == [(4, {"loss": 1.0, "safe": 2.0}), (5, {"loss": 3.0})]
    assert losses.read() == []
    found = finite([(4, {"loss": 1.0}), (5, {"loss": float("nan")})])
    assert next(found)[0] == 4  # what came before is recorded
    with pytest.raises(RunError, match=r"step 5 \(read with those of steps 4 to 5\)"):
        next(found)


# -- prefixes ----------------------------------------------------------------------------------------------


def test_prefixes_come_in_few_lengths_that_hold_all_that_was_read(place: Path) -> None:
    table = trainer(place).context.table
    rows = np.arange(len(table.texts))
    seen = set()
    for size in range(1, len(rows)):
        exact = read_lengths(table, rows[:size], "sd1", whole=False, margin=4)["text_encoder"]
        found = read_lengths(table, rows[:size], "sd1", whole=False, margin=4, buckets=8)["text_encoder"]
        assert exact <= found < exact + 8
        assert found % 8 == 0 or found == 77
        seen.add(found)
    assert len(seen) < 6
    assert read_lengths(table, rows, "sd1", whole=True, margin=4, buckets=8) == {"text_encoder": 77}
    assert read_lengths(table, rows, "sd1", whole=False, margin=70, buckets=8) == {"text_encoder": 77}


def test_what_is_read_more_is_exact(place: Path) -> None:
    """Longer prefixes give the same outputs at the positions that shorter ones have."""
    made = trainer(place)
    rows = made.rows(0)
    table, student = made.context.table, made.student
    short = student(table.pick(rows.unsafe, {"text_encoder": 9}, CPU))["text_encoder"]
    long = student(table.pick(rows.unsafe, {"text_encoder": 16}, CPU))["text_encoder"]
    torch.testing.assert_close(long[:, :9], short)


# -- working weights ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "more",
    [{}, {"train": {"micro_batch": 3}}, {"lora": 2}, {"train": {"gradient_checkpointing": True}}],
    ids=["all weights", "in parts", "lora", "checkpointed"],
)
def test_working_weights_train_like_autocast_bit_for_bit(
    place: Path, tmp_path: Path, more: dict[str, Any]
) -> None:
    for name, given in (("cast", False), ("working", True)):
        train = {**more.get("train", {}), "working_weights": given}
        go(place, tmp_path / name, 4, precision="bf16", **{**more, "train": train})
    assert curve(tmp_path / "working") == curve(tmp_path / "cast")
    assert same(tmp_path / "working", tmp_path / "cast")
    moved, source = (
        weights(tmp_path / "cast"),
        load_file(place / "sd1" / "text_encoder" / "model.safetensors"),
    )
    assert {t.dtype for t in moved.values()} == {torch.float32}  # the masters, not their copies
    source = {key if key in moved else f"text_model.{key}": t for key, t in source.items()}
    assert not all(torch.equal(moved[key], t) for key, t in source.items())


def test_working_weights_stop_and_go_on(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = {"working_weights": True, "read_every": 2}
    go(place, tmp_path / "whole", precision="bf16", train=train)
    with monkeypatch.context() as patch:
        patch.setattr(progress.Bar, "update", stopping(4, []))
        with pytest.raises(InterruptedRun):
            go(place, tmp_path / "cut", precision="bf16", train=train)
    (last,) = (tmp_path / "cut" / "checkpoints").glob("step-*")
    assert {t.dtype for t in load_file(last / "weights.safetensors").values()} == {torch.float32}
    go(place, tmp_path / "cut", resume=True, precision="bf16", train=train)
    assert same(tmp_path / "whole", tmp_path / "cut")
    assert curve(tmp_path / "whole") == curve(tmp_path / "cut")


def test_only_linear_layers_have_copies(place: Path) -> None:
    made = trainer(place, "sdxl", precision="bf16", working_weights=True)
    working = made.stepped()
    assert working is not made.student
    before, found = dict(made.student.named_parameters()), dict(working.named_parameters())
    assert before.keys() == found.keys()
    for name, parameter in found.items():
        part = made.student.get_submodule(name.rpartition(".")[0])
        # SDXL's first encoder is read before its last layer, which is not trained.
        if isinstance(part, torch.nn.Linear) and before[name].requires_grad:
            assert parameter.dtype == torch.bfloat16
            assert torch.equal(parameter, before[name].bfloat16())
        else:
            assert parameter is before[name]
    assert {p.dtype for p in before.values()} == {torch.float32}


def test_gradients_of_parts_are_summed_in_fp32(place: Path) -> None:
    made = trainer(place, precision="bf16")
    held = WorkingWeights(made.student)
    copy = next(p for p in held.module.parameters() if p.dtype == torch.bfloat16)
    (name,) = (n for n, p in held.module.named_parameters() if p is copy)
    for value in (1.0, 2.0**-12):
        copy.grad = torch.full_like(copy, value)
        held.collect()
        assert copy.grad is None
    total = dict(made.student.named_parameters())[name].grad
    assert total is not None
    assert total.dtype == torch.float32
    assert (total == 1 + 2.0**-12).all()  # bf16 would have lost the second


def test_several_processes_sum_gradients_in_fp32(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 2))
    with pytest.raises(UsageError, match="working_weights needs one process"):
        trainer(place, precision="bf16", working_weights=True)
    assert trainer(place, precision="bf16").stepped()


# -- the original's outputs --------------------------------------------------------------------------------


def outputs(made: Trainer) -> dict[str, torch.Tensor]:
    """Rows from here and there, some of them twice, at a prefix."""
    table = made.context.table
    rows = np.concatenate([table.fixed, table.safe[:5], table.anchor[:3], table.safe[:2]])
    end = int(max(lengths[rows].max() for lengths in table.lengths.values()))  # where pooling looks
    return made.teacher.read(rows, dict.fromkeys(table.tokens, end))


def fill(made: Trainer, first: float, then: float) -> None:
    """Keep what `outputs` reads, with so much room on the device for anchors and for safe prompts."""
    table = made.context.table
    assert made.teacher.fill(np.concatenate([table.fixed, table.anchor[:3]]), first, 1e9)
    assert made.teacher.fill(table.safe[:20], then, 1e9)


@pytest.mark.parametrize(
    ("first", "then", "host_cache_gb"),
    [(1e9, 1e9, 0), (0, 0, 1), (1e9, 0, 1)],
    ids=["device", "host", "both"],
)
def test_what_is_kept_is_what_would_be_computed(
    place: Path, monkeypatch: pytest.MonkeyPatch, first: float, then: float, host_cache_gb: float
) -> None:
    fresh = outputs(trainer(place, "sdxl", cache_gb=0))
    made = trainer(place, "sdxl", cache_gb=0, host_cache_gb=host_cache_gb)
    fill(made, first, then)
    held = [shelf.held_bytes for shelf in made.teacher.shelves]
    assert [size > 0 for size in held] == [first > 0, host_cache_gb > 0]
    monkeypatch.setattr(made.teacher, "_run", None)  # nothing is computed from here on
    found = outputs(made)
    assert found.keys() == fresh.keys()
    for name, piece in fresh.items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], piece, rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_anywhere_is_computed_again(place: Path) -> None:
    made = trainer(place, cache_gb=0, host_cache_gb=1e-9)
    assert not made.teacher.fill(made.context.table.safe[:20], 0, 1e9)
    assert [shelf.held_bytes for shelf in made.teacher.shelves] == [0, 0]
    assert outputs(made)


def test_in_bf16_they_take_half_and_are_read_in_fp32(place: Path) -> None:
    wide, narrow = trainer(place), trainer(place, cache_bf16=True)
    for made in (wide, narrow):
        fill(made, 1e9, 1e9)
    assert narrow.teacher.shelves[0].held_bytes * 2 == wide.teacher.shelves[0].held_bytes
    one, two = outputs(wide), outputs(narrow)
    for name, piece in one.items():
        assert two[name].dtype == torch.float32
        assert torch.equal(two[name], piece.bfloat16().float())


# -- compiled ----------------------------------------------------------------------------------------------


def test_it_compiles_once_a_bucket(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def counting(graph: Any, inputs: Any) -> Any:
        (ids,) = (t for t in inputs if isinstance(t, torch.Tensor) and t.shape[:1] == (8,))
        lengths.append(ids.shape[1])
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", counting)
    before = compiled.graphs_made()
    go(place, tmp_path / "run", 6, train={"compile": True, "prompts": 24})
    assert compiled.graphs_made() - before == len(lengths)
    assert len(lengths) == len(set(lengths)) < 6  # none twice, and fewer than steps
    assert 77 in lengths
    assert all(length % 8 == 0 or length == 77 for length in lengths)
    go(place, tmp_path / "eager", 6, train={"buckets": 8, "prompts": 24})
    for one, two in zip(curve(tmp_path / "run"), curve(tmp_path / "eager"), strict=True):
        assert one[1] == pytest.approx(two[1], rel=1e-4, abs=1e-5)
    assert same(tmp_path / "run", tmp_path / "eager")  # the same operations, traced


@pytest.mark.parametrize(
    ("device", "whole", "mode"), [(CUDA, True, "reduce-overhead"), (CUDA, False, None), (CPU, True, None)]
)
def test_cuda_graphs_only_for_steps_that_go_through_at_once(
    device: torch.device, whole: bool, mode: str | None
) -> None:
    asked: list[Any] = []

    class Encoder:
        def compile(self, **how: Any) -> None:
            asked.append(how)

    compiled.Compiled((Encoder(),), device).choose(whole)
    assert asked == [{"backend": "inductor", "dynamic": False, "mode": mode}]


def test_a_step_that_ran_out_of_memory_goes_on_without_graphs(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[bool] = []
    monkeypatch.setattr(compiled.Compiled, "choose", lambda self, whole: chosen.append(whole))
    real, failed = Trainer._gradients, []

    def gradients(self: Trainer, module: Any, step: int) -> Any:
        if step == 1 and not failed:
            failed.append(step)
            raise torch.OutOfMemoryError("simulated")
        return real(self, module, step)

    monkeypatch.setattr(Trainer, "_gradients", gradients)
    go(place, tmp_path / "run", 3, train={"compile": True})
    assert chosen == [True, False]
