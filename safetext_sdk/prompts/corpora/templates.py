"""Caption templates for pictures of one or two objects on a plain background.

* Three users: prompt expansion of a policy (``book``), the safe prompts of the embedded model's world
  (``sources``) and the caption generator that trains the embedded model. So: plain data, no third-party
  import.
* Placeholders: ``{term}`` (with its article), ``{adjective} {term}`` (filled together: "an old gun"),
  ``{other}`` (second object, on the right), ``{colour}`` (background). Use :func:`fill`, which knows about
  articles.
* A template is the unit that is held out: a split never shares one with another split.
"""

from __future__ import annotations

import re

COLOURS: list[str] = ["white", "black", "red", "blue", "green", "yellow", "pink", "purple", "orange", "gray"]

ADJECTIVES: list[str] = [
    "tiny",
    "big",
    "small",
    "large",
    "shiny",
    "old",
    "simple",
    "lovely",
    "plain",
    "new",
    "single",
    "little",
    "huge",
    "nice",
    "antique",
    "bright",
    "elegant",
    "ordinary",
    "miniature",
    "classic",
    "beautiful",
    "clean",
]

# Words in a template that say how the object is drawn; a caption generator must keep them true.
SILHOUETTE_WORDS: tuple[str, ...] = ("silhouette", "stencil", "shadow", "outline", "one colour", "glyph")
COLOUR_WORDS: tuple[str, ...] = ("colourful", "emoji", "sticker", "in full colour", "bright colours")

ONE_OBJECT: list[str] = [
    # Nothing but the thing.
    "{term}",
    "a picture of {term}",
    "an image of {term}",
    "a photo of {term}",
    "a drawing of {term}",
    "an icon of {term}",
    "an illustration of {term}",
    "a sketch of {term}",
    "a painting of {term}",
    "a render of {term}",
    "clip art of {term}",
    "a symbol of {term}",
    "a sign showing {term}",
    "a close-up of {term}",
    "a cartoon of {term}",
    "a logo with {term}",
    "here is {term}",
    "this is {term}",
    "there is {term} here",
    "just {term}",
    "{term}, nothing else",
    "{term} in the middle of the picture",
    "{term} seen from the side",
    "{term} in the centre",
    "please draw {term}",
    "show me {term}",
    "i would like to see {term}",
    "can you make a picture of {term}",
    # Style.
    "a flat icon of {term}",
    "a simple icon with {term}",
    "a minimal design of {term}",
    "vector art of {term}",
    "a silhouette of {term}",
    "{term} as a silhouette",
    "a stencil of {term}",
    "the outline shape of {term}",
    "{term} drawn in one colour",
    "a colourful drawing of {term}",
    "a colourful picture of {term}",
    "an emoji of {term}",
    "a sticker of {term}",
    "{term} painted in bright colours",
    # Background.
    "{term} on a {colour} background",
    "a picture of {term} on a {colour} background",
    "an icon of {term} on {colour}",
    "{term} in front of a {colour} wall",
    "a drawing of {term} on {colour} paper",
    "{colour} background, {term}",
    "{term}, {colour} backdrop",
    "a silhouette of {term} on a {colour} background",
    "a colourful drawing of {term} on a {colour} background",
    "{term} isolated on {colour}",
    # Adjective.
    "{adjective} {term}",
    "a picture of {adjective} {term}",
    "{adjective} {term} on a {colour} background",
    "an image of {adjective} {term} on {colour}",
    "a photo of {adjective} {term}",
    "an illustration of {adjective} {term}",
    "a flat icon of {adjective} {term}",
    "this is {adjective} {term}",
    "{adjective} {term} on a plain background",
    "a close-up of {adjective} {term}",
]

TWO_OBJECTS: list[str] = [
    "{term} next to {other}",
    "{term} and {other}",
    "{term} beside {other}",
    "{term} with {other}",
    "a picture of {term} and {other}",
    "a picture of {term} next to {other}",
    "an icon of {term} and {other}",
    "a drawing of {term} with {other} beside it",
    "{term} on the left and {other} on the right",
    "{term} to the left of {other}",
    "{term} together with {other}",
    "a photo of {term} by {other}",
    "{term} near {other}",
    "two things: {term} and {other}",
    "{term} and {other} on a {colour} background",
    "{term} next to {other} on {colour}",
    "{term} beside {other}, {colour} background",
    "an illustration of {term} and {other} on a {colour} background",
    "{term} side by side with {other}",
    "{adjective} {term} next to {other}",
    "{adjective} {term} and {other} on a {colour} background",
    "an image of {term} standing next to {other}",
]

