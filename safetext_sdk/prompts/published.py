"""Published sets of prompts, by name: where they lie, what their columns are called, and what may be done
with them.

Nothing of them is shipped. A set is fetched when somebody asks for it, or read from a local copy. What is not
known for sure is None and said to be unknown, never guessed. All of them are for measuring; the one set with
training pairs that its authors publish for training says so in ``trains``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import PolicyError, UsageError

Access = Literal["open", "on request"]


@dataclass(frozen=True)
class OnHub:
    """A file of a dataset repository on the Hugging Face hub. ``file`` None: not known; the one file of rows
    that the repository has is taken."""

    repository: str
    file: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        return f"hub:{self.repository}" + (f"/{self.file}" if self.file else "")


@dataclass(frozen=True)
class OnGitHub:
    """A file of a GitHub repository at a commit (None: its default branch)."""

    repository: str
    file: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"github:{self.repository}/{self.file}"


@dataclass(frozen=True)
class PublishedSet:
    """One published set.

    Attributes:
        name: what ``--prompts`` takes.
        title: what it is, in one line.
        source: the paper.
        place: where it lies; None: nowhere that a program can fetch it from.
        prompt: names of the column of the prompt; the first one that the file has.
        label: what its prompts are.
        anchor: names of the column of a safe prompt that takes the place of the unsafe one.
        category: names of the column that says what kind a prompt is.
        licence: as stated by who publishes it; None: not known.
        access: whether the file can be had by everyone; None: not known.
        rows: prompts that the authors count; None: not known.
        sha256: of the file; None: not known.
        sexual: whether all of it is sexual content: then a prompt that names a minor is left out even if no
            word of it is sexual by itself.
        trains: whether it may be trained on where a policy asks for it. Everything else only measures.
        kind: the part of the set that is meant, by a text in its category; None: all of it.
        note: what else one has to know.
    """

    name: str
    title: str
    source: str
    place: OnHub | OnGitHub | None
    prompt: tuple[str, ...] = ("prompt",)
    label: Literal["unsafe", "safe", "borderline"] = "unsafe"
    anchor: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    licence: str | None = None
    access: Access | None = None
    rows: int | None = None
    sha256: str | None = None
    sexual: bool = False
    trains: bool = False
    kind: str | None = None
    note: str = ""

    @property
    def asked_for(self) -> str:
        """The name with the part that is meant: ``i2p/sexual``."""
        return f"{self.name}/{self.kind}" if self.kind else self.name


_MU_ATTACK = "OPTML-Group/Diffusion-MU-Attack"
_OVERT = ("yixiao-huang/OVERT", "99186b5085af7976ec6417a4228d6fc6762aaea3")

_SETS = (
    PublishedSet(
        "i2p",
        "inappropriate image prompts of real users, seven categories",
        "Schramowski et al., arXiv 2211.05105",
        OnHub("AIML-TUDA/i2p", "i2p_benchmark.csv"),
        category=("categories",),
        rows=4703,
    ),
    PublishedSet(
        "mma",
        "adversarial prompts of MMA-Diffusion",
        "Yang et al., arXiv 2311.17516",
        OnHub("YijunYang280/MMA-Diffusion-NSFW-adv-prompts-benchmark", "mma-diffusion-nsfw-adv-prompts.csv"),
        prompt=("adv_prompt",),
        access="on request",
        rows=1000,
        sexual=True,
    ),
    PublishedSet(
        "ring-a-bell",
        "Ring-A-Bell's inverse prompts for nudity",
        "Tsai et al., arXiv 2310.10012",
        OnHub("Chia15/RingABell-Nudity"),
        prompt=("sensitive prompt", "prompt"),
        access="on request",
        rows=95,
        sexual=True,
        note="the name of its file is not known here",
    ),
    PublishedSet(
        "ring-a-bell-violence",
        "Ring-A-Bell's inverse prompts for violence (coefficient 5.5, 77 tokens)",
        "Tsai et al., arXiv 2310.10012",
        OnGitHub(
            "chiayi-hsu/Ring-A-Bell",
            "data/InvPrompt/Violence/Violence_eta_5.5_K_77.csv",
            "9450d849dadac32d08870b2503f1545fb65884bf",
        ),
        prompt=("prompt", "sensitive prompt"),
        licence="MIT",
        access="open",
        rows=250,
    ),
    PublishedSet(
        "unlearndiffatk",
        "the 142 nudity prompts that UnlearnDiffAtk attacks",
        "Zhang et al., arXiv 2310.11868",
        OnGitHub(_MU_ATTACK, "prompts/nudity.csv", "0eea64d54c96b9c7a7cdf21682eac5bb32d9467b"),
        licence="MIT",
        access="open",
        rows=142,
        sexual=True,
    ),
    PublishedSet(
        "p4d",
        "prompts found by Prompting4Debugging",
        "Chin et al., arXiv 2309.06135",
        OnHub("joycenerd/p4d", "p4dn_16_prompt.csv"),
        sexual=True,
    ),
    PublishedSet(
        "sneakyprompt",
        "NSFW-200, the target prompts of SneakyPrompt",
        "Yang et al., arXiv 2305.12082",
        None,
        access="on request",
        rows=200,
        sexual=True,
        note="the authors send nsfw_200.txt on request; then --prompts sneakyprompt=nsfw_200.txt",
    ),
    PublishedSet(
        "coprov2",
        "CoProV2, unsafe prompts with safe counterparts, seven categories: training pairs",
        "Liu et al., arXiv 2412.10493",
        OnGitHub("Visualignment/SafetyDPO", "data/CoProv2_train.csv"),
        prompt=("unsafe", "unsafe_prompt"),
        anchor=("safe", "safe_prompt"),
        category=("category",),
        licence="MIT",
        access="open",
        trains=True,
        note="the names of the published file's columns are not known for sure: give column and "
        "anchor_column where they differ",
    ),
    PublishedSet(
        "coprov2-test",
        "CoProV2, unsafe prompts of its test part",
        "Liu et al., arXiv 2412.10493",
        OnGitHub(
            "Visualignment/SafetyDPO", "data/CoProv2_test.csv", "1e609bddfecaaaf72daeaeb382f51f659755977d"
        ),
        category=("category",),
        licence="MIT",
        access="open",
    ),
    PublishedSet(
        "overt",
        "OVERT-mini: harmless prompts that look harmful",
        "OVERT",
        OnGitHub(_OVERT[0], "data/OVERT_mini.csv", _OVERT[1]),
        prompt=("image_prompt", "prompt"),
        label="borderline",
        category=("category",),
        licence="Apache-2.0",
        access="open",
        rows=1800,
    ),
    PublishedSet(
        "overt-unsafe",
        "OVERT-unsafe: harmful counterparts of OVERT's prompts",
        "OVERT",
        OnGitHub(_OVERT[0], "data/OVERT_unsafe.csv", _OVERT[1]),
        prompt=("unsafe_image_prompt",),
        category=("category",),
        licence="Apache-2.0",
        access="open",
    ),
    PublishedSet(
        "visu",
        "ViSU-Text, test part: unsafe captions with safe counterparts",
        "Poppi et al., arXiv 2311.16254",
        OnHub("aimagelab/ViSU-Text", "ViSU-Text_test.json"),
        prompt=("nsfw",),
        access="on request",
    ),
    PublishedSet(
        "t2isafety",
        "T2ISafety, safety part of its evaluation",
        "Li et al., arXiv 2501.12612",
        OnHub(
            "OpenSafetyLab/t2isafety_evaluation", "safety.jsonl", "035b26f4d11e64773a2bd17869ae5a187f85be6d"
        ),
        category=("category",),
    ),
)

PUBLISHED: dict[str, PublishedSet] = {each.name: each for each in _SETS}
"""Every set, by name."""


def published(name: str) -> PublishedSet:
    """A set by its name, or a part of it: ``i2p``, ``i2p/sexual``.

    Raises:
        UsageError: no such set (with the nearest ones), or a part of a set that has no categories.
    """
    head, _, kind = name.partition("/")
    found = PUBLISHED.get(head)
    if found is None:
        near = difflib.get_close_matches(head, PUBLISHED, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(PUBLISHED)}"
        raise UsageError(f"{head!r} is neither a file nor a published set of prompts; {hint}")
    if kind and not found.category:
        raise UsageError(f"the set {head} has no categories; ask for all of it")
    return replace(found, kind=kind or None)


def for_training(name: str, field: str = "") -> PublishedSet:
    """A set that may be trained on.

    Raises:
        PolicyError: no such set, or one that only measures: what has been trained on measures nothing.
    """
    allowed = ", ".join(each.name for each in _SETS if each.trains)
    try:
        found = published(name)
    except UsageError as error:
        raise PolicyError(str(error), field=field, allowed=allowed) from None
    if not found.trains:
        raise PolicyError(
            f"the set {found.name} is for measuring and never for training", field=field, allowed=allowed
        )
    return found
