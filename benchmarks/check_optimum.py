"""Does optimum-onnx take our exported encoder, and do its pictures match torch's? Runs in an environment of
its own.

optimum-onnx pins transformers below 4.58, so it does not go into this project's environment:

    python -m venv optimum && optimum/bin/pip install optimum-onnx[onnxruntime] diffusers
    safetext export RUN -t diffusers --set whole=true --out whole      # in the project's environment
    safetext export RUN -t onnx --out encoder
    optimum/bin/python benchmarks/check_optimum.py whole encoder

optimum exports denoiser and VAE of ``whole`` itself; its text encoder is then replaced by ours. The pictures
are compared with those of the torch pipeline under the same (older) transformers, which also shows that
``whole`` loads there. Exit 1 above 1e-4.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch


def pictures(pipe: Any, prompts: list[str]) -> np.ndarray[Any, Any]:
    """Float pictures [n, h, w, 3] from fixed noise."""
    pipe.set_progress_bar_config(disable=True)
    size = pipe.unet.config["sample_size"]
    noise = torch.from_numpy(
        np.random.RandomState(0)
        .randn(len(prompts), pipe.unet.config["in_channels"], size, size)
        .astype(np.float32)
    )
    side = size * pipe.vae_scale_factor
    return np.asarray(
        pipe(prompts, latents=noise, num_inference_steps=4, output_type="np", height=side, width=side).images
    )


def main() -> None:
    """Compare and say so."""
    import transformers
    from diffusers import StableDiffusionPipeline
    from optimum.exporters.onnx import main_export
    from optimum.onnxruntime import ORTStableDiffusionPipeline

    whole, encoder = Path(sys.argv[1]), Path(sys.argv[2])
    prompts = ["a photo of a cat", "a knife on a table"]
    quiet = {"safety_checker": None, "requires_safety_checker": False}
    want = pictures(StableDiffusionPipeline.from_pretrained(whole, **quiet), prompts)
    with tempfile.TemporaryDirectory() as folder:
        main_export(str(whole), folder, task="text-to-image", library_name="diffusers", do_validation=False)
        place = Path(folder) / "text_encoder"
        shutil.rmtree(place)
        shutil.copytree(encoder / "text_encoder", place)
        got = pictures(ORTStableDiffusionPipeline.from_pretrained(folder, **quiet), prompts)
    difference = float(np.abs(got - want).max())
    print(
        f"transformers {transformers.__version__}: largest picture difference {difference:.2e} (pictures' "
        f"spread {want.std():.3f})"
    )
    sys.exit(0 if difference <= 1e-4 else 1)


if __name__ == "__main__":
    main()
