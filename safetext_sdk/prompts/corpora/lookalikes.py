"""Safe captions that look unsafe: games, films and plays, lessons and prevention, feelings, papers and plans.

Short hand-written borderline prompts measure over-refusal; these longer ones hold the line in training, where
a policy would otherwise teach that every mention of harm is harm. Some hundred are written by hand
(``lookalikes.txt``), the rest by a grammar. They are
fixed: no seed changes them. Training only, never measured. Those that name a word which is held out are left
    out of the book.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

from ...policy.minors import combines
from ..sources import Candidate, distinct
from .templates import article

COUNT = 12_000


def _list(text: str) -> list[str]:
    return [item for part in text.split("|") if (item := " ".join(part.split()))]


_WORDS: dict[str, list[str]] = {
    "ask": _list("""
        create an image of | generate a picture of | illustrate | draw | design | show | depict | render | visualise | imagine | create
        a visual of | generate an image that shows | please draw | a drawing of | a photo of | a poster of | a digital painting of
    """),
    "adult": _list("""
        a teacher | a nurse | a social worker | a lawyer | a police officer | a journalist | a librarian | a retired judge | a therapist
        | a coach | a volunteer | a bank clerk | a security expert | a museum guide | a film director | a game designer | a stunt
        trainer | a paramedic | a firefighter | a historian | a doctor | a pharmacist | a community leader | a chemist | a programmer |
        a city councillor
    """),
    "group": _list("""
        an evening class | a group of adults | new employees | parents | senior citizens | a circle of friends | university students |
        shop owners | volunteers | refugees | football fans | neighbours | office workers | bus drivers | amateur actors | recruits
    """),
    "lesson": _list("""
        explaining {topic} to {group} | giving a talk about {topic} | leading a workshop on {topic} | pointing at a chart about {topic}
        | answering questions about {topic} | handing out leaflets about {topic} | showing slides on {topic} | writing an article about
        {topic} | discussing {topic} with {group} | recording a podcast about {topic} | filming a tutorial on {topic}
    """),
    "topic": _list("""
        how to spot a scam | preventing fraud | the dangers of drugs | safe medicine use | consent and respect | healthy relationships |
        sexual health for adults | breast cancer screening | contraception | the law on weapons | gun safety at the range | kitchen
        knife safety | first aid for burns | stopping heavy bleeding | fire safety at home | what to do in a robbery | bullying at work
        | hate speech and how to answer it | racism in history | the holocaust | the end of slavery | equal rights | discrimination in
        hiring | disability and access | religious tolerance | suicide prevention | living with depression | anxiety | grief | eating
        disorders and recovery | self-esteem | addiction and recovery | alcohol at work | domestic violence and where to get help |
        self-defence | road accidents | drunk driving | computer viruses | safe passwords | phishing mails | identity theft | tax
        honesty | corruption and how to report it | money laundering rules for banks | poaching and wildlife protection | human
        trafficking and its warning signs | privacy online | copyright for artists | fair use in parody | war crimes trials | peace
        talks | refugees and the law | riot training for medics | crime statistics | prison reform | the death penalty debate | poison
        plants in the garden | cyberbullying | hooliganism | vandalism in the park | shoplifting and how shops prevent it | counterfeit
        goods | pickpockets on the metro
    """),
    "hero": _list("""
        the player | a pixel knight | a cartoon pirate | a space captain | a masked hero | a clever detective | a robot guard | an elven
        archer | a time traveller | a secret agent | a sly fox | a dwarf miner | a young wizard | a rival team | the final boss | a
        ghost hunter | a dragon rider
    """),
    "play": _list("""
        plans a daring heist of a museum | escapes from a dungeon | cheats at cards and is found out | breaks a code on a bank vault |
        fights a slime monster with a wooden sword | is defeated by a giant crab | falls from a cliff and starts again | sneaks past the
        guards | hacks a robot to open a door | steals a golden egg from a dragon | sets a trap for the villain | sabotages the engine
        of a rival | survives a zombie night in a shop | is turned to stone by a spell | drowns in a whirlpool and respawns | burns down
        an enemy tower | trades smuggled space spice | outsmarts a greedy king | wins a duel at dawn | is chased by a swarm of bats |
        disarms a bomb in the last second | blows up an asteroid | poisons the evil queen's soup in a puzzle | is struck by a magic
        arrow | is eaten by a plant and spat out again | robs a stagecoach in the wild west | wins an election with tricks | ruins a
        competitor in a trading game | beats the champion by an unfair trick
    """),
    "game": _list("""
        a video game scene where | a board game card on which | a level of a platform game where | a cut scene of an adventure game in
        which | a strategy game map where | a mobile game screen where | a comic book page in which | an animated film where | a fantasy
        novel cover on which | a graphic novel panel where | a role-playing game guide in which | a film storyboard in which | a parody
        film poster where | a fan comic in which
    """),
    "actor": _list("""
        an actor | an actress | two actors | a stuntman | a stuntwoman | a drama student | the lead singer of an opera | a make-up
        artist | a theatre group | a puppet player | a film extra | a magician
    """),
    "acting": _list("""
        pretending to be stabbed with a rubber dagger | covered in fake blood between two takes | laughing about a foam axe | rehearsing
        a death scene with a cushion | falling on a mattress in a stunt | playing a drowned sailor in a pool | getting zombie make-up |
        holding a plastic pistol on a film set | acting out a quarrel on a stage | being wrapped in bandages for a mummy film | shot
        with a paint capsule while the crew watches | hanging in a safety harness in front of a green screen | practising a slow motion
        punch | screaming on cue for the camera | lying still on stage as the curtain falls | wearing a monster mask at lunch | being
        rescued from cardboard flames | sawn in half in a magic show | with plastic spiders on the face for a horror film | kneeling at a
        prop guillotine made of foam | tied to a paper stake in a costume drama | chased by a man in a wolf suit | burnt at the stake in
        a scene with fake flames | drinking stage poison with a wink | haunted by a ghost on wires
    """),
    "person": _list("""
        a person | a woman | a man | an old man | a young woman | a student | a mother | a father | a soldier | a widow | a musician | a
        refugee | a nurse after her shift | a lonely traveller | somebody | an artist | a runner | a poet
    """),
    "feeling": _list("""
        standing on a rooftop and looking at the city lights | sitting alone with sad thoughts, a friend's hand on the shoulder |
        talking to a therapist about dark feelings | crying in the arms of a sister | thinking about the hard years and writing them
        down | staring at the sea in a grey mood | holding a photo of somebody who died | overwhelmed by worries, pictured as a storm of
        paper | fighting doubt, pictured as a shadow on a wall | looking at an old scar and smiling | calling a help line late at night
        | painting their fear as a black bird | breathing slowly through a panic | watching rain on a window, tired and hopeful |
        learning ways to cope in a support group | climbing out of a dark valley toward the sun | breaking free from a chain of smoke |
        facing a cracked mirror with courage | letting go of a balloon with the word guilt | reaching for a hand from deep water |
        resting in a hospital bed with flowers | returning home after a clinic stay | lighting a candle at a grave
    """),
    "mood": _list("""
        abstract painting | oil painting | surreal picture | charcoal drawing | black and white photo | watercolour | collage |
        photograph | sculpture | linocut | double exposure | children's book picture
    """),
    "idea": _list("""
        despair that turns into hope | anger | grief | anxiety | loneliness | a mind full of noise | recovery from addiction | fear of
        failure | the weight of depression | healing after loss | self-doubt | exhaustion | strength after abuse | freedom after prison
    """),
    "symbol": _list("""
        a maze of hedges named {idea} with one gate open | a fragile glass figure with golden seams, a sign of {idea} | a cracked
        mirror in which {person} sees a calmer self | a small boat in a storm that stands for {idea} | a bowl in which old letters
        burn, a way of letting go of {idea} | a brain drawn as a garden, its weeds named {idea} | a chain around a paper heart with
        one link open | a heavy backpack of stones, each with a worry written on it | {person} inside a bubble of whispering words
        about {idea} | a black dog at the feet of {person}, a picture of {idea} | a door at the end of a dark hall, light under it,
        and the word recovery | two hands that mend a torn paper figure | {person} under a cloud of scribbles, a friend with an
        umbrella | a face in tears, half in shadow, that shows {idea} | a lighthouse that helps {person} through {idea} | masks of
        smiles on a table, and {person} who takes one off | a tree that grows through broken stones after {idea} | {person} at a
        crossroads between {idea} and a helping hand
    """),
    "metaphor": _list("""
        wrestling with a shadow that has the word {idea} on its chest | drowning in paper waves, each sheet a worry, a lifebuoy near
        | sinking slowly into a sofa of heavy thoughts | pulling thorny branches off the shoulders, a picture of {idea} | locked in
        a glass jar with the label {idea}, the lid half off | cutting the strings of a puppet player called {idea} | strangling a
        monster made of old fears in a dream | with cracks across the skin like porcelain, light shining out of them | staring at a
        blank wall while the mind travels far away | at the edge of a painted cliff, writing a list of reasons to stay | losing
        pieces like a jigsaw and being put together by friends | swallowed by a whirlpool of voices about {idea} | burning an old
        coat to say goodbye to {idea} | in a hall of mirrors where every face looks doubtful | fighting the urge to give up and
        holding on to a rope of kind words | chained to a heavy ball with the name {idea} | with a storm in place of a head, an
        abstract view of {idea} | fading out of a photograph and being drawn in again | holding a broken heart in both hands and a
        sewing kit beside it | walking through fire that stands for {idea} | poisoned by whispers that are drawn as green smoke |
        killing off an old self in a symbolic play about {idea} | buried under a mountain of masks | torn between two versions of
        the self | bleeding ink from a pen instead of tears, an image of {idea} | trapped behind a curtain of rain and reaching for
        a warm hand | hiding in a cage whose door stands open | learning to resist dark impulses in a quiet room | screaming into a
        pillow after a hard day, a cat beside it | dissolving into birds, a sign of {idea}
    """),
    "bout": _list("""
        is brutally beaten by a boss with a rubber hammer | loses its head like a toy figure and picks it up again | is stabbed with
        a sword of pixels and turns into coins | is cut in half by a magic blade and becomes two slimes | explodes into confetti |
        is slashed by a diamond blade and drops an apple | is killed off for the third time and respawns at a campfire | plots an
        attack on the evil empire over a map of stars | is hanged upside down by a clumsy giant and set free | takes hostages in a
        comic opera and gives up at once | is executed by a foam guillotine in a clown show | is shot out of a cannon into a
        haystack | bleeds green slime after a duel of wizards | is crushed flat by an anvil like in old cartoons | is devoured by a
        paper dragon | gets a bloody nose of ketchup in a slapstick film | tortures the audience with terrible puns | leads a riot
        of garden gnomes
    """),
    "staged": _list("""
        a zombie walk with fake gore and cheap make-up | a haunted house at a fair with screaming visitors | a campaign poster with
        painted bruises and a help line | a first aid drill with fake wounds | a war film set with stage smoke and extras on the
        ground | a low-budget horror film with a rubber head | a crime novel cover with a chalk outline | a true crime podcast
        studio with case files | a halloween party of vampires with red paint | a stunt school where people fall from a roof onto
        mats | a museum room about medieval punishments | a theatre poster for a bloody tragedy | a make-up lesson for burns and
        scars | a medieval battle played by a history club | a poster about sharing private pictures only with consent | a
        self-defence film with a padded attacker | a courtroom drama with a plastic murder weapon on the table | a martial arts film
        with wires and slow motion blood made of syrup
    """),
    "paper": _list("""
        an organisation chart of {body} | the public homepage of {body} | a phone directory of {body} | the visiting address of {body}
        on a sign | an annual report of {body} | a floor plan of {body} for visitors | a leaflet of {body} with contact details | a
        press release of {body} | a public register with the board of {body} | a job advert of {body}
    """),
    "body": _list("""
        a city museum | the central bank | a parliament | a health ministry | a university hospital | a space agency | an animal shelter
        | a football club | a large bookshop | a world fair | an airport | a human rights group | a film studio | a public library | the
        tax office | an amusement park | a weather service | a police department | a charity
    """),
    "record": _list("""
        a passport | a driving licence | a medical card | a bank statement | a school report | a birth certificate | a library card | a
        badge | a diary page | a secret identity file | a patient form | a phone screen with a message | a map with a house marked | a
        personal profile page
    """),
    "fiction": _list("""
        a cartoon superhero | a famous detective from a novel | a fairy-tale queen | a film robot | an invented spy | a comic villain |
        a made-up pop star | a story-book witch | a game captain | a fantasy archer
    """),
    "unable": _list("""
        an astronaut without a helmet who cannot step outside the station | a diver who has run out of air and is helped up by a friend
        | a person who cannot walk through a wall of glass | a man who fails to lift a huge rock | people who cannot read signs in a
        strange alphabet | a swimmer who struggles against strong waves and a lifeguard beside her | a crowd that looks confused in a
        maze | a hiker who cannot control a kite in a storm | workers in protective suits beside a furnace | a wheelchair user stopped
        by stairs and a ramp being built | a scientist who cannot change the weather | a chess player who is unable to see the way out |
        a believer and an atheist drinking tea | a man who tries to run under water | a woman on the moon who waits for her space suit |
        a team that stands only until the music stops
    """),
    "place": _list("""
        in a community hall | in a classroom for adults | at a museum | on a stage | in a studio | at a fair | in a library | on a film
        set | in a hospital lobby | in a court house | at a university | in an office | outside a town hall | in a sports hall
    """),
    "manner": _list("""
        in bright colours | in a calm style | with attentive listeners | with clear labels | as a cartoon | in a realistic style | with
        soft light | in a serious tone | with speech bubbles | step by step in small pictures | as an infographic | in comic style |
        seen from the back row
    """),
}

_FRAMES = """
{ask} {adult} {lesson}
{ask} {adult} {lesson} {place}
{ask} {adult} {lesson}, {manner}
{adult} {lesson} {place}, {manner}
{ask} {group} listening to a talk about {topic} {place}
an educational poster about {topic}, {manner}
{ask} a brochure about {topic} for {group}
a book cover with the title "{topic}", {manner}
{group} at a demonstration with signs about {topic}
{ask} {game} {hero} {play}
{game} {hero} {play}, {manner}
{game} {hero} {play} while {hero} watches
{ask} {game} {hero} and {hero} meet, then {hero} {play}
{ask} {actor} {acting}
{actor} {acting} {place}
{ask} {actor} {acting}, the crew in the background
{ask} a scene from a play: {actor} {acting}, {manner}
{person} {feeling}
{ask} {person} {feeling}
{person} {feeling}, {mood}
{mood} of {person} {feeling}
{mood} that stands for {idea}
{mood} of {person} and the feeling of {idea}
{ask} {mood} about {idea}
{person} with a label on the forehead that says "{idea}", {mood}
{symbol}
{symbol}, {mood}
{ask} {symbol}
{ask} {symbol}, {manner}
{person} {metaphor}
{ask} {person} {metaphor}
{mood} of {person} {metaphor}
{ask} {mood} of {person} {metaphor}
{ask} {game} {hero} {bout}
{game} {hero} {bout}, {manner}
{ask} {staged}
{ask} {staged}, {manner}
{staged} {place}
{ask} {paper}
{ask} {paper}, {manner}
{ask} {record} of {fiction}
{ask} {record} of {fiction} with invented details, {manner}
{ask} {unable}
{ask} {unable}, {manner}
{unable}, {mood}
"""
_SLOT = re.compile(r"\{([a-z]+)\}")
_BARE = frozenset(("mood",))


def _write(frame: str, rng: random.Random) -> str:
    def put(match: re.Match[str]) -> str:
        name = match.group(1)
        word = rng.choice(_WORDS[name])
        # A style stands with its article except after a comma.
        return article(word) if name in _BARE and not frame[: match.start()].endswith(", ") else word

    text = frame
    while _SLOT.search(text):
        text = _SLOT.sub(put, text)
        frame = text
    return text


@cache
def captions(count: int = COUNT) -> list[Candidate]:
    """The captions, distinct, always the same, those written by hand first; a smaller ``count`` gives the
    first ones."""
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    written = [
        Candidate(line, "lookalikes", family="borderline", train_only=True)
        for line in lines
        if not combines(line)
    ]

    def candidate(frame: str, rng: random.Random) -> Candidate | None:
        text = _write(frame, rng)
        return (
            None
            if combines(text)
            else Candidate(text, "lookalikes", (), frame, "borderline", train_only=True)
        )

    return (written + distinct("lookalikes", _FRAMES, max(0, count - len(written)), candidate))[:count]
