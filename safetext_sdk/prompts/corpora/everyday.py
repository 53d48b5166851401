"""Safe captions of everyday scenes, written by a grammar: people, animals, things, food, places, counts,
    colours, relations, styles.

Hardening keeps what it is shown to keep, so the set is wide and needs no download. It is fixed: no seed
changes it. The head noun of a caption is its group, which a policy holds out as a whole; the frame is its
template, held out as well.
"""

from __future__ import annotations

import random
import re
from functools import cache

from ..sources import Candidate, distinct
from .templates import COLOURS, article

COUNT = 24_000


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.replace("\n", " ").split(",") if item.strip()]


_WORDS: dict[str, list[str]] = {
    "person": _list("""
        baker, teacher, farmer, nurse, doctor, painter, musician, dancer, fisherman, gardener, firefighter, postman, librarian,
        tailor, carpenter, pilot, astronaut, waiter, chef, scientist, photographer, student, grandmother, grandfather, mother,
        father, bride, groom, cyclist, runner, swimmer, skier, hiker, climber, tourist, shopkeeper, mechanic, electrician,
        architect, journalist, judge, pianist, violinist, drummer, gymnast, footballer, tennis player, goalkeeper, referee,
        ballet dancer, beekeeper, shepherd, florist, barber, potter, welder, sailor, surfer
    """),
    "look": _list("""
        young, old, smiling, tall, short, bearded, cheerful, tired, serious, friendly, proud, busy, bald, curly-haired,
        laughing, thoughtful, grey-haired, freckled, elegant, sleepy
    """),
    "clothes": _list("""
        a red scarf, a blue raincoat, a straw hat, a white apron, a green jumper, a yellow jacket, a suit and tie, a summer
        dress, a woollen hat, round glasses, rubber boots, a striped shirt, a denim jacket, a purple coat, a sports shirt, an
        orange vest, a polka dot skirt, a long coat
    """),
    "act": _list("""
        reading a newspaper, drinking tea, eating soup, riding a bicycle, watering plants, waiting for a bus, feeding pigeons,
        playing the piano, painting a fence, talking on the phone, carrying a basket, taking a picture, baking bread, writing a
        letter, sweeping the floor, looking at the sea, walking a dog, folding clothes, washing dishes, planting a tree, flying
        a kite, playing chess, repairing a chair, opening an umbrella, tying shoelaces, picking apples, listening to music,
        doing yoga, throwing a ball, climbing a ladder, laughing loudly, sleeping in a hammock, buying vegetables, knitting a
        scarf, sketching a bridge, singing in a choir, stirring a pot, pushing a pram
    """),
    "animal": _list("""
        cat, dog, horse, cow, sheep, goat, rabbit, hen, duck, goose, swan, owl, eagle, parrot, penguin, flamingo, elephant,
        giraffe, lion, tiger, zebra, monkey, kangaroo, koala, panda, fox, wolf, bear, deer, squirrel, hedgehog, mouse, frog,
        turtle, snake, lizard, dolphin, whale, seal, goldfish, butterfly, bee, ladybird, snail, camel, donkey, pig, robin,
        heron, otter
    """),
    "animal_act": _list("""
        sleeping, eating, running, looking at the camera, drinking water, playing with a ball, sitting in the shade, hiding
        behind a tree, crossing a path, resting on a rock, jumping over a puddle, standing in the rain, yawning, chasing leaves
    """),
    "thing": _list("""
        chair, table, lamp, book, clock, vase, mirror, teapot, cup, plate, bottle, basket, suitcase, backpack, umbrella, hat,
        shoe, glove, scarf, key, pencil, notebook, camera, telephone, radio, television, laptop, guitar, piano, violin, trumpet,
        drum, ball, kite, balloon, candle, pillow, blanket, carpet, curtain, bucket, broom, ladder, hammer, screwdriver,
        paintbrush, globe, map, stamp, coin, ring, necklace, watch, telescope, microscope, magnifying glass, bicycle,
        skateboard, sledge, tent, toy train, doll's house, snow globe, wind chime
    """),
    "food": _list("""
        bread, soup, salad, pizza, pasta, rice, cheese, cake, pancakes, waffles, ice cream, an apple pie, strawberries,
        cherries, grapes, bananas, oranges, lemons, tomatoes, carrots, mushrooms, corn, pumpkin soup, sushi, dumplings, noodles,
        tacos, croissants, biscuits, honey, yoghurt, porridge, a fruit salad, grilled fish, roast potatoes, an omelette
    """),
    "vehicle": _list("""
        car, bus, tram, train, lorry, tractor, motorbike, van, taxi, fire engine, ambulance, aeroplane, helicopter, hot-air
        balloon, sailing boat, ferry, canoe, cable car, camper van, steam engine
    """),
    "building": _list("""
        house, cottage, barn, church, temple, mosque, castle, lighthouse, windmill, school, library, museum, factory,
        skyscraper, bridge, tower, greenhouse, train station, bakery, theatre, pagoda, log cabin, town hall, football stadium
    """),
    "landscape": _list("""
        mountain lake, desert, pine forest, beach, meadow, river valley, waterfall, glacier, vineyard, rice field, lavender
        field, canyon, rocky coast, tropical island, snowy hill, orchard, swamp, volcano, coral reef, bamboo grove, moor, salt
        flat, harbour, village square
    """),
    "place": _list("""
        in a kitchen, in a park, on a beach, in a garden, in a library, at a market, in a classroom, on a train, in a cafe, at
        an airport, in a workshop, on a balcony, in a living room, on a farm, in a museum, at a bus stop, in a greenhouse, on a
        bridge, in a snowy street, by a lake, in an office, on a football pitch, in a theatre, at a harbour, in a hospital ward,
        on a rooftop terrace, in a bookshop, by a fireplace, under a tree, next to a fountain
    """),
    "time": _list(
        "at sunrise, at noon, at sunset, at night, in spring, in summer, in autumn, in winter, on a rainy "
        "day, in fog"
    ),
    "style": _list("""
        a photo, a painting, a watercolour, a pencil sketch, an oil painting, a cartoon, a digital drawing, a 3d render, a black
        and white photo, an old postcard, a children's book illustration, a mosaic, a woodcut, an embroidered picture, a poster,
        a pastel drawing, a pixel art image, a stained glass window, an aerial photo, a close-up photo, a paper collage, a chalk
        drawing
    """),
    "mood": _list(
        "soft light, bright colours, high detail, muted colours, wide angle, shallow depth of field, warm "
        "light, studio light"
    ),
    "relation": _list(
        "next to, behind, in front of, on top of, under, to the left of, to the right of, far from, "
        "leaning on"
    ),
    "material": _list(
        "wooden, glass, metal, paper, stone, plastic, leather, woollen, golden, silver, ceramic, clay"
    ),
    "count": _list("two, three, four, five, six, seven, a dozen, many, a pair of, a row of, a pile of"),
    "colour": COLOURS,
}

