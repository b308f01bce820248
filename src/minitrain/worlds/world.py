"""Which films each world contains, and how one is drawn from a seed.

Films whose (subject, setting, motion) hash into the held-out tenth are never trained on.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from random import Random

from minitrain.scene import CAMERAS, EVENTS, HOURS, MOTIONS, RELATIONS, STYLES, WEATHERS, Actor, Film, Shot
from minitrain.worlds import relations
from minitrain.worlds.motions import LATTICE_SIDE, LEFTWARDS, RIGHTWARDS, WRAPS_X
from minitrain.worlds.settings import SETTINGS
from minitrain.worlds.subjects import SHAPES, SOLID, SUBJECTS

FIRST_MOTIONS = MOTIONS[:9]
FIRST_SETTINGS = ("meadow", "snow", "sea", "desert", "night", "city", "sunset")
PANNABLE_MOTIONS = ("up", "down", "bounce", "spin")  # a sideways camera would turn "still" and "left" into one another


@dataclass(frozen=True)
class World:
    """What films are drawn from. pair_share, event_share, cut_share, camera_share, weather_share, style_share: shares
    of the films with two actors, with a lasting event, with two shots, with a moving camera, with weather, in another
    style than flat. dark_hour_share: share of hours other than day, if the setting leaves a choice. sizes: of sprites,
    as shares of the short side. lattice: one size of sprite, starting on a lattice of 16 and back on it every fourth
    frame, all backdrops in one layer; a latent frame then shows a subject in few positions instead of endlessly many,
    which a small training can learn. oversampled_motions: motions that trainings draw once more for each time they are
    listed, since they are learnt last. faces: directions that an actor may look in if its motion leaves it open.
    oversampled_subjects: subjects that trainings draw three times as often as the others. contained: whether actors
    stay inside the picture, see ``bounds``."""

    subjects: tuple[str, ...]
    settings: tuple[str, ...] = tuple(SETTINGS)
    motions: tuple[str, ...] = MOTIONS
    relations: tuple[str, ...] = RELATIONS
    events: tuple[str, ...] = EVENTS
    cameras: tuple[str, ...] = CAMERAS
    weathers: tuple[str, ...] = WEATHERS
    hours: tuple[str, ...] = HOURS
    styles: tuple[str, ...] = STYLES
    pair_share: float = 0.3
    event_share: float = 0.06
    cut_share: float = 0.18
    camera_share: float = 0.35
    weather_share: float = 0.2
    style_share: float = 0.2
    dark_hour_share: float = 2 / 3
    sizes: tuple[float, float] = (0.35, 0.65)
    lattice: bool = False
    oversampled_motions: tuple[str, ...] = ("right", "down", "bounce", "spin")
    faces: tuple[str, ...] = ("left", "right")
    oversampled_subjects: tuple[str, ...] = ()
    contained: bool = False

    @property
    def has_gaits(self) -> bool:
        """Whether walking, swimming and rolling are motions of their own in this world."""
        return any(motion not in FIRST_MOTIONS for motion in self.motions)


SMALL = World(
    subjects=(
        *("balloon", "car", "sailboat", "rocket", "turtle", "fish", "elephant", "chick"),
        *("red ball", "blue ball", "yellow ball", "purple ball"),
    ),
    settings=FIRST_SETTINGS,
    motions=FIRST_MOTIONS,
    relations=(),
    events=(),
    cameras=("static", "pan-left", "pan-right"),
    weathers=("", "snow"),
    styles=("flat",),
    pair_share=0,
    event_share=0,
    cut_share=0,
    camera_share=0.1,
    weather_share=0.06,
    style_share=0,
    dark_hour_share=0,
    lattice=True,
)
MEDIUM = replace(
    SMALL,
    subjects=(
        *SMALL.subjects,
        *("dog", "cat", "butterfly", "octopus", "whale", "crab", "penguin", "bus", "apple", "mushroom", "sunflower"),
        "yellow star",
    ),
    settings=(*FIRST_SETTINGS, "beach", "forest", "space"),
    weathers=("", "snow", "rain"),
    weather_share=0.08,
    dark_hour_share=0.15,
)
LARGE = World(subjects=tuple(SUBJECTS))
RICH = replace(
    MEDIUM,
    subjects=(
        *MEDIUM.subjects,
        *("rabbit", "pig", "panda", "lion", "fox", "bear", "frog", "snail", "dolphin", "bee", "duck", "dinosaur"),
        *("robot", "ghost", "snowman", "teddy", "taxi", "fire engine", "locomotive", "helicopter"),
        *("flying saucer", "strawberry", "pumpkin", "red heart"),
    ),
    settings=(*MEDIUM.settings, "mountains", "farm", "village", "lake", "moon", "reef"),
    weather_share=0.06,
    camera_share=0.08,
    dark_hour_share=0.25,
    sizes=(0.44, 0.6),
    lattice=False,
    faces=("left",),
)
WIDE = replace(
    RICH,
    subjects=tuple(SUBJECTS),
    settings=tuple(SETTINGS),
    motions=MOTIONS,
    sizes=(0.3, 0.65),
    weathers=WEATHERS,
    weather_share=0.15,
    camera_share=0.15,
    dark_hour_share=0.5,
)  # what an autoencoder is trained on that shall serve larger worlds later
RICH_V2 = replace(
    RICH,
    oversampled_motions=("right", "down", "bounce", "spin", "bounce", "spin", "grow"),
    oversampled_subjects=(
        *("elephant", "cat", "helicopter", "bus", "dolphin", "whale", "rabbit", "locomotive", "pig", "butterfly"),
        "duck",
    ),
    contained=True,
)  # to train on in: what weights from ``rich`` paint worst comes more often, and nothing comes in at the opposite edge
WORLDS = {"small": SMALL, "medium": MEDIUM, "rich": RICH, "rich-v2": RICH_V2, "wide": WIDE, "large": LARGE}


def is_held_out(film: Film) -> bool:
    """Whether the film's first actor in its first setting and motion belongs to the tenth that is never trained on."""
    shot = film.shots[0]
    return _combination_is_held_out(shot.actors[0].subject, shot.setting, shot.actors[0].motion)


