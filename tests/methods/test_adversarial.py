"""The inner attacks find what they look for, on any encoder; their words may be read by training; the wrapper
passes everything else on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.method_case import inputs_of, trainer_of
from support.minis import build_flux

from safetext_sdk.errors import UsageError
from safetext_sdk.hardening.settings import from_text
from safetext_sdk.methods import Adversarial, Anchor
from safetext_sdk.methods.noise import Denoiser, reading_matrix

SMALL: dict[str, Any] = {"pictures": 1, "picture_steps": 2}
KINDS: dict[str, dict[str, Any]] = {
    "embedding": {"rounds": 4},
    "embedding on a prefix": {"prefix": 2, "rounds": 4, "pool": True},
    "hotflip": {"attack": "hotflip", "prefix": 2, "rounds": 2},
    "gradient": {"attack": "gradient", "prefix": 1, "rounds": 2, "candidates": 6},
}


def moved(trainer: Any) -> None:
    """Weights that are no longer the original's, so that there is something to bring back."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainer.trainable.values():
            parameter.add_(
                0.3 * parameter.std() * torch.randn_like(parameter) if parameter.numel() > 1 else 0
            )


def far(trainer: Any, made: Any, count: int) -> float:
    """How far the attacked prompts of a step are from what the attack aims at."""
    with torch.no_grad():
        pieces = trainer.context.student(made.unsafe, made.shift)
        got = {name: piece[:count] for name, piece in pieces.items()}
        return float(trainer.method._aim.far(got, torch.arange(count)).sum())


@pytest.mark.parametrize("towards", ["original", "read", "noise"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_attack_brings_the_original_back(mini_sd1: Path, kind: str, towards: str) -> None:
    method = Adversarial(portion=1.0, step_size=0.3, towards=towards, **SMALL, **KINDS[kind])
    trainer = trainer_of(mini_sd1, method)
    moved(trainer)
    before = [p.clone() for p in trainer.trainable.values()]
    plain = inputs_of(trainer)
    made = method.inputs(plain)
    if method.config.prefix:  # against the same prefix without a search
        lengths = {n: parts["input_ids"].shape[1] for n, parts in plain.unsafe.items()}
        slotted = method._slots.of(plain.rows.unsafe, lengths)
        start = torch.zeros(4, method.config.prefix, dtype=torch.int64)
        if method.config.attack != "embedding":
            drawn = trainer.context.generator(2_000_003).integers(
                len(method._slots.vocabulary.words), size=tuple(start.shape)
            )
            start = torch.from_numpy(drawn)
        plain = type(plain)(plain.rows, slotted.filled(start), plain.safe)
    assert far(trainer, made, 4) < far(trainer, plain, 4)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.trainable.values(), strict=True))
    assert all(p.grad is None for p in trainer.trainable.values())
    assert all(not t.requires_grad for t in made.shift.values())


def test_words_are_some_that_training_may_read(mini_sd1: Path) -> None:
    method = Adversarial(attack="hotflip", prefix=1)
    trainer = trainer_of(mini_sd1, method, never=frozenset(("gun", "apple")))
    words = method._slots.vocabulary.words
    assert {"flower", "knife"} <= set(words)
    assert not {"gun", "apple"} & set(words)
    tokenizer = trainer.context.tokenizers["text_encoder"]
    made = method.inputs(inputs_of(trainer))
    for ids in made.unsafe["text_encoder"]["input_ids"][:2]:
        first, *rest = tokenizer.decode(ids, skip_special_tokens=True).split()
        assert first in words
        assert " ".join(rest) in trainer.context.table.texts


def test_only_a_portion_is_attacked_and_only_after_the_warm_up(mini_sd1: Path) -> None:
    method = Adversarial(portion=0.5, begin=0.5, rounds=5, schedule="rising")
    trainer = trainer_of(mini_sd1, method, steps=8)
    assert [method.rounds_at(step) for step in range(8)] == [0, 0, 0, 0, 1, 2, 4, 5]
    assert not method.inputs(inputs_of(trainer, 0)).shift
    shift = method.inputs(inputs_of(trainer, 5)).shift["text_encoder"]
    assert shift[:2].abs().sum() > 0
    assert not shift[2:].any()


def test_the_radius_holds(mini_sd1: Path) -> None:
    method = Adversarial(rounds=5, step_size=0.3, step_unit="absolute", radius=0.4)
    shift = method.inputs(inputs_of(trainer_of(mini_sd1, method))).shift["text_encoder"]
    assert shift.abs().max().item() == pytest.approx(0.4)


