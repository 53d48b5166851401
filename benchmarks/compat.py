"""Load a run's encoder with transformers 4.57 + diffusers 0.39 and with the current pair, in environments of
their own, and compare.

    python benchmarks/compat.py RUN [--keep FOLDER]

Needs a package registry; takes minutes and about 2 GB of disk. Prints one JSON object and exits with 1 if the
conditionings differ by more than 1e-4.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path

PAIRS = {
    "4.57": ["transformers>=4.57,<4.58", "diffusers>=0.39,<0.40"],
    "current": ["transformers>=5.6", "diffusers>=0.42"],
}
PROMPTS = ["a photo of a cat", "a knife on a table", ""]
CODE = """
import json, sys, torch, transformers
from transformers import CLIPTextModel, CLIPTokenizer
run = sys.argv[1]
tokenizer = CLIPTokenizer.from_pretrained(run + "/tokenizer")
encoder, info = CLIPTextModel.from_pretrained(run + "/text_encoder", output_loading_info=True)
length = tokenizer.model_max_length
prompts, full = json.loads(sys.argv[2]), {"padding": "max_length", "truncation": True}
ids = tokenizer(prompts, max_length=length, return_tensors="pt", **full).input_ids
with torch.no_grad():
    state = encoder.eval().float()(ids).last_hidden_state
versions = [transformers.__version__, torch.__version__]
values = state.flatten()[::97].tolist()
missing = sorted(info["missing_keys"])
found = {"versions": versions, "missing": missing, "ids": ids.tolist(), "values": values}
print("RESULT" + json.dumps(found))
"""


def look(run: Path, packages: list[str], place: Path) -> dict[str, object]:
    """The conditioning as one pair of libraries gives it."""
    if not (place / "bin" / "python").exists():
        venv.create(place, with_pip=True)
        # The torch of this environment: an unpinned one may bring gigabytes of CUDA.
        torch = f"torch=={version('torch').split('+')[0]}"
        for wanted in ([torch], ["safetensors", *packages]):
            subprocess.run([place / "bin" / "python", "-m", "pip", "install", "-q", *wanted], check=True)
    done = subprocess.run(
        [place / "bin" / "python", "-c", CODE, str(run), json.dumps(PROMPTS)],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, object] = json.loads(done.stdout.split("RESULT", 1)[1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--keep", type=Path, help="keep the environments here, for another look")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = args.keep or Path(scratch)
        found = {name: look(args.run.resolve(), packages, base / name) for name, packages in PAIRS.items()}
    one, two = found.values()
    worst = max(abs(a - b) for a, b in zip(one["values"], two["values"], strict=True))  # type: ignore[call-overload]
    good = worst <= 1e-4 and one["ids"] == two["ids"] and not one["missing"] and not two["missing"]
    print(
        json.dumps(
            {
                "versions": {n: f["versions"] for n, f in found.items()},
                "largest_difference": worst,
                "same_ids": one["ids"] == two["ids"],
                "passed": good,
            }
        )
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
