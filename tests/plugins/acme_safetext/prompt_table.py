"""Target ``prompt-table``: the hardened conditioning of a fixed list of prompts, for a device that offers
these prompts alone and carries no encoder."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from safetensors.torch import save_file
from safetext_exporters.base import Exporter, ExportResult, Options, Subject, staging, write_record

from safetext_sdk.errors import UsageError


class PromptTableOptions(Options):
    prompts: Path = Field(default=Path("prompts.txt"), description="Text file, a prompt a line.")


def export_prompt_table(subject: Subject, out: Path, options: PromptTableOptions) -> ExportResult:
    """Write ``prompts.txt`` and ``conditioning.safetensors``, whose rows are the file's lines.

    Raises:
        UsageError: the file cannot be read or holds no prompt.
    """
    try:
        prompts = [line for line in options.prompts.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise UsageError(f"target prompt-table: {options.prompts}: {error.strerror}") from error
    if not prompts:
        raise UsageError(f"target prompt-table: {options.prompts} holds no prompt")
    tensors = subject.model.encode(prompts).tensors
    with staging(out) as folder:
        (folder / "prompts.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
        save_file({n: t.contiguous().cpu() for n, t in tensors.items()}, folder / "conditioning.safetensors")
        files = write_record(folder, subject, "prompt-table", {"prompts": options.prompts.name})
    return ExportResult("prompt-table", out / "conditioning.safetensors", out, files)


EXPORTER = Exporter(PromptTableOptions, export_prompt_table)
