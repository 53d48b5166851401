"""Stage 2: two independent multi-label detectors, and the frozen vision tower that teaches the text encoder.

The detectors differ in architecture (ResNet, RegNet), seed, picture stream, and in the pairs of concepts they
are shown side by side (even and odd pair hashes). The vision tower is a third network; no detector ever
teaches the text encoder. Blur, noise and scrambled pictures labelled "nothing" are in training: a detector
meets generated pictures, not only clean ones.
"""

from __future__ import annotations

import random
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import (
    PreTrainedModel,
    RegNetConfig,
    RegNetForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
)

from .codec import codec
from .common import Budget, load_state, optimiser_tensors, restore_optimiser, save_state, to_tensor
from .scenes import Icons, Scene, draw, random_scene
from .vae import NOISE
from .world import BACKGROUNDS, CONCEPT_IDS

INDEX = {c: i for i, c in enumerate(CONCEPT_IDS)}
# The vision tower also tells background, style and side, which captions speak of and the detectors need not
# know.
EXTRA = [f"background:{b}" for b in BACKGROUNDS] + ["silhouette", "colour", "two"]
EXTRA += [f"left:{c}" for c in CONCEPT_IDS]
PEAK = 2.5e-3
SEEDS = {"a": 11, "b": 23, "vision": 37}


def labels_of(kind: str) -> list[str]:
    return list(CONCEPT_IDS) + (EXTRA if kind == "vision" else [])


def build(kind: str) -> PreTrainedModel:
    labels = labels_of(kind)
    common = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {c: i for i, c in enumerate(labels)},
        "problem_type": "multi_label_classification",
    }
    if kind == "b":
        # Bottlenecks with grouped convolutions and channel attention; batch norm learns in minutes what
        # ConvNeXt did not.
        return RegNetForImageClassification(
            RegNetConfig(
                embedding_size=32,
                hidden_sizes=[48, 96, 160, 240],
                depths=[1, 2, 3, 1],
                groups_width=16,
                layer_type="y",
                **common,
            )
        )
    widths = [40, 80, 144, 208] if kind == "a" else [48, 96, 160, 256]
    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=32, hidden_sizes=widths, depths=[2, 2, 2, 2], layer_type="basic", **common
        )
    )


def target(scene: Scene, kind: str, flipped: bool) -> torch.Tensor:
    y = torch.zeros(len(labels_of(kind)))
    for c in scene.labels:
        y[INDEX[c]] = 1
    if kind == "vision":
        n = len(CONCEPT_IDS)
        y[n + list(BACKGROUNDS).index(scene.background)] = 1
        y[n + len(BACKGROUNDS)] = float(any(o.is_glyph for o in scene.objects))
        y[n + len(BACKGROUNDS) + 1] = float(any(not o.is_glyph for o in scene.objects))
        y[n + len(BACKGROUNDS) + 2] = float(len(scene.objects) == 2)
        if len(scene.objects) == 2:
            left = scene.objects[1 if flipped else 0].concept
            y[n + len(BACKGROUNDS) + 3 + INDEX[left]] = 1
    return y


def pair_side(labels: tuple[str, ...]) -> int:
    """Which detector may see this pair in training: 0 or 1."""
    return zlib.crc32("|".join(sorted(labels)).encode()) & 1


def _scramble(rng: random.Random, image: np.ndarray) -> np.ndarray:
    p = rng.choice((8, 16))
    tiles = [image[y : y + p, x : x + p] for y in range(0, 64, p) for x in range(0, 64, p)]
    rng.shuffle(tiles)
    per = 64 // p
    return np.concatenate([np.concatenate(tiles[r * per : (r + 1) * per], 1) for r in range(per)], 0)


