"""Lumina 2 and Sana (Gemma 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..minis import _vae
from .common import flow, llm_tokenizer, save, small


def gemma(tokenizer: Any) -> Any:
    from transformers import Gemma2Config, Gemma2Model

    return Gemma2Model(
        Gemma2Config(**small(tokenizer, 3, bos_token_id=tokenizer.bos_token_id), sliding_window=4096)
    ).eval()


def build_lumina2(folder: Path, seed: int = 0) -> Path:
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    torch.manual_seed(seed)
    tokenizer = llm_tokenizer(folder / "tokenizer", bos=True)
    transformer = Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(4, 4, 4),
        axes_lens=(300, 64, 64),
        cap_feat_dim=32,
    )
    pipe = Lumina2Pipeline(transformer, flow(), _vae(shift_factor=0.1), gemma(tokenizer), tokenizer)
    return save(pipe, folder)


def build_sana(folder: Path, seed: int = 0) -> Path:
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel

    torch.manual_seed(seed)
    tokenizer = llm_tokenizer(folder / "tokenizer", bos=True, side="left")
    vae = AutoencoderDC(
        latent_channels=4,
        attention_head_dim=4,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
    )
    transformer = SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=4,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=32,
        sample_size=8,
    )
    return save(SanaPipeline(tokenizer, gemma(tokenizer), vae, transformer, flow()), folder)
