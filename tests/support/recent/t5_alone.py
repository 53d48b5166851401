"""PixArt-Sigma and Chroma (T5), AuraFlow (UMT5)."""

from __future__ import annotations

from pathlib import Path

import torch

from ..minis import _t5, _vae, build_t5_tokenizer
from .common import flow, save


def build_pixart(folder: Path, seed: int = 0) -> Path:
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    torch.manual_seed(seed)
    encoder, tokenizer = _t5(folder, "text_encoder", 32)
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        cross_attention_dim=16,
        sample_size=8,
        caption_channels=32,
        use_additional_conditions=False,
    )
    pipe = PixArtSigmaPipeline(tokenizer, encoder, _vae(), transformer, DPMSolverMultistepScheduler())
    return save(pipe, folder)


def build_chroma(folder: Path, seed: int = 0) -> Path:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    torch.manual_seed(seed)
    encoder, tokenizer = _t5(folder, "text_encoder", 32)
    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8,
        approximator_hidden_dim=32,
        approximator_layers=1,
    )
    pipe = ChromaPipeline(
        scheduler=flow(),
        vae=_vae(shift_factor=0.1),
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=transformer,
    )
    return save(pipe, folder)


def build_auraflow(folder: Path, seed: int = 0) -> Path:
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel
    from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

    torch.manual_seed(seed)
    place = folder / "tokenizer"
    build_t5_tokenizer(place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    encoder = UMT5EncoderModel(
        UMT5Config(vocab_size=len(tokenizer), d_model=32, d_ff=64, d_kv=8, num_heads=4, num_layers=2)
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(0.5)
    transformer = AuraFlowTransformer2DModel(
        sample_size=8,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pos_embed_max_size=64,
    )
    pipe = AuraFlowPipeline(tokenizer, encoder.eval(), _vae(), transformer, flow())
    return save(pipe, folder)
