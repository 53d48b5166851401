"""Something to look at while one waits: a few prompts of a validation, drawn before hardening and after it.

The pictures are those that the validation draws first, under the same keys: it finds them and does not draw
them again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import save_image
from .generate import PictureMaker, Request, Settings, open_picture
from .items import chosen
from .picture_grid import lay_out

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..models import TextToImageModel
    from ..policy import Policy

SHOWN = 2
"""Prompts of the unsafe set, and as many of the safe one."""


class FirstLook:
    """One picture, a row a prompt: the undefended model's on the left, the hardened one's on the right.

    Args:
        original: the undefended model.
        policy: whose test prompts are drawn.
        path: the file, a PNG.
        settings: of the validation that follows.
        cache: of the undefended model's pictures.
        seed: of prompt book and hardening.
    """

    def __init__(
        self,
        original: TextToImageModel,
        policy: Policy,
        path: Path,
        *,
        settings: Settings | None = None,
        cache: Path | None = None,
        seed: int = 0,
    ) -> None:
        from ..prompts import build_prompt_book

        self.original, self.path, self.settings, self.cache = original, path, settings, cache
        test = build_prompt_book(policy, seed=seed, model=original.id).test
        sets = ("unsafe", "safe")
        self.requests = [Request(p.text, 0) for name in sets for p in chosen(test, name, SHOWN)]
        self._drawn = tempfile.TemporaryDirectory(prefix="safetext-first-look-")

    def before(self) -> Path:
        """Draw with the undefended model and write the file; returns its path.

        Raises:
            UsageError: the file cannot be written.
        """
        self._before = self._pictures(self.original, Path(self._drawn.name), self.cache)
        save_image(lay_out([self._before]), self.path)
        return self.path

    def after(self, hardened: TextToImageModel, images: Path) -> Path:
        """Draw with the hardened model beside it, and leave both models' pictures where a validation looks
        for them.

        Args:
            images: folder of the report's pictures.

        Raises:
            UsageError: the file cannot be written.
        """
        images.mkdir(parents=True, exist_ok=True)
        with self._drawn as folder:
            for picture in Path(folder).glob("*.png"):
                if not (images / picture.name).exists():
                    shutil.copyfile(picture, images / picture.name)
        save_image(lay_out([self._before, self._pictures(hardened, images)]), self.path)
        return self.path

    def _pictures(self, model: TextToImageModel, folder: Path, cache: Path | None = None) -> list[Image]:
        maker = PictureMaker(model, folder, settings=self.settings, cache=cache)
        maker.ensure(self.requests)
        return [open_picture(maker.path(request)) for request in self.requests]
