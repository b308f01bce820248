"""How a person's own weights of the Wan family are recognised: folders in diffusers' layout, and transformers alone.
The rows are in ``wan_rows``. Nothing here loads any weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sora import weights
from sora.catalog import few_step, hub, wan_experts
from sora.catalog.few_step import FewStep
from sora.catalog.spec import ModelSpec
from sora.catalog.wan_keys import KEY_MAPS
from sora.catalog.wan_rows import FIRST, MODELS, SECOND, SEEING, files_of
from sora.errors import ModelError
from sora.plan.grid import Grid
from sora.storage import regular
from sora.storage.stand_in import damage
from sora.weights import source

__all__ = ["MODELS", "are_pair", "recognise", "recognise_pair"]

are_pair = wan_experts.are_pair


def recognise(path: Path, name: str) -> ModelSpec:
    """What a person's own weights are: a folder in diffusers' layout, or a transformer, or both experts, in any layout
    and number format of ``weights.load_checkpoint``. name: the path as it was typed. Grid, shift and step rule are
    those of the folder's configurations, the rest is of the row most like it. Raises ModelError for what is neither,
    and for networks that sora cannot drive."""
    if (path / "model_index.json").is_file():
        return _folder(path, name)
    if (path / "transformer").is_dir() and (path / "vae").is_dir():
        raise hub.lacks(name, ("model_index.json",))
    return _transformer(path, name)


def recognise_pair(first: Path, second: Path, name: str) -> ModelSpec:
    """What two transformers are together: the experts of high and of low noise, or a merge of both, named twice. name:
    the two paths as they were typed. Raises ModelError as ``recognise``, and for two that are not of one model."""
    high, low = wan_experts.in_order(first, second, name)
    shapes = _shapes(high, name)
    if high == low:
        return _sampled(replace(_of_shapes(shapes, name, two=False), folder=high, low_noise=low), high)
    other = _shapes(low, name)
    if shapes != other:
        unlike = next(key for key in sorted({*shapes, *other}) if shapes.get(key) != other.get(key))
        raise ModelError(f"{name} are not the two experts of one model: they differ in {unlike}; name two that belong")
    return _sampled(replace(_of_shapes(shapes, name, two=True), folder=high, low_noise=low), high)


def _folder(path: Path, name: str) -> ModelSpec:
    index = _json(path / "model_index.json")
    lacking = hub.missing(path, ("transformer/config.json", "vae/config.json"))
    if any(lacking):
        raise hub.lacks(name, tuple(hub.missing(path, files_of(_parts(index, {})))))
    dit, vae = (_json(path / file) for file in ("transformer/config.json", "vae/config.json"))
    parts = _parts(index, dit)
    two = "transformer_2" in parts
    grid = Grid(
        time=_count(vae, "scale_factor_temporal", 4, 64),
        space=_count(vae, "scale_factor_spatial", 8, 128),
        channels=_count(vae, "z_dim", 16, 4096),
        patch=_patch(dit),
    )
    shift, step = _schedule(path / "scheduler" / "scheduler_config.json")
    row, known = _like(index, dit, grid, two, shift, name)
    own = replace(
        row,
        sizes=_with_control_layers(row, dit.get("vace_layers")),
        name=name,
        base_model=row.name,
        summary=f"your own weights, of the kind of {row.name}",
        folder=path,
        files=files_of(parts),
        grid=grid,
        defaults=replace(row.defaults, shift=shift or row.defaults.shift, sampler=step),
        conditioning=known,
        boundary=_boundary(index, row, name) if two else None,
        memory=row.memory if _as_large(row, dit) else {},
        **_NOT_ON_THE_HUB,
    )
    return _sampled(own, path, _DISTILLED.get(str(index.get("_class_name"))))


def _sampled(spec: ModelSpec, path: Path, kind: FewStep | None = None) -> ModelSpec:
    """A person's own model with the defaults of few-step weights, if its pipeline is of such a kind, or else its name
    says so. path: of its files."""
    names = [path.stem if path.suffix in source.READ else path.name, spec.name.rpartition("/")[2]]
    if _GENERIC.match(names[0]):
        names.append(path.parent.name)
    kind = kind or next((found for found in map(few_step.named, names) if found), None)
    if kind is None:
        return spec
    return replace(spec, defaults=kind.of(spec.defaults), summary=f"{spec.summary}, in {kind.steps} steps")


_DISTILLED = {"WanDMDPipeline": few_step.FASTWAN}
"""Few-step weights by the class of pipeline that a model_index.json names."""

_GENERIC = re.compile(r"diffusion_pytorch_model|model$|transformer|(high|low)_noise_model")
"""Names that say nothing of what is in a file or a folder."""


def _with_control_layers(row: ModelSpec, layers: Any) -> dict[str, Any]:
    """The row's sizes with a person's own layers that take what a control branch makes, if they are a list of some."""
    return {**row.sizes, "vace_layers": tuple(layers)} if isinstance(layers, list) and layers else {**row.sizes}


_NEEDED = ("transformer", "vae", "text_encoder", "tokenizer")


def _parts(index: Mapping[str, Any], dit: Mapping[str, Any]) -> tuple[str, ...]:
    """The folders that a model needs: those to which its model_index.json gives a class and not null, and those without
    which its transformer paints another film, whatever the index says."""
    needed = {*_NEEDED, *(name for name in (*SEEING, "transformer_2") if _is_listed(index, name))}
    if dit.get("image_dim"):
        needed.add("image_encoder")
    if index.get("boundary_ratio") is not None:
        needed.add("transformer_2")
    return tuple(name for name in (*SEEING, "transformer_2") if name in needed)


_NOT_ON_THE_HUB: dict[str, Any] = {"repo": "", "revision": "", "bytes": 0, "licence": "its own"}
_KINDS = ("WanTransformer3DModel", "WanVACETransformer3DModel", "SkyReelsV2Transformer3DModel")


def _as_large(row: ModelSpec, dit: Mapping[str, Any]) -> bool:
    """Whether a folder's transformer has the layers and heads of the row's."""
    return (row.sizes["num_layers"], row.sizes["heads"]) == (dit.get("num_layers"), dit.get("num_attention_heads"))


def _like(
    index: Mapping[str, Any], dit: Mapping[str, Any], grid: Grid, two: bool, shift: float | None, name: str
) -> tuple[ModelSpec, str]:
    """The row that a folder's configurations are most like, and how known regions reach its network."""
    if dit.get("_class_name") not in _KINDS:
        raise ModelError(f"{name} holds a {dit.get('_class_name')}, which sora cannot drive; expected {_KINDS[0]}")
    given, made = _count(dit, "in_channels", 16), _count(dit, "out_channels", grid.channels)
    conditioned_channels = 2 * grid.channels + grid.time
    if made != grid.channels or given not in (made, conditioned_channels):
        message = f"its transformer takes {given} channels and makes {made}, its autoencoder has {grid.channels}"
        raise ModelError(
            f"{name} is of a kind sora cannot drive: {message}; expected {grid.channels} or {conditioned_channels}"
        )
    large, distilled = _count(dit, "num_attention_heads", 40) >= 40, index.get("_class_name") in _DISTILLED
    if dit.get("vace_layers") and two:
        return MODELS["wan2.2-vace-fun-a14b"], "control"
    if dit.get("vace_layers"):
        return MODELS["wan2.1-vace-14b" if large else "wan2.1-vace-1.3b"], "control"
    if given == conditioned_channels:
        return MODELS[_of_pictures(dit, two, large, shift)], "channels"
    if "DiffusionForcing" in str(index.get("_class_name")):
        return MODELS["skyreels-v2-df-1.3b"], "tokens"
    if distilled and grid.space == SECOND.space:
        return MODELS["fastwan2.2-ti2v-5b"], "tokens"
    if index.get("expand_timesteps") or grid.space == SECOND.space:
        return MODELS["wan2.2-ti2v-5b"], "tokens" if index.get("expand_timesteps") else "renoise"
    if two:
        return MODELS["wan2.2-t2v-a14b"], "renoise"
    return MODELS[("fast" if distilled else "") + ("wan2.1-14b" if large else "wan2.1-1.3b")], "renoise"


