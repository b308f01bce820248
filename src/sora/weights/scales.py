"""The tensors that ComfyUI's quantised files keep next to weights: scales, which count, and hints, which do not.

Facts: ComfyUI's ``QUANTIZATION.md`` and ``convert_old_quants``. Older files mark themselves with ``scaled_fp8`` and
call a scale ``scale_weight``; newer ones call it ``weight_scale`` and say a layer's format in ``comfy_quant``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from sora.errors import ModelError
from sora.storage import regular
from sora.weights.tensor_entry import Table, TensorEntry

_SCALE = re.compile(r"(?:\.scale_weight|\.weight_scale)$")
_FORMAT = re.compile(r"\.comfy_quant$")
_HINT = re.compile(r"(?:^|\.)(?:scaled_fp8|scale_input|input_scale)$")  # of activations, which stay in full precision
_KNOWN = ("float8_e4m3fn", "float8_e5m2")
_MOST = 4096  # bytes of what a layer says about itself


def fold(source: Path, table: Table) -> Table:
    """The table with every scale with its weight and without hints. Raises ModelError for a format that is not read
    and for a scale that fits no weight."""
    weights = {n: h for n, h in table.items() if not (_SCALE.search(n) or _FORMAT.search(n) or _HINT.search(n))}
    for name, entry in table.items():
        if _FORMAT.search(name):
            _check_format(source, name, entry)
        elif _SCALE.search(name):
            weight = _SCALE.sub(".weight", name)
            if weight not in weights or not _fits(entry, weights[weight]):
                raise ModelError(f"{source}: {name} {entry.shape} is the scale of no weight; download it again")
            whole = weights[weight]
            weights[weight] = TensorEntry(whole.file, whole.format, whole.shape, whole.start, scale=entry)
    return weights


def _fits(scale: TensorEntry, weight: TensorEntry) -> bool:
    """Whether it is one number, or one a row."""
    a_row = len(weight.shape) > 1 and scale.numbers == weight.shape[0]
    return scale.format in ("F32", "F16", "BF16") and (scale.numbers == 1 or a_row)


def _check_format(source: Path, name: str, entry: TensorEntry) -> None:
    format = None
    if entry.nbytes <= _MOST:
        with regular.opened(entry.file) as file:
            file.seek(entry.start)
            text = file.read(entry.nbytes)
        try:
            format = json.loads(text).get("format")
        except (ValueError, AttributeError, RecursionError):
            format = None
    if format not in _KNOWN:
        layer = _FORMAT.sub("", name)
        raise ModelError(
            f"{source}: {layer} is stored as {format or 'something unknown'}; sora reads {' and '.join(_KNOWN)};"
            " get the fp16, fp8 or GGUF file of these weights"
        )
