"""Paths to clips and images, and back. The only place that knows file formats; no system ffmpeg is needed.

``target``   which kind of file a path asks for, checks before the work, names that are free, atomic publishing
``write``    the streaming writer: frames in, a verified file out, or nothing at all
``encoder_thread``  an encoder in a thread of its own
``read``     films, whole or a part
``picture``  files opened as pictures, pixels as RGB
``control``  control signals, computed of frames
``interpolate``  frames between frames
``drift``    how far a film moves from how it began
``background``  what transparency lies over
``cutout``   a picture's subject alone, on white
``profiles``  pictures in other colours than sRGB, and their conversion
``icc``      colour profiles made of numbers
``mask``     which pixels to paint
``sound``    sound from other films
``tracks``   which sound tracks a file has, and which is kept in how many channels
``facts``    what a file is, and the recipe inside it
``embed``    the recipe inside GIF, WebP, PNG and JPEG files
``signing``  the same, signed with a person's certificate
``provenance``  what a file says of where it came from
``decoder``  that program on files of others, with bounds on memory and time
``ffmpeg``   the bundled ffmpeg program: its arguments, its complaints, its metadata text
``stream``   facts about the streams of a video file
``timing``   when its frames are shown, and the constant rate that fits them
``frames``   its frames, through a chain of ffmpeg's filters
``colorimetry``  what its numbers stand for, and the filters that make RGB of them
"""

from sora.media.background import WHITE, Background, background_of
from sora.media.control import check_installed as check_control_installed
from sora.media.control import signal as control_signal
from sora.media.facts import Info, probe, read_notes, read_recipe
from sora.media.interpolate import interpolated, sampled
from sora.media.mask import marked, mask_of, read_mask
from sora.media.picture import ignore, is_transparent, read_image, read_reference, rgb
from sora.media.provenance import COMPOSITE, GENERATED, Provenance
from sora.media.read import FOLDER_FPS, cut, read_clip, read_frames
from sora.media.sound import Sound, sound_tracks
from sora.media.target import SUFFIXES, check_target, unique_path
from sora.media.write import Writer, check_size, write_clip, writer

__all__ = [
    "COMPOSITE",
    "FOLDER_FPS",
    "GENERATED",
    "SUFFIXES",
    "WHITE",
    "Background",
    "Info",
    "Provenance",
    "Sound",
    "Writer",
    "background_of",
    "check_control_installed",
    "check_size",
    "check_target",
    "control_signal",
    "cut",
    "ignore",
    "interpolated",
    "is_transparent",
    "marked",
    "mask_of",
    "probe",
    "read_clip",
    "read_frames",
    "read_image",
    "read_mask",
    "read_notes",
    "read_recipe",
    "read_reference",
    "rgb",
    "sampled",
    "sound_tracks",
    "unique_path",
    "write_clip",
    "writer",
]
