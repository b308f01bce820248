"""Which films are painted. These lists were written before any of them was painted, and no film was put in another's
place since."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("one", "fresh", "five", "settings")

MOTIONS = {
    "left": "moves to the left",
    "right": "moves to the right",
    "up": "rises",
    "down": "falls",
    "bounce": "bounces",
    "spin": "spins",
    "grow": "grows",
    "shrink": "shrinks",
    "still": "stands still",
    "pan-left": "stands still, the camera pans left",
    "pan-right": "stands still, the camera pans right",
}

ONE = (  # (subject as the judge calls it, prompt)
    ("butterfly", "a butterfly moves to the left in the forest"),
    ("helicopter", "a helicopter rises over the city at night"),
    ("octopus", "an octopus spins at the reef"),
    ("penguin", "a penguin stands still in the snow, snow is falling"),
    ("locomotive", "a train moves to the right in the mountains, the camera pans left"),
    ("pumpkin", "a pumpkin shrinks at the farm, it is raining"),
    ("yellow ball", "a yellow ball bounces on the moon"),
    ("dinosaur", "a dinosaur grows in the desert at dusk"),
    ("crab", "a crab moves to the left on the beach"),
    ("sunflower", "a sunflower falls in the village"),
)
FRESH = (  # as ONE; written when the limits of the matching had been chosen with films of that list in view
    ("taxi", "a taxi moves to the right in the city, it is raining"),
    ("panda", "a panda stands still in the forest"),
    ("fish", "a fish moves to the left over a coral reef"),
    ("flying saucer", "a flying saucer rises over the mountains at night"),
    ("snail", "a snail moves to the right in the meadow"),
    ("strawberry", "a strawberry bounces on the farm"),
    ("yellow star", "a yellow star spins at night"),
    ("elephant", "an elephant grows in the village"),
    ("apple", "an apple shrinks on the beach"),
    ("ghost", "a ghost falls in the forest at dusk, the camera pans right"),
)
FIVE = (  # (subject, with its article, where, motions of the shots)
    ("lion", "a lion", "in the meadow", ("left", "still", "bounce", "pan-right", "grow")),
    ("bus", "a bus", "in the city", ("right", "still", "left", "pan-left", "shrink")),
    ("duck", "a duck", "at the lake", ("still", "right", "bounce", "spin", "left")),
    ("rocket", "a rocket", "in space", ("up", "still", "spin", "down", "grow")),
    ("frog", "a frog", "in the forest", ("bounce", "left", "still", "up", "pan-left")),
    ("red heart", "a red heart", "at sunset", ("grow", "shrink", "spin", "up", "left")),
    ("robot", "a robot", "on the moon", ("still", "right", "pan-right", "bounce", "shrink")),
    ("whale", "a whale", "in the sea", ("left", "up", "pan-left", "right", "down")),
    ("snowman", "a snowman", "in the snow", ("still", "spin", "right", "grow", "pan-left")),
    ("bee", "a bee", "at the farm", ("up", "left", "bounce", "down", "spin")),
)
SETTINGS = (  # (subject, with its article, settings of the shots, motions of the shots)
    ("fox", "a fox", ("in the forest", "in the snow", "at night", "on the beach", "in the city"), "left"),
    ("robot", "a robot", ("in the city", "on the moon", "in the desert", "at the lake", "at sunset"), "still"),
    ("teddy", "a teddy", ("at the farm", "in the village", "in the meadow", "in space", "in the snow"), "bounce"),
    ("red ball", "a red ball", ("on the beach", "at night", "in the forest", "at sunset", "in the sea"), "right"),
)


@dataclass(frozen=True)
class Case:
    """A film to paint. kind: which table it is in. subject: as the judge calls it. shots: a prompt each."""

    kind: str
    number: int
    subject: str
    shots: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number:02}"


def cases(films: int) -> list[Case]:
    """The first ``films`` of each kind. Their lists were written before any of them was painted."""
    one = [
        Case(kind, n, subject, (prompt,))
        for kind, listed in (("one", ONE), ("fresh", FRESH))
        for n, (subject, prompt) in enumerate(listed[:films])
    ]
    five = [
        Case("five", n, subject, tuple(_shot(noun, MOTIONS[motion], where) for motion in motions))
        for n, (subject, noun, where, motions) in enumerate(FIVE[:films])
    ]
    settings = [
        Case("settings", n, subject, tuple(f"{noun} {MOTIONS[motion]} {where}" for where in places))
        for n, (subject, noun, places, motion) in enumerate(SETTINGS[:films])
    ]
    return [*one, *five, *settings]


def _shot(noun: str, motion: str, where: str) -> str:
    """A prompt; what the camera does stands last."""
    moves, comma, camera = motion.partition(",")
    return f"{noun} {moves} {where}{comma}{camera}"
