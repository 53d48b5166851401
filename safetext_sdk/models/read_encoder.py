"""Encoders and tokenizers from their files into memory, checked: nothing is downloaded, no code of a model is
run."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from ..quiet import quiet
from .checks import PICKLE_SUFFIXES, looks_like_pickle, read_config, refuse_pickle, variant_of
from .families.ldm_keys import to_transformers, under
from .layout import ANY, EncoderFiles


def load_encoder(files: EncoderFiles, device: torch.device, dtype: torch.dtype) -> Any:
    """One encoder from its files: frozen, in eval mode, on ``device``, as ``dtype``.

    Raises:
        ModelError: the weights and the configuration do not make this architecture.
    """
    if files.prefix:
        return _from_checkpoint(files, device, dtype)
    import transformers

    with quiet():
        try:
            encoder, info = getattr(transformers, files.class_name).from_pretrained(
                files.folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                variant=variant_of(files.weights),
                output_loading_info=True,
            )
        # transformers raises many classes here; each means that these files do not make this model
        except Exception as error:
            raise ModelError(
                f"{files.folder} cannot be loaded as {files.class_name}: {first_line(error)}"
            ) from error
    missing = set(info["missing_keys"])
    if files.architecture is ANY and (pooler := {key for key in missing if key.startswith("pooler.")}):
        # Published without, as masked language models are: transformers made one of random weights, which
        # nothing reads and no file has a name for.
        encoder.pooler, missing = None, missing - pooler
    if missing or info.get("mismatched_keys"):
        some = ", ".join(sorted(missing)[:2] or [str(k) for k in sorted(info["mismatched_keys"])[:2]])
        raise ModelError(
            f"{files.folder}: the weights do not fit its config.json (missing or of another shape: "
            f"{some}): wrong architecture"
        )
    encoder.requires_grad_(False)
    return encoder.eval().to(device)


def _from_checkpoint(files: EncoderFiles, device: torch.device, dtype: torch.dtype) -> Any:
    """One encoder out of an LDM checkpoint, with the companion's configuration."""
    import transformers
    from safetensors import safe_open

    path = files.weights[0]
    config = read_config(files.folder)
    with quiet(), safe_open(path, framework="pt") as handle:
        names = under(handle.keys(), files.prefix)
        state = to_transformers({key: handle.get_tensor(source) for key, source in names.items()})
        kind = getattr(transformers, files.class_name)
        encoder = kind(kind.config_class.from_dict(config)).eval()
    own = set(encoder.state_dict())
    wanted = {key if key in own else key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    wanted = {key: tensor for key, tensor in wanted.items() if not key.endswith("position_ids")}
    try:
        missing, unexpected = encoder.load_state_dict(wanted, strict=False)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: {files.name} does not fit {files.folder / 'config.json'}: wrong architecture"
        ) from error
    missing = [key for key in missing if not key.endswith("position_ids")]
    if missing or unexpected:
        raise ModelError(
            f"{path}: {files.name} does not fit {files.folder / 'config.json'} "
            f"({[*missing, *unexpected][0]}): wrong architecture"
        )
    encoder.requires_grad_(False)
    return encoder.to(device, dtype)


def load_tokenizer(folder: Path, class_name: str = "") -> Any:
    """The tokenizer in ``folder``, by the class that diffusers would load it with.

    That matters: under transformers 4.57 the class CLIPTokenizer and what AutoTokenizer chooses split some
    prompts differently (19 of the 200 test vectors), and pictures are made with the former.

    Args:
        folder: the tokenizer's.
        class_name: as ``model_index.json`` names it; "" = transformers' own choice.

    Raises:
        ModelError: no such folder, a pickle in it, or no tokenizer of that class.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is missing: the model has no tokenizer")
    for path in folder.glob("*"):
        if path.suffix in PICKLE_SUFFIXES and path.suffix != ".bin" and looks_like_pickle(path):
            raise refuse_pickle(path)
    with quiet():
        try:
            return _tokenizer_class(class_name, folder).from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:
            raise ModelError(f"{folder} holds no usable tokenizer: {first_line(error)}") from error


def _tokenizer_class(class_name: str, folder: Path) -> Any:
    import transformers

    kind: Any = getattr(transformers, class_name, None) if class_name else None
    base = transformers.PreTrainedTokenizerBase
    if not (inspect.isclass(kind) and issubclass(kind, base)):
        return transformers.AutoTokenizer
    # A class in Python reads files of its own (vocab.json, merges.txt); transformers 5 writes them no more.
    names: dict[str, str] = getattr(kind, "vocab_files_names", {})
    lacking = [name for name in names.values() if not (folder / name).is_file()]
    if "tokenizer_file" not in names and lacking and (folder / "tokenizer.json").is_file():
        return transformers.AutoTokenizer
    return kind


def check_tokenizer(tokenizer: Any, encoder: Any, folder: Path) -> None:
    """Find a tokenizer that does not belong to the encoder: ids out of range, or an end token that the
    encoder does not look for.

    Raises:
        ModelError: it does not belong.
    """
    config = getattr(encoder.config, "text_config", encoder.config)
    vocabulary = int(encoder.get_input_embeddings().weight.shape[0])
    if len(tokenizer) > vocabulary:
        raise ModelError(
            f"{folder} is the wrong tokenizer: it has {len(tokenizer)} tokens, the encoder {vocabulary}"
        )
    kind = str(getattr(config, "model_type", ""))
    if not kind.startswith("clip"):
        return
    positions = int(config.max_position_embeddings)
    if tokenizer.model_max_length > positions and tokenizer.model_max_length < 100_000:
        raise ModelError(
            f"{folder} is the wrong tokenizer: it gives up to {tokenizer.model_max_length} positions, the "
            f"encoder takes {positions}"
        )
    ids = tokenizer("a").input_ids
    # With the older eos_token_id 2 the encoder pools at the largest id; with any other, at the first id that
    # equals it.
    wanted = max(ids) if config.eos_token_id == 2 else config.eos_token_id
    if ids[-1] != wanted:
        raise ModelError(
            f"{folder} is the wrong tokenizer: prompts end with id {ids[-1]}, the encoder pools at id "
            f"{wanted}"
        )


def first_line(error: Exception) -> str:
    """The first line of an error's text, for messages of one line; its class where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
