"""The default motion and setting of each subject, for prompts that name none."""

from __future__ import annotations

DEFAULT_MOTION, DEFAULT_SETTING = "still", "meadow"
MOTION_BY_SUBJECT: dict[str, str] = {
    **dict.fromkeys(("balloon", "rocket"), "up"),
    **dict.fromkeys(("car", "bus", "taxi", "fire engine", "locomotive", "sailboat", "helicopter"), "left"),
    **dict.fromkeys(("fish", "whale", "dolphin", "turtle", "snail", "bee", "butterfly", "flying saucer"), "left"),
    **dict.fromkeys(("dog", "elephant", "penguin", "pig", "rabbit", "duck", "chick", "dinosaur", "crab"), "left"),
    **dict.fromkeys(("red ball", "blue ball", "yellow ball", "purple ball", "ghost"), "left"),
    "red heart": "grow",
}
"""By subject; any other's is ``MOTION``."""

SETTING_BY_SUBJECT: dict[str, str] = {
    **dict.fromkeys(("fish", "whale", "dolphin", "octopus", "turtle"), "sea"),
    **dict.fromkeys(("car", "bus", "taxi", "fire engine", "robot"), "city"),
    **dict.fromkeys(("rocket", "flying saucer", "yellow star"), "space"),
    **dict.fromkeys(("penguin", "snowman"), "snow"),
    **dict.fromkeys(("bear", "fox", "mushroom"), "forest"),
    **dict.fromkeys(("ghost", "pumpkin"), "night"),
    **dict.fromkeys(("lion", "dinosaur"), "desert"),
    **dict.fromkeys(("pig", "chick"), "farm"),
    **dict.fromkeys(("locomotive", "helicopter"), "mountains"),
    **dict.fromkeys(("duck", "sailboat", "frog"), "lake"),
    "crab": "beach",
    "teddy": "village",
    "red heart": "sunset",
}
"""By subject; any other's is ``HOME``."""
