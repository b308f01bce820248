"""What stands in a file instead of what its name says: nothing, a git-lfs pointer, a web page, a server's refusal.

Facts: git-lfs's ``docs/spec.md``, a pointer is a text of under 1024 bytes with such a first line.
"""

from __future__ import annotations

from pathlib import Path

from sora.storage import regular

AGAIN = "download it again"
_HEAD = 512  # bytes of a file that tell
_POINTER = b"version https://git-lfs.github.com/spec/"
_QUOTED = 60  # characters of a text, for a person


def damage(path: Path, error: Exception | str, *, is_text: bool = True, advice: str = AGAIN) -> str:
    """What is wrong with a file that is not read, and what to do, for a person: "damaged (...); download it again".

    error: of the one who read it, which holds where nothing else stands in its place. is_text: whether the file is one
    when it is well. advice: what to do where nothing says more.
    """
    try:
        with regular.opened(path) as file:
            head = file.read(_HEAD)
    except OSError:
        return f"damaged ({error}); {advice}"
    if not head:
        return f"damaged (it is empty, as a failed download leaves it); {advice}"
    if head.startswith(_POINTER):
        return "not there (this is its git-lfs pointer); run `git lfs pull` in its folder, or `sora models pull`"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "damaged (it is a web page); download it again, by a link to the file itself"
    line = head.decode("utf-8", "replace").strip().split("\n")[0].rstrip("\r")
    if not is_text and line.isprintable() and "\ufffd" not in line:
        return f"damaged (it is a text, {line[:_QUOTED]!r}); {advice}"
    return f"damaged ({error}); {advice}"
