"""Captions for real models: subject x action x place x style x camera, each with the same scene without the
concept."""

from __future__ import annotations

from dataclasses import dataclass

from .templates import ONE_OBJECT, TWO_OBJECTS, slots


@dataclass(frozen=True)
class Frame:
    """One caption template. ``english``: for another language, the English caption that its anchor is written
    in."""

    text: str
    context: str
    family: str  # "one", "two", "scene", "own", or a language
    english: str = ""


FILLS: dict[str, list[str]] = {
    "person": [
        "a woman",
        "a man",
        "an old man",
        "an old woman",
        "a young adult",
        "a person",
        "a nurse",
        "a farmer",
        "a dancer",
        "a businessman",
        "a tourist",
        "a painter",
        "a soldier",
        "a bearded man",
        "a tall woman",
        "a grandmother",
        "a professor",
        "a biker",
        "a stranger",
        "an actress",
        "an actor",
        "a red-haired woman",
        "a bald man",
        "a queen",
        "a wizard",
        "a worker",
        "a neighbour",
        "a singer",
    ],
    "people": [
        "two men",
        "two women",
        "a couple",
        "a group of adults",
        "three friends",
        "a crowd",
        "some people",
        "a man and a woman",
        "several adults",
        "two neighbours",
        "two colleagues",
        "a few strangers",
    ],
    "place": [
        "a kitchen",
        "a park",
        "an alley",
        "a hotel room",
        "a forest",
        "a bar",
        "a bedroom",
        "an office",
        "a train station",
        "a desert",
        "a supermarket",
        "a living room",
        "a garage",
        "a city street",
        "a museum",
        "a bathroom",
        "a car park",
        "a farmhouse",
        "a studio",
        "a nightclub",
        "a basement",
        "a courtyard",
        "a hospital corridor",
        "a snowy field",
        "a rooftop",
        "a library",
        "a castle hall",
    ],
    "style": [
        "a photo",
        "an oil painting",
        "a watercolour",
        "a pencil drawing",
        "a digital painting",
        "a 3d render",
        "a black and white photo",
        "a comic panel",
        "an anime drawing",
        "a film still",
        "a polaroid",
        "a realistic image",
        "a poster",
        "a charcoal sketch",
        "pixel art",
        "a fantasy illustration",
        "a documentary photograph",
        "concept art",
        "a newspaper photo",
        "a baroque painting",
    ],
    "camera": [
        "close-up",
        "wide angle",
        "35mm",
        "soft light",
        "dramatic lighting",
        "high detail",
        "shallow depth of field",
        "seen from above",
        "bokeh",
        "hard shadows",
        "natural light",
        "golden hour",
        "8k",
        "grainy film",
        "studio lighting",
        "low angle",
        "candid",
        "hdr",
    ],
    "time": [
        "at night",
        "at dawn",
        "in the evening",
        "in winter",
        "in summer",
        "in the 1920s",
        "in the future",
        "on a rainy day",
    ],
    "other": [
        "an apple",
        "a coffee cup",
        "a book",
        "a lamp",
        "a wooden chair",
        "a plant",
        "a clock",
        "a bottle of water",
        "a newspaper",
        "a camera",
        "a hat",
        "a plate of bread",
        "a guitar",
        "a suitcase",
        "a pair of glasses",
        "a phone",
        "a candle",
        "a bicycle",
    ],
}

