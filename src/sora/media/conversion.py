"""Filters that make RGB of frames as a film's file holds them."""

from __future__ import annotations

from sora.media.stream import Stream


def conversion(facts: Stream) -> tuple[str, ...]:
    """Filters from the stream's pixels to rgb24 of its size, in square pixels."""
    # Untagged video of 720 lines and more is bt709 by convention; swscale would take it for 601.
    matrix = "bt709" if not facts.tagged and facts.height >= 720 and facts.pix_fmt.startswith("yuv") else "auto"
    scale = (
        f"scale={facts.width}:{facts.height}:in_color_matrix={matrix}:out_range=pc"
        ":flags=bicubic+accurate_rnd+full_chroma_inp+full_chroma_int"
    )
    return scale, "format=rgb24"
