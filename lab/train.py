"""Trains the embedded model from scratch: python lab/train.py --state .lab --max-minutes 180

Resumable: every stage keeps its state (weights and optimiser, files of at most 15 MiB) under ``--state`` and
the same command goes on where the last one stopped. One thread a process is fastest when cores are shared;
``--threads`` changes that on a machine of its own. Stages and their minutes on one CPU core are below; a
faster machine reaches the same steps sooner, so give it less.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

STAGES = {
    "icons": 1,
    "vae": 33,
    "vision": 8,
    "tower": 9,
    "unet": 150,
    "decoder": 34,
    "detector_a": 45,
    "detector_b": 50,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, default=Path(".lab"), help="folder of the resumable state")
    parser.add_argument(
        "--out", type=Path, default=Path("safetext_sdk/tiny/weights"), help="folder that ships"
    )
    parser.add_argument(
        "--max-minutes", type=float, default=180, help="stop after this many minutes; run again to go on"
    )
    parser.add_argument(
        "--from-shipped",
        action="store_true",
        help="start from the weights in --out: goes on with denoiser, decoder and detectors",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", choices=[*STAGES, "package", "evaluate"], nargs="*", help="these stages alone"
    )
    args = parser.parse_args()

    import torch
    from safetext_lab import detectors, evaluate, icons, package, tower, unet, vae
    from safetext_lab.scenes import Icons
    from transformers import CLIPTokenizer

    torch.set_num_threads(args.threads)
    state: Path = args.state
    start = time.monotonic()
    ledger_file = state / "ledger.json"
    state.mkdir(parents=True, exist_ok=True)
    ledger: dict[str, float] = json.loads(ledger_file.read_text()) if ledger_file.exists() else {}

    def wanted(stage: str) -> bool:
        return not args.only or stage in args.only

    if not (state / "icons.npz").exists():
        icons.install(state / "npm")
        icons.render_all(state / "npm", state / "icons.npz")
    if args.from_shipped and not ledger:
        package.unpack(args.out, state)
        ledger = {stage: float(STAGES[stage]) for stage in ("vae", "vision", "tower")}
        ledger_file.write_text(json.dumps(ledger))
    drawn = Icons(str(state / "icons.npz"))

    for stage, minutes in STAGES.items():
        if stage == "icons" or not wanted(stage):
            continue
        left = args.max_minutes - (time.monotonic() - start) / 60
        # A stage is owed the rest of its minutes; each stage's schedule runs over what it gets now.
        owed = minutes - ledger.get(stage, 0.0)
        if owed <= 0.05:
            continue
        if left <= 0.05:
            print(f"time is up before {stage}; run the same command to go on")
            return
        began, give = time.monotonic(), min(owed, left)
        if stage == "vae":
            vae.train(drawn, state / "vae", give)
        elif stage in ("vision", "detector_a", "detector_b"):
            # The detectors come last: half of what they see went through the finished codec.
            codec = state if stage != "vision" else None
            detectors.train(stage.removeprefix("detector_"), drawn, state / stage, give, codec_state=codec)
        elif stage == "tower":
            folder = state / "tokenizer"
            tokenizer = (
                CLIPTokenizer.from_pretrained(folder)
                if (folder / "vocab.json").exists()
                else tower.build_tokenizer(folder)
            )
            tower.train(drawn, tokenizer, state / "vision", state / "tower", give)
        elif stage == "unet":
            unet.train(drawn, state / "vae", state / "tokenizer", state / "tower", state / "unet", give)
        elif stage == "decoder":
            vae.continue_decoder(state / "vae", state / "decoder")
            vae.train(drawn, state / "decoder", give, seed=2, decoder_only=True)
        ledger[stage] = ledger.get(stage, 0.0) + (time.monotonic() - began) / 60
        ledger_file.write_text(json.dumps(ledger))
        if give < owed:
            print(f"time is up in {stage}; run the same command to go on")
            return
    if wanted("package"):
        package.package(state, drawn, args.out)
        package.write_world(args.out.parent / "world.json")
    if wanted("evaluate"):
        evaluate.evaluate(args.out, str(state / "icons.npz"), state / "figures.json")


if __name__ == "__main__":
    main()
