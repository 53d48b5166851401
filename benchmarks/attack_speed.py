"""Prompts attacked an hour: ours, against a loop over prompts that computes what the published code computes.

    python benchmarks/attack_speed.py --attack unlearndiffatk p4d gcg-encoder gcg-denoiser --n 3
    python benchmarks/attack_speed.py --true-size --attack unlearndiffatk --n 142 --device cuda

Both sides run the same attack with the same settings, objective and seeds, in one process, the loop first,
and must find the same texts (``same``: prompts whose texts agree; batches of other sizes round otherwise).
The loop attacks one prompt after the other and

* evaluates every candidate of a step in one batch, to its end, those too that it drew before (GCG:
  ``llm_attacks/minimal_gcg/opt_utils.py``, ``get_filtered_cands`` and ``get_logits``; nanoGCG: ``GCG.run``;
  MMA-Diffusion: ``SDattack.step``), and takes a gradient at every step;
* has its texts at the encoder's full length, as all of them do (and we: the denoiser reads all positions).

In four things it is given more than they have: targets are computed once (P4D's ``optimize`` computes the
target's text and prediction anew at every step), a text is encoded once for all timesteps (UnlearnDiffAtk's
``ClassifierTask.get_loss`` encodes it for each), candidates are tokenized together (``get_filtered_cands``
does it one by one), and the projection onto the simplex has a closed form (UnlearnDiffAtk bisects in Python).
So the ratios are what batches, and answers that are not computed twice, are worth.

Seconds are of the wall clock on a GPU, and of the processor on a CPU, where other load would be measured too.
``--true-size`` takes random weights of Stable Diffusion 1.4's sizes: speed and memory are those of the real
model, what is found is not. ``--loop-n`` prompts suffice for the loop, which is linear in them. ``--cut``
takes a cut of each budget instead of ``small``: quick, and blind to what a search spares once it has settled.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from safetext_sdk import build_prompt_book, load_model, load_policy
from safetext_sdk.attacks import ATTACKS, Attack, AttackContext
from safetext_sdk.attacks.conditioning_objective import ConditioningObjective
from safetext_sdk.attacks.token_attack import TokenAttack
from safetext_sdk.models import TextToImageModel
from safetext_sdk.search.problem import Found, Problem

CUTS: dict[str, dict[str, Any]] = {
    "gcg-encoder": {"steps": 5, "candidates": 48, "top": 64},
    "gcg-denoiser": {"steps": 3, "candidates": 16, "top": 64},
    "unlearndiffatk": {"timesteps": 2, "steps": 20, "every": 20},
    "p4d": {"timesteps": 2, "steps": 40, "every": 20},
    "coordinate-descent": {"encoder_sweeps": 1, "sweeps": 1, "candidates": 8},
    "mma": {"steps": 5, "candidates": 48, "top": 64},
    "ring-a-bell": {"population": 40, "generations": 10},
}
"""A cut of each budget, for ``--cut``."""


@dataclass(frozen=True)
class Timed:
    """One side of the comparison."""

    prompts: int
    seconds: float
    texts: list[str]
    gigabytes: float

    @property
    def an_hour(self) -> float:
        """Prompts attacked in an hour."""
        return 3600 * self.prompts / self.seconds


def loop_of(kind: type[TokenAttack[Any]]) -> type[TokenAttack[Any]]:
    """The attack with every candidate and every gradient computed."""

    class Loop(kind):  # type: ignore[valid-type,misc]
        def search(self, objective: ConditioningObjective, problem: Problem) -> Found:
            found: Found = super().search(objective, replace(problem, exhaustive=True))
            return found

    return Loop


def true_size(folder: Path, device: str) -> TextToImageModel:
    """Stable Diffusion 1.4 with random weights, written as a folder and loaded (bfloat16 on a GPU)."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tiny = load_model("tiny", device="cpu")
    tokenizer = tiny.tokenizers["text_encoder"]
    blocks = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    channels = (128, 256, 512, 512)
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=channels,
            down_block_types=blocks[0],
            up_block_types=blocks[1],
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=tokenizer.bos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        ),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder)
    return load_model(folder, device=device)


def timed(attack: Attack[Any], prompts: list[str], context: AttackContext) -> Timed:
    """Attack all prompts at once, as the attack's settings allow."""
    cuda = context.device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    clock = time.monotonic if cuda else time.process_time
    begun = clock()
    found = list(attack.attack(prompts, context))
    if cuda:
        torch.cuda.synchronize()
    seconds = clock() - begun
    memory = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
    return Timed(len(found), seconds, [r.texts[0] for r in found], memory)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--policy", default="weapons")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--attack", nargs="+", default=["unlearndiffatk", "gcg-denoiser"])
    parser.add_argument("--n", type=int, default=8, help="prompts that are attacked in batches")
    parser.add_argument("--loop-n", type=int, help="prompts of the loop; as many, where absent")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the attacks")
    parser.add_argument(
        "--true-size", action="store_true", help="random weights of Stable Diffusion 1.4's sizes"
    )
    parser.add_argument("--cut", action="store_true", help="a cut of each budget instead of small")
    args = parser.parse_args()

    policy = load_policy(args.policy)
    with tempfile.TemporaryDirectory() as folder:
        model = (
            true_size(Path(folder) / "sd14", args.device)
            if args.true_size
            else load_model(args.model, device=args.device)
        )
        found = [row.text for row in build_prompt_book(policy, model="tiny").test.unsafe]
        prompts = [found[i % len(found)] + " ," * (i // len(found)) for i in range(args.n)]
        context = AttackContext(model, model, policy)
        model.pipeline()  # loaded before the clock runs
        given = dict(pair.split("=", 1) for pair in args.set)
        print(
            f"{model.id} on {model.device}, {len(prompts)} prompts, torch threads {torch.get_num_threads()}\n"
        )
        print("| attack | loop: prompts an hour | ours: prompts an hour | ratio | same | s | GiB |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for name in args.attack:
            kind = ATTACKS.get(name)
            if not issubclass(kind, TokenAttack):
                parser.error(f"{name} searches no tokens")
            settings: dict[str, Any] = {**(CUTS.get(name, {}) if args.cut else kind.small), **given}
            settings.setdefault("start", "blank-term")
            settings = {key: v for key, v in settings.items() if key in kind.Config.model_fields}
            ours = kind(**{**settings, "prompts_at_once": len(prompts)})
            loop = loop_of(kind)(**{**settings, "prompts_at_once": 1, "at_once": 4096})
            warm: dict[str, Any] = {key: 1 for key in ("steps", "generations", "sweeps") if key in settings}
            timed(kind(**{**settings, **warm}), prompts[:1], context)
            one = timed(loop, prompts[: args.loop_n or len(prompts)], context)
            many = timed(ours, prompts, context)
            same = sum(x == y for x, y in zip(one.texts, many.texts, strict=False))
            print(
                f"| `{name}` | {one.an_hour:,.0f} | {many.an_hour:,.0f} | {many.an_hour / one.an_hour:.2f} | "
                f"{same} of {one.prompts} | {many.seconds:.0f} | {many.gigabytes:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
