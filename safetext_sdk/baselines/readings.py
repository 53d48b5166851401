"""Vectors of prompts, taken from what the denoiser reads: whole prompts, and their last words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from ..models import TextToImageModel
from ..models.families import Family
from ..models.families.conditioning import Pieces, Tokens, piece_owner


def pooled(reader: Family, pieces: Pieces, tokens: Tokens) -> dict[str, Tensor]:
    """One vector a prompt and piece, in the space of the piece's positions.

    A causal encoder's is the state at its end token (of Stable Diffusion 1 that is CLIP's pooled output); of
    others the mean over unpadded positions; a piece that is pooled already is taken as it is.

    Returns:
        ``{piece: [b, d]}`` in float32.
    """
    out = {}
    read = {} if reader.pads_are_read else reader.masks(tokens)  # at the piece's positions, its own first
    for name, piece in pieces.items():
        owner = piece_owner(name)
        if piece.ndim == 2:
            out[name] = piece.float()
            continue
        mask = read.get(name, tokens[owner]["attention_mask"]).to(piece.device)
        if owner in reader.causal:
            last = mask.sum(dim=1).long().clamp_min(1) - 1
            out[name] = piece[torch.arange(len(piece), device=piece.device), last].float()
        else:
            weight = mask.unsqueeze(-1).float()
            out[name] = (piece.float() * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)
    return out


def embedding(model: TextToImageModel, pieces: Pieces, tokens: Tokens) -> Tensor:
    """All pooled vectors of a prompt, each of length 1, joined: ``[b, n]``."""
    vectors = pooled(model.reader, pieces, tokens).values()
    return torch.cat([torch.nn.functional.normalize(v, dim=-1) for v in vectors], dim=1)


@torch.no_grad()
def embed(model: TextToImageModel, prompts: Sequence[str], batch_size: int = 64) -> Tensor:
    """`embedding` of prompts, ``[b, n]`` on the CPU."""
    parts = []
    for start in range(0, len(prompts), batch_size):
        tokens = model.tokenize(prompts[start : start + batch_size])
        parts.append(embedding(model, model.pieces(model.condition(tokens), tokens), tokens).cpu())
    return torch.cat(parts)


def _tails(model: TextToImageModel) -> dict[str, int]:
    """By encoder, how many tokens stand behind a prompt's last word, whatever the prompt: the end token, what
    ends a chat template, or none."""
    out = {}
    for name, parts in model.tokenize(["gun", "cat"]).items():
        mask = parts["attention_mask"].bool()
        one, other = (ids[kept].flip(0).tolist() for ids, kept in zip(parts["input_ids"], mask, strict=True))
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
        out[name] = sum(1 for _ in same)
    return out


def last_words(
    model: TextToImageModel, prompts: Sequence[str], batch_size: int = 16
) -> tuple[Tensor, Tensor | None]:
    """What the denoiser reads at the last word of each prompt, and the pooled vectors.

    Returns:
        ``[n, d]`` over the whole width of the sequence, and ``[n, p]`` or None. Where encoders stand one
        after the other on the sequence (Stable Diffusion 3), each has its own last word: then ``n`` is a
        multiple of the number of prompts, all prompts once for each of them.
    """
    tails = _tails(model)
    words: dict[int, list[Tensor]] = {}
    whole = []
    for first in range(0, len(prompts), batch_size):
        tokens = model.tokenize(prompts[first : first + batch_size])
        with torch.no_grad():
            given = model.condition(tokens)
        sequence = given.tensors["prompt_embeds"].contiguous()
        given.tensors["prompt_embeds"] = sequence
        places: dict[int, str] = {}
        for name, piece in model.pieces(given, tokens).items():
            if piece.ndim == 3:
                # A piece is a view of the sequence: where it begins says which positions it stands at.
                places.setdefault(piece.storage_offset() // sequence.shape[-1], name)
        at = torch.arange(len(sequence), device=sequence.device)
        for start, name in places.items():
            mask = tokens[name]["attention_mask"]
            dropped = mask.shape[1] - model.reader.positions(name, mask.shape[1])
            # Of an empty prompt this is the first position.
            last = (model.reader.ends(mask) - tails[name] - dropped).clamp_min(0).to(sequence.device)
            words.setdefault(start, []).append(sequence[at, start + last])
        if "pooled_prompt_embeds" in given.tensors:
            whole.append(given.tensors["pooled_prompt_embeds"])
    found = torch.cat([part for parts in words.values() for part in parts])
    return found, torch.cat(whole) if whole else None
