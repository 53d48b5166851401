"""How near an exported file is to the torch encoder it came from, measured on real prompts and refused if it
is not near enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from safetext_sdk.errors import ModelError

from .graph import Signature
from .tokenizer import texts, token_ids

BATCHES = (1, 2, 8)
T5_LENGTHS = (8, 77, 200)
"""Positions at which a graph of dynamic length is measured: fewer than its bias tells apart (T5: 128), and
more."""
LIMITS = {
    "fp32": {"relative": 1e-4, "cosine": 0.99999},
    "fp16": {"relative": 5e-2, "cosine": 0.9995},
    "int8": {"relative": 1.0, "cosine": 0.98},
}
"""Worst allowed: largest difference over the output's largest value, and the least cosine of one prompt. A
file past it is not kept.

Measured at SD 1.4 size: fp32 5e-6 absolute, fp16 cosine 0.99999, int8 cosine 0.9994; the limits leave room
for smaller, noisier models."""

Runner = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


def prompts() -> list[str]:
    """Eight: empty, ordinary, longer than 77 tokens, Unicode. Batch 8 takes all, batches 1 and 2 walk through
    them."""
    chosen = {
        what: text
        for what, text in texts()
        if what in ("empty", "truncated", "chinese", "emoji", "arabic", "contraction")
    }
    return [
        chosen["empty"],
        "a photo of a cat",
        chosen["truncated"],
        chosen["chinese"],
        chosen["emoji"],
        chosen["arabic"],
        chosen["contraction"],
        "two red apples on a table",
    ]


def reference(
    encoder: nn.Module, tokenizer: Any, asked: Signature
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs and float32 outputs of the torch encoder itself (transformers' forward, not the traced module)
    for the inputs and outputs that are ``asked``."""
    device = next(encoder.parameters()).device
    rows = tokenizer(prompts(), padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    inputs = {"input_ids": torch.tensor(token_ids(tokenizer, prompts()))}
    if "attention_mask" in asked.inputs:
        inputs["attention_mask"] = rows.attention_mask
    with torch.no_grad():
        out = encoder(**{k: v.to(device) for k, v in inputs.items()}, output_hidden_states=True)
    pooled, projected = getattr(out, "pooler_output", None), getattr(out, "text_embeds", None)
    named: dict[str, Tensor | None] = {
        f"hidden_states.{i}": state for i, state in enumerate(out.hidden_states)
    }
    named |= {"last_hidden_state": out.last_hidden_state, "pooler_output": pooled, "text_embeds": projected}
    named |= {"hidden_states": out.hidden_states[-2], "pooled_embeddings": pooled}
    named["text_embeddings"] = out.last_hidden_state if projected is None else projected
    outputs = {}
    for name in asked.outputs:
        value = named[name]
        assert value is not None
        outputs[name] = value.float().cpu()
    return inputs, outputs


def measure(run: Runner, inputs: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Any]:
    """Largest absolute difference, the same over the largest value, and least cosine of one prompt, per
    output, over batches 1, 2 and 8.

    Args:
        run: the exported file: inputs by name to outputs by name.
        inputs: ``input_ids`` [n, 77] and what else the file takes.
        expected: float32 outputs of the torch encoder, [n, ...].

    Raises:
        ModelError: an output has another shape, or is not finite.
    """
    count = len(inputs["input_ids"])
    figures: dict[str, dict[str, float]] = {
        name: {"max_abs": 0.0, "relative": 0.0, "cosine": 1.0} for name in expected
    }
    for size in BATCHES:
        for start in range(0, count, size):
            got = run({k: v[start : start + size] for k, v in inputs.items()})
            for name, full in expected.items():
                want, have = full[start : start + size], got[name].float().cpu()
                if have.shape != want.shape:
                    raise ModelError(
                        f"output {name} of the exported file is {list(have.shape)} at batch {size}, not "
                        f"{list(want.shape)}"
                    )
                if not bool(torch.isfinite(have).all()):
                    raise ModelError(f"output {name} of the exported file is not finite at batch {size}")
                difference = float((have - want).abs().max())
                cosine = float(
                    torch.nn.functional.cosine_similarity(
                        have.double().flatten(1), want.double().flatten(1), dim=1
                    ).min()
                )
                row = figures[name]
                row["max_abs"] = max(row["max_abs"], difference)
                row["relative"] = max(row["relative"], difference / max(float(full.abs().max()), 1e-12))
                row["cosine"] = min(row["cosine"], cosine)
    return {
        "outputs": figures,
        "batches": list(BATCHES),
        "prompts": prompts(),
        "reference": "transformers in torch, the weights as hardened",
    }


def measure_t5(run: Runner, encoder: nn.Module, tokenizer: Any) -> dict[str, Any]:
    """As `measure`, for a T5 encoder at each of `T5_LENGTHS`; a figure is the worst over them."""
    device = next(encoder.parameters()).device
    whole: dict[str, Any] = {}
    for length in T5_LENGTHS:
        rows = tokenizer(
            prompts(), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        inputs = {name: rows[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            out = encoder(**{k: v.to(device) for k, v in inputs.items()}).last_hidden_state.float().cpu()
        found = measure(run, inputs, {"last_hidden_state": out})
        before = whole.get("outputs", found["outputs"])["last_hidden_state"]
        row = found["outputs"]["last_hidden_state"]
        for name, value in before.items():
            row[name] = (min if name == "cosine" else max)(row[name], value)
        whole = found
    return {**whole, "lengths": list(T5_LENGTHS)}


def require(record: Mapping[str, Any], precision: str) -> None:
    """Raise if an export is too far from its torch encoder.

    Raises:
        ModelError: names the worst output.
    """
    limit = LIMITS[precision]
    for name, row in record["outputs"].items():
        if row["relative"] > limit["relative"] or row["cosine"] < limit["cosine"]:
            raise ModelError(
                f"the {precision} export is too far from the torch encoder: output {name} differs by "
                f"{row['max_abs']:.2g} "
                f"({row['relative']:.2g} of its largest value, cosine {row['cosine']:.6f}; "
                f"allowed {limit['relative']:.2g} and {limit['cosine']}); nothing was kept"
            )
