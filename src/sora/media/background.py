"""What lies under the transparent parts of pictures and films."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageColor

from sora.errors import UsageError

MAX_CHARACTERS = 40  # of a colour


@dataclass(frozen=True)
class Background:
    """name: of the colour, as a person wrote it. rgb: the same, 0 to 255 each."""

    name: str = "white"
    rgb: tuple[int, int, int] = (255, 255, 255)

    @property
    def note(self) -> str:
        """To stand behind a file's name."""
        return f"is transparent; it is put over {self.name}, change that with --background"


WHITE = Background()


def background_of(text: str | None) -> Background:
    """The colour that a person asked for, white for None. Raises UsageError for what is no opaque colour."""
    if text is None:
        return WHITE
    expected = "expected a name as black or skyblue, or #rrggbb"
    try:
        red, green, blue, *alpha = ImageColor.getrgb(text.strip()[:MAX_CHARACTERS])
    except ValueError:
        raise UsageError(f"--background {text[:MAX_CHARACTERS]!r} is not a colour; {expected}") from None
    if alpha not in ([], [255]):
        raise UsageError(f"--background {text!r} is transparent itself; {expected}")
    return Background(text.strip(), (red, green, blue))
