"""The hardened encoder with onnxruntime, tokenizers and numpy alone: no torch, no transformers.

python examples/onnx_minimal.py RUN/exports/onnx "a photo of a cat"
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder, prompts = Path(sys.argv[1]), sys.argv[2:] or ["a photo of a cat"]
# tokenizer.json pads with the right token and cuts at 77 by itself.
tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
lines = (folder / "tokenizer" / "test_vectors.jsonl").read_text(encoding="utf-8").splitlines()
rows = [json.loads(line) for line in lines]
right = sum(tokenizer.encode(row["text"]).ids == row["ids"] for row in rows)
session = onnxruntime.InferenceSession(str(folder / "text_encoder" / "model.onnx"))
ids = np.array([encoded.ids for encoded in tokenizer.encode_batch(prompts)], dtype=np.int32)
hidden, pooled = session.run(["last_hidden_state", "pooler_output"], {"input_ids": ids})
print(f"tokenizer: {right} of {len(rows)} test vectors agree")
for prompt, vector in zip(prompts, pooled, strict=True):
    print(json.dumps({"prompt": prompt, "pooled": [round(float(v), 4) for v in vector[:8]]}))
sys.exit(right != len(rows))
