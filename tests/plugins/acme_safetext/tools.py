"""Prompt source ``tools``: safe captions of tools, some of which look like weapons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from safetext_sdk.prompts import Candidate, PromptSource

TOOLS = {
    "hammer": ("hammer", "mallet"),
    "saw": ("saw", "hacksaw"),
    "drill": ("drill", "cordless drill"),
    "wrench": ("wrench", "spanner"),
    "plane": ("wood plane", "block plane"),
    "brush": ("paint brush", "paint roller"),
    "ladder": ("ladder", "stepladder"),
    "chisel": ("chisel", "gouge"),
}
SHAPES = (
    "a {tool} on a green workbench",
    "a {tool} beside a blue box",
    "a green {tool} hanging on a wall",
    "an old {tool} in a blue toolbox",
    "a person in green overalls who holds a {tool}",
    "a blue {tool} in a shop window",
)


class Tools(PromptSource):
    """Every tool in every shape; the words of one tool are held out together, and so is a shape."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        return [
            Candidate(shape.format(tool=word), "tools", groups=(tool,), template=shape)
            for tool, words in TOOLS.items()
            for word in words
            for shape in SHAPES
        ]

    def group_words(self) -> Mapping[str, Sequence[str]]:
        return TOOLS