def _augment(x: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """What a generator gets wrong and a person forgives: soft edges, bent outlines, a part missing, colours a
    little off."""
    n = len(x)
    if rng.random() < 0.7:  # a small turn and stretch, and a smooth bend of up to 5 pixels
        angle, stretch = (torch.rand(n) - 0.5) * 0.4, 1 + (torch.rand(n, 2) - 0.5) * 0.3
        cos, sin = angle.cos(), angle.sin()
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = cos * stretch[:, 0], -sin * stretch[:, 0]
        theta[:, 1, 0], theta[:, 1, 1] = sin * stretch[:, 1], cos * stretch[:, 1]
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        bend = F.interpolate(
            torch.randn(n, 2, 6, 6) * rng.uniform(0.0, 0.055), size=64, mode="bicubic", align_corners=False
        )
        x = F.grid_sample(
            x, grid + bend.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False
        )
    if rng.random() < 0.5:  # what a soft decoder does to edges
        small = F.interpolate(
            x, size=rng.randint(20, 56), mode="bilinear", antialias=True, align_corners=False
        )
        x = F.interpolate(small, size=64, mode="bilinear", align_corners=False)
    if rng.random() < 0.5:  # a hole in the colour of the corner
        side, top, left = rng.randint(6, 16), rng.randint(0, 48), rng.randint(0, 48)
        x = x.clone()
        x[:, :, top : top + side, left : left + side] = x[:, :, :1, :1]
    x = x * (1 + (torch.rand(n, 3, 1, 1) - 0.5) * 0.4) + (torch.rand(n, 3, 1, 1) - 0.5) * 0.25
    if rng.random() < 0.5:
        coarse = F.interpolate(torch.randn(n, 3, 16, 16), size=64, mode="bilinear", align_corners=False)
        x = x + coarse * rng.uniform(0.0, 0.25) + torch.randn_like(x) * rng.uniform(0.01, 0.12)
    dx, dy = rng.randint(-3, 3), rng.randint(-3, 3)
    return torch.roll(x, (dx, dy), (2, 3)).clamp(-1, 1)


Pool = tuple[np.ndarray, torch.Tensor]


@torch.no_grad()
def through_codec(rng: random.Random, icons: Icons, kind: str, state: Path, n: int) -> Pool:
    """``n`` pictures as the codec gives them back, with their labels: a detector meets nothing else once the
    model draws.

    Half of them are laid out as the denoiser draws, and the latents carry noise, because a denoiser's are
    never quite right.
    """
    vae = codec(state, icons)
    images, targets = [], []
    while len(images) < n:
        scene = random_scene(rng, icons, two_share=0.6, house=rng.random() < 0.5)
        if len(scene.objects) == 2 and pair_side(scene.labels) != "ab".index(kind):
            continue
        flip = rng.random() < 0.5
        images.append(draw(scene, icons, flip))
        targets.append(target(scene, kind, flip))
    parts = []
    for x in to_tensor(np.stack(images)).split(50):
        z = vae.encode(x).latent_dist.mode()
        z = z + NOISE * torch.rand(len(z), 1, 1, 1) * torch.randn_like(z)  # whitened latents: a spread of 1
        y = vae.decode(z).sample.clamp(-1, 1)
        parts.append(((y + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts), torch.stack(targets)


def batch(
    rng: random.Random, icons: Icons, n: int, kind: str, pool: Pool | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    images, targets = [], []
    if pool is not None:
        for i in rng.sample(range(len(pool[0])), n // 2):
            images.append(pool[0][i])
            targets.append(pool[1][i])
    while len(images) < n:
        scene = random_scene(rng, icons, two_share=0.5)
        if kind in "ab" and len(scene.objects) == 2 and pair_side(scene.labels) != "ab".index(kind):
            continue
        flip = rng.random() < 0.5
        image = draw(scene, icons, flip)
        if rng.random() < 0.06:
            images.append(_scramble(rng, image))
            targets.append(torch.zeros(len(labels_of(kind))))
            continue
        images.append(image)
        targets.append(target(scene, kind, flip))
    x = to_tensor(np.stack(images))
    if pool is not None:  # every treatment meets both kinds of picture
        order = rng.sample(range(n), n)
        x, targets = x[order], [targets[i] for i in order]
    # Three eighths of the batch under one augmentation, as much under another, the rest as it is: clean
    # pictures are judged too.
    a, b = 3 * n // 8, 3 * n // 4
    return torch.cat([_augment(x[:a], rng), _augment(x[a:b], rng), x[b:]]), torch.stack(targets)


@torch.no_grad()
def evaluate(
    model: PreTrainedModel, icons: Icons, n: int = 2000, seed: int = 9_000_001, kind: str = "a"
) -> dict[str, float]:
    """Clean pictures that no training stream produced: share named exactly, recall of concepts, share with a
    false alarm."""
    training = model.training  # batch norm in training mode would judge a picture by its neighbours
    model.eval()
    rng = random.Random(seed)
    k = len(CONCEPT_IDS)
    exact = hit = total = false = pictures = 0
    while pictures < n:
        scenes = []
        while len(scenes) < 100:
            scene = random_scene(rng, icons, 0.45)
            scenes.append(scene)
        x = to_tensor(np.stack([draw(s, icons) for s in scenes]))
        said = (model(pixel_values=x).logits[:, :k] > 0).float()
        want = torch.stack([target(s, "a", False) for s in scenes])
        exact += int((said == want).all(1).sum())
        hit += int((said * want).sum())
        total += int(want.sum())
        false += int(((said - want) > 0).any(1).sum())
        pictures += len(scenes)
    model.train(training)
    return {"n": pictures, "exact": exact / pictures, "recall": hit / total, "false_alarm": false / pictures}


def train(
    kind: str, icons: Icons, folder: Path, minutes: float, size: int = 64, codec_state: Path | None = None
) -> PreTrainedModel:
    """Train or continue detector ``kind`` ("a", "b") or the "vision" tower; with ``codec_state``, half of
    them went through the codec."""
    torch.manual_seed(SEEDS[kind])
    model = build(kind)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.03)
    step = 0
    state = load_state(folder)
    if state is not None:
        tensors, meta = state
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        restore_optimiser(model, opt, tensors)
        step = meta["step"]
    rng = random.Random(SEEDS[kind] * 7919 + step)
    budget, last = Budget(minutes), time.monotonic()
    peak = PEAK if state is None else 0.6 * PEAK  # what has learnt already needs no large steps

    def save() -> None:
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        save_state(folder, {**tensors, **optimiser_tensors(model, opt)}, {"step": step})

    pool = through_codec(rng, icons, kind, codec_state, 3000) if codec_state is not None else None
    model.train()
    while not budget.over:
        for group in opt.param_groups:
            group["lr"] = peak * min(1.0, (step + 1) / 150) * max(0.01, 1 - budget.used)
        x, y = batch(rng, icons, size, kind, pool)
        logits = model(pixel_values=x).logits.float()
        # Few of 108 labels are on: without weight the first minutes learn to say nothing; at the end the
        # threshold is honest.
        loss = (
            F.binary_cross_entropy_with_logits(
                logits, y, pos_weight=torch.tensor(1.0 + 3.0 * (1 - budget.used) ** 2)
            )
            * 10
        )
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        opt.step()
        step += 1
        if step % 200 == 0:
            print(f"detector {kind} step {step} used {budget.used:.2f} loss {loss.item():.4f}", flush=True)
        if step % 1000 == 0:
            print(f"detector {kind}", evaluate(model, icons, 500, seed=5), flush=True)
        if time.monotonic() - last > 120:
            save()
            last = time.monotonic()
    save()
    print(f"detector {kind} done", evaluate(model, icons, 1000, seed=5), flush=True)
    return model.eval()


if __name__ == "__main__":  # python -m safetext_lab.detectors KIND ICONS FOLDER MINUTES [CODEC_STATE]
    torch.set_num_threads(1)
    train(
        sys.argv[1],
        Icons(sys.argv[2]),
        Path(sys.argv[3]),
        float(sys.argv[4]),
        codec_state=Path(sys.argv[5]) if len(sys.argv) > 5 else None,
    )
