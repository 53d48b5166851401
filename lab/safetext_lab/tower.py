"""Stage 3: the byte-level BPE and the text tower.

The tower is a stock CLIPTextModel. It learns from frozen image features of the vision tower (InfoNCE on the
pooled token) and from what the caption states (which concepts, which one is on the left, background, style);
a dual CLIP from scratch did not learn in a feasibility run. No detector takes part. The denoiser later reads
last_hidden_state of all 77 positions; the tower is frozen by then.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .captions import corpus, sample_pair
from .common import Budget, load_state, optimiser_tensors, restore_optimiser, save_state, to_tensor
from .detectors import EXTRA, build, target
from .scenes import Icons, draw
from .world import BACKGROUNDS, CONCEPT_IDS

VOCAB = 2048
WIDTH = 192


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """Train the BPE on the captions' language and write vocab.json + merges.txt as CLIP has them (word ends
    marked ``</w>``)."""
    tok = Tokenizer(models.BPE(unk_token=None, end_of_word_suffix="</w>", fuse_unk=False))
    tok.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_pattern(), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - 256 - 2,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
        min_frequency=2,
    )
    tok.train_from_iterator(corpus(), trainer)
    learned = json.loads(tok.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    vocab: dict[str, int] = {}
    for piece in [*alphabet, *(a + "</w>" for a in alphabet)]:  # every byte, inside and at the end of a word
        vocab[piece] = len(vocab)
    kept = []
    for a, b in merges:
        if len(vocab) >= VOCAB - 2:
            break
        kept.append((a, b))
        vocab.setdefault(a + b, len(vocab))
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocab[special] = len(vocab)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(f"{a} {b}" for a, b in kept) + "\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=77)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _pattern() -> object:
    from tokenizers import Regex

    return Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")


def build_tower(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    eos = tokenizer.eos_token_id
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=4,
            num_attention_heads=6,
            max_position_embeddings=77,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=eos,
            pad_token_id=eos,
        )
    )


def train(
    icons: Icons, tokenizer: CLIPTokenizer, vision_folder: Path, folder: Path, minutes: float, size: int = 96
) -> CLIPTextModel:
    torch.manual_seed(3)
    vision = build("vision")
    loaded = load_state(vision_folder)
    assert loaded is not None, "train the vision tower first"
    vision.load_state_dict({k[6:]: v for k, v in loaded[0].items() if k.startswith("model.")})
    vision.eval().requires_grad_(False)
    feature_dim = 256
    tower = build_tower(tokenizer)
    n_labels = len(CONCEPT_IDS) + len(EXTRA)
    heads = torch.nn.ModuleDict(
        {"image": torch.nn.Linear(WIDTH, feature_dim), "labels": torch.nn.Linear(WIDTH, n_labels)}
    )
    heads.register_parameter("scale", torch.nn.Parameter(torch.tensor(2.5)))
    both = torch.nn.ModuleDict({"tower": tower, "heads": heads})
    opt = torch.optim.AdamW(both.parameters(), lr=1e-3, weight_decay=0.01)
    step, state = 0, load_state(folder)
    if state is not None:
        both.load_state_dict({k[6:]: v for k, v in state[0].items() if k.startswith("model.")})
        restore_optimiser(both, opt, state[0])
        step = state[1]["step"]
    rng, budget, last = random.Random(77 + step), Budget(minutes), time.monotonic()

    def save() -> None:
        save_state(
            folder,
            {**{f"model.{k}": v for k, v in both.state_dict().items()}, **optimiser_tensors(both, opt)},
            {"step": step},
        )

    tower.train()
    while not budget.over:
        for group in opt.param_groups:
            group["lr"] = 1.5e-3 * min(1.0, (step + 1) / 100) * max(0.02, 1 - budget.used)
        pairs = [sample_pair(rng, icons) for _ in range(size)]
        x = to_tensor(np.stack([draw(s, icons) for _, s, _ in pairs]))
        tokens = tokenizer(
            [c for c, _, _ in pairs], padding=True, truncation=True, max_length=77, return_tensors="pt"
        )
        with torch.no_grad():
            features = vision.resnet(x).pooler_output.flatten(1)
        pooled = tower(input_ids=tokens.input_ids).pooler_output
        # Picture and text are compared after removing the mean of the batch: raw ReLU features all point one
        # way.
        image = F.normalize(features - features.mean(0, keepdim=True), dim=1)
        text = F.normalize(heads["image"](pooled), dim=1)
        logits = heads.scale.exp().clamp(max=60) * text @ image.T
        same = torch.arange(size)
        contrastive = 0.5 * (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same))
        want = torch.stack([target(s, "vision", False) for _, s, _ in pairs])
        known = torch.ones_like(want)
        k = len(CONCEPT_IDS)
        for i, (_, _, stated) in enumerate(pairs):  # only what the caption says can be asked of it
            if "background" not in stated:
                known[i, k : k + len(BACKGROUNDS)] = 0
            if "style" not in stated:
                known[i, k + len(BACKGROUNDS) : k + len(BACKGROUNDS) + 2] = 0
        bce = (
            F.binary_cross_entropy_with_logits(
                heads["labels"](pooled), want, weight=known, pos_weight=torch.tensor(4.0)
            )
            * 20
        )
        loss = contrastive + bce
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        opt.step()
        step += 1
        if step % 100 == 0:
            with torch.no_grad():
                said = heads["labels"](pooled)[:, :k] > 0
                exact = (said == (want[:, :k] > 0)).all(1).float().mean().item()
                near = (logits.argmax(1) == same).float().mean().item()
            print(
                f"tower step {step} used {budget.used:.2f} nce {contrastive.item():.3f} bce {bce.item():.3f} "
                f"exact {exact:.3f} retrieval {near:.3f}",
                flush=True,
            )
        if time.monotonic() - last > 120:
            save()
            last = time.monotonic()
    save()
    return tower.eval()


if __name__ == "__main__":  # python -m safetext_lab.tower ICONS VISION TOKENIZER FOLDER MINUTES
    torch.set_num_threads(1)
    where = Path(sys.argv[3])
    tok = CLIPTokenizer.from_pretrained(where) if (where / "vocab.json").exists() else build_tokenizer(where)
    print("vocabulary", len(tok), tok.tokenize("a rusty revolver next to an apple on a blue background"))
    train(Icons(sys.argv[1]), tok, Path(sys.argv[2]), Path(sys.argv[4]), float(sys.argv[5]))
