"""sora paints video on your own machine::

    import sora

    clip = sora.generate("a red ball bounces in the desert", seed=3)
    clip.save("ball.mp4")

``generate``, ``image``, ``img2vid``, ``extend``, ``loop``, ``bridge``, ``edit``, ``finish`` and ``remake``
return a ``Video`` in memory, and ``help(sora.generate)`` lists what they take. ``load`` keeps a model of your choice
in memory. docs/python.md tells more. Importing this brings neither torch nor numpy, which come with the first painting.

The map of the house, from the ground up; no room imports one above it:

- ``errors``, ``atomic``  what can go wrong, in a person's words; files that are there whole or not at all
- ``plan``      a request as data, and what becomes of it: prompts, sizes, windows, a Plan, a recipe. No torch
- ``weights``   checkpoint files of every layout and number format, and LoRA files
- ``catalog``   every model as a row of data, and the hub that brings its files. No torch
- ``media``     files to frames and frames to files, published whole or not at all
- ``networks``  plain torch modules; ``runtime`` is how they run: threads, kernels, number formats, offloading, LoRAs
- ``memory``    devices, and what is in memory when
- ``engine``    ``paint``: the one sequence of phases, for every verb and every model, and the protocols a model fulfils
- ``models``    one package for each family, which drives its networks
- ``finetune``  learning a LoRA
- ``jobs``      from a request to files: what it means, and painting it
- ``cli``       flags to requests; the only room that prints or exits

How the embedded weights are made and scored is ``minitrain``, a package of the repository that nothing here imports.

Axis letters: F Y X pixels in time, height, width; T H W latents; C channels; B batch; N tokens; L text; D width.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sora.engine.progress import ProgressEvent
    from sora.errors import InputError, ModelError, OutOfMemory, SoraError, UsageError
    from sora.jobs.session import (
        Session,
        bridge,
        edit,
        extend,
        finish,
        generate,
        image,
        img2vid,
        load,
        loop,
        paint_all,
        remake,
        unload,
    )
    from sora.jobs.video import Picture, Video
    from sora.plan.clip import Clip
    from sora.plan.request import Request
    from sora.plan.shot import Shot

__version__ = "0.1.0"

HOMES = {
    **dict.fromkeys(("generate", "image", "img2vid", "extend", "loop", "bridge", "edit"), "sora.jobs.session"),
    **dict.fromkeys(("finish", "remake", "paint_all", "load", "unload", "Session"), "sora.jobs.session"),
    **dict.fromkeys(("Video", "Picture"), "sora.jobs.video"),
    **dict.fromkeys(("SoraError", "UsageError", "InputError", "ModelError", "OutOfMemory"), "sora.errors"),
    "ProgressEvent": "sora.engine.progress",
    "Clip": "sora.plan.clip",
    "Request": "sora.plan.request",
    "Shot": "sora.plan.shot",
}
"""The Python API: every public name, and the module that it is imported from when it is first asked for."""

__all__ = [  # noqa: RUF022, in the order of the documentation
    "generate",
    "image",
    "img2vid",
    "extend",
    "loop",
    "bridge",
    "edit",
    "finish",
    "remake",
    "paint_all",
    "load",
    "unload",
    "Session",
    "Video",
    "Picture",
    "Clip",
    "Request",
    "Shot",
    "ProgressEvent",
    "SoraError",
    "UsageError",
    "InputError",
    "ModelError",
    "OutOfMemory",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'sora' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
