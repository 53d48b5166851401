"""Who is measured: the original and the hardened model, from whatever the caller has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import UsageError

if TYPE_CHECKING:
    from ..models import HardenedModel, TextToImageModel
    from ..models.given_encoders import GivenEncoders
    from ..models.run_folder import RunFolder
    from ..policy import Policy


@dataclass(frozen=True)
class Reference:
    """Models by path or name: how another process loads the same.

    Attributes:
        original: None: the one that the run was made from.
        hardened: run folder or model; with ``audits`` the encoder of others.
        encoder: an export that takes the place of the run's weights.
        audits: whether ``hardened`` is an encoder that no run made.
    """

    original: str | None
    hardened: str
    encoder: str | None = None
    audits: bool = False

    @classmethod
    def of(
        cls, original: Any, hardened: Any, encoder: Any = None, *, audits: bool = False
    ) -> Reference | None:
        """None where one of them is an object."""
        given = (original, hardened, encoder)
        if not all(each is None or isinstance(each, (str, Path)) for each in given):
            return None
        found = [each if each is None or not Path(each).exists() else Path(each).absolute() for each in given]
        first, second, third = (None if each is None else str(each) for each in found)
        return cls(first, second, third, audits) if second is not None else None

    def load(self, policy: Policy, device: str, precision: str) -> Subjects:
        """Load them; raises what `resolve` and `audited` do."""
        if self.audits and self.original is not None:
            return audited(self.original, self.hardened, policy, device=device)
        return resolve(
            self.original, self.hardened, policy, encoder=self.encoder, device=device, precision=precision
        )


@dataclass(frozen=True)
class Subjects:
    """Both models, the run that hardened one of them (if any), and its policy.

    ``given``: the encoders of others that stand in the original's place, where there is no run.
    ``reference``: how another process loads the same; None where one was given as an object.
    """

    original: TextToImageModel
    hardened: TextToImageModel
    run: RunFolder | None
    policy: Policy
    given: GivenEncoders | None = None
    reference: Reference | None = None

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Of the run that hardened one of them; empty without one, or before it is finished."""
        return self.run.manifest if self.run is not None and self.run.finished else {}

    @property
    def draws_pictures(self) -> bool:
        """Whether there is a denoiser; without one only the encoder tier can be measured."""
        return self.original.reader.makes_pictures


def resolve(
    original: TextToImageModel | str | Path | None,
    hardened: HardenedModel | TextToImageModel | str | Path,
    policy: Policy | str | Path | None,
    *,
    encoder: Any = None,
    device: str = "auto",
    precision: str = "auto",
) -> Subjects:
    """Load what is not loaded yet.

    Args:
        original: a model or its name; None: the one that the run was made from.
        hardened: what `harden` returned, a model, or the path of a run folder or model.
        policy: None: the run's own.
        encoder: an exported encoder to measure in the place of the run's: an ONNX file, an export's folder
            (every encoder in it), an encoder object, or a mapping of names to these.
        device, precision: of what is loaded here, as `load_model` takes them.

    Raises:
        UsageError: no run to take the policy from.
        RunError: neither a run folder, nor a model, nor an original to compare one with.
    """
    from ..models import CATALOGUE, HardenedModel, load_model
    from ..models.run_folder import RunFolder
    from ..policy import load_policy

    reference = Reference.of(original, hardened, encoder)
    run: RunFolder | None = None
    if isinstance(hardened, HardenedModel):
        run, model = hardened.run, hardened.model
    elif isinstance(hardened, (str, Path)):
        if RunFolder.is_run(hardened):
            run = RunFolder.open(hardened)
        elif original is None and not Path(hardened).exists() and str(hardened) not in CATALOGUE:
            RunFolder.open(hardened)  # says that it is none, where a loader would speak of models
        model = load_model(hardened, device=device, precision=precision)
    else:
        model = hardened
    if policy is None:
        if run is None:
            raise UsageError("no policy given, and no run folder to take it from; add --policy")
        policy = run.policy()
    elif isinstance(policy, (str, Path)):
        policy = load_policy(policy)
    if original is None and run is not None and hasattr(run, "load_original"):
        original = cast("TextToImageModel", run.load_original(device=device))
    elif original is None:
        source = model.source
        pinned = getattr(source, "revision", None)
        name = str(getattr(source, "ref", source.id))
        place = Path(source.path)
        original = (
            load_model(name, device=device, precision=precision, revision=pinned)
            if pinned or name in CATALOGUE
            # A checkpoint in one file is read with the tokenizers that the run was made with.
            else load_model(place, device=device, precision=precision, tokenizer=source.tokenizer)
        )
    elif isinstance(original, (str, Path)):
        original = load_model(original, device=device, precision=precision)
    swapped = _exported(encoder, model) if encoder is not None else {}
    if (
        original.encoders.keys() == model.encoders.keys()
        and original.family == model.family
        and original is not model
    ):
        # One denoiser in memory for both: only the encoders differ.
        model = original.with_encoders({**model.encoders, **swapped})
    elif swapped:
        model = model.with_encoders(swapped)
    return Subjects(original, model, run, policy, reference=reference)


def audited(
    original: TextToImageModel | str | Path,
    encoder: str | Path,
    policy: Policy | str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
) -> Subjects:
    """An original beside the same model with encoders that no run of ours made.

    Args:
        original: a model or its name.
        encoder: path or hub id; see `models.given_encoders`.
        policy: what both are judged by.
        device, precision: of what is loaded here, as `load_model` takes them.

    Raises:
        ModelError: the encoder cannot be read, or does not fit.
        UsageError: it is a run folder.
    """
    from ..models.given_encoders import read_given
    from ..models.loading import load_model
    from ..policy import load_policy

    reference = Reference.of(original, encoder, audits=True)
    if isinstance(original, (str, Path)):
        original = load_model(original, device=device, precision=precision)
    given = read_given(encoder, original)
    rules = load_policy(policy) if isinstance(policy, (str, Path)) else policy
    return Subjects(original, original.with_encoders(given.encoders), None, rules, given, reference)


def _exported(encoder: Any, model: TextToImageModel) -> dict[str, Any]:
    from ..models.onnx_encoder import OnnxEncoder, encoders_in

    if isinstance(encoder, (str, Path)):
        return dict(encoders_in(encoder, model.encoders))
    given = encoder if isinstance(encoder, dict) else {next(iter(model.encoders)): encoder}
    return {name: OnnxEncoder(e) if isinstance(e, (str, Path)) else e for name, e in given.items()}
