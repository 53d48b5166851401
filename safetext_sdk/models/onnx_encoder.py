"""An exported ONNX file as a text encoder: what a pipeline calls, what `validate` measures and what `verify`
fingerprints.

* It behaves as the transformers encoder does at the places where diffusers and this library touch it: call,
  ``config``, ``dtype``,
  ``device``, ``to``; outputs by name and by position.
* What the file does not give (a hidden state, a pooled vector) is refused by name, never made up.
* Runs on onnxruntime, which is an extra; importing this module needs neither onnxruntime nor onnx.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MissingExtraError, ModelError
from ..files import sha256_file

_TYPES = {
    "tensor(int32)": torch.int32,
    "tensor(int64)": torch.int64,
    "tensor(float16)": torch.float16,
    "tensor(float)": torch.float32,
}


class OnnxEncoder:
    """A CLIP text encoder in an ONNX file (see docs/exporters/onnx.md for the contracts that it reads).

    Args:
        path: ``model.onnx``, or the folder that holds it; ``config.json`` is read beside it.
        providers: onnxruntime execution providers; None = CPU.
        threads: threads of one call; None = what torch uses.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ModelError: no such file, not an ONNX text encoder, no ``config.json``, or a provider that this
            onnxruntime lacks.
    """

    def __init__(
        self, path: str | Path, *, providers: list[str] | None = None, threads: int | None = None
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("running an ONNX encoder", "onnx") from error
        path = Path(path)
        self.path = path / "model.onnx" if path.is_dir() else path
        if not self.path.is_file():
            raise ModelError(f"no ONNX file at {self.path}")
        providers = providers or ["CPUExecutionProvider"]
        if missing := [p for p in providers if p not in onnxruntime.get_available_providers()]:
            raise ModelError(
                f"this onnxruntime has no {', '.join(missing)}; it has "
                f"{', '.join(onnxruntime.get_available_providers())}"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:  # onnxruntime raises classes of its native module, one for each status
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(f"{self.path} cannot be loaded as an ONNX model: {reason}") from error
        self.inputs: dict[str, str] = {i.name: i.type for i in self.session.get_inputs()}
        outputs = {o.name: o.type for o in self.session.get_outputs()}
        self.outputs: list[str] = list(outputs)
        if "input_ids" not in self.inputs or not set(self.inputs) <= {"input_ids", "attention_mask"}:
            raise ModelError(
                f"{self.path} takes {', '.join(self.inputs)}, so it is no text encoder with one `input_ids`"
            )
        self.contract = "trt-demo" if "text_embeddings" in outputs else "optimum"
        if not {"text_embeddings", "last_hidden_state"} & set(outputs):
            raise ModelError(
                f"{self.path} gives {', '.join(outputs)}; a text encoder gives last_hidden_state or "
                "text_embeddings"
            )
        self.dtype: torch.dtype = _TYPES.get(outputs[self.outputs[0]], torch.float32)
        self.device = torch.device("cpu")
        self.config: Any = self._read_config()
        self._norm: nn.LayerNorm | None = None

    def __repr__(self) -> str:
        return f"OnnxEncoder({str(self.path)!r})"

    def _read_config(self) -> Any:
        from transformers import AutoConfig

        path = self.path.with_name("config.json")
        if not path.is_file():
            raise ModelError(f"{path} is missing; an exported encoder is read together with its config.json")
        try:
            config = AutoConfig.from_pretrained(str(path))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{path} is not the configuration of a text encoder: {error}") from error
        return getattr(config, "text_config", config) if config.model_type == "clip" else config

    @property
    def length(self) -> int | None:
        """Positions that the file takes (77), or None where it takes any number."""
        size = self.session.get_inputs()[0].shape[1]
        return size if isinstance(size, int) else None

    @property
    def projected(self) -> bool:
        """Whether output 0 is a projected, pooled vector (SDXL's and SD3's second encoder)."""
        first = self.session.get_outputs()[0]
        return first.name == "text_embeds" or (first.name == "text_embeddings" and len(first.shape) == 2)

    @cached_property
    def quantized(self) -> bool:
        """Whether the weights are int8 (the file multiplies integers)."""
        return b"MatMulInteger" in self.path.read_bytes()

    @cached_property
    def sha256(self) -> str:
        """Hash over the graph and its external data, if any: what pictures made with this file depend on."""
        return file_sha256(self.path)

    def answering(self, dtype: torch.dtype) -> OnnxEncoder:
        """This encoder with its answers in ``dtype``: a pipeline makes its noise in the type that its encoder
        names, and a denoiser in float32 refuses half precision. The file's own precision stays what it is."""
        if dtype == self.dtype:
            return self
        other = copy.copy(self)
        other.dtype, other._norm = dtype, None
        return other

    def to(self, *_args: Any, **_kwargs: Any) -> OnnxEncoder:
        """Stays where it is: inputs are moved to it and outputs back. Pipelines call this."""
        return self

    def eval(self) -> OnnxEncoder:
        """As it is: an exported file has no training mode."""
        return self

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Call the file: tensors by input name to tensors by output name, on the CPU.

        Raises:
            ModelError: ids of another length than the file takes.
        """
        ids = inputs["input_ids"]
        if ids.ndim != 2 or (self.length is not None and ids.shape[1] != self.length):
            raise ModelError(
                f"{self.path.name} takes ids [batch, {self.length}], got {list(ids.shape)}; pad and cut "
                f"prompts to {self.length} tokens"
            )
        feed = {
            name: value.detach().to("cpu", _TYPES[self.inputs[name]]).contiguous().numpy()
            for name, value in inputs.items()
        }
        return {
            name: torch.from_numpy(value)
            for name, value in zip(self.outputs, self.session.run(self.outputs, feed), strict=True)
        }

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **_unused: Any,
    ) -> Any:
        """As the transformers encoder: an object whose item 0 is what that encoder's item 0 is.

        Args:
            input_ids: [b, 77].
            attention_mask: [b, 77]; used only by a file that takes one (exported from a config with
                ``use_attention_mask``).
            output_hidden_states: ask for ``hidden_states``.

        Raises:
            ModelError: hidden states asked of a file that does not give them; positions given.
        """
        if position_ids is not None:
            raise ModelError("an exported encoder has its positions built in; position_ids cannot be given")
        device = input_ids.device
        inputs = {"input_ids": input_ids}
        if "attention_mask" in self.inputs:
            inputs["attention_mask"] = (
                torch.ones_like(input_ids) if attention_mask is None else attention_mask
            )
        elif attention_mask is not None and not bool(attention_mask.all()):
            raise ModelError(
                f"{self.path.name} takes no attention mask; export it from a config with use_attention_mask"
            )
        out = {name: value.to(device, self.dtype) for name, value in self._run_rows(inputs).items()}
        result = self._wrap(out, bool(output_hidden_states))
        return result if return_dict or return_dict is None else result.to_tuple()

    def _run_rows(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `run`, but one prompt at a time for an int8 file, which scales its activations over the whole
        batch: a prompt's answer, and so its picture and the verdict on it, must not depend on its
        neighbours."""
        count = len(inputs["input_ids"])
        if count < 2 or not self.quantized:
            return self.run(inputs)
        rows = [self.run({name: value[i : i + 1] for name, value in inputs.items()}) for i in range(count)]
        return {name: torch.cat([row[name] for row in rows]) for name in self.outputs}

    def _wrap(self, out: dict[str, Tensor], want_hidden: bool) -> Any:
        from transformers.modeling_outputs import BaseModelOutputWithPooling
        from transformers.models.clip.modeling_clip import CLIPTextModelOutput

        hidden = self._hidden(out) if want_hidden else None
        if self.projected:
            return CLIPTextModelOutput(
                text_embeds=out[self.outputs[0]],
                last_hidden_state=out.get("last_hidden_state"),
                hidden_states=hidden,
            )
        last = out.get("last_hidden_state", out.get("text_embeddings"))
        pooled = out.get("pooler_output", out.get("pooled_embeddings"))
        return BaseModelOutputWithPooling(last_hidden_state=last, pooler_output=pooled, hidden_states=hidden)

    def _hidden(self, out: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """transformers' tuple of layers + 1 states; the TensorRT demo's contract gives only the one before
        the last."""
        count = int(self.config.num_hidden_layers) + 1
        if "hidden_states.0" in out:
            # optimum leaves the last one out, because its reader puts last_hidden_state there; diffusers
            # never reads that one.
            return tuple(
                out[f"hidden_states.{i}"] if f"hidden_states.{i}" in out else out["last_hidden_state"]
                for i in range(count)
            )
        if "hidden_states" in out:
            return _Penultimate([out["hidden_states"] if i == count - 2 else _ABSENT for i in range(count)])
        raise ModelError(
            f"{self.path.name} gives {', '.join(self.outputs)} but no hidden states; export it with "
            "contract optimum-hidden"
        )

    @property
    def final_layer_norm(self) -> nn.LayerNorm:
        """The final LayerNorm, read from the graph: clip_skip applies it to an earlier layer.

        Raises:
            ModelError: the graph has no such node (a file from another exporter).
            MissingExtraError: onnx is not installed.
        """
        if self._norm is None:
            self._norm = _read_norm(
                self.path, "last_hidden_state" if "last_hidden_state" in self.outputs else "text_embeddings"
            )
            self._norm = self._norm.to(self.dtype)
        return self._norm


def file_sha256(path: Path) -> str:
    """Hash over an ONNX graph and its external data, if any."""
    files = [path, path.with_name(path.name + "_data")]
    return hashlib.sha256(" ".join(sha256_file(f) for f in files if f.is_file()).encode()).hexdigest()


def encoders_in(path: str | Path, names: Iterable[str]) -> dict[str, OnnxEncoder]:
    """Exported encoders by name, from whatever the user points at.

    Args:
        path: an ONNX file; the folder that holds it; or an export's folder with ``text_encoder/model.onnx``
            (and ``text_encoder_2/...``).
        names: the model's encoders. A file alone is the one after which its folder is named, else the first.

    Raises:
        ModelError: no ONNX file there.
        MissingExtraError: onnxruntime is not installed.
    """
    path, known = Path(path).expanduser(), list(names)
    if found := [name for name in known if (path / name / "model.onnx").is_file()]:
        return {name: OnnxEncoder(path / name) for name in found}
    place = path if path.is_dir() else path.parent
    return {place.name if place.name in known else known[0]: OnnxEncoder(path)}


_ABSENT = torch.empty(0)


class _Penultimate(tuple[Tensor, ...]):
    """Hidden states of which the file gives only one: asking for another is an error, not None."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        value = super().__getitem__(index)
        if value is _ABSENT:
            raise ModelError(
                f"this file gives only the hidden state before the last layer, not number {index}; export "
                "it with optimum-hidden"
            )
        return value


def _read_norm(path: Path, output: str) -> nn.LayerNorm:
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtraError("clip_skip with an ONNX encoder", "onnx") from error
    model = onnx.load(str(path))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if (
            node.op_type == "LayerNormalization"
            and output in node.output
            and len(node.input) == 3
            and all(i in weights for i in node.input[1:])
        ):
            scale, bias = (
                torch.from_numpy(numpy_helper.to_array(weights[name]).copy()) for name in node.input[1:]
            )
            epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            norm = nn.LayerNorm(scale.shape[0], eps=epsilon, dtype=scale.dtype)
            norm.load_state_dict({"weight": scale, "bias": bias})
            return norm.eval().requires_grad_(False)
    raise ModelError(f"{path} has no LayerNormalization before {output}; clip_skip is not possible with it")
