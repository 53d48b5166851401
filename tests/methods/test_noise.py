"""Moments are what the pipeline gave its denoiser, and playing them again gives what it predicted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.method_case import inputs_of, trainer_of
from support.minis import build_flux, build_plain_bert, build_sd3, build_sdxl
from support.recent_minis import RECENT

from safetext_sdk.errors import UsageError
from safetext_sdk.methods import Adversarial, EsdEncoder
from safetext_sdk.methods.noise import Denoiser, NoiseConfig

SMALL: dict[str, Any] = {"pictures": 1, "picture_steps": 2, "picture_size": 32}


@pytest.mark.parametrize("build", [None, build_sdxl, build_sd3, build_flux])
def test_a_moment_played_again_gives_the_pipelines_own_prediction(
    tmp_path: Path, mini_sd1: Path, build: Callable[..., Path] | None
) -> None:
    place = mini_sd1 if build is None else build(tmp_path / "model")
    trainer = trainer_of(place, EsdEncoder(**SMALL), wide_safe=0)
    context = trainer.context
    denoiser = Denoiser(context)
    predicted: list[torch.Tensor] = []
    handle = denoiser.module.register_forward_hook(lambda module, inputs, output: predicted.append(output[0]))
    prompts = ["a picture of a gun", "a cat"]
    pictures = denoiser.record(prompts, NoiseConfig(**SMALL), seed=5)
    handle.remove()
    assert [len(moments) for moments in pictures] == [2, 2]
    own = torch.cat([predicted[0][-1:], predicted[2][-1:]])  # the first step of both; the prompt's side
    conditioning = context.conditioning(context.original_of(prompts))
    again = denoiser.predict([pictures[0][0], pictures[1][0]], conditioning)
    torch.testing.assert_close(again, own.float(), rtol=1e-4, atol=1e-5)
    swapped = denoiser.predict([pictures[0][0], pictures[1][0]], conditioning.select([1, 0]))
    assert not torch.allclose(swapped, own.float(), rtol=1e-4, atol=1e-6)


def test_esd_encoder_by_hand(mini_sd1: Path) -> None:
    """At the start safe prompts predict what they did, and the unsafe target is guidance away."""
    method = EsdEncoder(guidance=2.0, **SMALL)
    trainer = trainer_of(mini_sd1, method)
    rows, table = trainer.rows(0), trainer.context.table
    inputs = inputs_of(trainer)
    lengths = {"text_encoder": inputs.unsafe["text_encoder"]["input_ids"].shape[1]}
    with torch.no_grad():
        tokens = {
            name: {key: torch.cat([parts[key], inputs.safe[name][key]]) for key in parts}
            for name, parts in inputs.unsafe.items()
        }
        parts = method.loss(trainer._batch(rows, inputs, lengths, trainer.student(tokens)))
        moments = method.moments.draw(trainer.context, 0, rows.concept.tolist())
        predict, original = method.denoiser.predict, trainer.context.original_of
        named = original([table.texts[row] for row in rows.unsafe])
        concept = predict(moments, trainer.context.conditioning(named))
        nothing = predict(moments, trainer.context.conditioning(original([""] * 4)))
    # e(f) = e(c) at the start, so what is left is (e(c) - e0) + 2 (e(c) - e0)
    assert parts["unsafe"].item() == pytest.approx(float((3 * (concept - nothing)).square().mean()), rel=1e-3)
    assert parts["safe"].item() < 1e-9
    assert parts["loss"].item() == pytest.approx(parts["unsafe"].item(), rel=1e-4)


def test_esd_encoder_holds_safe_texts_to_what_they_are_kept_as(mini_sd1: Path) -> None:
    """A safe text among random words must give what it gives without them."""
    safe = {}
    for name, kept_as in (("itself", {}), ("another", {"a cat with an apple": "a picture of an apple"})):
        trainer = trainer_of(mini_sd1, EsdEncoder(**SMALL), wide_safe=0, kept_as=kept_as)
        trainer._fit(1_000)
        safe[name] = float(trainer._step(trainer.student, 0)["safe"])
    assert safe["itself"] < 1e-9 < safe["another"]


@pytest.mark.parametrize("encoder", ["text_encoder", "text_encoder_2"])
def test_what_reads_the_denoiser_hardens_one_encoder_of_two(tmp_path: Path, encoder: str) -> None:
    """The denoiser reads the other one too, whose outputs no loss counts."""
    place = build_sdxl(tmp_path / "model")
    for method in (EsdEncoder(**SMALL), *(Adversarial(towards=t, **SMALL) for t in ("read", "noise"))):
        trainer = trainer_of(place, method, encoders=[encoder], wide_safe=0)
        trainer._fit(1_000)
        rows = trainer.context.table.unsafe
        counted, whole = trainer.teacher.read(rows, {}), trainer.teacher.whole(rows, {})
        assert set(counted) == {name for name, weight in trainer.weights.items() if weight} < set(whole)
        assert all(torch.equal(counted[name], whole[name]) for name in counted)
        parts = trainer._step(trainer.student, 0)
        assert all(part.isfinite() for part in parts.values())
        if method.name == "esd-encoder":
            assert float(parts["safe"]) < 1e-9


def test_an_encoder_without_a_denoiser_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a denoiser"):
        trainer_of(build_plain_bert(tmp_path / "bert"), EsdEncoder(**SMALL))


@pytest.mark.parametrize("family", ["pixart", "zimage"])
def test_a_denoiser_that_takes_a_mask_is_refused(tmp_path: Path, family: str) -> None:
    with pytest.raises(UsageError, match="takes a mask or the length of its prompt") as error:
        trainer_of(RECENT[family](tmp_path / "model"), EsdEncoder(**SMALL))
    assert "\n" not in str(error.value)
