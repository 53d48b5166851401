"""A ComfyUI node that says which text encoder is loaded: hardened, original, neither, partly or unknown.

Copy this folder into ``ComfyUI/custom_nodes/`` and install safetext-sdk into ComfyUI's Python. Put the node
between the loader and whatever uses the CLIP: with ``stop`` (the default) nothing is drawn with another
encoder than the hardened one.

Tested with an object that has what the node reads of ComfyUI's CLIP (``cond_stage_model``, ``patcher``); not
run in ComfyUI itself.
"""

from __future__ import annotations

from typing import Any


class SafeTextEncoderCheck:
    """Asks the encoder itself, by the canary prompts of a run folder."""

    CATEGORY = "safetext"
    FUNCTION = "check"
    OUTPUT_NODE = True
    RETURN_TYPES = ("CLIP", "STRING")
    RETURN_NAMES = ("clip", "verdict")
    DESCRIPTION = "Says whether the loaded text encoder is the hardened one of a SafeText run."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """What the node asks for, as ComfyUI wants it told."""
        run = ("STRING", {"default": "", "tooltip": "Run folder that `safetext harden` made."})
        stop = ("BOOLEAN", {"default": True, "tooltip": "Stop unless the encoder is the hardened one."})
        return {"required": {"clip": ("CLIP",), "run": run, "stop": stop}}

    def check(self, clip: Any, run: str, stop: bool = True) -> dict[str, Any]:
        """The CLIP as it came, and the verdict as text.

        Raises:
            NotHardenedError: ``stop``, and it is not the hardened encoder.
        """
        from safetext_sdk import guard
        from safetext_sdk.verification.identify import verify_against

        if stop:
            guard(clip, run)
        said = verify_against(run, clip).text()
        return {"ui": {"text": [said]}, "result": (clip, said)}


NODE_CLASS_MAPPINGS: dict[str, type] = {"SafeTextEncoderCheck": SafeTextEncoderCheck}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {"SafeTextEncoderCheck": "SafeText: which encoder?"}