def _combination_is_held_out(subject: str, setting: str, motion: str) -> bool:
    return zlib.crc32(f"{subject}|{setting}|{motion}".encode()) % 10 == 0


def mirrored(film: Film) -> Film:
    """The same film with its actors looking in the other direction, for a judge that must recognise motion from
    motion."""
    other = {"left": "right", "right": "left"}
    shots = (replace(s, actors=tuple(replace(a, faces=other[a.faces]) for a in s.actors)) for s in film.shots)
    return replace(film, shots=tuple(shots))


def draw_film(world: World, seed: int, *, held_out: bool | None = None) -> Film:
    """A film from a seed. held_out: only held-out combinations, only the others, or either if None."""
    rng = Random(seed)
    plot = _draw_plot(world, rng)
    motions = (*world.motions, *(m for m in world.oversampled_motions if held_out is False and m in world.motions))
    while True:
        oversampled = world.oversampled_subjects if held_out is False else ()
        subject = rng.choice(plot.subjects) if plot.subjects else _draw_subject(world, rng, oversampled)
        setting, motion = rng.choice(world.settings), rng.choice(plot.motions or motions)
        if held_out is None or _combination_is_held_out(subject, setting, motion) == held_out:
            break
    style = rng.choice(world.styles[1:]) if rng.random() < world.style_share else world.styles[0]
    shot = _draw_shot(world, rng, plot, subject, setting, motion)
    cuts = not plot.relation and not plot.event and rng.random() < world.cut_share
    return Film((shot, _draw_second_shot(world, rng, shot)) if cuts else (shot,), style)


@dataclass(frozen=True)
class FilmPlot:
    """The kind of a film, and the choices that it leaves; empty tuples if everything is free."""

    relation: str = ""
    event: str = ""
    subjects: tuple[str, ...] = ()
    motions: tuple[str, ...] = ()


FOLLOW_MOTIONS = tuple(f"{m}{side}" for m in ("", "walk-", "swim-", "roll-") for side in ("left", "right"))
PAIR_MOTIONS = {"beside": ("still", "still", "bounce", "spin")}  # of a pair's first actor; elsewhere it keeps still


def _draw_plot(world: World, rng: Random) -> FilmPlot:
    kind = rng.random()
    if kind < world.pair_share and world.relations:
        relation = rng.choice(world.relations)
        motions = FOLLOW_MOTIONS if relation == "follows" else PAIR_MOTIONS.get(relation, ("still",))
        solid = tuple(s for s in world.subjects if s in SOLID)
        return FilmPlot(relation=relation, motions=motions, subjects=solid if relation == "behind" else ())
    if kind < world.pair_share + world.event_share and world.events:
        event = rng.choice(world.events)
        fitting = tuple(
            s for s in world.subjects if (SUBJECTS[s].kind == "food" if event == "bites" else s == "paintbrush")
        )
        if fitting:
            return FilmPlot(
                event=event, subjects=fitting, motions=("still",) if event == "bites" else ("left", "right")
            )
    return FilmPlot()


