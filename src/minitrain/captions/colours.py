"""The colours of subjects, for prompts that name one: "a blue car" cannot be generated if cars are red."""

from __future__ import annotations

from minitrain.worlds.subjects import SUBJECTS

CHINESE = {
    "red": "红",
    "blue": "蓝",
    "green": "绿",
    "yellow": "黄",
    "purple": "紫",
    "orange": "橙",
    "pink": "粉",
    "brown": "棕",
    "grey": "灰",
    "black": "黑",
    "white": "白",
    "golden": "金色",
    "silver": "银色",
}
SPELLINGS = {
    "gray": "grey",
    "violet": "purple",
    "gold": "golden",
    "scarlet": "red",
    "turquoise": "blue",
    "cyan": "blue",
}

COLOURS: dict[str, tuple[str, ...]] = {
    "balloon": ("red",),
    "car": ("red",),
    "sailboat": ("orange", "white", "red"),
    "rocket": ("grey", "red", "blue", "silver", "white"),
    "turtle": ("green",),
    "fish": ("yellow", "orange", "black"),
    "elephant": ("grey",),
    "chick": ("yellow",),
    "dog": ("brown", "white"),
    "cat": ("orange", "yellow", "golden"),
    "butterfly": ("orange", "black"),
    "octopus": ("red", "pink"),
    "whale": ("blue", "grey"),
    "crab": ("red", "orange"),
    "penguin": ("black", "white"),
    "bus": ("blue", "grey"),
    "apple": ("red",),
    "mushroom": ("red",),
    "sunflower": ("yellow", "golden"),
    "rabbit": ("white", "grey"),
    "pig": ("pink",),
    "panda": ("black", "white"),
    "lion": ("yellow", "brown", "golden"),
    "fox": ("orange", "red"),
    "bear": ("brown",),
    "frog": ("green",),
    "snail": ("brown",),
    "dolphin": ("blue",),
    "bee": ("yellow", "black"),
    "duck": ("brown", "green", "grey"),
    "dinosaur": ("green",),
    "robot": ("grey", "silver"),
    "ghost": ("white",),
    "snowman": ("white",),
    "teddy": ("brown",),
    "taxi": ("yellow",),
    "fire engine": ("red",),
    "locomotive": ("green", "red", "black"),
    "helicopter": ("yellow",),
    "flying saucer": ("grey", "silver"),
    "strawberry": ("red",),
    "pumpkin": ("orange",),
}
"""Of glyphs; the first is the one that advice names. A subject that is not listed may be given any colour."""


def colours(subject: str) -> tuple[str, ...]:
    """The colours that a prompt may give a subject, the most fitting first; empty if any colour may be named."""
    own = SUBJECTS[subject].colour
    return (own,) if own else COLOURS.get(subject, ())
