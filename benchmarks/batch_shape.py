"""What the size of a batch does to a picture: python benchmarks/batch_shape.py --pictures 24

The same prompts and seed in one batch, in smaller ones, in the reverse order and with a remainder, as a plan
whose number of pictures is no multiple of the batch has it. For each: how many pictures differ from the one
batch, by how many levels of 255 at most, and whether a detector says otherwise. docs/validation.md says what
follows for the keys of pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import safetext_sdk as st
from safetext_sdk.detectors.detector_set import DetectorSet
from safetext_sdk.prompts import PromptBook, build_prompt_book
from safetext_sdk.validation.generate import PictureMaker, Request

Judged = list[tuple[bool, list[float]]]


def prompts(book: PromptBook, count: int) -> list[str]:
    """Unsafe and safe test prompts by turns."""
    pairs = zip(book.test.unsafe, book.test.safe, strict=False)
    return list(dict.fromkeys(text for u, s in pairs for text in (u.text, s.text)))[:count]


def judged(detectors: DetectorSet, pictures: np.ndarray) -> Judged:
    """Of each picture whether it is unsafe, and all scores."""
    from PIL import Image

    found = detectors.score([Image.fromarray(picture) for picture in pictures])
    return [
        (bool(detectors.unsafe(each)), [score for labels in each.values() for score in labels.values()])
        for each in found
    ]


def line(name: str, pictures: np.ndarray, base: np.ndarray, mine: Judged, theirs: Judged) -> str:
    """One row: what differs from the one batch."""
    levels = np.abs(pictures.astype(int) - base.astype(int)).reshape(len(base), -1)
    flips = sum(a[0] != b[0] for a, b in zip(mine, theirs, strict=True))
    moved = max(
        abs(x - y) for a, b in zip(mine, theirs, strict=True) for x, y in zip(a[1], b[1], strict=True)
    )
    return (
        f"{name:<22} {int(levels.any(1).sum()):>3} of {len(base)} differ, {levels.max()} levels at most, "
        f"{(levels > 0).mean():.1e} of values, {flips} judged otherwise, scores moved by at most {moved:.1e}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="tiny")
    parser.add_argument("--policy", default="weapons")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = st.load_model(args.model, device=args.device, precision=args.precision)
    policy = st.load_policy(args.policy)
    book = build_prompt_book(policy, model=model.id)
    requests = [Request(text, 0) for text in prompts(book, args.pictures)]
    detectors = DetectorSet.build(policy, model.id, args.device, {u.concept for u in book.test.unsafe})
    with TemporaryDirectory() as folder:
        maker = PictureMaker(model, Path(folder), workers=1)

        def drawn(asked: Sequence[Request], size: int) -> np.ndarray:
            parts = [asked[start : start + size] for start in range(0, len(asked), size)]
            return np.stack([np.asarray(image) for part in parts for image in maker.draw(part)])

        whole = len(requests)
        base = drawn(requests, whole)
        theirs = judged(detectors, base)
        print(f"{whole} pictures of {args.model}, {maker.settings}, {model.dtype}, {model.device}")
        for size in args.sizes:
            pictures = drawn(requests, size)
            print(line(f"batches of {size}", pictures, base, judged(detectors, pictures), theirs), flush=True)
        size = whole // 2 - 1
        pictures = drawn(requests, size)
        name = f"{size}, {size} and {whole - 2 * size}"
        print(line(name, pictures, base, judged(detectors, pictures), theirs), flush=True)
        pictures = drawn(requests[::-1], whole)[::-1]
        print(line("one batch, reversed", pictures, base, judged(detectors, pictures), theirs), flush=True)


if __name__ == "__main__":
    main()
