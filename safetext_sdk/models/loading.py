"""`load_model`: from a name to encoders and tokenizers in memory, with every check before the first weight is
read.

A single-file checkpoint (safetensors, in the LDM layout) holds weights and nothing else. Configurations and
tokenizers come from a diffusers folder: the one that is given, the one that the file lies in, or the
published model of the family. Hardened encoders are written in the diffusers form; `docs/models.md` says how
to use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..device import pick_device, pick_dtype
from ..errors import ModelError, RunError
from ..hub import download
from .catalogue import CATALOGUE
from .checks import PICKLE_SUFFIXES, read_header, refuse_pickle
from .families import EncoderPlace, EncoderSpec, Family, ModelFolder, all_families
from .families.ldm_keys import stored_types
from .layout import EncoderFiles, Layout, encoder_files, tokenizer_name
from .model import TextToImageModel
from .read_encoder import check_tokenizer, load_encoder, load_tokenizer
from .run_folder import RunFolder
from .source import Source, resolve

_COMPANION_FILES = [
    "model_index.json",
    "tokenizer*/*",
    "text_encoder*/config.json",
    "unet/config.json",
    "vae/config.json",
    "scheduler/*",
]


def load_model(
    ref: str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    revision: str | None = None,
    tokenizer: str | Path | None = None,
    base: str | Path | None = None,
) -> TextToImageModel:
    """Load encoders and tokenizers (the denoiser waits until `TextToImageModel.pipeline` is called).

    Args:
        ref: catalogue id, hub id, diffusers folder, single-file checkpoint, plain encoder folder, or run
            folder (= its hardened model).
        device: ``auto`` (cuda, then mps, then cpu) or a torch device.
        precision: ``auto`` (fp32 on a CPU, bf16 on a GPU that has it, else fp32), ``fp32``, ``fp16``,
            ``bf16``.
        revision: branch, tag or commit on the hub.
        tokenizer: folder of the tokenizer(s), for single-file checkpoints, which hold none.
        base: where the original model of a run folder is, if it moved.

    Raises:
        ModelError: not found, not safetensors, wrong architecture, truncated, wrong tokenizer, no network.
        RunError: an unfinished, changed or damaged run folder.
    """
    if names_run(ref):
        return _load_run(RunFolder.open(Path(ref).expanduser()), device, precision, base)
    where = pick_device(device)
    dtype = pick_dtype(precision, where)
    source = resolve(ref, revision)
    if source.path.is_file():
        return _load_single_file(source, where, dtype, tokenizer)
    return _load_folder(source, where, dtype)


def names_run(ref: str | Path) -> bool:
    """Whether `load_model` takes ``ref`` for a run folder, finished or not."""
    return str(ref) not in CATALOGUE and RunFolder.is_run(Path(ref).expanduser())


def _load_folder(source: Source, device: torch.device, dtype: torch.dtype) -> TextToImageModel:
    folder = ModelFolder.at(source.path)
    family = _family(folder)
    layout = Layout(source.path, repo=CATALOGUE[source.ref].repo if source.ref in CATALOGUE else "")
    places = family.places(folder)
    for place in places:
        layout.encoders[place.name] = encoder_files(place.folder, place.name, place.architecture)
    options: dict[str, Any] = {"absent": [k for k, v in folder.index.items() if v == [None, None]]}
    options = {**options, **family.options(folder)} if folder.index else family.options(folder)
    model = assemble(source, family, places, layout, options, (device, dtype))
    source.names = layout.read_names()
    return model


def _family(folder: ModelFolder) -> Family:
    claims = [(family.claim(folder), family) for family in all_families()]
    best, family = max(claims, key=lambda claim: claim[0])
    if not best:
        titles = ", ".join(family.title for _, family in claims)
        raise ModelError(
            f"{folder.root} is a {folder.class_name or 'nameless pipeline'}; supported are {titles}"
        )
    return family


def assemble(
    source: Source,
    family: Family,
    places: Sequence[EncoderPlace],
    layout: Layout,
    options: dict[str, Any],
    where: tuple[torch.device, torch.dtype],
) -> TextToImageModel:
    """Read what ``layout.encoders`` and ``places`` say, and put it together.

    Args:
        source: where the model came from.
        family: what it is.
        places: its encoders with their tokenizers.
        layout: the files of its encoders; the tokenizers' are added.
        options: see `TextToImageModel.options`.
        where: device and dtype.

    Raises:
        ModelError: weights, configuration and tokenizer do not belong together.
    """
    device, dtype = where
    encoders = {p.name: load_encoder(layout.encoders[p.name], device, dtype) for p in places}
    tokenizers = {p.name: load_tokenizer(p.tokenizer, p.tokenizer_class) for p in places}
    layout.tokenizers = {p.name: p.tokenizer for p in places}
    for name, encoder in encoders.items():
        check_tokenizer(tokenizers[name], encoder, layout.tokenizers[name])
    if lengths := family.lengths(encoders, tokenizers):
        options = {**options, "lengths": lengths}
    return TextToImageModel(
        source.id, family.name, source, encoders, tokenizers, device, dtype, options, layout
    )


def spec_places(
    specs: Sequence[EncoderSpec], root: Path, folder: ModelFolder | None = None
) -> list[EncoderPlace]:
    """Where the encoders of a family lie in ``root`` if it is laid out like a pipeline.

    Args:
        specs: the family's encoders.
        root: holds ``text_encoder/``, ``tokenizer/`` and so on.
        folder: the folder's index, which may name other tokenizer classes than the family's usual ones.
    """
    places = []
    for spec in specs:
        tokenizer = tokenizer_name(spec.name)
        named = folder.class_of(tokenizer) if folder is not None else ""
        places.append(
            EncoderPlace(
                spec.name, root / spec.name, spec.architecture, root / tokenizer, named or spec.tokenizer
            )
        )
    return places


def _load_single_file(
    source: Source, device: torch.device, dtype: torch.dtype, companion: str | Path | None
) -> TextToImageModel:
    """A model from one LDM checkpoint.

    Args:
        source: its file.
        device, dtype: where to, and as what.
        companion: diffusers folder with tokenizers and configurations of this family; None = the folder of
            the file itself if it is one, else the published model, from cache or hub.

    Raises:
        ModelError: a pickle, truncated, of no family that this library knows, or no companion at hand.
    """
    path = source.path
    if path.suffix in PICKLE_SUFFIXES:
        raise refuse_pickle(path)
    header = read_header(path)
    family = next((f for f in all_families() if f.single_file and f.single_file.fits(header)), None)
    if family is None or family.single_file is None:
        titles = " or ".join(f.title for f in all_families() if f.single_file)
        raise ModelError(
            f"{path} holds no text encoder in the layout of {titles}; use the model's diffusers folder"
        )
    if companion is None and (path.parent / "model_index.json").is_file():
        companion = path.parent
    root = Path(companion).resolve() if companion is not None else _published(path, family)
    folder = ModelFolder.at(root)
    layout = Layout(root)
    places = [p for p in spec_places(family.encoders, root, folder) if p.name in family.single_file.prefixes]
    for place in places:
        prefix = family.single_file.prefixes[place.name]
        layout.encoders[place.name] = EncoderFiles(
            place.name, place.folder, place.architecture, [path], stored_types(header, prefix), prefix
        )
    options: dict[str, Any] = {}
    if folder.index:
        options = {"pipeline_config": str(root), **family.options(folder)}
    source.names, source.tokenizer = [path.name], str(root) if companion is not None else None
    return assemble(source, family, places, layout, options, (device, dtype))


def _published(path: Path, family: Family) -> Path:
    assert family.single_file is not None
    try:
        return download(family.single_file.companion, None, _COMPANION_FILES)[0]
    except ModelError as error:
        raise ModelError(
            f"{path} holds no tokenizer and no configuration, and those of the published model cannot be had "
            f"({error}); or put the file into a diffusers folder of its family, or name one: "
            "load_model(file, tokenizer=folder)"
        ) from error


def _load_run(run: RunFolder, device: str, precision: str, base: str | Path | None) -> TextToImageModel:
    source = run.record.source
    ref, tokenizer = source.ref, source.tokenizer
    if base is not None:
        # A checkpoint that moved still has no tokenizer: that of the run stays where it was, or lies beside
        # the file now.
        beside = tokenizer if tokenizer is not None and Path(tokenizer).is_dir() else None
        original = load_model(base, device=device, precision=precision, tokenizer=beside)
    elif source.revision or ref in CATALOGUE:
        original = load_model(ref, device=device, precision=precision, revision=source.revision)
    else:
        place = Path(source.path)
        if not place.exists():
            raise RunError(
                f"{run.path} was hardened from {place}, which is not there any more; give its place with "
                "base="
            )
        original = load_model(place, device=device, precision=precision, tokenizer=tokenizer)
    changed = [name for name, digest in source.files.items() if original.source.files.get(name) != digest]
    if changed:
        raise RunError(
            f"{run.path} was hardened from other files than {original.source.path} now holds "
            f"({changed[0]} differs)"
        )
    return original.with_encoders(load_hardened_encoders(run, original))


def load_hardened_encoders(run: RunFolder, original: TextToImageModel) -> dict[str, Any]:
    """The hardened encoders of a run, by name, on the original's device and in its dtype; those left
    untouched are not in it."""
    out = {}
    for name, state in run.record.encoders.items():
        if state == "hardened":
            files = encoder_files(run.encoder_dir(name), name, original.layout.encoders[name].architecture)
            out[name] = load_encoder(files, original.device, original.dtype)
    return out