def _of_pictures(dit: Mapping[str, Any], two: bool, large: bool, shift: float | None) -> str:
    """The row of a network that is given known frames concatenated to the noise. 480p and 720p differ in the shift
    alone."""
    if two or not dit.get("image_dim"):
        return "wan2.2-i2v-a14b"
    if dit.get("pos_embed_seq_len"):
        return "wan2.1-flf2v-14b"
    if not large:
        return "wan2.1-fun-1.3b-inp"
    return "wan2.1-i2v-14b-720p" if shift and shift >= 5 else "wan2.1-i2v-14b-480p"


def _schedule(path: Path) -> tuple[float | None, str]:
    """(shift, step rule) of a scheduler's configuration; without one, no shift of its own and Wan's rule."""
    if not path.is_file():
        return None, "unipc"
    config = _json(path)
    euler = config.get("_class_name") == "FlowMatchEulerDiscreteScheduler"
    shift = config.get("shift" if euler else "flow_shift", 1.0)
    if isinstance(shift, bool) or not isinstance(shift, int | float) or not 0 < shift < 1000:
        raise ModelError(f"{path} says a shift of {shift!r}; expected a number above 0")
    return float(shift), "euler" if euler else "unipc"


def _boundary(index: Mapping[str, Any], row: ModelSpec, name: str) -> float:
    """Where the second expert takes over."""
    ratio = index.get("boundary_ratio")
    if isinstance(ratio, int | float) and not isinstance(ratio, bool) and 0 < ratio < 1:
        return float(ratio)
    stated = "no boundary_ratio" if ratio is None else f"a boundary_ratio of {ratio!r:.40}"
    published = row.boundary or BOUNDARY
    raise ModelError(
        f"{name} has a transformer_2 and {stated} in model_index.json to say when it takes over; write the number"
        f" there, {published:g} as in {row.name}, or fetch the model again"
    )