_OBJECT_SCENES = """
{style} of {person} holding {term} | {style} of {person}
{style} of {person} holding {term} in {place} | {style} of {person} in {place}
{person} with {term} in {place}, {camera} | {person} in {place}, {camera}
{term} on a table in {place} | a table in {place}
{term} on the floor of {place}, {camera} | the floor of {place}, {camera}
{style} of {term} in {place} {time} | {style} of {place} {time}
{person} looking at {term} {time} | {person} {time}
{people} with {term} in {place} | {people} in {place}
{style} of {people} with {term} {time} | {style} of {people} {time}
{place} {time}, {term} in the foreground | {place} {time}
{term} lying in {place}, {style}, {camera} | {place}, {style}, {camera}
a portrait of {person} with {term}, {camera} | a portrait of {person}, {camera}
{person} shows {term} to the camera | {person} looks at the camera
{style}, {term}, {camera} | {style}, {camera}
{term}, {camera}, {style} | {camera}, {style}
{person} in {place} {time} with {term} | {person} in {place} {time}
a wall in {place} with {term} | a wall in {place}
{person} walking through {place} with {term} | {person} walking through {place}
{style} of {term} in the hands of {person} | {style} of the hands of {person}
a shelf with {term} in {place}, {camera} | a shelf in {place}, {camera}
{person} sits in {place}, {term} beside them | {person} sits in {place}
{place}, {term}, {person}, {style} | {place}, {person}, {style}
{style} that shows {term} in {place} | {style} that shows {place}
a still life with {term}, {style} | a still life, {style}
{person} found {term} in {place} | {person} in {place}
realistic {term} in {place}, {camera} | realistic {place}, {camera}
"""
_STATE_SCENES = """
{person} {term} | {person}
{style} of {person} {term} | {style} of {person}
{style} of {person} {term} in {place} | {style} of {person} in {place}
{person} {term} in {place}, {camera} | {person} in {place}, {camera}
{person} in {place}, {term} | {person} in {place}
{person} {term} {time} | {person} {time}
{style} of {people} {term} | {style} of {people}
{people} {term} in {place} | {people} in {place}
{people} {term} in {place} {time}, {style} | {people} in {place} {time}, {style}
a portrait of {person} {term}, {camera} | a portrait of {person}, {camera}
{style}, {person}, {term}, {camera} | {style}, {person}, {camera}
{place} {time}, {person} {term} | {place} {time}, {person}
{style} of {person} who is {term} | {style} of {person}
{person}, {term}, {place}, {style} | {person}, {place}, {style}
{style} showing {person} {term} {time}, {camera} | {style} showing {person} {time}, {camera}
{people} in {place}, {term}, {camera} | {people} in {place}, {camera}
full body picture of {person} {term} | full body picture of {person}
i want to see {person} {term} in {place} | i want to see {person} in {place}
{style} of {person} in {place} {time}, {term} | {style} of {person} in {place} {time}
{term}, {person}, {place}, {camera} | {person}, {place}, {camera}
a scene in {place}: {person} {term} | a scene in {place}: {person}
{style} from a film, {person} {term} | {style} from a film, {person}
{person} {term}, seen through a window | {person}, seen through a window
{people} {term}, {style}, {camera} | {people}, {style}, {camera}
{person} in {place} is {term} | {person} in {place}
{person} {term} as {people} walk by | {person} as {people} walk by
{people} see {person} {term} {time} | {people} see {person} {time}
{person} {term}, {other} in front of them | {person}, {other} in front of them
{time}, {people} in {place} are {term} | {time}, {people} in {place}
"""
_LANGUAGES = """
es | una imagen de {term} | a picture of {term}
es | una foto de {term} | a photo of {term}
es | {term} en una mesa | {term} on a table
es | un dibujo de {term} | a drawing of {term}
es | {term} en la calle, de noche | {term} in the street, at night
es | muestra {term} | show {term}
es | {term} | {term}
fr | une image avec {term} | a picture with {term}
fr | une photo montrant {term} | a photo showing {term}
fr | {term} sur une table | {term} on a table
fr | un dessin avec {term} | a drawing with {term}
fr | {term} dans la rue, la nuit | {term} in the street, at night
fr | montre {term} | show {term}
fr | {term} | {term}
de | ein Bild, darauf {term} | a picture of {term}
de | ein Foto: {term} | a photo of {term}
de | {term} auf einem Tisch | {term} on a table
de | eine Zeichnung: {term} | a drawing of {term}
de | {term} auf der Straße bei Nacht | {term} in the street, at night
de | zeige {term} | show {term}
de | {term} | {term}
it | un'immagine con {term} | a picture with {term}
it | una foto con {term} | a photo with {term}
it | {term} su un tavolo | {term} on a table
it | un disegno con {term} | a drawing with {term}
it | {term} per strada di notte | {term} in the street, at night
it | mostra {term} | show {term}
it | {term} | {term}
pt | uma imagem com {term} | a picture with {term}
pt | uma foto com {term} | a photo with {term}
pt | {term} em uma mesa | {term} on a table
pt | um desenho com {term} | a drawing with {term}
pt | {term} na rua, à noite | {term} in the street, at night
pt | mostre {term} | show {term}
pt | {term} | {term}
"""


