"""Models known by a short name. No torch here: listing is instant.

An entry says where the weights are published, under which licence, which encoders read the prompt and how
large they are. No revision is fixed here: what the hub answers with is written to the manifest of each run.
Parameter counts are those of the published configurations.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

CLIP_L, CLIP_H, CLIP_G, T5_XXL = 123_060_480, 340_387_840, 694_659_840, 4_762_310_656


@dataclass(frozen=True)
class EncoderInfo:
    """One encoder that reads the prompt: its name in the pipeline, architecture, parameters, and how it is
    hardened by default."""

    name: str
    kind: str
    parameters: int
    default: str = "full"  # or "lora"


@dataclass(frozen=True)
class CatalogueEntry:
    """One known model.

    ``repo``: hub id ("" for a model that comes with a package). ``folder``: ``"module:function"`` that gives
    the folder of such a model. ``gated``: the hub asks for an account and a licence click.
    ``recipe``: the kind of encoder that recipes know it by (see `hardening.recipes`); "default" = any.
    """

    id: str
    title: str
    repo: str
    family: str
    licence: str
    encoders: tuple[EncoderInfo, ...]
    precision: str = "bf16"
    gated: bool = False
    note: str = ""
    recipe: str = "default"
    folder: str = ""

    @property
    def memory_gb(self) -> float:
        """Memory to harden with the defaults, in GB (1e9 bytes), without activations: see
        `training_bytes`."""
        loaded = 4 if self.precision == "fp32" else 2
        total = sum(training_bytes(e.parameters, e.default, loaded) for e in self.encoders) / 1e9
        return max(0.1, round(total, 1))  # a small model needs a little, not nothing

    def as_dict(self) -> dict[str, Any]:
        """For ``safetext models list --json``."""
        return {
            "id": self.id,
            "title": self.title,
            "repo": self.repo or None,
            "family": self.family,
            "licence": self.licence,
            "gated": self.gated,
            "precision": self.precision,
            "memory_gb": self.memory_gb,
            "encoders": [
                {"name": e.name, "kind": e.kind, "parameters": e.parameters, "default": e.default}
                for e in self.encoders
            ],
            "note": self.note,
            "recipe": self.recipe,
        }


def training_bytes(parameters: int, how: str, loaded: int = 2) -> int:
    """Bytes that hardening one encoder keeps, without activations.

    Full weights: the original in fp32 (4 bytes a parameter), the trained copy (4), gradients (4), two AdamW
    moments (8), and the model as it was loaded if that is narrower. LoRA: the frozen weights once, as loaded,
    and about 1 % of them in trained adapters at 16 bytes.

    Args:
        parameters: of the encoder.
        how: ``full`` or ``lora``.
        loaded: bytes a parameter of the loaded model: 4 in fp32, 2 in bf16 and fp16.
    """
    return (
        parameters * (20 + (loaded if loaded < 4 else 0))
        if how == "full"
        else int(parameters * (loaded + 0.01 * 16))
    )


def _clip_l(name: str = "text_encoder") -> EncoderInfo:
    return EncoderInfo(name, "CLIP ViT-L/14 text", CLIP_L)


_SDXL = (_clip_l(), EncoderInfo("text_encoder_2", "OpenCLIP ViT-bigG/14 text", CLIP_G))
_SD3 = (*_SDXL, EncoderInfo("text_encoder_3", "T5 v1.1 XXL encoder", T5_XXL, "lora"))
_FLUX = (_clip_l(), EncoderInfo("text_encoder_2", "T5 v1.1 XXL encoder", T5_XXL, "lora"))
_T5_ALONE = (EncoderInfo("text_encoder", "T5 v1.1 XXL encoder", T5_XXL, "lora"),)
_TORCHVISION = "pictures need torchvision"
_GEMMA = (EncoderInfo("text_encoder", "Gemma 2 2B", 2_614_341_888, "lora"),)
_QWEN3_4B = (EncoderInfo("text_encoder", "Qwen3 4B", 4_022_468_096, "lora"),)
_QWEN25_VL = EncoderInfo("text_encoder", "Qwen2.5-VL 7B", 8_292_166_656, "lora")
_HIDREAM = (
    EncoderInfo("text_encoder", "CLIP ViT-L/14 text, 248 positions", 123_781_632),
    EncoderInfo("text_encoder_2", "OpenCLIP ViT-bigG/14 text, 248 positions", 694_878_720),
    EncoderInfo("text_encoder_3", "T5 v1.1 XXL encoder", T5_XXL, "lora"),
    EncoderInfo("text_encoder_4", "Llama 3.1 8B", 8_030_261_248, "lora"),
)
_OPENRAIL = "CreativeML Open RAIL-M"

_ENTRIES = (
    CatalogueEntry(
        "tiny",
        "Embedded miniature Stable Diffusion",
        "",
        "sd1",
        "Apache-2.0",
        (EncoderInfo("text_encoder", "CLIP text, 4 x 192", 2_180_000),),
        "fp32",
        note="ships with the package; proves mechanics and regressions, nothing about large models",
        recipe="tiny",
        folder="safetext_sdk.tiny:path",
    ),
    CatalogueEntry(
        "sd14", "Stable Diffusion 1.4", "CompVis/stable-diffusion-v1-4", "sd1", _OPENRAIL, (_clip_l(),)
    ),
    CatalogueEntry(
        "sd15",
        "Stable Diffusion 1.5",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "sd1",
        _OPENRAIL,
        (_clip_l(),),
    ),
    CatalogueEntry(
        "sd21",
        "Stable Diffusion 2.1",
        "stabilityai/stable-diffusion-2-1",
        "sd2",
        "CreativeML Open RAIL++-M",
        (EncoderInfo("text_encoder", "OpenCLIP ViT-H/14 text, 23 layers", CLIP_H),),
    ),
    CatalogueEntry(
        "sdxl",
        "Stable Diffusion XL 1.0",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "sdxl",
        "CreativeML Open RAIL++-M",
        _SDXL,
    ),
    CatalogueEntry(
        "sdxl-turbo",
        "SDXL Turbo",
        "stabilityai/sdxl-turbo",
        "sdxl",
        "Stability AI non-commercial research",
        _SDXL,
    ),
    CatalogueEntry(
        "sd3-medium",
        "Stable Diffusion 3 medium",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "sd3",
        "Stability AI Community",
        _SD3,
        gated=True,
    ),
    CatalogueEntry(
        "sd35-medium",
        "Stable Diffusion 3.5 medium",
        "stabilityai/stable-diffusion-3.5-medium",
        "sd3",
        "Stability AI Community",
        _SD3,
        gated=True,
    ),
    CatalogueEntry(
        "sd35-large",
        "Stable Diffusion 3.5 large",
        "stabilityai/stable-diffusion-3.5-large",
        "sd3",
        "Stability AI Community",
        _SD3,
        gated=True,
    ),
    CatalogueEntry(
        "flux-schnell",
        "FLUX.1 schnell",
        "black-forest-labs/FLUX.1-schnell",
        "flux",
        "Apache-2.0",
        _FLUX,
        gated=True,
    ),
    CatalogueEntry(
        "flux-dev",
        "FLUX.1 dev",
        "black-forest-labs/FLUX.1-dev",
        "flux",
        "FLUX.1 [dev] non-commercial",
        _FLUX,
        gated=True,
    ),
    CatalogueEntry(
        "z-image-turbo",
        "Z-Image-Turbo",
        "Tongyi-MAI/Z-Image-Turbo",
        "zimage",
        "Apache-2.0",
        _QWEN3_4B,
    ),
    CatalogueEntry(
        "flux2-klein-4b",
        "FLUX.2 klein 4B",
        "black-forest-labs/FLUX.2-klein-4B",
        "flux2",
        "Apache-2.0",
        _QWEN3_4B,
    ),
    CatalogueEntry(
        "flux2-klein-base-9b",
        "FLUX.2 klein base 9B",
        "black-forest-labs/FLUX.2-klein-base-9B",
        "flux2",
        "FLUX non-commercial",
        (EncoderInfo("text_encoder", "Qwen3 8B", 8_190_735_360, "lora"),),
        gated=True,
    ),
    CatalogueEntry(
        "flux2-dev",
        "FLUX.2 dev",
        "black-forest-labs/FLUX.2-dev",
        "flux2-dev",
        "FLUX [dev] non-commercial",
        (EncoderInfo("text_encoder", "Mistral Small 3 24B", 24_000_000_000, "lora"),),
        gated=True,
        note=f"parameters rounded; {_TORCHVISION}",
    ),
    CatalogueEntry(
        "qwen-image",
        "Qwen-Image",
        "Qwen/Qwen-Image",
        "qwenimage",
        "Apache-2.0",
        (_QWEN25_VL,),
    ),
    CatalogueEntry(
        "qwen-image-2.1",
        "Qwen-Image 2.1",
        "Qwen/Qwen-Image-2.1",
        "qwenimage21",
        "Qwen Research (non-commercial)",
        (EncoderInfo("text_encoder", "Qwen3-VL 8B", 8_767_123_696, "lora"),),
        note=_TORCHVISION,
    ),
    CatalogueEntry(
        "kandinsky5-t2i-lite",
        "Kandinsky 5.0 T2I Lite",
        "kandinskylab/Kandinsky-5.0-T2I-Lite-sft-Diffusers",
        "kandinsky5",
        "MIT",
        (_QWEN25_VL, _clip_l("text_encoder_2")),
        note=_TORCHVISION,
    ),
    CatalogueEntry(
        "hidream-i1-full",
        "HiDream-I1 Full",
        "HiDream-ai/HiDream-I1-Full",
        "hidream",
        "MIT; Llama 3.1 Community for text_encoder_4",
        _HIDREAM,
        note="its repository holds no Llama: put meta-llama/Meta-Llama-3.1-8B-Instruct into text_encoder_4 "
        "and tokenizer_4 of a local copy",
    ),
    CatalogueEntry(
        "pixart-sigma",
        "PixArt-Sigma XL 1024",
        "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
        "pixart",
        "CreativeML Open RAIL++-M",
        _T5_ALONE,
    ),
    CatalogueEntry("chroma1-hd", "Chroma1-HD", "lodestones/Chroma1-HD", "chroma", "Apache-2.0", _T5_ALONE),
    CatalogueEntry(
        "auraflow",
        "AuraFlow",
        "fal/AuraFlow",
        "auraflow",
        "Apache-2.0",
        (EncoderInfo("text_encoder", "Pile-T5 XL encoder", 1_223_550_976, "lora"),),
    ),
    CatalogueEntry(
        "sana-1600m",
        "Sana 1.6B, 1024",
        "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers",
        "sana",
        "NVIDIA's own; Gemma's terms for the encoder",
        _GEMMA,
    ),
    CatalogueEntry(
        "lumina-image-2",
        "Lumina-Image 2.0",
        "Alpha-VLLM/Lumina-Image-2.0",
        "lumina2",
        "Apache-2.0; Gemma's terms for the encoder",
        _GEMMA,
    ),
    CatalogueEntry(
        "clip-vit-l-14",
        "CLIP ViT-L/14, text side",
        "openai/clip-vit-large-patch14",
        "plain",
        "MIT",
        (_clip_l(),),
    ),
    CatalogueEntry(
        "clip-vit-b-32",
        "CLIP ViT-B/32, text side",
        "openai/clip-vit-base-patch32",
        "plain",
        "MIT",
        (EncoderInfo("text_encoder", "CLIP ViT-B/32 text", 63_165_952),),
    ),
    CatalogueEntry(
        "minilm",
        "all-MiniLM-L6-v2 sentence encoder",
        "sentence-transformers/all-MiniLM-L6-v2",
        "plain",
        "Apache-2.0",
        (EncoderInfo("text_encoder", "BERT, 6 x 384", 22_713_216),),
        recipe="sentence-encoder",
    ),
)
CATALOGUE: dict[str, CatalogueEntry] = {entry.id: entry for entry in _ENTRIES}


def nearest(name: str) -> list[str]:
    """Catalogue ids that look like ``name``, best first."""
    return difflib.get_close_matches(name, CATALOGUE, n=3, cutoff=0.5)