def test_a_pool_goes_on_from_the_last_attack(mini_sd1: Path) -> None:
    method = Adversarial(portion=1.0, prefix=1, rounds=2, step_size=0.3, pool=True)
    trainer = trainer_of(mini_sd1, method)
    moved(trainer)
    inputs = inputs_of(trainer)
    first, second = (far(trainer, method.inputs(inputs), 4) for _ in range(2))
    assert second < first
    again = Adversarial(method.config)
    trainer_of(mini_sd1, again)
    again.restore({name: t.clone() for name, t in method.state().items()})
    assert method._pool["text_encoder"].abs().sum() > 0
    assert torch.equal(again._pool["text_encoder"], method._pool["text_encoder"])


def test_encoders_with_different_vocabularies_share_the_words(tmp_path: Path) -> None:
    method = Adversarial(attack="gradient", prefix=1, rounds=1, candidates=2, portion=1.0)
    trainer = trainer_of(build_flux(tmp_path / "flux"), method, never=frozenset())
    made = method.inputs(inputs_of(trainer))
    said = [
        [tokenizer.decode(ids, skip_special_tokens=True).split()[0] for ids in made.unsafe[name]["input_ids"]]
        for name, tokenizer in trainer.context.tokenizers.items()
    ]
    assert said[0] == said[1]


def test_a_shift_reaches_t5_whose_encoder_looks_tokens_up_itself(tmp_path: Path) -> None:
    method = Adversarial(portion=1.0, rounds=1)
    trainer = trainer_of(build_flux(tmp_path / "flux"), method)
    made, student = method.inputs(inputs_of(trainer)), trainer.context.student
    assert set(made.shift) == {"text_encoder", "text_encoder_2"}
    with torch.no_grad():
        with_it, without = student(made.unsafe, made.shift), student(made.unsafe)
    for name in made.shift:
        assert (with_it[name] - without[name]).abs().max() > 1e-4, name


def test_the_denoisers_metric_by_hand(mini_sd1: Path) -> None:
    trainer = trainer_of(mini_sd1, Adversarial(towards="read"))
    unet = Denoiser(trainer.context).module
    by_hand = sum(
        block.attn2.to_k.weight.T @ block.attn2.to_k.weight
        + block.attn2.to_v.weight.T @ block.attn2.to_v.weight
        for name, block in unet.named_modules()
        if hasattr(block, "attn2")
    )
    matrix = reading_matrix(unet)
    assert matrix is not None
    torch.testing.assert_close(matrix * by_hand.diagonal().mean(), by_hand.detach(), rtol=1e-4, atol=1e-5)
    x = torch.randn(3, 32)
    got = trainer.method._aim.read(trainer.context.family.joined({"text_encoder": x.unsqueeze(0)}, {}))
    torch.testing.assert_close(
        got["prompt_embeds"][0].square().sum(-1),
        torch.einsum("bi,ij,bj->b", x, matrix, x),
        rtol=1e-3,
        atol=1e-3,
    )


def test_nested_settings_are_reachable_and_checked() -> None:
    method, _ = from_text("adversarial", ["method.inner=anchor", "method.inner.push=1.2", "method.rounds=2"])
    assert isinstance(method.method, Anchor)
    assert (method.method.config.push, method.config.rounds) == (1.2, 2)
    assert method.config.settings == {"push": 1.2}
    for written, says in (
        ("method.inner=ancor", "did you mean anchor"),
        ("method.inner=adversarial", "another method"),
        ("method.inner.pusch=1", "did you mean push"),
        ("method.attack=hotflip", "attack hotflip needs prefix >= 1"),
        ("method.pool=true", "a pool needs prefix >= 1"),
    ):
        with pytest.raises(UsageError, match=says):
            from_text("adversarial", [written])


def test_the_inner_methods_wishes_are_passed_on(mini_sd1: Path) -> None:
    assert Adversarial(inner="des").wanted_training()["epochs"] == 2
    assert Adversarial(towards="noise").wanted_training()["whole_every"] == 1
    method = Adversarial(inner="des")
    trainer = trainer_of(mini_sd1, method)
    made = method.inputs(inputs_of(trainer))
    assert made.extra
    assert made.shift
    assert np.array_equal(method.compared_rows(trainer.rows(0)), method.method.compared_rows(trainer.rows(0)))


def test_a_state_is_refused_in_several_processes(mini_sd1: Path) -> None:
    trainer = trainer_of(mini_sd1, Adversarial(prefix=1, pool=True))
    trainer.accelerator = type("Two", (), {"num_processes": 2})()
    with pytest.raises(UsageError, match="train in one process"):
        trainer.prepare()
