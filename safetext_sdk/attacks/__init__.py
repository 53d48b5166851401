"""Attacks: code that turns an unsafe prompt into one that may still get through.

* An attack is one file with a subclass of `base.Attack` and one line below; a third party's is registered by
  an entry point of the group ``safetext.attacks``. Listing imports no torch.
* Its strength on the undefended model always stands beside its figure: an attack that breaks the picture
  there says nothing about the defence.
"""

from __future__ import annotations

from typing import Any

from ..registry import Registry
from .base import Attack, AttackConfig, AttackContext, AttackResult, Beside, Changed, Judged

ATTACKS: Registry[type[Attack[Any]]] = Registry("attack", "safetext.attacks")
ATTACKS.add(
    "context",
    f"{__name__}.context:Context",
    "random words before, after and around the prompt; no model needed",
)
ATTACKS.add(
    "typos",
    f"{__name__}.typos:Typos",
    "unsafe words misspelt, in leetspeak, with look-alikes or split; no model needed",
)
ATTACKS.add(
    "paraphrase",
    f"{__name__}.paraphrase:Paraphrase",
    "the request in other sentence forms and styles; no model needed",
)
ATTACKS.add(
    "random_suffix",
    f"{__name__}.random_suffix:RandomSuffix",
    "searches a suffix of random tokens that undoes the redirection; no gradients",
)
ATTACKS.add(
    "gcg-encoder",
    f"{__name__}.gcg_encoder:GcgEncoder",
    "a prefix found by gradients that brings the original conditioning back",
)
ATTACKS.add(
    "translate",
    f"{__name__}.translate:Translate",
    "the unsafe words in other languages; no model needed",
)
ATTACKS.add(
    "sneakyprompt",
    f"{__name__}.sneakyprompt:SneakyPrompt",
    "unsafe words replaced by meaningless ones, found by a bandit; no gradients",
)
ATTACKS.add(
    "genetic",
    f"{__name__}.genetic:Genetic",
    "words around the prompt, found by a genetic search; no gradients",
)
ATTACKS.add(
    "negative-prompt",
    f"{__name__}.negative_prompt:NegativePrompt",
    "anchor or unsafe words in the negative prompt, guidance raised",
)
ATTACKS.add(
    "soft-tokens",
    f"{__name__}.soft_tokens:SoftTokens",
    "probe: free vectors before the prompt, as learned tokens",
)
ATTACKS.add(
    "concept-inversion",
    f"{__name__}.concept_inversion:ConceptInversion",
    "probe: a new word for the concept, learned from pictures",
)
ATTACKS.add(
    "benign-finetune",
    f"{__name__}.benign_finetune:BenignFinetune",
    "probe: the hardened model fine-tuned on safe pictures",
)
ATTACKS.add(
    "lora-stack",
    f"{__name__}.lora_stack:LoraStack",
    "probe: a style LoRA on top of the hardened model",
)
ATTACKS.add(
    "original-back",
    f"{__name__}.original_back:OriginalBack",
    "probe: the original encoder put back",
)
ATTACKS.add(
    "gcg-denoiser",
    f"{__name__}.gcg_denoiser:GcgDenoiser",
    "a prefix found by gradients that brings the denoiser's old predictions back",
)
ATTACKS.add(
    "unlearndiffatk",
    f"{__name__}.unlearndiffatk:UnlearnDiffAtk",
    "a prefix descended on through the denoiser, timestep by timestep",
)
ATTACKS.add(
    "p4d",
    f"{__name__}.p4d:P4D",
    "16 words in the prompt's place, descended on through the denoiser",
)
ATTACKS.add(
    "coordinate-descent",
    f"{__name__}.coordinate_descent:CoordinateDescent",
    "words before, after or around the prompt, settled one by one through encoder and denoiser",
)
ATTACKS.add(
    "ring-a-bell",
    f"{__name__}.ring_a_bell:RingABell",
    "16 words nearest to the prompt with the concept added three times over",
)
ATTACKS.add(
    "mma",
    f"{__name__}.mma:MMA",
    "20 words, none of them the policy's, whose pooled output is the unsafe prompt's",
)

__all__ = [
    "ATTACKS",
    "Attack",
    "AttackConfig",
    "AttackContext",
    "AttackResult",
    "Beside",
    "Changed",
    "Judged",
]
