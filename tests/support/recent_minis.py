"""Miniature random pipelines of the families whose text encoder is a language model or T5 alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .minis import WORDS, _clip, _t5, _vae, build_t5_tokenizer

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|image_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
)


def llm_tokenizer(folder: Path, *, bos: bool = False, side: str = "right", length: int = 4096) -> Any:
    """A byte-level BPE tokenizer with a chat template, saved in ``folder``.

    Args:
        folder: for its files.
        bos: every text begins with a token, as Gemma's and Llama's do.
        side: where pads go.
        length: the most positions.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = [*SPECIAL, *(["<bos>"] if bos else [])]
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(
        [" ".join(WORDS), "system user assistant " * 3, "Describe the image by "], trainer
    )
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", core.token_to_id("<bos>"))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        bos_token="<bos>" if bos else None,
        model_max_length=length,
        padding_side=side,
        additional_special_tokens=[t for t in special if t not in ("<|im_end|>", "<|endoftext|>", "<bos>")],
    )
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    return tokenizer


def _small(tokenizer: Any, layers: int = 4, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer) + 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 4096,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        **more,
    }


def _flow() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler()


def _save(pipe: Any, folder: Path) -> Path:
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


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
    return _save(pipe, folder)


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
        scheduler=_flow(),
        vae=_vae(shift_factor=0.1),
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=transformer,
    )
    return _save(pipe, folder)


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
    pipe = AuraFlowPipeline(tokenizer, encoder.eval(), _vae(), transformer, _flow())
    return _save(pipe, folder)


def _qwen3(tokenizer: Any, layers: int) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**_small(tokenizer, layers))).eval()


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
    pipe = ZImagePipeline(_flow(), _vae(shift_factor=0.1), _qwen3(tokenizer, 4).model, tokenizer, transformer)
    return _save(pipe, folder)


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
        _flow(), _flux2_vae(), _qwen3(tokenizer, 29), tokenizer, _flux2_transformer(96), is_distilled=True
    )
    return _save(pipe, folder)


def _gemma(tokenizer: Any) -> Any:
    from transformers import Gemma2Config, Gemma2Model

    return Gemma2Model(
        Gemma2Config(**_small(tokenizer, 3, bos_token_id=tokenizer.bos_token_id), sliding_window=4096)
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
    pipe = Lumina2Pipeline(transformer, _flow(), _vae(shift_factor=0.1), _gemma(tokenizer), tokenizer)
    return _save(pipe, folder)


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
    return _save(SanaPipeline(tokenizer, _gemma(tokenizer), vae, transformer, _flow()), folder)


def _vision(width: int) -> dict[str, Any]:
    return {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": width,
        "fullatt_block_indexes": [0],
    }


def _qwen25_vl(tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = _small(tokenizer, 3, rope_scaling={"type": "mrope", "mrope_section": [1, 1, 2]})
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
    return _save(QwenImagePipeline(_flow(), vae, _qwen25_vl(tokenizer), tokenizer, transformer), folder)


def build_hidream(folder: Path, seed: int = 0) -> Path:
    from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    one, tokenizer = _clip(folder, "text_encoder", None, True, projection=24, positions=248)
    two, tokenizer_2 = _clip(folder, "text_encoder_2", "!", True, width=40, projection=20, positions=248)
    three, tokenizer_3 = _t5(folder, "text_encoder_3", 32)
    tokenizer_4 = llm_tokenizer(folder / "tokenizer_4", bos=True)
    llama = LlamaForCausalLM(LlamaConfig(**_small(tokenizer_4, 3))).eval()
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
        scheduler=_flow(),
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
    return _save(pipe, folder)


RECENT: dict[str, Callable[..., Path]] = {
    "pixart": build_pixart,
    "chroma": build_chroma,
    "auraflow": build_auraflow,
    "zimage": build_zimage,
    "flux2": build_flux2,
    "lumina2": build_lumina2,
    "sana": build_sana,
    "qwenimage": build_qwenimage,
    "hidream": build_hidream,
}
"""Builders by family."""


class _WithPictures:
    """A tokenizer called as a processor is: its pictures are absent."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: list[str], images: None = None, videos: None = None, **rest: Any) -> Any:
        return self.tokenizer(text, **rest)

    def decode(self, ids: Any) -> Any:
        return self.tokenizer.decode(ids)

    def apply_chat_template(self, messages: Any, **rest: Any) -> Any:
        if rest.pop("return_dict", True):
            return self.tokenizer.apply_chat_template(messages, return_dict=True, **rest)
        return [self.tokenizer.apply_chat_template(messages, return_dict=False, **rest)]


def _mistral3(tokenizer: Any) -> Any:
    from transformers import (
        Mistral3Config,
        Mistral3ForConditionalGeneration,
        MistralConfig,
        PixtralVisionConfig,
    )

    vision = PixtralVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28
    )
    text = MistralConfig(**_small(tokenizer, 31))
    return Mistral3ForConditionalGeneration(
        Mistral3Config(text_config=text, vision_config=vision, image_token_index=3)
    ).eval()


def _qwen3_vl(tokenizer: Any) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 32,
        "deepstack_visual_indexes": [0],
    }
    text = _small(tokenizer, 3, rope_scaling={"rope_type": "default", "mrope_section": [2, 1, 1]})
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


def build_by_hand(name: str) -> tuple[Callable[[Path], Path], Callable[[Any], Any]]:
    """For pipelines whose processor needs torchvision: what writes the folder (without a denoiser), and what
    puts the pipeline around a model loaded from it."""
    import diffusers

    classes = {
        "flux2-dev": ("Flux2Pipeline", _mistral3, "Mistral3ForConditionalGeneration", "tokenizer"),
        "qwenimage21": ("QwenImage21Pipeline", _qwen3_vl, "Qwen3VLForConditionalGeneration", "processor"),
        "kandinsky5": (
            "Kandinsky5T2IPipeline",
            _qwen25_vl,
            "Qwen2_5_VLForConditionalGeneration",
            "tokenizer",
        ),
    }
    pipeline, make, encoder_class, part = classes[name]

    def build(folder: Path) -> Path:
        import json

        torch.manual_seed(0)
        tokenizer = llm_tokenizer(folder / part, side="left" if name == "flux2-dev" else "right")
        make(tokenizer).save_pretrained(folder / "text_encoder")
        index = {
            "_class_name": pipeline,
            "_diffusers_version": "0.42.1",
            "text_encoder": ["transformers", encoder_class],
            part: ["transformers", "SomeProcessor"],
        }
        if name == "kandinsky5":
            clip, _ = _clip(folder, "text_encoder_2", None, False)
            clip.save_pretrained(folder / "text_encoder_2")
            index |= {
                "text_encoder_2": ["transformers", "CLIPTextModel"],
                "tokenizer_2": ["transformers", "CLIPTokenizer"],
            }
        (folder / "model_index.json").write_text(json.dumps(index))
        return folder

    def around(model: Any) -> Any:
        kind = getattr(diffusers, pipeline)
        processor = _WithPictures(model.tokenizers["text_encoder"])
        made = {"transformer": None, "vae": None, "scheduler": _flow()}
        parts = {**model.encoders, part: processor, **made}
        if name == "kandinsky5":
            parts["tokenizer_2"] = model.tokenizers["text_encoder_2"]
        return kind(**parts)

    return build, around
