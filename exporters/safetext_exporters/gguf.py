"""Target ``gguf``: T5 and Qwen3 encoders as one GGUF file each, under the names of gguf's own table.

Names, architecture and sizes are what llama.cpp's converter writes for these two (``t5encoder``, ``qwen3``);
matrices are in the chosen type, vectors in fp32, as there. No tokenizer is written: loaders of text encoders
bring their own; llama.cpp's programs want one, and its converter reads what target ``diffusers`` writes. The
file is read back, put through the run's canaries, and was NOT run in ComfyUI or llama.cpp.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from safetext_sdk.errors import EXIT_FAIL, MissingExtraError, ModelError

from .base import Exporter, ExportResult, Options, Subject, language_encoders, left_out, staging, write_record
from .comfyui_language import is_qwen3, language_file, language_state
from .t5_graph import is_t5

_NOT_RUN = (
    "names by gguf's own table, read back and compared; not run in ComfyUI or llama.cpp; no tokenizer inside"
)


class GgufOptions(Options):
    """``dtype``: of the matrices, ``f16``, ``bf16``, ``f32`` or ``q8_0``; None = bf16 for Qwen3, which was
    trained in it, else f16."""

    dtype: Literal["f16", "bf16", "f32", "q8_0"] | None = None


def gguf_names(encoder: Any) -> dict[str, str]:
    """The name in transformers' files to the name in a GGUF file.

    Raises:
        MissingExtraError: gguf is not installed.
        ModelError: a tensor that gguf's table has no name for.
    """
    gguf = _gguf()
    layers = int(encoder.config.num_layers if is_t5(encoder) else encoder.config.num_hidden_layers)
    table = gguf.get_tensor_name_map(_architecture(gguf, encoder), layers)
    names = {}
    for key in language_state(encoder):
        found = table.get_name(key, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelError(f"gguf has no name for {key} of a {type(encoder).__name__}")
        names[key] = found
    return names


def export_gguf(subject: Subject, out: Path, options: GgufOptions) -> ExportResult:
    """Write one GGUF file for each T5 and Qwen3 encoder.

    Args:
        subject: what is exported.
        out: folder to write.
        options: see `GgufOptions`.

    Raises:
        MissingExtraError: gguf is not installed.
        ModelError: no such encoder, or what was read back is not what was written.
    """
    gguf = _gguf()
    encoders = language_encoders(subject, "gguf")
    with staging(out) as folder:
        read = {}
        for name, encoder in encoders.items():
            kind = options.dtype or ("bf16" if is_qwen3(encoder) else "f16")
            file = folder / f"{language_file(encoder, any_size=True)}-{kind}.gguf"
            if file.exists():
                raise ModelError(f"two encoders of this model would both be {file.name}")
            _write(gguf, encoder, file, kind)
            read[name] = _read(gguf, encoder, file)
        checked = {
            "checked": _NOT_RUN,
            "self_check": _self_check(subject, read, strict=options.dtype != "q8_0"),
        }
        files = write_record(folder, subject, "gguf", options.model_dump(), checked)
    return ExportResult("gguf", out, out, files, {}, (*left_out(subject, encoders, "T5 and Qwen3"), _NOT_RUN))


def _gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise MissingExtraError("target gguf", "gguf") from error
    return gguf


def _architecture(gguf: Any, encoder: Any) -> Any:
    return gguf.MODEL_ARCH.T5ENCODER if is_t5(encoder) else gguf.MODEL_ARCH.QWEN3


def _write(gguf: Any, encoder: Any, file: Path, kind: str) -> None:
    """One file; its bytes depend on the weights and nothing else."""
    types = gguf.GGMLQuantizationType
    wanted = {"f16": types.F16, "bf16": types.BF16, "f32": types.F32, "q8_0": types.Q8_0}[kind]
    writer = gguf.GGUFWriter(str(file), gguf.MODEL_ARCH_NAMES[_architecture(gguf, encoder)])
    try:
        _sizes(writer, encoder.config, t5=is_t5(encoder))
        writer.add_file_type(
            getattr(gguf.LlamaFileType, "ALL_F32" if kind == "f32" else f"MOSTLY_{kind.upper()}")
        )
        names = gguf_names(encoder)
        for key, value in sorted(language_state(encoder).items()):
            array = value.detach().to("cpu", torch.float32).contiguous().numpy()
            # Rows of q8_0 are in blocks of 32; what has others, as every vector, stays as it is.
            fits = array.ndim > 1 and (kind != "q8_0" or array.shape[-1] % 32 == 0)
            dtype = wanted if fits else types.F32
            writer.add_tensor(names[key], gguf.quants.quantize(array, dtype), raw_dtype=dtype)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _sizes(writer: Any, config: Any, *, t5: bool) -> None:
    writer.add_block_count(int(config.num_layers if t5 else config.num_hidden_layers))
    writer.add_embedding_length(int(config.d_model if t5 else config.hidden_size))
    writer.add_feed_forward_length(int(config.d_ff if t5 else config.intermediate_size))
    writer.add_head_count(int(config.num_heads if t5 else config.num_attention_heads))
    width = int(config.d_kv if t5 else config.head_dim)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(float(config.layer_norm_epsilon if t5 else config.rms_norm_eps))
    writer.add_vocab_size(int(config.vocab_size))
    if t5:
        writer.add_context_length(int(getattr(config, "n_positions", 512)))
        writer.add_layer_norm_eps(float(config.layer_norm_epsilon))
        writer.add_relative_attn_buckets_count(int(config.relative_attention_num_buckets))
        return
    writer.add_context_length(int(config.max_position_embeddings))
    writer.add_head_count_kv(int(config.num_key_value_heads))
    rope: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    writer.add_rope_freq_base(float(rope.get("rope_theta", getattr(config, "rope_theta", 10_000.0))))


def _read(gguf: Any, encoder: Any, file: Path) -> dict[str, Tensor]:
    """What is in the file, under transformers' names, in fp32.

    Raises:
        ModelError: a tensor is missing, spare, or of another shape.
    """
    found = {
        t.name: torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy())
        for t in gguf.GGUFReader(str(file)).tensors
    }
    state = {}
    for key, name in gguf_names(encoder).items():
        value, own = found.pop(name, None), language_state(encoder)[key]
        if value is None or value.numel() != own.numel():
            raise ModelError(f"{file.name} was not written whole: {name}")
        state[key] = value.reshape(own.shape)
    if found:
        raise ModelError(f"{file.name} holds {min(found)}, which this encoder has not")
    return state


def _self_check(
    subject: Subject, read: Mapping[str, Mapping[str, Tensor]], *, strict: bool
) -> dict[str, Any]:
    """The run's canaries through what was read back; the encoders that are not in the export stay the
    run's own.

    Raises:
        ModelError: it is not the hardened encoder.
    """
    from safetext_sdk.verification.find_encoders import Parts
    from safetext_sdk.verification.identify import identify

    if subject.run is None or not subject.manifest.get("canaries"):
        return {"verdict": "not run", "reason": "this model has no run folder with canaries"}
    encoders = dict(subject.model.encoders)
    for name, state in read.items():
        encoders[name] = copy.deepcopy(encoders[name])
        own, written = encoders[name].state_dict(), language_state(encoders[name])
        by_memory = {value.data_ptr(): key for key, value in written.items()}
        with torch.no_grad():
            for value in own.values():
                if key := by_memory.get(value.data_ptr()):
                    value.copy_(state[key])
    check = identify(subject.model, Parts(encoders), subject.manifest, "gguf")
    if strict and check.exit_code == EXIT_FAIL:
        raise ModelError(f"what was written is not the hardened encoder: {check.reason}; nothing was kept")
    return {"verdict": check.verdict, "reason": check.reason}


EXPORTER = Exporter(GgufOptions, export_gguf)