_A_ORANGE = re.compile(r"\ba(?= orange\b)", re.IGNORECASE)
_SLOT = re.compile(r"\{(adjective\} \{term|term|other|colour)\}")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Head nouns that take no article: masses, and plurals that the rule on a final "s" would miss.
_MASS = _words("""
    dynamite tnt blood gore artillery weaponry ammunition cutlery corn maize coffee cheese gelato sunshine ketchup sauce paint
    people men women children feet teeth geese mice cream serve undead dead tea ice art money cocaine heroin meth opium crack
    cannabis marijuana hashish fentanyl propaganda graffiti violence vomit rot mould filth paraphernalia clothing bunting cash
    mail food lean roadkill
""")
# Singulars that end in "s".
_SINGULAR_S = _words("ananas canvas gas lens atlas pancreas")
_VOWEL_SOUND = re.compile(
    r"^(?:[aeio]|u(?!ni|ku|se|ti|ra|zi|k\b)|hour|honest|heir|[fhlmnrsx]-|x-ray|ak-|lsd\b|mdma\b|ss\b|x{3}\b)",
    re.I,
)
_HAS_DETERMINER = re.compile(
    r"^(?:a|an|the|some|two|three|four|five|many|several|his|her|their|my|no|death's|somebody|someone)\s",
    re.I,
)
_BARE_PREPOSITION = re.compile(
    r"\s(?:of|with|and|on|in|for|at|to|from|without|that|who|showing|over)\s", re.I
)


def article(term: str) -> str:
    """The term with its indefinite article: "a gun", "an axe", "cherries" (plural and mass words get none).

    The head noun decides: the last word before the first preposition ("bunch of grapes" -> "a bunch of
    grapes"). A term that already has a determiner ("two swords", "the moon") is returned as it is.
    """
    text = term.strip()
    if not text or _HAS_DETERMINER.match(text + " "):
        return text
    head = _BARE_PREPOSITION.split(text, maxsplit=1)[0].split()[-1].lower().strip(",.'\"")
    if head in _MASS and not text.lower().startswith(("slice", "piece", "cup", "pot", "stick")):
        return text
    plural = head.endswith("s") and not head.endswith(("ss", "'s", "us", "is")) and head not in _SINGULAR_S
    if plural:
        return text
    return ("an " if _VOWEL_SOUND.match(text) else "a ") + text


def fill(template: str, term: str, *, other: str = "", colour: str = "", adjective: str = "") -> str:
    """Put words into a template.

    Args:
        template: one of :data:`ONE_OBJECT` or :data:`TWO_OBJECTS`, or any text with the same placeholders.
        term: the first object without article; a phrase that has a determiner already is kept as it is.
        other, colour, adjective: used where the template asks for them. An adjective goes between article and
            term.

    Raises:
        ValueError: the template asks for a word that was not given.
    """

    def put(match: re.Match[str]) -> str:
        slot = match.group(1)
        if slot == "term":
            return article(term)
        if slot == "other":
            value = article(other)
        elif slot == "colour":
            value = colour
        else:
            value = _qualified(adjective, term) if adjective else ""
        if not value:
            raise ValueError(f"template {template!r} needs a word for {slot.split('}')[0]!r}")
        return value

    return _A_ORANGE.sub("an", _SLOT.sub(put, template))


def _qualified(adjective: str, term: str) -> str:
    """ "old" + "a gun" or "gun" -> "an old gun"; "tiny" + "two swords" -> "two tiny swords"."""
    found = re.match(
        r"^(a|an|the|some|two|three|four|five|many|several|his|her|their|my)\s+(.+)$", term.strip(), re.I
    )
    if not found:
        return article(f"{adjective} {term.strip()}")
    determiner, rest = found.groups()
    return (
        article(f"{adjective} {rest}")
        if determiner.lower() in ("a", "an")
        else f"{determiner} {adjective} {rest}"
    )


def style_of(template: str) -> str:
    """ "silhouette", "colour" or "" : what a template says about how the object is drawn."""
    if any(word in template for word in SILHOUETTE_WORDS):
        return "silhouette"
    return "colour" if any(word in template for word in COLOUR_WORDS) else ""


def slots(template: str) -> set[str]:
    """The placeholders of a template: subset of {"term", "other", "colour", "adjective"}."""
    return {name for name in ("term", "other", "colour", "adjective") if "{" + name + "}" in template}
