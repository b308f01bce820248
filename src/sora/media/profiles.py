"""Pictures whose numbers are not those of sRGB: what they say of their colours, and the conversion of them.

A picture says it in an ICC profile; in PNG also in the chunks cICP, sRGB, gAMA and cHRM, of which the first counts
(Portable Network Graphics, 3rd edition, 4.3), HEIC in its "nclx" box, and a JPEG of Adobe RGB by the name that DCF
gives such files. What says nothing is sRGB.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from sora.media import icc

MAX_BYTES = 1 << 24  # of a profile; those of printers have some MB
CICP = "cicp"  # where ``picture`` keeps that chunk in an image's info

Converter = Callable[[Image.Image], Image.Image]
_GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def converter(image: Image.Image, on_note: Callable[[str], None]) -> Converter | None:
    """What makes RGB in sRGB of the image or pieces of it, alpha left out; None where nothing has to be converted
    beyond the mode. on_note: called with what a person should know, to stand behind the file's name."""
    profile = image.info.get("icc_profile")
    if image.info.get(CICP) is None and isinstance(profile, bytes) and profile:
        transform = _of_profile(profile, image.mode)
        if transform is not None:
            return _applied(*transform)
        on_note("has a colour profile that is damaged or of another kind of picture; it is ignored")
    elif image.mode == "LAB":
        return _applied(*_transform(None, "LAB"))
    else:
        made = _described(image, on_note)
        transform = None if made is None else _of_profile(made, image.mode)
        if transform is not None:
            return _applied(*transform)
    if image.mode == "CMYK":
        on_note("is CMYK without a colour profile that can be used; its colours are a guess")
    return None


def _applied(transform: ImageCms.ImageCmsTransform | None, mode: str) -> Converter | None:
    if transform is None:
        return None

    def convert(strip: Image.Image) -> Image.Image:
        strip = strip if strip.mode == mode else _without_alpha(strip).convert(mode)
        converted = ImageCms.applyTransform(strip, transform)
        assert converted is not None  # it is only for a change in place
        return converted

    return convert


def _without_alpha(strip: Image.Image) -> Image.Image:
    """Premultiplied colours and those of a palette with alpha become plain ones."""
    return strip.convert("RGBA") if strip.mode in ("RGBa", "La", "PA", "P") else strip


def _of_profile(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str] | None:
    """(the transform, None for one that changes nothing, the mode that it takes), or None for a profile that cannot be
    used with a picture of this mode."""
    if len(profile) > MAX_BYTES:
        return None
    space = profile[16:20]
    with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError, MemoryError):
        if space == b"GRAY" and mode in _GREY:
            return _transform(profile, "L")
        if space == b"RGB " and mode not in ("CMYK", "LAB"):
            return _transform(profile, "RGB")
        if space == b"CMYK" and mode == "CMYK":
            return _transform(profile, mode)
    return None


@lru_cache(maxsize=8)
def _transform(profile: bytes | None, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """To sRGB, relative colorimetric with black point compensation, as usual for photographs. profile: None for CIE
    Lab."""
    source = ImageCms.createProfile("LAB") if profile is None else io.BytesIO(profile)
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(source),
        ImageCms.createProfile("sRGB"),
        *(mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC),
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode in ("CMYK", "LAB"):
        return transform, mode
    # Most profiles are sRGB's own: there, a conversion would only round.
    ramp = np.arange(0, 256, 15, dtype=np.uint8)
    samples = ramp[None] if mode == "L" else np.stack(np.meshgrid(ramp, ramp, ramp), -1).reshape(1, -1, 3)
    converted = ImageCms.applyTransform(Image.fromarray(samples), transform)
    plain = samples if mode == "RGB" else samples[..., None]
    unchanged = np.abs(np.asarray(converted).astype(int) - plain).max() <= 1
    return (None if unchanged else transform), mode


def _described(image: Image.Image, on_note: Callable[[str], None]) -> bytes | None:
    """A profile of what a picture says of its colours without one; None for sRGB."""
    info: dict[Any, Any] = image.info
    nclx = info.get("nclx_profile")
    code = info.get(CICP) or ((nclx["color_primaries"], nclx["transfer_characteristics"]) if nclx else None)
    if code is not None:
        if code[1] in icc.HDR:
            on_note(f"is HDR ({icc.HDR[code[1]]}); its colours are tone-mapped to SDR")
        return icc.of_code_points(*code)
    if image.format == "PNG" and "srgb" not in info and ("gamma" in info or "chromaticity" in info):
        return icc.of_gamma(info.get("gamma"), info.get("chromaticity"))
    return icc.adobe_rgb() if image.format in ("JPEG", "MPO") and _is_adobe_rgb(image) else None


def _is_adobe_rgb(image: Image.Image) -> bool:
    """DCF calls such files R03 (JEITA CP-3461B)."""
    with suppress(Exception):  # damaged Exif makes Pillow raise nearly anything
        return image.getexif().get_ifd(ExifTags.IFD.Interop).get(1) == "R03"
    return False