_FRAMES = """
{person} {act}
{look} {person} {act} {place}
{style} of {person} {act}
{style} of {look} {person} {act} {time}
{person} in {clothes} {act}
{look} {person} in {clothes} {place}
{person} {act} {place}, {mood}
{style} of {person} in {clothes}, {mood}
portrait of {look} {person} in {clothes}
{person} and {person} {act} together
{person} with {thing} {place}
{person} next to {animal} {place}
{person} giving {thing} to {person}
{count+person} {act} {place}
{count+person} in {clothes} {time}
{animal} {animal_act}
{animal} {animal_act} {place}
{style} of {animal} {animal_act}
{colour+animal} {animal_act} {time}
{count+animal} {animal_act} {place}
{animal} {relation} {thing}
{style} of {animal} wearing {clothes}
{animal} and {animal} {place}
{count+animal} and {thing}, {style}
{colour+thing} {place}
{material+thing} {relation} {thing}
{style} of {colour+thing}
{colour+thing} {relation} {colour+thing}
{count+thing} on a {colour} table
{style} of {count+thing}, {mood}
{material+thing} on a windowsill {time}
{thing} on a {colour} background, {mood}
still life with {thing} and {food}
{thing}, {thing} and {thing} on a shelf
{material+thing} in the snow
{food} on a {colour} plate
{food} and {food} {place}
{style} of {food}, {mood}
{person} eating {food} {place}
{food} in a {colour} bowl next to {thing}
{food} for breakfast, seen from above
{vehicle} {relation} {building}
{colour+vehicle} {place} {time}
{style} of {colour+vehicle}
{count+vehicle} in front of {building}
{person} waiting for {vehicle} {time}
{vehicle} crossing {landscape}
{building} {time}
{style} of {building} by {landscape}
{building} with a {colour} roof, {mood}
{count+building} on a hill {time}
{animal} in front of {building}
{landscape} {time}
{style} of {landscape}, {mood}
{landscape} {time} with {animal}
{person} looking at {landscape} {time}
{landscape}, {style}, {mood}
{vehicle} by {landscape} {time}
a sign with the word "{word}" {place}
{thing} shaped like {animal}
{person} showing {colour+thing} to {person}
map of {landscape} with {building}
"""
_HEADS = {"person", "animal", "thing", "food", "vehicle", "building", "landscape"}
_SIGNS = _list(
    "open, welcome, hello, fresh bread, library, exit, tickets, coffee, sale, museum, spring, thank you, "
    "quiet please, bus stop, garden"
)
_PLURALS = {
    "mouse": "mice",
    "goose": "geese",
    "sheep": "sheep",
    "deer": "deer",
    "goldfish": "goldfish",
    "fisherman": "fishermen",
    "postman": "postmen",
    "wolf": "wolves",
    "scarf": "scarves",
    "doll's house": "doll's houses",
}
_SLOT = re.compile(r"\{([a-z_]+)(?:\+([a-z]+))?\}")


def _plural(noun: str) -> str:
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"


def _write(frame: str, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """One caption of a frame, and its head nouns."""
    heads: list[str] = []

    def put(match: re.Match[str]) -> str:
        first, second = match.groups()
        if first == "word":
            return rng.choice(_SIGNS)
        kind = second or first
        noun = rng.choice(_WORDS[kind])
        if kind in _HEADS:
            heads.append(re.sub(r"^an? ", "", noun))
        if second:
            qualifier = rng.choice(_WORDS[first])
            return f"{qualifier} {_plural(noun)}" if first == "count" else article(f"{qualifier} {noun}")
        if kind in ("person", "animal", "thing", "vehicle", "building", "landscape"):
            return article(noun)
        return noun

    text = _SLOT.sub(put, frame.replace("{look} {person}", "{look+person}"))
    return text, tuple(dict.fromkeys(heads))


@cache
def _all(count: int) -> tuple[Candidate, ...]:
    def candidate(frame: str, rng: random.Random) -> Candidate:
        text, heads = _write(frame, rng)
        return Candidate(text, "everyday", heads, frame, "everyday")

    return tuple(distinct("everyday", _FRAMES, count, candidate))


def captions(count: int = COUNT) -> list[Candidate]:
    """The shipped captions, distinct, always the same; a smaller ``count`` gives the first ones."""
    return list(_all(count))
