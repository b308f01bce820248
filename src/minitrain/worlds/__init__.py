"""The cartoon worlds: films drawn from seeds and rendered in batches on any device."""

from minitrain.worlds.render import Rendered, render
from minitrain.worlds.world import WORLDS, World, draw_film, is_held_out, mirrored

__all__ = ["WORLDS", "Rendered", "World", "draw_film", "is_held_out", "mirrored", "render"]
