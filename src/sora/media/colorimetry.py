"""What the numbers in a film's file stand for, and the ffmpeg filters that make of them display values of BT.709, which
an sRGB screen shows.

HDR becomes SDR by the direct mapping of ITU-R BT.2408-7 (section 5, inverted, in display light with the EOTF of
BT.1886): HDR reference white, 203 cd/m2 (75 % of HLG, 58 % of PQ), stands for the white of SDR, and so a grey card of
18 % (38 % of either) for 42 % of its signal. Up to KNEE of white, everything is what the SDR picture of the scene has.
What is brighter, up to highlights of 1000 cd/m2, shares what is left below 255; white itself comes out as 244.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from functools import cache

from sora.media import decoder

WHITE = 203  # cd/m2
PEAK = 1000 / WHITE  # of highlights; what is brighter is cut off there
KNEE = 0.8  # of white, in linear light

HDR = {"arib-std-b67": "HLG", "smpte2084": "PQ"}
# Transfers whose values a screen shows as they are, whatever camera curve they are named for.
DISPLAYED = (
    *("unknown", "bt709", "smpte170m", "smpte240m", "bt2020-10", "bt2020-12", "iec61966-2-1", "iec61966-2-4"),
    *("bt470m", "bt470bg", "gamma22", "gamma28"),
)
CONVERTED_TRANSFERS = (*HDR, "linear", "log100", "log316")
SWSCALE_MATRICES = ("unknown", "gbr", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc")
ZSCALE_MATRICES = ("ycgco", "chroma-derived-nc", "chroma-derived-c")
CONVERTED_PRIMARIES = (
    *("bt470m", "bt470bg", "smpte170m", "smpte240m", "film", "bt2020", "smpte428", "smpte431", "smpte432", "ebu3213"),
)

SCALE_FLAGS = "flags=bicubic+accurate_rnd+full_chroma_inp+full_chroma_int"
NAMELESS = "setparams=colorspace=unknown:color_primaries=unknown:color_trc=unknown"


@dataclass(frozen=True)
class Colorimetry:
    """matrix, primaries, transfer: ffmpeg's names, "unknown" for what a file does not say."""

    matrix: str = "unknown"
    primaries: str = "unknown"
    transfer: str = "unknown"

    @property
    def summary(self) -> str:
        """What a file says, as in "bt2020nc, bt2020, arib-std-b67 (HDR, HLG)"; empty where it says nothing."""
        named = ", ".join(dict.fromkeys(name for name in astuple(self) if name != "unknown"))
        return f"{named} (HDR, {HDR[self.transfer]})" if self.transfer in HDR else named

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how its colours are read, each to stand behind the file's name."""
        hdr = HDR.get(self.transfer)
        if self._needs_zscale and not _has_zscale():
            kind = f"HDR ({hdr})" if hdr else "of other colours than a screen's"
            return (f"is {kind}, which this ffmpeg cannot convert; update imageio-ffmpeg for right colours",)
        known = self._known
        if known != self:
            pairs = zip(astuple(self), astuple(known), strict=True)
            foreign = ", ".join(own for own, kept in pairs if own != kept)
            return (f"has colours of a kind that sora does not convert ({foreign}); they may be off",)
        return (f"is HDR ({hdr}); its colours are tone-mapped to SDR",) if hdr else ()

    @property
    def _known(self) -> Colorimetry:
        """What of it can be converted; the rest is as if it was not named."""
        transfer = self.transfer if self.transfer in (*DISPLAYED, *CONVERTED_TRANSFERS) else "unknown"
        primaries = self.primaries if self.primaries in ("bt709", *CONVERTED_PRIMARIES) else "unknown"
        matrices = (*SWSCALE_MATRICES, *ZSCALE_MATRICES, "ictcp" if transfer in HDR else "bt2020c")
        return Colorimetry(self.matrix if self.matrix in matrices else "unknown", primaries, transfer)

    @property
    def _needs_zscale(self) -> bool:
        return (
            self.matrix not in SWSCALE_MATRICES
            or self.primaries in CONVERTED_PRIMARIES
            or self.transfer in CONVERTED_TRANSFERS
        )

    @property
    def disguise(self) -> tuple[str, ...]:
        """What comes before all filters of colours that swscale, which many filters need, does not know by name."""
        return () if self.matrix in SWSCALE_MATRICES and self._known == self else (NAMELESS,)

    def filters(self, width: int, height: int, *, alpha: bool) -> tuple[str, ...]:
        """From the stream's pixels to RGB of 8 bits and this size, with their alpha if they have one."""
        if self._known != self:
            return self._known.filters(width, height, alpha=alpha)
        matrix = self._matrix(width, height)
        if self._needs_zscale and _has_zscale():
            steps = (*self._zscale(matrix), f"scale={width}:{height}:{SCALE_FLAGS}", "format=rgb24")
            return _with_alpha(steps, width, height) if alpha else steps
        matrix = "auto" if self.matrix in SWSCALE_MATRICES[1:] else matrix  # each frame's own
        scale = f"scale={width}:{height}:in_color_matrix={matrix}:out_range=pc:{SCALE_FLAGS}"
        return scale, "format=rgba" if alpha else "format=rgb24"

    def _matrix(self, width: int, height: int) -> str:
        """The matrix, by convention where none is named: of HD and HDR their own, else that of BT.601."""
        if self.matrix != "unknown":
            return self.matrix
        if self.primaries == "bt2020":
            return "bt2020nc"
        return "bt709" if max(width, height) >= 1280 or min(width, height) > 576 else "smpte170m"

    def _zscale(self, matrix: str) -> tuple[str, ...]:
        primaries = self.primaries if self.primaries in CONVERTED_PRIMARIES else "bt709"
        transfer = self.transfer if self.transfer in (*CONVERTED_TRANSFERS, "iec61966-2-1") else "bt709"
        shown = transfer if transfer == "iec61966-2-1" else "bt709"
        # "agamma" would be a cheap stand-in for HLG's system gamma that shifts saturated colours.
        source = f"zscale=agamma=0:min={matrix}:pin={primaries}:tin={transfer}"
        to_rgb = "m=gbr:p=bt709:r=full"
        if transfer not in HDR:
            return f"{source}:{to_rgb}:t={shown}", "format=gbrp"
        linear = f"{source}:{to_rgb}:t=linear:npl={WHITE}", "format=gbrpf32le"
        tone_map = f"tonemap=mobius:param={KNEE}:peak={PEAK:.4f}:desat=0"
        return *linear, tone_map, f"zscale=agamma=0:{to_rgb}:t={shown}", "format=gbrp"


def _with_alpha(steps: tuple[str, ...], width: int, height: int) -> tuple[str, ...]:
    """The steps for the colours alone, since zscale would multiply them with their alpha, which is put back."""
    mask = f"alphaextract,scale={width}:{height}:{SCALE_FLAGS},format=gray[mask]"
    first, *between, last = steps
    first = f"format=yuva444p16|gbrap16,split[alpha][colours];[alpha]{mask};[colours]format=yuv444p16|gbrp16,{first}"
    return first, *between, f"{last}[shown];[shown][mask]alphamerge", "format=rgba"


def of_log(log: str) -> Colorimetry:
    """What ffmpeg's showinfo filter says of a frame."""
    found = re.search(
        r"^\[Parsed_showinfo[^\n]* color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)", log, re.MULTILINE
    )
    if found is None:
        return Colorimetry()
    matrix, primaries, transfer = found.groups()
    implied = primaries == "unknown" and (transfer in HDR or matrix in ("bt2020nc", "bt2020c", "ictcp"))
    return Colorimetry(matrix, "bt2020" if implied else primaries, transfer)


@cache
def _has_zscale() -> bool:
    """Not every build of ffmpeg has it."""
    return b" zscale " in decoder.run(["-filters"]).stdout
