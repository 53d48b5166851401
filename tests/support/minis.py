"""Miniature random pipelines for tests: real classes, real files, a few thousand weights."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

WORDS = [
    "a",
    "an",
    "the",
    "of",
    "picture",
    "photo",
    "gun",
    "knife",
    "sword",
    "flower",
    "flowers",
    "apple",
    "cat",
    "bouquet",
    "with",
    "and",
]


def build_tokenizer(folder: Path, pad_token: str | None = None) -> None:
    """A byte-level CLIP tokenizer with a few merges, written as vocab.json + merges.txt and as a saved
    tokenizer."""
    from transformers import CLIPTokenizer

    bytes_ = sorted(_bytes_to_unicode().values())
    vocab = {t: i for i, t in enumerate(bytes_ + [b + "</w>" for b in bytes_])}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                vocab.setdefault(pair[0] + pair[1], len(vocab))
            parts = [pair[0] + pair[1], *parts[2:]]
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocab[token] = len(vocab)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=77)
    if pad_token is not None:
        tokenizer.pad_token = pad_token
    tokenizer.save_pretrained(folder)


def _bytes_to_unicode() -> dict[int, str]:
    keep = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    out, extra = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in out:
            out[b] = chr(256 + extra)
            extra += 1
    return out


def build_t5_tokenizer(folder: Path, length: int = 64) -> None:
    """A small T5 tokenizer: the test words, then letters; it pads with id 0 and ends with id 1."""
    import transformers

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"\u2581{w}", -2.0) for w in WORDS)]
    pieces += [(c, -5.0) for c in "\u2581abcdefghijklmnopqrstuvwxyz"]
    # Before 5, transformers took no vocabulary, only files or a finished tokenizer.
    given = {"vocab": pieces} if transformers.__version__ >= "5" else {"tokenizer_object": _unigram(pieces)}
    transformers.T5TokenizerFast(**given, extra_ids=0, model_max_length=length).save_pretrained(folder)


def _unigram(pieces: list[tuple[str, float]]) -> Any:
    """What transformers 5 makes of T5's pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    core = Tokenizer(models.Unigram(pieces, unk_id=2))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    core.decoder = decoders.Metaspace(prepend_scheme="always")
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return core


def fill_by_name(module: torch.nn.Module, scale: float = 0.3) -> None:
    """Give every weight values that follow from its name alone, so that they are the same under every
    library's version.

    The level ``text_model``, which transformers 5.6 took away, does not count; the numbers come from the raw
    bits of PCG64.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            seed = zlib.crc32(name.removeprefix("text_model.").encode())
            bits = np.random.PCG64(seed).random_raw(parameter.numel()) >> np.uint64(40)
            values = torch.from_numpy(bits.astype(np.float32) / 2**23 - 1).reshape(
                parameter.shape
            )  # uniform in [-1, 1), exact
            parameter.copy_(
                1 + 0.1 * values if "norm" in name and name.endswith("weight") else scale * values
            )


def clip_text_config(
    vocab_size: int,
    eos: int,
    width: int = 32,
    layers: int = 3,
    projection: int = 24,
    legacy_eos: bool = False,
    positions: int = 77,
    **extra: Any,
) -> Any:
    """``legacy_eos``: end token id 2, as most published configurations have it: pooling then looks for the
    largest id."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=width * 2,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=positions,
        projection_dim=projection,
        bos_token_id=0 if legacy_eos else eos - 1,
        eos_token_id=2 if legacy_eos else eos,
        pad_token_id=1 if legacy_eos else eos,
        **extra,
    )