def _draw_subject(world: World, rng: Random, oversampled: tuple[str, ...] = ()) -> str:
    """A subject; glyphs make up at least three quarters. oversampled: glyphs that are drawn three times as often as the
    others."""
    shapes = [s for s in world.subjects if s in SHAPES]
    glyphs = [s for s in world.subjects if s not in SHAPES]
    share = max(0.75, len(glyphs) / len(world.subjects)) if glyphs and shapes else float(bool(glyphs))
    return rng.choice([*glyphs, *oversampled, *oversampled] if rng.random() < share else shapes)


def _draw_shot(world: World, rng: Random, plot: FilmPlot, subject: str, setting: str, motion: str) -> Shot:
    sizes = relations.SIZE_RANGES.get(plot.relation, (world.sizes, world.sizes))
    actor = Actor(subject, motion, _facing(world, motion, rng), _sprite_size(world, rng, sizes[0]))
    actors: tuple[Actor, ...] = (actor,)
    if plot.relation:
        actors = (actor, _draw_second(world, rng, plot.relation, actor, sizes[1]))
    return Shot(
        setting=setting,
        actors=actors,
        camera=_draw_camera(world, rng, motion, plot),
        weather=rng.choice(world.weathers[1:]) if rng.random() < world.weather_share else "",
        hour=_draw_hour(world, rng, setting),
        relation=plot.relation,
        event=plot.event,
        seed=rng.getrandbits(48),
        contained=world.contained,
    )


def _draw_second(world: World, rng: Random, relation: str, first: Actor, sizes: tuple[float, float]) -> Actor:
    """Another subject, moving as the relation requires."""
    subject = first.subject
    while subject == first.subject:
        subject = _draw_subject(world, rng)
    motion = (
        first.motion if relation == "follows" else rng.choice(("left", "right")) if relation == "behind" else "still"
    )
    return Actor(subject, motion, _facing(world, motion, rng), _sprite_size(world, rng, sizes))


def _draw_second_shot(world: World, rng: Random, shot: Shot) -> Shot:
    """The second shot, in another setting or with another motion."""
    actor, setting = shot.actors[0], shot.setting
    if rng.random() < 0.7 and len(world.settings) > 1:
        setting = rng.choice([s for s in world.settings if s != setting])
    else:
        motion = rng.choice([m for m in world.motions if m != actor.motion])
        actor = replace(actor, motion=motion, faces=_facing(world, motion, rng))
    hours = SETTINGS[setting].hours
    hour = shot.hour if shot.hour in hours else hours[0]
    seed = rng.getrandbits(48)
    return replace(shot, actors=(actor,), setting=setting, hour=hour, camera="static", weather="", seed=seed)


def _sprite_size(world: World, rng: Random, sizes: tuple[float, float]) -> float:
    return LATTICE_SIDE / 128 if world.lattice else rng.uniform(*sizes)


def _facing(world: World, motion: str, rng: Random) -> str:
    if motion in LEFTWARDS or motion in RIGHTWARDS:
        return "left" if motion in LEFTWARDS else "right"
    return "left" if world.lattice else rng.choice(world.faces)


def _draw_hour(world: World, rng: Random, setting: str) -> str:
    hours = SETTINGS[setting].hours
    late = [h for h in hours if h != "day"]
    return rng.choice(late) if late and ("day" not in hours or rng.random() < world.dark_hour_share) else "day"


def _draw_camera(world: World, rng: Random, motion: str, plot: FilmPlot) -> str:
    """A camera that leaves no doubt about the motion. Its probability is raised for motions that allow it, so that the
    share of all films is kept."""
    if plot.event:
        return "static"
    fitting = [c for c in world.cameras if c != "static" and _camera_suits(c, motion, plot)]
    able = sum(any(_camera_suits(c, m, FilmPlot()) for c in world.cameras if c != "static") for m in world.motions)
    moves = fitting and rng.random() < world.camera_share * len(world.motions) / able
    return rng.choice(fitting) if moves else "static"


def _camera_suits(camera: str, motion: str, plot: FilmPlot) -> bool:
    if camera.startswith("pan"):
        return motion in PANNABLE_MOTIONS and not plot.relation
    if camera.startswith("tilt"):
        return motion in WRAPS_X
    if camera.startswith("zoom"):
        return motion not in ("grow", "shrink")
    return camera == "follow" and motion in WRAPS_X and not motion.startswith("arc")
