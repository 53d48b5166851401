"""Target ``gguf``: every tensor has a name in gguf's own table, and the file holds the hardened encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetext_exporters import export
from safetext_exporters.comfyui_language import language_state
from support.hardening_case import POLICY, run
from support.minis import build_sd1
from support.recent_minis import RECENT
from support.recent_sizes import of_size

from safetext_sdk.errors import ModelError, UsageError
from safetext_sdk.models import load_model

gguf = pytest.importorskip("gguf")


@pytest.mark.parametrize(
    ("kind", "size", "some"),
    [
        (
            "t5",
            (24, 4096, 10240),
            {"encoder.block.23.layer.1.DenseReluDense.wi_0.weight": "enc.blk.23.ffn_gate.weight"},
        ),
        ("qwen3", (36, 2560, 9728), {"model.layers.35.self_attn.q_norm.weight": "blk.35.attn_q_norm.weight"}),
    ],
)
def test_every_tensor_of_the_published_sizes_has_a_name(
    kind: str, size: tuple[int, int, int], some: dict[str, str]
) -> None:
    from safetext_exporters.gguf import gguf_names

    encoder = of_size(kind, *size)
    names = gguf_names(encoder)
    assert set(names) == set(language_state(encoder))
    assert len(set(names.values())) == len(names)
    assert names["shared.weight" if kind == "t5" else "model.embed_tokens.weight"] == "token_embd.weight"
    assert some.items() <= names.items()


@pytest.mark.parametrize(
    ("family", "file", "architecture"),
    [("zimage", "qwen_3-bf16.gguf", "qwen3"), ("auraflow", "t5-f16.gguf", "t5encoder")],
)
def test_the_file_is_the_hardened_encoder(tmp_path: Path, family: str, file: str, architecture: str) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    RECENT[family](tmp_path / "model")
    train = {"prompts": 8, "wide_safe": 8, "lora_learning_rate": 0.3}
    hardened = run(tmp_path / "model", tmp_path / "policy.yaml", tmp_path / "run", 2, False, train=train)
    result = export(hardened, "gguf")
    assert set(result.files) == {file}
    record = json.loads((result.folder / "export.json").read_text())
    assert record["self_check"]["verdict"] == "hardened"
    reader = gguf.GGUFReader(str(result.folder / file))
    assert bytes(reader.fields["general.architecture"].parts[-1]).decode() == architecture
    blocks = {t.name.split("blk.")[1].split(".")[0] for t in reader.tensors if "blk." in t.name}
    assert int(reader.fields[f"{architecture}.block_count"].parts[-1][0]) == len(blocks)
    encoder = hardened.model.encoders["text_encoder"]
    own = {k: v.detach().float().numpy() for k, v in language_state(encoder).items()}
    norm = next(t for t in reader.tensors if t.name.endswith("output_norm.weight"))
    key = "model.norm.weight" if family == "zimage" else "encoder.final_layer_norm.weight"
    assert np.array_equal(norm.data, own[key]), "vectors stay in fp32"
    matrix = next(t for t in reader.tensors if t.name == "token_embd.weight")
    read = gguf.quants.dequantize(matrix.data, matrix.tensor_type)
    dtype = torch.bfloat16 if family == "zimage" else torch.float16
    key = "model.embed_tokens.weight" if family == "zimage" else "shared.weight"
    assert np.array_equal(read, torch.from_numpy(own[key]).to(dtype).float().numpy())
    again = export(hardened, "gguf", out=tmp_path / "again")
    assert again.files == result.files, "the same weights give the same bytes"
    small = export(hardened, "gguf", out=tmp_path / "q8", dtype="q8_0")
    (name,) = small.files
    assert name.endswith("-q8_0.gguf")
    assert (small.folder / name).stat().st_size < (result.folder / file).stat().st_size


def test_what_it_does_not_take(tmp_path: Path) -> None:
    model = load_model(build_sd1(tmp_path / "m"))
    with pytest.raises(ModelError, match="takes T5 and Qwen3 text encoders"):
        export(model, "gguf", out=tmp_path / "x")
    with pytest.raises(UsageError, match="dtype"):
        export(model, "gguf", out=tmp_path / "x", dtype="q2")
