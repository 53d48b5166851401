"""Adversarial training: before each step an attack changes some of the unsafe prompts so that the encoders in
training give back what the original made of them; the inner method then learns from those.

AdvUnlearn (Zhang et al. 2024, arXiv 2405.15234, algorithm 1) is one setting of it, the recipe ``advunlearn``.
A prompt's target stays that of the prompt without the attack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import UsageError
from .. import METHODS
from ..base import Method
from ..noise import Denoiser, Moments
from .aim import Aim, NoiseAim, ReadAim
from .attacks import Gcg, Pgd, Words, hotflip, width_of
from .config import AdversarialConfig
from .slots import Slots, Slotted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..batch import Batch, StepInputs
    from ..context import MethodContext
    from ..prompt_table import StepRows


class Adversarial(Method[AdversarialConfig]):
    name = "adversarial"
    summary = "any other method, trained on prompts that an attack has changed (method.inner=NAME)"
    source = "AdvUnlearn (arXiv 2405.15234) and adversarial training in general (arXiv 1706.06083)"
    Config = AdversarialConfig

    def __init__(self, config: AdversarialConfig | None = None, **values: Any) -> None:
        super().__init__(config, **values)
        if self.config.inner == self.name:
            raise UsageError("method adversarial: inner must be another method")
        self.method: Method[Any] = METHODS.get(self.config.inner)(**self.config.settings)

    def wanted_training(self) -> Mapping[str, Any]:
        wanted = {"prefix_margin": 4 + self.config.prefix, **self.method.wanted_training()}
        return {**wanted, "whole_every": 1} if self.config.towards == "noise" else wanted

    def prepare(self, context: MethodContext) -> None:
        self.method.prepare(context)
        self._context, config = context, self.config
        self._aim = self._made_aim(context)
        self._slots = Slots(context, config.prefix) if config.prefix else None
        spread = {
            n: float(t.float().std()) if config.step_unit == "spread" else 1.0
            for n, t in context.tables.items()
        }
        self._size = {n: config.step_size * unit for n, unit in spread.items()}
        self._radius = {
            n: torch.inf if config.radius is None else config.radius * s for n, s in spread.items()
        }
        self._pool: dict[str, Tensor] = self._empty_pool(context) if config.pool else {}
        context.keep(context.table.unsafe, context.sizes.unsafe)

    def _made_aim(self, context: MethodContext) -> Aim:
        if self.config.towards == "original":
            return Aim(context)
        denoiser = getattr(self.method, "denoiser", None) or Denoiser(context)
        if self.config.towards == "read":
            return ReadAim(context, denoiser)
        moments = getattr(self.method, "moments", None) or Moments.of(context, denoiser, self.config)
        return NoiseAim(context, denoiser, moments)

    def _empty_pool(self, context: MethodContext) -> dict[str, Tensor]:
        """One entry a pair: the words, or the change to the embeddings of the prefix."""
        shape = (len(context.table.unsafe), self.config.prefix)
        if self.config.attack != "embedding":
            return {"words": torch.zeros(shape, dtype=torch.int64, device=context.device)}
        return {
            name: torch.zeros(*shape, width_of(context, name), device=context.device)
            for name in context.tables
        }

    def start(self, trainable: Mapping[str, nn.Parameter], seed: int) -> None:
        self.method.start(trainable, seed)

    def state(self) -> Mapping[str, Tensor]:
        pool = {f"pool.{name}": t for name, t in getattr(self, "_pool", {}).items()}
        return {**pool, **{f"inner.{name}": t for name, t in self.method.state().items()}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for name, t in self._pool.items():
            t.copy_(state[f"pool.{name}"])
        self.method.restore({n.removeprefix("inner."): t for n, t in state.items() if n.startswith("inner.")})

    def compared_rows(self, everyone: StepRows) -> np.ndarray:
        return self.method.compared_rows(everyone)

    def rounds_at(self, step: int) -> int:
        """Rounds of the attack before this step; 0 = none."""
        config, steps = self.config, self._context.sizes.steps
        first = round(config.begin * steps)
        if step < first:
            return 0
        if config.schedule == "constant":
            return config.rounds
        return 1 + round((config.rounds - 1) * (step - first) / max(1, steps - 1 - first))

    def inputs(self, inputs: StepInputs) -> StepInputs:
        """The prompts of the step, the first of them attacked."""
        made, rounds = self.method.inputs(inputs), self.rounds_at(inputs.rows.step)
        lengths = {name: parts["input_ids"].shape[1] for name, parts in inputs.unsafe.items()}
        rows = inputs.rows
        chosen = np.arange(round(self.config.portion * len(rows.unsafe)))
        if self._slots is not None:
            chosen = chosen[self._slots.fit(rows.unsafe[chosen], lengths)]
        if not rounds or not len(chosen):
            return made
        self._aim.set(rows.unsafe[chosen], rows.concept[chosen], lengths, rows.step)
        if self._slots is None:
            return self._on_prompts(made, chosen, rounds)
        slotted = self._slots.of(rows.unsafe[chosen], lengths)
        if self.config.attack == "embedding":
            return self._on_prefix(made, chosen, rounds, slotted)
        return self._with_words(made, chosen, rounds, slotted)

    def _on_prompts(self, inputs: StepInputs, chosen: np.ndarray, rounds: int) -> StepInputs:
        """A change to the embeddings of the prompts' own tokens."""
        index = torch.from_numpy(chosen).to(self._context.device)
        tokens = {n: {k: t[index] for k, t in parts.items()} for n, parts in inputs.unsafe.items()}
        marks = {n: parts["attention_mask"].unsqueeze(-1).float() for n, parts in tokens.items()}
        found = self._pgd(rounds).run(tokens, marks, self._zeros(tokens))
        return dataclasses.replace(inputs, shift=self._placed(inputs, found, index))

    def _on_prefix(self, inputs: StepInputs, chosen: np.ndarray, rounds: int, slotted: Slotted) -> StepInputs:
        """A change to the embeddings of tokens before the prompt."""
        index, pair = torch.from_numpy(chosen).to(self._context.device), inputs.rows.pair[chosen]
        start = self._zeros(slotted.tokens)
        for name, held in self._pool.items():
            at = slotted.free[name].unsqueeze(-1).expand(-1, -1, held.shape[-1])
            start[name].scatter_(1, at, held[pair])
        found = self._pgd(rounds).run(slotted.tokens, slotted.marks(), start)
        for name, held in self._pool.items():
            at = slotted.free[name].unsqueeze(-1).expand(-1, -1, held.shape[-1])
            held[pair] = found[name].gather(1, at)
        unsafe = _replaced(inputs.unsafe, slotted.tokens, index)
        return dataclasses.replace(inputs, unsafe=unsafe, shift=self._placed(inputs, found, index))

    def _with_words(
        self, inputs: StepInputs, chosen: np.ndarray, rounds: int, slotted: Slotted
    ) -> StepInputs:
        """Words before the prompt."""
        config, step = self.config, inputs.rows.step
        index, pair = torch.from_numpy(chosen).to(self._context.device), inputs.rows.pair[chosen]
        objective = Words(self._context, self._aim, slotted)
        if self._pool:
            words = self._pool["words"][pair]
        else:
            draw = self._context.generator(2_000_003 + step)
            drawn = draw.integers(
                len(objective.slotted.ids[next(iter(slotted.ids))]), size=(len(chosen), config.prefix)
            )
            words = torch.from_numpy(drawn).to(self._context.device)
        if config.attack == "hotflip":
            words = hotflip(objective, words, rounds)
        else:
            seeds = tuple(int(p) * 1_000_003 + step * 7919 + self._context.seed for p in pair)
            words = Gcg(rounds, config.candidates, config.top).run(objective, words, seeds)
        if self._pool:
            self._pool["words"][pair] = words
        return dataclasses.replace(inputs, unsafe=_replaced(inputs.unsafe, slotted.filled(words), index))

    def _pgd(self, rounds: int) -> Pgd:
        return Pgd(self._context, self._aim, rounds, self._size, self._radius)

    def _zeros(self, tokens: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """No change to embeddings, [b, L, d] by encoder."""
        return {
            n: torch.zeros(*parts["input_ids"].shape, width_of(self._context, n), device=self._context.device)
            for n, parts in tokens.items()
        }

    def _placed(self, inputs: StepInputs, found: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
        """A change to some prompts as one to all of the step's unsafe ones; zero for the others."""
        whole = self._zeros(inputs.unsafe)
        return {name: t.index_copy(0, index, found[name]) for name, t in whole.items()}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.method.loss(batch)


def _replaced(
    tokens: Mapping[str, Mapping[str, Tensor]], new: Mapping[str, Mapping[str, Tensor]], index: Tensor
) -> dict[str, dict[str, Tensor]]:
    """The tokens of a step with some rows exchanged."""
    return {
        name: {key: t.index_copy(0, index, new[name][key].to(t)) for key, t in parts.items()}
        for name, parts in tokens.items()
    }
