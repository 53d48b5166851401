"""What `safetext harden` does before its first step (imports, prompt book, tokens), and ``safetext --help``.

    python benchmarks/start_speed.py
    python benchmarks/start_speed.py --policy nudity --model-id sd14 --texts 23000

Tokens are made by turns with transformers' own padded call, which they must equal; the ratio is of one run.
Seconds are of the process (``--help``: of a process of its own), so other load on the machine counts less.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

CHUNK = 512


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of ``work``, and what it returned."""
    begun = time.process_time()
    found = work()
    return time.process_time() - begun, found


def help_seconds() -> float:
    """Processor time of ``safetext --help`` in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "safetext_cli.main", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", default="weapons")
    parser.add_argument("--model-id", default="sd14", help="The prompt book of this model.")
    parser.add_argument("--texts", type=int, default=23_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    helped = statistics.median(help_seconds() for _ in range(args.rounds))

    def imports() -> None:
        import diffusers  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401

        import safetext_sdk.hardening.harden  # noqa: F401

    imported, _ = seconds(imports)
    import torch

    from safetext_sdk import load_model, load_policy
    from safetext_sdk.models.families.tools import pad_to_max
    from safetext_sdk.prompts import build_prompt_book

    policy = load_policy(args.policy)
    first, book = seconds(lambda: build_prompt_book(policy, seed=0, model=args.model_id))
    again, _ = seconds(lambda: build_prompt_book(policy, seed=1, model=args.model_id))
    known = list(
        dict.fromkeys(p.text for s in ("train", "validation", "test") for p in book.split(s).prompts())
    )
    texts = (known * (args.texts // len(known) + 1))[: args.texts]
    tokenizer = load_model("tiny", device="cpu").tokenizers["text_encoder"]
    parts = [texts[i : i + CHUNK] for i in range(0, len(texts), CHUNK)]

    def padded() -> torch.Tensor:
        options = {"padding": "max_length", "max_length": 77, "truncation": True, "return_tensors": "pt"}
        return torch.cat([tokenizer(part, **options).input_ids for part in parts])

    def ours() -> torch.Tensor:
        return torch.cat([pad_to_max(tokenizer, part, 77)["input_ids"] for part in parts])

    rounds = [(seconds(padded), seconds(ours)) for _ in range(args.rounds)]
    if not all(torch.equal(theirs[1], mine[1]) for theirs, mine in rounds):
        raise SystemExit("the tokens differ")
    found = {
        "policy": args.policy,
        "help": helped,
        "imports": imported,
        "book": first,
        "book_again": again,
        "texts": len(texts),
        "tokens_padded_call": statistics.median(theirs[0] for theirs, _ in rounds),
        "tokens": statistics.median(mine[0] for _, mine in rounds),
        "tokens_times_faster": statistics.median(theirs[0] / mine[0] for theirs, mine in rounds),
    }
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}, indent=2))


if __name__ == "__main__":
    main()
