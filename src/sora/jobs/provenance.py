"""Which digital source type a film has, of IPTC's vocabulary (NewsCodes, "Digital Source Type",
http://cv.iptc.org/newscodes/digitalsourcetype/).

trainedAlgorithmicMedia: made by a model that was trained on sampled content. Every pixel was painted: ``generate``,
``image``, a ``loop`` of words, and an ``edit`` that paints the whole clip anew.
compositeWithTrainedAlgorithmicMedia: painted media together with other media, as by inpainting and outpainting. Pixels
or sound of a person's own are in the film as they were: ``img2vid``, ``extend``, ``loop``, ``bridge``, and an ``edit``
of a region or of some frames. Where all of these were painted themselves, which their files say, the film is of the
first type. Reference pictures count as words do: they say what to paint, and none of their pixels is in the film.
"""

from __future__ import annotations

from sora import media
from sora.jobs.inputs import Inputs
from sora.media import Sound
from sora.plan.plan import Plan
from sora.plan.request import Request


def source_type(request: Request, plan: Plan, sounds: tuple[Sound, ...], files: Inputs) -> str:
    """A film's, by what is known in its plan. Raises InputError for a source that cannot be read."""
    keeps_pixels = bool(plan.known_clips) or (plan.source is not None and plan.source.known_FYX is not None)
    if not keeps_pixels and not sounds:
        return media.GENERATED
    origins = [path for path in (request.image, request.last_image, request.clip, request.clip_b) if path is not None]
    painted = all(files.source_type(path) == media.GENERATED for path in origins)
    return media.GENERATED if painted else media.COMPOSITE
