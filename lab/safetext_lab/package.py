"""Stage 5: put the trained parts into the folders that ship: a stock diffusers pipeline and the two
detectors, in half precision.

Configs say float32: both libraries then load the half-precision files as float32, so
    ``from_pretrained(folder)`` works on a CPU.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification, CLIPTokenizer

from .codec import codec, model_part
from .common import load_state, save_state
from .detectors import build as build_detector
from .scenes import Icons
from .tower import build_tower
from .unet import SCHEDULER
from .unet import build as build_unet
from .world import CONCEPTS

GENERATION = {"num_inference_steps": 6, "guidance_scale": 2.5, "height": 64, "width": 64}


PIXELS = {
    "size": {"height": 64, "width": 64},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "do_rescale": True,
    "do_normalize": True,
}


def pipeline(state: Path, icons: Icons) -> StableDiffusionPipeline:
    """The pipeline from the stages' states, with the averaged denoiser."""
    vae = codec(state, icons)
    tokenizer = CLIPTokenizer.from_pretrained(state / "tokenizer")
    tower = build_tower(tokenizer)
    tower.load_state_dict(
        {k[6:]: v for k, v in model_part(state / "tower").items() if k.startswith("tower.")}
    )
    unet = build_unet()
    loaded = load_state(state / "unet")
    assert loaded is not None
    unet.load_state_dict({k[4:]: v for k, v in loaded[0].items() if k.startswith("ema.")})
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=tower.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=DPMSolverMultistepScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _halve(folder: Path) -> None:
    for file in folder.rglob("*.safetensors"):
        tensors = load_file(file)
        if file.parent.name == "text_encoder":  # the key names that every transformers release reads
            tensors = {k if k.startswith("text_model.") else f"text_model.{k}": v for k, v in tensors.items()}
        save_file(
            {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()},
            file,
            metadata={"format": "pt"},
        )
    for file in folder.rglob("config.json"):
        config = json.loads(file.read_text())
        if "architectures" in config:
            config.pop("torch_dtype", None)
            config["dtype"] = "float32"
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def package(state: Path, icons: Icons, out: Path) -> None:
    """Write ``out/pipeline``, ``out/detector_a``, ``out/detector_b``."""
    for name in ("pipeline", "detector_a", "detector_b"):
        shutil.rmtree(out / name, ignore_errors=True)
    pipeline(state, icons).save_pretrained(out / "pipeline", safe_serialization=True)
    shutil.copy(state / "tokenizer" / "vocab.json", out / "pipeline" / "tokenizer" / "vocab.json")
    shutil.copy(state / "tokenizer" / "merges.txt", out / "pipeline" / "tokenizer" / "merges.txt")
    (out / "pipeline" / "generation.json").write_text(json.dumps(GENERATION, indent=2) + "\n")
    for kind in "ab":
        detector = build_detector(kind)
        detector.load_state_dict(model_part(state / f"detector_{kind}"))
        detector.save_pretrained(out / f"detector_{kind}", safe_serialization=True)
        (out / f"detector_{kind}" / "preprocessor_config.json").write_text(
            json.dumps(PIXELS, indent=2) + "\n"
        )
    _halve(out)


def unpack(weights: Path, state: Path) -> list[str]:
    """Start ``state`` from a shipped folder, so that training can go on where nothing but the weights was
    kept.

    Optimiser states are gone and half precision cost the last digits; the first steps are spent on that.
    Returns the stages that are there.
    """
    pipe = StableDiffusionPipeline.from_pretrained(weights / "pipeline")
    # The codec's latents are whitened already; whitening them again changes next to nothing.
    parts = {
        "vae": {f"model.{k}": v for k, v in pipe.vae.state_dict().items()},
        "tower": {f"model.tower.{k}": v for k, v in pipe.text_encoder.state_dict().items()},
        "unet": {f"{kind}.{k}": v for kind in ("model", "ema") for k, v in pipe.unet.state_dict().items()},
    }
    for kind in "ab":
        detector = AutoModelForImageClassification.from_pretrained(weights / f"detector_{kind}")
        parts[f"detector_{kind}"] = {f"model.{k}": v for k, v in detector.state_dict().items()}
    for stage, tensors in parts.items():
        # Far past every warm-up: the schedules of what has learnt already start gently.
        save_state(state / stage, tensors, {"step": 1000, "seen": 0})
    shutil.copytree(weights / "pipeline" / "tokenizer", state / "tokenizer", dirs_exist_ok=True)
    return list(parts)


def write_world(path: Path) -> None:
    """world.json: what the SDK knows about the world, one concept a line."""
    rows = [
        f"  {json.dumps(c.id)}: "
        f"{json.dumps({'category': c.category, 'family': c.family, 'words': list(c.words)})}"
        for c in CONCEPTS
    ]
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