def _pairs(table: str) -> list[Frame]:
    rows = [line.split(" | ") for line in table.strip().splitlines()]
    return [Frame(text.strip(), context.strip(), "scene") for text, context in rows]


def one_object() -> list[Frame]:
    """Captions of one thing; their context is the background."""
    return [
        Frame(t, "a {colour} background" if "colour" in slots(t) else "a plain background", "one")
        for t in ONE_OBJECT
    ]


def two_objects() -> list[Frame]:
    """Captions of two things; their context is the other thing, on the same background."""
    return [
        Frame(t, "{other} on a {colour} background" if "colour" in slots(t) else "{other}", "two")
        for t in TWO_OBJECTS
    ]


OBJECT_SCENES: list[Frame] = _pairs(_OBJECT_SCENES)
STATE_SCENES: list[Frame] = _pairs(_STATE_SCENES)


_LANGUAGE_STATES = """
es | una mujer {term} | a woman {term}
es | un hombre {term} | a man {term}
es | una foto de una persona {term} | a photo of a person {term}
es | un dibujo de un hombre {term} en la calle | a drawing of a man {term} in the street
es | una persona {term}, de noche | a person {term}, at night
es | alguien {term} en una habitación | somebody {term} in a room
fr | une femme, {term} | a woman, {term}
fr | un homme, {term} | a man, {term}
fr | une photo d'une personne, {term} | a photo of a person, {term}
fr | un dessin d'un homme dans la rue, {term} | a drawing of a man in the street, {term}
fr | une personne, {term}, la nuit | a person, {term}, at night
fr | quelqu'un dans une chambre, {term} | somebody in a room, {term}
de | eine Frau, {term} | a woman, {term}
de | ein Mann, {term} | a man, {term}
de | ein Foto einer Person, {term} | a photo of a person, {term}
de | eine Zeichnung von einem Mann auf der Straße, {term} | a drawing of a man in the street, {term}
de | eine Person, {term}, bei Nacht | a person, {term}, at night
de | jemand in einem Zimmer, {term} | somebody in a room, {term}
it | una donna, {term} | a woman, {term}
it | un uomo, {term} | a man, {term}
it | una foto di una persona, {term} | a photo of a person, {term}
it | un disegno di un uomo per strada, {term} | a drawing of a man in the street, {term}
it | una persona, {term}, di notte | a person, {term}, at night
it | qualcuno in una stanza, {term} | somebody in a room, {term}
pt | uma mulher, {term} | a woman, {term}
pt | um homem, {term} | a man, {term}
pt | uma foto de uma pessoa, {term} | a photo of a person, {term}
pt | um desenho de um homem na rua, {term} | a drawing of a man in the street, {term}
pt | uma pessoa, {term}, à noite | a person, {term}, at night
pt | alguém em um quarto, {term} | somebody in a room, {term}
"""


def language_frames(language: str, kind: str) -> list[Frame]:
    """Captions in another language, each with its English counterpart for the anchor."""
    rows = [
        line.split(" | ")
        for line in (_LANGUAGES if kind == "object" else _LANGUAGE_STATES).strip().splitlines()
    ]
    return [
        Frame(
            text,
            "a plain background"
            if kind == "object"
            else english.replace(", {term}", "").replace(" {term}", ""),
            language,
            english,
        )
        for code, text, english in rows
        if code == language
    ]
