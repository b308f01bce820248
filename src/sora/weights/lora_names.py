"""What the tensors of a LoRA file are, by their names alone: those of many trainers, and those of other adapters.

Facts: the loaders of ComfyUI (``comfy/lora.py``, ``comfy/weight_adapter``) and diffusers
(``lora_conversion_utils.py``); the writers of kohya's and musubi's trainers, VideoX-Fun, DiffSynth-Studio, peft and
LyCORIS.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from sora.weights.names import LayoutRules

DOWN, UP, UP_BIAS = ".lora_A.weight", ".lora_B.weight", ".lora_B.bias"
ALPHA, DIFF, DORA = ".alpha", ".diff", ".dora_scale"
MODULATION_DIFF = ".modulation" + DIFF  # of a block's own table, which is no module's weight
_PREFIX = re.compile(
    r"(?:(?:base_model\.model|(?:model\.)?diffusion_model|transformer|unet|pipe\.dit|dit|model|module)\.)+"
)
_ADAPTER = r"(?:\.(?!weight$|bias$)\w+)?"  # peft's name of an adapter, "default" mostly

_ENDINGS: tuple[tuple[str, str], ...] = (  # of names in files -> what they are called here
    (rf"\.(?:lora_A|lora_down|lora\.down|lora_linear_layer\.down){_ADAPTER}(?:\.weight)?", DOWN),
    (rf"\.(?:lora_B|lora_up|lora\.up|lora_linear_layer\.up){_ADAPTER}(?:\.weight)?", UP),
    (rf"\.lora_B{_ADAPTER}\.bias", UP_BIAS),
    (r"\.(?:lora_)?alpha", ALPHA),
    (rf"\.(?:dora_scale|lora_magnitude_vector{_ADAPTER}(?:\.weight)?)", DORA),
    (rf"\.(lokr_w[12](?:_[ab])?|hada_w[12]_[ab]){_ADAPTER}(?:\.weight)?", r".\1"),
    (r"\.(?:diff_b|b_norm)", ".bias" + DIFF),
    (r"\.diff_m", MODULATION_DIFF),
    (r"\.(?:diff|w_norm)", ".weight" + DIFF),
)
_BARE = ("modulation", "scale_shift_table", "emb_pos", "pos_embed")  # parameters that are no module's weight

_OTHER_KINDS: tuple[tuple[str, str], ...] = (
    (r"[._]boft_", "BOFT"),
    (r"[._]oft_", "OFT"),
    (r"\.(?:a1|a2|b1|b2|bm)\.weight$", "GLoRA"),
    (r"\.ia3_|\.on_input$", "(IA)^3"),
    (r"vera_lambda", "VeRA"),
    (r"\.(?:hada_t[12]|lokr_t2|lora_mid\.weight)", "Tucker-decomposed"),
    (r"\.(?:set_weight|reshape_weight)$", "control LoRA"),
    (r"^lora_controlnet", "control LoRA"),
    (r"\.(fourierft|randlora|bone|miss|hra|shira|c3a|road|poly)_", r"\1"),
)
READ_KINDS = "LoRA, DoRA, LoKr or LoHa"


def modules_in_memory(paths: Iterable[str], kind: LayoutRules | None) -> dict[str, str]:
    """The paths of modules in one file, as ``split`` gives them -> ours. kind: what is known of the transformer's
    names, out of a family's ``KEY_MAPS``; None for our own names alone."""
    found = set(paths)
    return kind.to_ours(found) if kind else {path: path for path in found}


def split(name: str) -> tuple[str, str] | None:
    """(the path of a module, or of a parameter that is of none, without what trainers put before it; our ending). None
    for what is no part of a LoRA."""
    for pattern, ending in _ENDINGS:
        match = re.search(rf"{pattern}$", name)
        if not match:
            continue
        path, ours = name[: match.start()], match.expand(ending)
        prefix = _PREFIX.match(path)
        path = path[prefix.end() :] if prefix else path
        return (path + ".modulation", DIFF) if ours == MODULATION_DIFF else (path, ours)
    return None


def joined(module: str, ending: str) -> str:
    """A tensor's name in memory."""
    if ending == ".weight" + DIFF and module.rpartition(".")[2] in _BARE:
        return module + DIFF
    return module + ending


def other_kind(names: Iterable[str]) -> str:
    """What kind of adapter a file holds that is not read; empty for one that is, and for no adapter."""
    for name in names:
        for pattern, kind in _OTHER_KINDS:
            if match := re.search(pattern, name):
                return match.expand(kind)
    return ""


def adapter_kind(names: Collection[str]) -> str:
    """What kind of adapter a file holds; empty for none."""
    return other_kind(names) or read_kind(names)


def read_kind(names: Iterable[str]) -> str:
    """What a file of adapters holds, of the kinds that are read; empty for no adapter."""
    endings = {pair[1] for pair in map(split, names) if pair}
    starts = {ending.split("_")[0] for ending in endings}
    if DORA in endings:
        return "DoRA"
    return "LoKr" if ".lokr" in starts else "LoHa" if ".hada" in starts else "LoRA" if endings - {ALPHA} else ""
