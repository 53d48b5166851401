"""Record what diffusers gives for Stable Diffusion 1 and 2 with clip_skip, where it can: transformers 4.57
with diffusers 0.39.

    python benchmarks/record_clip_skip.py             # in an environment with that pair; writes
    tests/data/clip_skip.npz

diffusers 0.42 with transformers 5.6 or later raises there, so `tests/models/test_conditioning_clip_skip.py`
compares with this record. The miniature models are those of tests/support/minis.py, their weights a function
of the weights' names. Every fourth position is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
PROMPTS = ["a gun", "", "a picture of the cat with a bouquet of flowers", "apple " * 120]
SKIPS = (None, 1, 2)
STRIDE = 4


def record() -> dict[str, np.ndarray]:
    """``{"sd1-ids": [4, 77], "sd1-skip1": [4, 20, 32], ...}`` as the pipelines' own ``encode_prompt`` gives
    them."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    import diffusers
    import transformers
    from minis import build_sd1, build_sd2, fill_by_name

    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "diffusers": diffusers.__version__,
    }
    out: dict[str, np.ndarray] = {
        "versions": np.array(json.dumps(versions)),
        "prompts": np.array(json.dumps(PROMPTS)),
    }
    for family, build in (("sd1", build_sd1), ("sd2", build_sd2)):
        with tempfile.TemporaryDirectory() as folder:
            pipe = diffusers.StableDiffusionPipeline.from_pretrained(
                build(Path(folder) / family), safety_checker=None
            )
        fill_by_name(pipe.text_encoder)
        tokens = pipe.tokenizer(
            PROMPTS, padding="max_length", max_length=77, truncation=True, return_tensors="np"
        )
        out[f"{family}-ids"] = tokens.input_ids.astype(np.int32)
        with torch.no_grad():
            for skip in SKIPS:
                state, _ = pipe.encode_prompt(PROMPTS, "cpu", 1, False, clip_skip=skip)
                out[f"{family}-skip{skip or 0}"] = state[:, ::STRIDE].numpy().astype(np.float32)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE.parent / "tests" / "data" / "clip_skip.npz")
    args = parser.parse_args()
    found = record()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.out.with_suffix(".part.npz")
    np.savez_compressed(temporary, **found)  # type: ignore[arg-type]
    temporary.replace(args.out)
    print(args.out, args.out.stat().st_size, "bytes", found["versions"])


if __name__ == "__main__":
    main()