_LIKE_EXPERTS = ("wan2.1-1.3b", "wan2.1-14b", "wan2.1-vace-1.3b", "wan2.1-vace-14b", "wan2.2-i2v-a14b")
"""The rows that a single one of two experts has the tensors of."""

BOUNDARY = 0.875  # of Wan 2.2's models for words, and of those that others made from them


def _transformer(path: Path, name: str) -> ModelSpec:
    """Of one transformer, or of the two experts of Wan 2.2."""
    found = wan_experts.transformers_at(path, name)
    two = len(found) == 2
    row = _of_shapes(_shapes(found[0], name), name, two=two)
    if not two and row.base_model in _LIKE_EXPERTS:
        wan_experts.check_alone(found[0], name, is_half=row.base_model == "wan2.2-i2v-a14b")
    if wan_experts.is_original(path):
        return _sampled(replace(row, folder=path), path)
    return _sampled(replace(row, folder=found[0], low_noise=found[1] if two else None), found[0])


_MODULES = {
    *("patch_embedding", "condition_embedder", "blocks", "scale_shift_table", "proj_out"),
    *("vace_patch_embedding", "vace_blocks", "fps_embedding", "fps_projection"),
}
_EMBEDDERS = {"time_embedder", "time_proj", "text_embedder", "image_embedder"}
"""All that the rows' transformers consist of, and their condition_embedder. Others, as of Wan-Animate and Wan-S2V, have
more, and AnyFlow's embeds a second timestep."""


def _shapes(path: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Of the tensors of a transformer, by our names. Raises ModelError where it is none."""
    shapes = weights.checkpoint_shapes(path, rules=KEY_MAPS["transformer"])
    patch, head = shapes.get("patch_embedding.weight", ()), shapes.get("proj_out.weight", ())
    if len(patch) != 5 or len(head) != 2 or 0 in patch:
        raise ModelError(
            f"{name} holds no transformer of Wan's; expected patch_embedding and proj_out among its tensors"
        )
    if strange := next((tensor for tensor in shapes if not _is_known(tensor)), None):
        raise ModelError(f"{name} is of a kind sora cannot drive: it holds {strange}, which no model of its rows has")
    return shapes


def _is_known(tensor: str) -> bool:
    module, inner, *_ = (*tensor.split("."), "")
    return module in _MODULES and (module != "condition_embedder" or inner in _EMBEDDERS)


def _of_shapes(shapes: Mapping[str, tuple[int, ...]], name: str, *, two: bool) -> ModelSpec:
    """The row that a transformer's tensors are most like, without a place. two: whether it is one of two experts."""
    patch, head = shapes["patch_embedding.weight"], shapes["proj_out.weight"]
    made = head[0] // (patch[2] * patch[3] * patch[4])
    control_layers = sorted({int(key.split(".")[1]) for key in shapes if re.match(r"vace_blocks\.[0-9]{1,4}\.", key)})
    dit = {
        "_class_name": _KINDS[0],
        "in_channels": patch[1],
        "out_channels": made,
        "num_attention_heads": patch[0] // 128 or 1,
        "vace_layers": control_layers,
        "image_dim": any(".image_embedder." in tensor for tensor in shapes),
        "pos_embed_seq_len": any(tensor.endswith("image_embedder.pos_embed") for tensor in shapes),
    }
    forcing = any("fps_embedding." in tensor for tensor in shapes)
    index = {"_class_name": "DiffusionForcing" if forcing else "", "expand_timesteps": made == SECOND.channels}
    row, known = _like(index, dit, SECOND if made == SECOND.channels else FIRST, two, None, name)
    own: dict[str, Any] = {"name": name, "base_model": row.name, "files": (), **_NOT_ON_THE_HUB}
    own["sizes"] = _with_control_layers(row, control_layers)
    own["summary"] = f"your own transformer{'s' if two else ''}, of the kind of {row.name}"
    return replace(row, **own, conditioning=known, boundary=(row.boundary or BOUNDARY) if two else None)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = regular.read_json(path)
    except FileNotFoundError:
        raise ModelError(f"the model has no {path}; put it there or fetch the model again") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is {damage(path, getattr(error, 'strerror', None) or error)}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} is no configuration; expected a table of settings")
    return value


def _is_listed(index: Mapping[str, Any], component: str) -> bool:
    """Whether a model_index.json names a class for a component."""
    listed = index.get(component)
    return isinstance(listed, list) and bool(listed and listed[0])


def _patch(dit: Mapping[str, Any]) -> int:
    """The side of a transformer's patches, of (T, H, W)."""
    sides = dit.get("patch_size", [1, 2, 2])
    known = dict(enumerate(sides)) if isinstance(sides, list) and len(sides) == 3 else {2: str(type(sides).__name__)}
    return _count({"patch_size": known[2]}, "patch_size", 2, 16)


def _count(config: Mapping[str, Any], key: str, otherwise: int, maximum: int = 1 << 17) -> int:
    value = config.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= maximum:
        shown = repr(value) if len(repr(value)) < 80 else type(value).__name__
        raise ModelError(f"the model's configuration says {key} = {shown}; expected a count, at most {maximum}")
    return value
