"""What a pipeline family must know: the one place that says which encoders there are and what is read of
them.

* A `Family` turns prompts into tokens and tokens into a `Conditioning`, bit for bit as the pipeline's
  ``encode_prompt`` does.
* ``pieces`` cuts a conditioning back into what each encoder contributed, without constant padding: losses
  weigh each piece by its own scale, because one tensor may join encoders whose activations differ by orders
  of magnitude.
* Everything else is declared: how the family's folders and checkpoints are recognised, its encoders with
  their classes, what the denoiser reads of each, how each is hardened. Loading, hardening, exporters and
  verification ask; none of them knows a family by name.

A family of your own is one file with a subclass and an instance of it, registered by an entry point of the
group ``safetext.families``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import ModelError
from ...policy.languages import Language
from ..layout import KNOWN, Architecture, EncoderFiles, How, tokenizer_name
from .conditioning import Conditioning, Pieces, Tokens
from .ldm_keys import SingleFile
from .model_folder import EncoderPlace, ModelFolder

if TYPE_CHECKING:
    from torch import Tensor

Output = Literal[
    "last_hidden_state", "penultimate", "middle_layers", "pooler_output", "text_embeds", "own_pooling"
]
"""What may be read of an encoder: the last hidden state, the one before it, several layers side by side, the
vector pooled at the end token, that vector projected, or whatever pooling the model itself has."""


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder that reads the prompt.

    Attributes:
        name: in the pipeline, e.g. ``text_encoder_2``.
        architecture: the class that the published models have.
        reads: what the denoiser reads of it.
        causal: outputs at the first T positions do not depend on later ones, so a training step may read a
            prefix.
        masked: of one that is not causal: it is computed with its mask, so that pads change nothing at the
            prompt.
        whole: the prompt does not lie at the beginning of what is tokenized, so that no training may read
            its first positions alone.
        tokenizer: the class that diffusers loads its tokenizer with, where no index says so.
    """

    name: str
    architecture: Architecture
    reads: frozenset[Output]
    causal: bool = True
    masked: bool = False
    whole: bool = False
    tokenizer: str = "CLIPTokenizer"


