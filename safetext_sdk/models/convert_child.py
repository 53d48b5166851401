"""Run by `convert` as a process of its own, with the path of this file: nothing of this library is imported.

    python -I convert_child.py IN OUT

Reads a pickle with ``weights_only=True`` (tensors and plain containers; anything else ends it), writes its
tensors as safetensors, and prints what it did as one line of JSON.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

STATES = ("state_dict", "module", "model")
"""Keys under which trainers put the weights, beside an optimiser's state and the like."""


def convert(source: str, target: str) -> dict[str, Any]:
    """Tensors of ``source`` into ``target``; returns counts and what was left out, or an error."""
    import torch
    from safetensors.torch import save_file

    try:
        found = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        # Everything that can go wrong here is about this one file: no pickle, or more than tensors.
        lines = str(error).strip().splitlines()
        return {"error": next((line for line in lines if "nsupported" in line), lines[0] if lines else "")}
    for name in STATES:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    if not isinstance(found, Mapping):
        return {"error": f"it holds a {type(found).__name__}, not named tensors"}
    # A copy of each: tensors that share memory are refused by safetensors.
    kept = {str(k): v.detach().clone().contiguous() for k, v in found.items() if torch.is_tensor(v)}
    if not kept:
        return {"error": "it holds no tensors by name"}
    save_file(kept, target, metadata={"format": "pt"})
    return {"tensors": len(kept), "left_out": sorted(str(k) for k in found if str(k) not in kept)}


if __name__ == "__main__":
    print(json.dumps(convert(sys.argv[1], sys.argv[2])))
