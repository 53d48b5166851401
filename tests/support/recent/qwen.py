"""Z-Image and FLUX.2 klein (Qwen3), Qwen-Image (Qwen2.5-VL); the encoder of its 2.1 (Qwen3-VL)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..minis import _vae
from .common import flow, llm_tokenizer, save, small


def qwen3(tokenizer: Any, layers: int) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**small(tokenizer, layers))).eval()


def build_zimage(folder: Path, seed: int = 0) -> Path:
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    torch.manual_seed(seed)
    tokenizer = llm_tokenizer(folder / "tokenizer")
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[4, 4, 8],
        axes_lens=[1024, 64, 64],
    )
    pipe = ZImagePipeline(flow(), _vae(shift_factor=0.1), qwen3(tokenizer, 4).model, tokenizer, transformer)
    return save(pipe, folder)


def _flux2_transformer(width: int) -> Any:
    from diffusers import Flux2Transformer2DModel

    return Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=width,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
    )


def _flux2_vae() -> Any:
    from diffusers import AutoencoderKLFlux2

    return AutoencoderKLFlux2(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )


def build_flux2(folder: Path, seed: int = 0) -> Path:
    """Of its 29 layers 27 are read."""
    from diffusers import Flux2KleinPipeline

    torch.manual_seed(seed)
    tokenizer = llm_tokenizer(folder / "tokenizer")
    pipe = Flux2KleinPipeline(
        flow(), _flux2_vae(), qwen3(tokenizer, 29), tokenizer, _flux2_transformer(96), is_distilled=True
    )
    return save(pipe, folder)


def _vision(width: int) -> dict[str, Any]:
    return {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": width,
        "fullatt_block_indexes": [0],
    }


def qwen25_vl(tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = small(tokenizer, 3, rope_scaling={"type": "mrope", "mrope_section": [1, 1, 2]})
    image = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=_vision(32), image_token_id=image, video_token_id=image + 1
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def build_qwenimage(folder: Path, seed: int = 0) -> Path:
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel

    torch.manual_seed(seed)
    tokenizer = llm_tokenizer(folder / "tokenizer")
    transformer = QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    return save(QwenImagePipeline(flow(), vae, qwen25_vl(tokenizer), tokenizer, transformer), folder)


def qwen3_vl(tokenizer: Any) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 32,
        "deepstack_visual_indexes": [0],
    }
    text = small(tokenizer, 3, rope_scaling={"rope_type": "default", "mrope_section": [2, 1, 1]})
    ids = tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|vision_start|>", "<|vision_end|>"])
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids[0],
        video_token_id=len(tokenizer) + 1,
        vision_start_token_id=ids[1],
        vision_end_token_id=ids[2],
    )
    return Qwen3VLForConditionalGeneration(config).eval()
