"""HiDream-I1: two CLIPs, T5 and Llama."""

from __future__ import annotations

from pathlib import Path

import torch

from ..minis import _clip, _t5, _vae
from .common import flow, llm_tokenizer, save, small


def build_hidream(folder: Path, seed: int = 0) -> Path:
    from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    one, tokenizer = _clip(folder, "text_encoder", None, True, projection=24, positions=248)
    two, tokenizer_2 = _clip(folder, "text_encoder_2", "!", True, width=40, projection=20, positions=248)
    three, tokenizer_3 = _t5(folder, "text_encoder_3", 32)
    tokenizer_4 = llm_tokenizer(folder / "tokenizer_4", bos=True)
    llama = LlamaForCausalLM(LlamaConfig(**small(tokenizer_4, 3))).eval()
    transformer = HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        caption_channels=[32, 32],
        text_emb_dim=44,
        axes_dims_rope=(8, 4, 4),
        max_resolution=(16, 16),
        llama_layers=[0, 2],
    )
    pipe = HiDreamImagePipeline(
        scheduler=flow(),
        vae=_vae(shift_factor=0.1),
        text_encoder=one,
        tokenizer=tokenizer,
        text_encoder_2=two,
        tokenizer_2=tokenizer_2,
        text_encoder_3=three,
        tokenizer_3=tokenizer_3,
        text_encoder_4=llama,
        tokenizer_4=tokenizer_4,
        transformer=transformer,
    )
    return save(pipe, folder)