def _clip(folder: Path, name: str, pad: str | None, projected: bool, **options: Any) -> tuple[Any, Any]:
    """(encoder, tokenizer) with random weights; the tokenizer's files lie in ``folder``."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    place = folder / name.replace("text_encoder", "tokenizer")
    build_tokenizer(place, pad)
    tokenizer = CLIPTokenizer.from_pretrained(place)
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return kind(clip_text_config(len(tokenizer), tokenizer.eos_token_id, **options)).eval(), tokenizer


def _t5(folder: Path, name: str, width: int) -> tuple[Any, Any]:
    from transformers import AutoTokenizer, T5Config, T5EncoderModel

    place = folder / name.replace("text_encoder", "tokenizer")
    build_t5_tokenizer(place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_ff=2 * width,
        d_kv=8,
        num_heads=4,
        num_layers=2,
        feed_forward_proj="gated-gelu",
    )
    encoder = T5EncoderModel(config)
    with torch.no_grad():  # T5's own initialisation is so large that every prompt looks alike after it
        for parameter in encoder.parameters():
            parameter.mul_(0.5)
    return encoder.eval(), tokenizer


def _unet(width: int, **extra: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=width,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **extra,
    )


def _vae(**extra: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        **extra,
    )


def _sd(folder: Path, seed: int, width: int, pad: str | None, **options: Any) -> Path:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.manual_seed(seed)
    text, tokenizer = _clip(folder, "text_encoder", pad, False, width=width, **options)
    pipe = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=_unet(width),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def build_sd1(folder: Path, seed: int = 0, width: int = 32, **options: Any) -> Path:
    """A whole Stable Diffusion 1 pipeline with random weights (16x16 pictures), saved as a diffusers
    folder."""
    return _sd(folder, seed, width, None, **options)


def build_lcm(folder: Path, seed: int = 0) -> Path:
    """A latent consistency model: Stable Diffusion 1's parts, guidance an input of the denoiser."""
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    torch.manual_seed(seed)
    text, tokenizer = _clip(folder, "text_encoder", None, False)
    pipe = LatentConsistencyModelPipeline(
        vae=_vae(),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=_unet(32, time_cond_proj_dim=8),
        scheduler=LCMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def build_sd2(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Stable Diffusion 2: its tokenizer pads with ``!``."""
    return _sd(folder, seed, 32, "!", hidden_act="gelu", **options)


def build_sdxl(folder: Path, seed: int = 0, *, force_zeros: bool = True, **options: Any) -> Path:
    """SDXL: two encoders of different width, the second projected and padding with ``!``."""
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline

    torch.manual_seed(seed)
    one, tokenizer = _clip(folder, "text_encoder", None, False, width=32, **options)
    two, tokenizer_2 = _clip(
        folder, "text_encoder_2", "!", True, width=40, layers=4, hidden_act="gelu", **options
    )
    unet = _unet(
        72,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 24,
    )
    pipe = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=one,
        text_encoder_2=two,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        force_zeros_for_empty_prompt=force_zeros,
        add_watermarker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def build_sd3(folder: Path, seed: int = 0, *, t5: bool = True, **options: Any) -> Path:
    """Stable Diffusion 3: two projected CLIPs and T5 (or none)."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(seed)
    one, tokenizer = _clip(folder, "text_encoder", None, True, width=32, projection=24, **options)
    two, tokenizer_2 = _clip(
        folder, "text_encoder_2", "#", True, width=40, layers=4, projection=20, hidden_act="gelu", **options
    )
    three, tokenizer_3 = _t5(folder, "text_encoder_3", 80) if t5 else (None, None)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=80,
        pooled_projection_dim=44,
        pos_embed_max_size=16,
    )
    pipe = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.1),
        text_encoder=one,
        tokenizer=tokenizer,
        text_encoder_2=two,
        tokenizer_2=tokenizer_2,
        text_encoder_3=three,
        tokenizer_3=tokenizer_3,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def build_flux(folder: Path, seed: int = 0, **options: Any) -> Path:
    """FLUX.1: a CLIP whose pooled output is read, and T5."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(seed)
    one, tokenizer = _clip(folder, "text_encoder", None, False, width=32, **options)
    two, tokenizer_2 = _t5(folder, "text_encoder_2", 48)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    pipe = FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.1),
        text_encoder=one,
        tokenizer=tokenizer,
        text_encoder_2=two,
        tokenizer_2=tokenizer_2,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def build_plain_clip(folder: Path, seed: int = 0, *, projected: bool = True) -> Path:
    """A CLIP text encoder alone, tokenizer beside it in one folder."""
    torch.manual_seed(seed)
    encoder, tokenizer = _clip(folder.parent / f"{folder.name}-parts", "text_encoder", None, projected)
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_plain_bert(folder: Path, seed: int = 0) -> Path:
    """A sentence encoder in the form of MiniLM: BERT without a head, word pieces."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *dict.fromkeys([*WORDS, *letters]),
        *(f"##{c}" for c in letters),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(vocab={t: i for i, t in enumerate(vocabulary)}, model_max_length=64).save_pretrained(
        folder
    )
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).eval().save_pretrained(folder)
    return folder
