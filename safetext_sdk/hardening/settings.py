"""Settings of the trainer: meaning, unit, default, and why. They join the method's own settings in one flat
dictionary."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainConfig(BaseModel):
    """How the weights are moved; the method says where to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=300, ge=1, le=1_000_000, description="Optimiser steps.")
    batch_size: int = Field(
        default=32,
        ge=1,
        le=65536,
        description="Unsafe prompts a step, over all processes. As many safe ones times safe_share come "
        "with them.",
    )
    safe_share: float = Field(
        default=1.0,
        gt=0,
        le=16,
        description="Safe prompts a step for each unsafe one. Safe prompts are the wider set, so not fewer.",
    )
    learning_rate: float = Field(
        default=3e-5,
        gt=0,
        le=1,
        description="AdamW step size for full weights, at its peak. 1e-5 to 1e-4 suits CLIP-size "
        "encoders; the embedded model takes 1e-3.",
    )
    lora_learning_rate: float = Field(
        default=3e-4,
        gt=0,
        le=1,
        description="The same for LoRA weights, which start from zero and need larger steps.",
    )
    warmup: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of the steps over which the step size rises from 0: AdamW's moments are noise "
        "at first.",
    )
    final: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Step size at the end as a share of its peak; between them a half cosine.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="AdamW weight decay. 0: pulling weights to zero would damage safe prompts.",
    )
    clip_norm: float = Field(default=1.0, gt=0, description="Gradients longer than this are shortened to it.")
    train_embeddings: bool = Field(
        default=False,
        description="Also train token and position embeddings. Off: they only change for tokens that were "
        "seen, so nothing carries "
        "over to unseen wordings.",
    )
    whole_every: int = Field(
        default=4,
        ge=1,
        description="Every how many steps all positions of causal encoders are read; the others read the "
        "prompt and a few pad "
        "positions. Exact for what is "
        "read, because later positions cannot reach earlier ones, and several times cheaper. 1 = always all.",
    )
    prefix_margin: int = Field(
        default=4,
        ge=0,
        le=512,
        description="Pad positions read after the longest prompt in those cheaper steps.",
    )
    wide_safe: int = Field(
        default=1000,
        ge=0,
        le=100_000,
        description="Extra safe texts made from the tokenizer and the policy: random token sequences, "
        "shuffled captions, near "
        "misses. 0 = none. The empty prompt "
        "and common negative prompts are always there.",
    )
    sequence_weight: float = Field(
        default=1.0,
        ge=0,
        description="How much the outputs at the positions of the prompt count in the loss beside the "
        "pooled output, which counts "
        "1. 0 suits a sentence encoder, of which only the pooled vector is read; it needs a model that "
        "has one.",
    )
    extent: float = Field(
        default=1.0,
        gt=0,
        le=2,
        description="What is written is original + extent * (trained - original). Below 1 trades "
        "redirection for safe prompts without "
        "training again, above 1 the other way (weight-space ensembling, Wortsman et al. 2022, arXiv "
        "2109.01903).",
    )
    lora_rank: int = Field(
        default=16, ge=1, le=1024, description="Rank of LoRA matrices, where LoRA is used."
    )
    lora_alpha: int | None = Field(
        default=None, ge=1, description="LoRA scale is alpha / rank; absent = rank, so that the scale is 1."
    )
    micro_batch: int = Field(
        default=0,
        ge=0,
        description="Prompts that go through at once; 0 = found: all, halved whenever memory runs out.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations in the backward pass: less memory, about a third slower.",
    )
    compile: bool = Field(
        default=False, description="torch.compile the encoders. Pays on long GPU runs only."
    )
    cache_gb: float = Field(
        default=2.0,
        ge=0,
        description="Most memory, in GB, for the original encoder's outputs; if they do not fit they are "
        "recomputed each step.",
    )
    checkpoint_steps: int = Field(
        default=0, ge=0, description="A checkpoint every so many steps; 0 = by time only."
    )
    checkpoint_seconds: float = Field(
        default=60.0, gt=0, description="A checkpoint at the latest after so many seconds."
    )
    prompts: int | None = Field(
        default=None,
        ge=1,
        description="Size asked of the policy's prompt expansion; absent = its own default.",
    )
