"""A hardening by processes whose clocks differ: the first finds every step late, the second none."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

from support.hardening_case import run

from safetext_sdk.hardening import trainer

if __name__ == "__main__":
    if os.environ["RANK"] == "1":
        stopped: Any = types.SimpleNamespace(monotonic=lambda: 0.0)
        trainer.time = stopped
    model, policy, target = (Path(given) for given in sys.argv[1:4])
    run(model, policy, target, 8, False, train={"checkpoint_seconds": 1e-9})