class Family:
    """Base of the pipeline families; stateless."""

    name: ClassVar[str]
    """As manifests, exports and the catalogue have it."""
    title: ClassVar[str]
    """For people."""
    encoders: ClassVar[tuple[EncoderSpec, ...]]
    pipelines: ClassVar[tuple[str, ...]] = ()
    """How the names of this family's diffusers classes begin."""
    single_file: ClassVar[SingleFile | None] = None
    """Its single-file checkpoints; None = not read."""
    makes_pictures: ClassVar[bool] = True
    """Whether there is a denoiser."""
    pads_are_read: ClassVar[bool] = True
    """Whether the denoiser reads pad positions, so that hardening must cover them."""
    languages: ClassVar[tuple[Language, ...]] = ()
    """What its published encoders read beside English, so that prompts in Chinese or Japanese, and those that
    a policy marks with a language, are used. Terms in Latin letters are used for every family."""
    lora_by_pipeline: ClassVar[frozenset[str]] = frozenset()
    """Encoders that the pipeline's ``load_lora_weights`` puts an adapter beside. It takes a file with others'
    adapters as well, says nothing, and draws undefended: no such file is written."""
    self_contained: ClassVar[bool] = False
    """Whether the conditioning depends on nothing but the encoders and tokenizers that a run folder holds."""

    # -- recognising ---------------------------------------------------------------------------------------

    def claim(self, folder: ModelFolder) -> int:
        """How specifically ``folder`` is of this family; 0 = it is not. The highest claim of all families
        wins.

        As it stands: the length of the beginning in `pipelines` that the pipeline's class has.
        """
        return max((len(p) for p in self.pipelines if folder.class_name.startswith(p)), default=0)

    def places(self, folder: ModelFolder) -> list[EncoderPlace]:
        """The encoders in ``folder``, as its index names them.

        Raises:
            ModelError: the index names no encoder, or one that cannot be hardened here.
        """
        places = []
        for name in sorted(key for key in folder.index if key.startswith("text_encoder")):
            if class_name := folder.class_of(name):
                tokenizer = tokenizer_name(name)
                places.append(
                    EncoderPlace(
                        name,
                        folder.root / name,
                        self.architecture(name, class_name, folder.root / name),
                        folder.root / tokenizer,
                        folder.class_of(tokenizer),
                    )
                )
        if not places:
            raise ModelError(f"{folder.root / 'model_index.json'} names no text encoder")
        return places

    def architecture(self, name: str, class_name: str, where: object) -> Architecture:
        """The architecture that an index calls ``class_name``.

        Raises:
            ModelError: none that this family or this library knows.
        """
        own = [spec.architecture for spec in self.encoders if spec.name == name]
        known = {a.class_name: a for a in (*KNOWN, *(spec.architecture for spec in self.encoders), *own)}
        if class_name not in known:
            raise ModelError(
                f"{where} is a {class_name}; encoders that can be hardened here: {', '.join(known)}"
            )
        return known[class_name]

    def options(self, folder: ModelFolder) -> dict[str, Any]:
        """Facts of the pipeline's configuration that change the conditioning (`TextToImageModel.options`)."""
        return {}

    def lengths(self, encoders: Mapping[str, Any], tokenizers: Mapping[str, Any]) -> dict[str, int]:
        """Positions by encoder name, where they do not follow from tokenizer and family alone."""
        return {}

    # -- conditioning --------------------------------------------------------------------------------------

    def tokenize(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        """Prompts to padded, cut token ids, as the pipeline does it.

        Args:
            tokenizers: by encoder name.
            prompts: b strings.
            lengths: positions by encoder name, where not the tokenizer's own maximum.
        """
        raise NotImplementedError

    def tokenize_negative(
        self,
        tokenizers: Mapping[str, Any],
        prompts: Sequence[str],
        *,
        lengths: Mapping[str, int] | None = None,
    ) -> Tokens:
        """The same for the negative side of guidance, which some pipelines put into another template."""
        return self.tokenize(tokenizers, prompts, lengths=lengths)

    def condition(
        self,
        encoders: Mapping[str, Any],
        tokens: Tokens,
        *,
        clip_skip: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Conditioning:
        """Tokens to what the denoiser reads; gradients flow.

        Args:
            encoders: by name; only those of the family that the model has.
            tokens: from `tokenize`.
            clip_skip: as the pipeline's argument of that name; None = not given.
            options: facts of the pipeline's configuration that change the result
                (`TextToImageModel.options`).

        Raises:
            ModelError: clip_skip where this family or this encoder has none.
        """
        raise NotImplementedError

    def refuse(self, clip_skip: int | None) -> None:
        """For families that have no clip_skip.

        Raises:
            ModelError: one was given.
        """
        if clip_skip is not None:
            raise ModelError(f"{self.title} has no clip_skip")

    def negative(
        self, condition_empty: Conditioning, *, given: bool, options: Mapping[str, Any]
    ) -> Conditioning:
        """The conditioning of the negative side; ``given`` is False when the caller passed no negative prompt
        at all."""
        return condition_empty

    def pieces(self, conditioning: Conditioning, tokens: Tokens, encoders: Mapping[str, Any]) -> Pieces:
        """What each encoder contributed: ``{"text_encoder": [b, L, d], "text_encoder_pooled": [b, p], ...}``,
        named after the encoder."""
        out: Pieces = {"text_encoder": conditioning.tensors["prompt_embeds"]}
        if "pooled_prompt_embeds" in conditioning.tensors:
            out["text_encoder_pooled"] = conditioning.tensors["pooled_prompt_embeds"]
        return out

    def masks(self, tokens: Tokens) -> dict[str, Tensor]:
        """[b, L] by piece name: the positions that the denoiser reads. Asked only where `pads_are_read` is
        False; a piece without one is read whole."""
        return {name: parts["attention_mask"] for name, parts in tokens.items()}

    def ends(self, mask: Tensor) -> Tensor:
        """Where the last token of each prompt stands in its sequence [b], from the encoder's ``mask`` [b, L];
        what is left out of the beginning is still to be taken off."""
        return mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)

    def positions(self, encoder: str, length: int) -> int:
        """Positions of an encoder's sequence piece that come of ``length`` tokens: fewer where the
        conditioning leaves out the beginning, which is the template's."""
        return length

    def joined(self, pieces: Pieces, options: Mapping[str, Any]) -> Conditioning:
        """The way back: what the encoders contributed, as one conditioning; gradients flow.

        Args:
            pieces: of all encoders of the model, as `pieces` names them.
            options: as in `condition`.
        """
        tensors = {"prompt_embeds": pieces["text_encoder"]}
        if "text_encoder_pooled" in pieces:
            tensors["pooled_prompt_embeds"] = pieces["text_encoder_pooled"]
        return Conditioning(tensors)

    # -- what others ask -----------------------------------------------------------------------------------

    @cached_property
    def causal(self) -> frozenset[str]:
        """Names of the encoders with causal attention."""
        return frozenset(spec.name for spec in self.encoders if spec.causal)

    @cached_property
    def ends_with_prompt(self) -> frozenset[str]:
        """Names of the encoders of which nothing behind the longest prompt of a batch (and one pad) is read,
        nor changes what is: the rest need not be computed in training."""
        if self.pads_are_read:
            return frozenset()
        return frozenset(spec.name for spec in self.encoders if spec.causal or spec.masked)

    @cached_property
    def reads_end_token(self) -> bool:
        """Whether anything is pooled at the end token, so that every prompt must be read up to its end."""
        return any(spec.reads & {"pooler_output", "text_embeds", "own_pooling"} for spec in self.encoders)

    @cached_property
    def reads_hidden_states(self) -> bool:
        """Whether an exported encoder must give hidden states besides its last one."""
        return any("penultimate" in spec.reads for spec in self.encoders)

    def demo_outputs(self, encoder: str) -> tuple[str, ...]:
        """Outputs that TensorRT's diffusion demo allocates for an encoder beside ``text_embeddings``."""
        reads = next((spec.reads for spec in self.encoders if spec.name == encoder), frozenset())
        named = {"penultimate": "hidden_states", "pooler_output": "pooled_embeddings"}
        return tuple(output for read, output in named.items() if read in reads)

    def layers_read(self, encoder: str, module: Any) -> int | None:
        """How many of an encoder's layers reach the denoiser, counted from the embeddings; None = all. LoRA
        is put beside no others: they would get no gradient."""
        return None

    def recipe_kind(self, encoders: Mapping[str, Any]) -> str:
        """The kind of encoder that recipes know a model by that the catalogue does not have; "" = none of
        its own."""
        return ""

    def hardened_by_default(self, files: EncoderFiles) -> How:
        """How an encoder is hardened unless LoRA is asked for: all weights, or LoRA where those are too
        many."""
        return files.architecture.hardened_by
