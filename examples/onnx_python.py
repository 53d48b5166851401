"""The hardened encoder with onnxruntime and numpy alone: no torch, no transformers.

python examples/onnx_python.py RUN/exports/onnx "a photo of a cat"
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

folder, prompt = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "a photo of a cat"
# A product has a tokenizer of its own, checked against these 200 rows; this example takes the ids from them.
rows = [
    json.loads(line)
    for line in (folder / "tokenizer" / "test_vectors.jsonl").read_text(encoding="utf-8").splitlines()
]
ids = {row["text"]: row["ids"] for row in rows}
if prompt not in ids:
    sys.exit(f"this example knows the {len(ids)} prompts of test_vectors.jsonl, such as {rows[60]['text']!r}")
session = onnxruntime.InferenceSession(
    str(folder / "text_encoder" / "model.onnx"), providers=["CPUExecutionProvider"]
)
hidden, pooled = session.run(
    ["last_hidden_state", "pooler_output"], {"input_ids": np.array([ids[prompt]], dtype=np.int32)}
)
print(
    json.dumps(
        {
            "prompt": prompt,
            "last_hidden_state": list(hidden.shape),
            "pooled": [round(float(v), 4) for v in pooled[0, :8]],
        }
    )
)
