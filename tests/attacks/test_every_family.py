"""Token searches on a miniature of every family: what was searched is what the family's own pipeline reads of
the text that is handed out, in every encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import minis
from support.attack_case import context, shaken
from support.method_case import inputs_of, trainer_of
from support.recent.whole_by_hand import PARTS
from support.recent_minis import RECENT, build_by_hand

from safetext_sdk.attacks.gcg_encoder import GcgEncoder
from safetext_sdk.methods import Adversarial
from safetext_sdk.models import load_model
from safetext_sdk.models.families import FAMILIES
from safetext_sdk.search.problem import Found

MINIS: dict[str, Callable[[Path], Path]] = {
    "sd1": minis.build_sd1,
    "sd2": minis.build_sd2,
    "sdxl": minis.build_sdxl,
    "sd3": minis.build_sd3,
    "flux": minis.build_flux,
    "plain": minis.build_plain_bert,
    **RECENT,
    **{name: build_by_hand(name)[0] for name in PARTS},
}
STEPS = 2
PROMPT = "A gun, with a flower"


def test_every_built_in_family_has_a_miniature_here() -> None:
    assert set(MINIS) == {name for name in FAMILIES.names() if FAMILIES.is_built_in(name)}


SLOW = {"flux2", "flux2-dev", "sana"}
"""Some thirty layers, or an instruction of hundreds of tokens before every prompt."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in MINIS],
)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MINIS[request.param](tmp_path_factory.mktemp("family") / request.param)


class Watched(GcgEncoder):
    """Keeps what its search was given and gave back."""

    objective: Any = None
    found: Any = None

    def search(self, objective: Any, problem: Any) -> Found:
        self.objective, self.found = objective, super().search(objective, problem)
        return self.found


def test_the_text_that_is_reported_gives_the_tokens_that_were_searched(folder: Path) -> None:
    original = load_model(folder, device="cpu")
    hardened = shaken(original, encoder=next(iter(original.encoders)))
    attack = Watched(words=2, steps=STEPS, candidates=4, top=8)
    (result,) = attack.attack([PROMPT], context(original, hardened))
    rows, found = attack.objective.rows, attack.found
    assert int(found.forward_passes) > 1 + 2 * STEPS, "every candidate was refused"
    (text,) = rows.texts(found.ids)
    assert text.endswith(PROMPT)
    assert result.texts in ((text,), (PROMPT,))
    searched, read = rows.tokens(found.ids, torch.tensor([0])), hardened.tokenize([text])
    assert torch.equal(read[rows.first]["input_ids"], found.ids)
    for name, parts in read.items():
        assert all(torch.equal(parts[key], searched[name][key]) for key in parts), name


def test_training_sees_only_prefixes_that_a_user_could_type(folder: Path) -> None:
    method = Adversarial(attack="gradient", prefix=1, rounds=1, candidates=3, portion=1.0)
    trainer = trainer_of(folder, method)
    plain = inputs_of(trainer)
    lengths = {name: parts["input_ids"].shape[1] for name, parts in plain.unsafe.items()}
    made, slots = method.inputs(plain), method._slots
    rows = plain.rows.unsafe
    attacked = np.flatnonzero(slots.fit(rows, lengths))
    assert len(attacked)
    first = next(iter(made.unsafe))
    place = slots.of(rows[attacked], lengths).free[first]
    tokens = made.unsafe[first]["input_ids"][attacked].gather(1, place)[:, 0].tolist()
    word = dict(zip(slots.vocabulary.ids[first].tolist(), slots.vocabulary.words, strict=True))
    prompts = [trainer.context.table.texts[row] for row in rows[attacked]]
    texts = [
        f"{slots.vocabulary.opening}{word[token]} {prompt}"
        for token, prompt in zip(tokens, prompts, strict=True)
    ]
    for name, parts in trainer.context.tokenize(texts).items():
        want = made.unsafe[name]["input_ids"][attacked]
        assert torch.equal(parts["input_ids"][:, : lengths[name]], want), name
