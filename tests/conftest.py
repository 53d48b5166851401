"""Fixtures that many tests share. Nothing here reaches a network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# One thread everywhere, here and in the processes that tests start: in another number of threads sums are
# added up in another order, and some tests compare bits.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["SAFETEXT_CACHE"] = "off"  # the pictures of one test are none of another's, nor of a user's


@pytest.fixture(scope="session", autouse=True)
def plug_ins_are_known() -> None:
    """Tests put a copy in the place of a registry's entries and take it away again. Were plug-ins looked for
    in between, they would be gone with the copy."""
    from safetext_sdk.attacks import ATTACKS
    from safetext_sdk.detectors import DETECTORS
    from safetext_sdk.methods import METHODS
    from safetext_sdk.metrics import METRICS
    from safetext_sdk.models.families import FAMILIES

    for registry in (ATTACKS, DETECTORS, FAMILIES, METHODS, METRICS):
        registry.names()


@pytest.fixture(scope="session")
def mini_sd1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole random Stable Diffusion 1 pipeline in a folder."""
    from support.minis import build_sd1

    return build_sd1(tmp_path_factory.mktemp("mini") / "sd1")


@pytest.fixture(scope="session")
def tiny_model():
    """The embedded model, loaded once. Tests must not change it."""
    from safetext_sdk import load_model

    return load_model("tiny", device="cpu")
