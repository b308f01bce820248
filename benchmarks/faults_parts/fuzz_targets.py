"""What is fuzzed: each target reads bytes as the program does, and may raise the documented errors alone."""

from __future__ import annotations

import json
import os
import random
import shlex
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from faults_parts.mutate import changed_bytes, changed_json, changed_safetensors
from sora import catalog, media, weights
from sora.catalog.wan_keys import KEY_MAPS
from sora.errors import SoraError
from sora.jobs.delivery import InMemory, slug
from sora.jobs.resolve import resolve
from sora.media.picture import opened
from sora.models.mini import advice, prompt_expansion, vocabulary
from sora.plan import flags, prompts
from sora.plan.recipe import Recipe, from_record, prompt_in, record_of
from sora.plan.recipe_format_1 import converted
from sora.plan.request import Request, fields, from_data, to_data
from sora.plan.verbs import VERBS
from sora.weights import lora_file

Mutator = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


@dataclass(frozen=True)
class Target:
    """read: raises SoraError for what it refuses. seeds: valid inputs. words: that mean something in them."""

    read: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]
    mutate: Mutator
    words: tuple[bytes, ...] = ()


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# Weights -------------------------------------------------------------------------------------------------------------


def safetensors(data: bytes, folder: Path) -> None:
    path = _file(folder, "x.safetensors", data)
    try:
        lora_file.facts(path)
    except SoraError:
        weights.checkpoint_shapes(path, rules=KEY_MAPS["transformer"])


def _safetensors_seeds() -> list[bytes]:
    def file(tensors: dict[str, tuple[str, list[int], int]], **metadata: str) -> bytes:
        header, at = dict[str, Any](__metadata__=metadata) if metadata else {}, 0
        for name, (dtype, shape, size) in tensors.items():
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
            at += size
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + bytes(at)

    pair = {"blocks.0.q.lora_A.weight": ("F32", [2, 4], 32), "blocks.0.q.lora_B.weight": ("BF16", [4, 2], 16)}
    scaled = {"blocks.0.attn1.to_q.weight": ("F8_E4M3", [4, 4], 16), "blocks.0.attn1.to_q.scale_weight": ("F32", [], 4)}
    return [file(pair, family="wan", rank="2"), file(scaled), file({})]


def gguf(data: bytes, folder: Path) -> None:
    weights.checkpoint_shapes(_file(folder, "x.gguf", data), rules=KEY_MAPS["transformer"])


def _gguf_seeds() -> list[bytes]:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def file(fields: list[bytes], tensors: list[tuple[str, tuple[int, ...], int, int]]) -> bytes:
        head, at = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields), 0
        for name, shape, code, size in tensors:
            head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, code, at)
            at += -(-size // 32) * 32
        return head + bytes(-len(head) % 32 + at)

    align = text("general.alignment") + struct.pack("<II", 4, 32)
    named = text("general.name") + struct.pack("<I", 8) + text("x")
    listed = text("tokenizer.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    shape = text("comfy.gguf.orig_shape.w") + struct.pack("<IIQii", 9, 5, 2, 8, 4)
    nested = text("n") + struct.pack("<IIQIQBB", 9, 9, 1, 0, 2, 1, 2)
    row = [("w", (32,), 0, 128), ("b.weight", (32, 2), 8, 68), ("k.weight", (256, 1), 12, 144)]
    return [file([align, named, listed, shape], row), file([nested], row[:1]), file([], [])]


# Recipes and requests ------------------------------------------------------------------------------------------------

DRAFT = Request(verb="generate", prompt="a red ball", draft=True, seed=1)


def recipe(data: bytes, folder: Path) -> None:  # noqa: ARG001, as every target
    """A recipe's text; one that is taken comes back from its own JSON, which leaves folders out, and does not change
    any more."""
    text = data.decode(errors="surrogateescape")
    prompt_in(text)
    record = record_of(text)
    found = converted(record, lambda _: DRAFT) if record.get("format", 1) == 1 else from_record(record)
    written = found.to_json()
    if from_record(record_of(written)).to_json() != written:
        raise AssertionError("the recipe comes back changed")


def _recipe() -> Recipe:
    request = Request(verb="extend", prompt="a 🎈 “rises”\n=;#\\", clip="/a.mp4", seed=1, steps=8, then=("b",))
    common = {"sora": "0.1", "weights": "ab" * 32, "device": "cpu", "dtype": "float32", "torch": "2.6"}
    sizes: dict[str, Any] = {"painted": (128, 96), "size": (256, 192), "frames": 17, "fps": 8}
    return Recipe(request=request, prompts=("a 🎈",), inputs=(("/a.mp4", "cd" * 32),), **common, **sizes)


def _recipe_seeds() -> list[bytes]:
    new = json.loads(_recipe().to_json())
    old = {name: value for name, value in new.items() if name not in ("request", "prompts")}
    old |= {"format": 1, "prompt": "a ball", "verb": "generate", "seed": 1, "steps": 4, "negative": ""}
    finish = ["finish", "--strength", "0.5", "--", "/draft.mp4"]
    argv = ["extend", "--backward", "--seed=1", "--lora", "x:0.5", "--lora", "y", "--", "/a.mp4", "a ball"]
    records = [new, old, old | {"argv": argv}, old | {"argv": finish}]
    return [json.dumps(each).encode() for each in records]


def request(data: bytes, folder: Path) -> None:
    """A request in JSON, resolved as far as it goes without torch."""
    _file(folder, "clip.gif", _pictures()["gif"])
    _file(folder, "picture.png", _pictures()["png"])
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    asked = from_data(value, "the request")
    if from_data(json.loads(json.dumps(to_data(asked))), "the request") != asked:
        raise AssertionError("the request comes back changed")
    if (asked.frames or 0) > 2000 or (asked.seconds or 0) > 100:
        return  # plans of long films take their time
    here = Path.cwd()
    os.chdir(folder)
    try:
        resolve(asked, InMemory(anyway=True))
    finally:
        os.chdir(here)


def _request_seeds() -> list[bytes]:
    film = {"verb": "generate", "prompt": "a {red|blue} ball", "seed": 1, "steps": 2, "size": "64x48", "frames": 9}
    requests: list[dict[str, Any]] = [
        film,
        film | {"frames": 17, "then": ["a teddy"], "transition": "flow", "subject": "a red ball", "guidance": 3.0},
        {"verb": "img2vid", "image": "picture.png", "prompt": "a red ball", "aspect": "16:9", "seconds": 1.5},
        {"verb": "extend", "clip": "clip.gif", "prompt": "a red ball", "start": 0.1, "end": 0.5, "backward": True},
        {"verb": "loop", "clip": "clip.gif", "prompt": "a red ball", "camera": "pan-left"},
        {"verb": "bridge", "clip": "clip.gif", "clip_b": "clip.gif", "prompt": "a red ball", "start_b": 0.0},
        {"verb": "edit", "clip": "clip.gif", "prompt": "a blue ball", "region": "0,0,16,16", "strength": 0.5},
        {"verb": "edit", "clip": "clip.gif", "prompt": "a blue ball", "frame_range": "1:2", "mask": "picture.png"},
        {"verb": "image", "prompt": "a red ball", "refine": 0.5, "size": "512x384", "draft": True},
    ]
    return [json.dumps(each).encode() for each in requests]


# Files with a recipe inside ------------------------------------------------------------------------------------------

MAGIC = (b"GIF8", b"RIFF", b"\x89PNG", b"\xff\xd8\xff")


def containers(data: bytes, folder: Path) -> None:
    """A picture or an animation. Other files go to ffmpeg, which is not what is fuzzed here."""
    if not data.startswith(MAGIC):
        return
    path = _file(folder, "film", data)
    with opened(path) as image:
        if image is None:
            return
    try:
        media.read_recipe(path)
    finally:
        media.probe(path)


@cache
def _pictures() -> dict[str, bytes]:
    """Kind -> a small file of it with a recipe."""
    import tempfile

    frames = np.random.default_rng(0).integers(0, 255, (8, 32, 48, 3), dtype=np.uint8)
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for suffix in ("gif", "webp", "png", "jpg"):
            path = Path(place) / f"a.{suffix}"
            count = 1 if suffix in ("png", "jpg") else len(frames)
            with media.writer(path, 8.0, (32, 48), _recipe().to_json(), True) as file:
                file.write(frames[:count])
            found[suffix] = path.read_bytes()
    return found


# Words ---------------------------------------------------------------------------------------------------------------


def prompt(data: bytes, folder: Path) -> None:  # noqa: ARG001, as every target
    """The grammar of alternatives and of prompt files; what is escaped comes back as it was."""
    text = prompts.decoded(data, "of the fuzzer")
    try:
        cleaned = prompts.clean(text)
    except SoraError:
        cleaned = None
    if cleaned is not None and prompts.variants(prompts.escaped(cleaned)) != [cleaned]:
        raise AssertionError("the escaped prompt comes back changed")
    try:
        for each in prompts.variants(text):
            slug(each)
    except SoraError:
        pass
    for line in prompts.parse_file(text):
        assert line.error or line.prompt


def options(data: bytes, folder: Path) -> None:  # noqa: ARG001, as every target
    """The options at the end of a prompt file's line. Those that are taken can be spelled, and mean the same then."""
    verb, _, text = data.decode(errors="replace").partition(" ")
    row = VERBS.get(verb, VERBS["generate"])
    verb = verb if verb in VERBS else "generate"
    try:
        words = shlex.split(text)
    except ValueError:
        return
    values, rest = flags.parse(verb, row, words)
    places = dict(zip((*row.required, *row.optional), rest, strict=False))
    asked = from_data({"verb": verb, **places, **values}, "the line")
    spelled_verb, *spelled = flags.spelled(asked)
    again, _ = flags.parse(spelled_verb, row, spelled)
    floats = {name for name in again if fields()[name].kind is float}
    if {n: v for n, v in again.items() if n not in floats} != {
        n: v for n, v in values.items() if n not in floats and getattr(asked, n) not in (None, False, ())
    } and not set(places) & set(values):
        raise AssertionError("the options come back changed")


def words(data: bytes, folder: Path) -> None:  # noqa: ARG001, as every target
    """A prompt by the vocabulary of the embedded model: advice on it, its expansion, and its tokens."""
    text = prompts.clean(data.decode(errors="replace"))
    advice.advice("mini-words.json", text)
    prompt_expansion.expand(vocabulary.load("mini-words.json"), text)
    from sora.models.mini.model import word_ids

    word_ids(_mini_tokenizer(), [text], 48)


@cache
def _mini_tokenizer() -> Any:
    from sora.models.mini.model import _tokenizer

    return _tokenizer(weights.asset("mini-tokenizer.json"))


# Configurations ------------------------------------------------------------------------------------------------------

CONFIG_FILES = {
    "index": "model_index.json",
    "transformer": "transformer/config.json",
    "vae": "vae/config.json",
    "scheduler": "scheduler/scheduler_config.json",
    "text_encoder": "text_encoder/config.json",
    "image_encoder": "image_encoder/config.json",
    "shards": "transformer/diffusion_pytorch_model.safetensors.index.json",
}


def configs(data: bytes, folder: Path) -> None:
    """The files of a model's folder, each a key of one JSON object: recognised, and built without weights."""
    try:
        files = json.loads(data)
    except (ValueError, RecursionError):
        return
    model = folder / "model"
    for key, name in CONFIG_FILES.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(files[key]) if isinstance(files, dict) and key in files else "{"
        (model / name).write_text(text)
    from sora.models.wan import layout

    spec = catalog.MODELS["wan2.1-1.3b"]
    refused = 0
    try:
        spec = catalog.find(str(model))
    except SoraError:
        refused += 1
    for name in ("vae", "text_encoder", "image_encoder", "transformer"):
        try:
            layout.meta_module(spec, name, model / name)
        except SoraError:
            refused += 1
    weights.checkpoint_shapes(model / "transformer", rules=KEY_MAPS["transformer"])


def _config_seeds() -> list[bytes]:
    transformer = {"_class_name": "WanTransformer3DModel", "num_layers": 2, "num_attention_heads": 2}
    transformer |= {"attention_head_dim": 12, "in_channels": 16, "out_channels": 16, "text_dim": 32, "freq_dim": 32}
    transformer |= {"ffn_dim": 32, "patch_size": [1, 2, 2], "qk_norm": "rms_norm_across_heads", "eps": 1e-6}
    vae = {"_class_name": "AutoencoderKLWan", "base_dim": 4, "z_dim": 16, "dim_mult": [1, 1, 1, 1]}
    vae |= {"num_res_blocks": 1, "attn_scales": [], "temperal_downsample": [False, True, True]}
    vae |= {"latents_mean": [0.0] * 16, "latents_std": [1.0] * 16}
    text = {"model_type": "umt5", "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    text |= {"vocab_size": 100, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128}
    text |= {"feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 1e-6}
    image = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    image |= {"image_size": 28, "patch_size": 14, "hidden_act": "gelu", "layer_norm_eps": 1e-5}
    whole: dict[str, Any] = {"index": {"_class_name": "WanPipeline", "transformer_2": [None, None]}, "vae": vae}
    whole |= {"transformer": transformer, "text_encoder": text, "image_encoder": image}
    whole |= {"scheduler": {"_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0}}
    whole |= {"shards": {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00001.safetensors"}}}
    vace = transformer | {"_class_name": "WanVACETransformer3DModel", "vace_layers": [0, 1], "vace_in_channels": 96}
    euler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 5.0}
    pictures = {"image_dim": 32, "added_kv_proj_dim": 24, "in_channels": 36, "pos_embed_seq_len": 10}
    others = [whole | {"transformer": vace, "scheduler": euler}, whole | {"transformer": transformer | pictures}]
    return [json.dumps(each).encode() for each in (whole, *others)]


def tokenizer(data: bytes, folder: Path) -> None:
    """A text encoder's tokenizer.json, which the library of that name reads."""
    from sora.models.wan.text import T5Tokenizer

    T5Tokenizer(_file(folder, "tokenizer.json", data)).ids(["a red ball", "", "空 é"], 16)


def _tokenizer_seeds() -> list[bytes]:
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((c, -1.0) for c in "▁abred l")]
    unigram = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    level = Tokenizer(models.WordLevel({"</s>": 0, "a": 1, "<unk>": 2}, unk_token="<unk>"))
    level.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    return [each.to_str().encode() for each in (unigram, level)]


PROMPT_SEEDS = (
    "a {red|blue|} ball {bounces|spins} in the desert\n# a comment\n\na teddy --seed 3 --size 64x48\n",
    'a \\{b\\|c\\} d --negative-prompt "no fog" --then a\n\ufeffb\n',
)
OPTION_SEEDS = (
    "generate 'a ball' --seed 3 --size 64x48 --then 'b c' --then d --draft --lora x:0.5 --guidance 3.5",
    "extend a.mp4 --backward --start 1 --end=2.5 --camera pan-left -- b",
    "edit clip.mp4 word --frames 1:2 --region 0,0,8,8 --strength 0.5 --was 'a b' --method flow",
)
WORD_SEEDS = (
    "a red ball bounces in the desert at night, the camera pans left, it rains",
    "two blue cars and a purple dog run merrily through a city street in the style of van gogh",
    "红色的气球在草地上空升起，镜头向左",
)
FLAGS = tuple(flag.encode() for field in fields().values() for flag in (*field.flags, *field.old_flags))
NAMES = tuple(name.encode() for name in fields())


@cache
def _vocabulary_words() -> tuple[bytes, ...]:
    loaded = vocabulary.load("mini-words.json")
    known = {" ".join(phrase) for table in (loaded.things, loaded.others) for phrase in table}
    return tuple(word.encode() + b" " for word in sorted(known))


JSON_WORDS = (b"__metadata__", b"dtype", b"shape", b"data_offsets", b"F32", b"BF16", b"Q8_0", b"I64", b"x.alpha")
RECIPE_WORDS = (b"format", b"argv", b"request", b"prompts", b"inputs", b"verb", b"threads", b"memory:" + b"ab" * 32)

TARGETS: dict[str, Target] = {
    "safetensors": Target(safetensors, _safetensors_seeds, changed_safetensors, JSON_WORDS),
    "gguf": Target(gguf, _gguf_seeds, changed_bytes, (b"general.alignment", b"comfy.gguf.orig_shape.", b"GGUF")),
    "recipe": Target(recipe, _recipe_seeds, changed_json, (*RECIPE_WORDS, *NAMES, *FLAGS)),
    "request": Target(request, _request_seeds, changed_json, (*NAMES, b"clip.gif", b"picture.png", b"mini")),
    "containers": Target(containers, lambda: list(_pictures().values()), changed_bytes, (b"VP8X", b"EXIF", b"!\xfe")),
    "prompt": Target(
        prompt, lambda: [s.encode() for s in PROMPT_SEEDS], changed_bytes, (b"{", b"|", b"}", b"\\", b" --")
    ),
    "options": Target(
        options, lambda: [s.encode() for s in OPTION_SEEDS], changed_bytes, tuple(f + b" " for f in FLAGS)
    ),
    "words": Target(words, lambda: [s.encode() for s in WORD_SEEDS], changed_bytes, _vocabulary_words()),
    "configs": Target(configs, _config_seeds, changed_json, (b"_class_name", b"vace_layers", b"weight_map")),
    "tokenizer": Target(tokenizer, _tokenizer_seeds, changed_json, (b"added_tokens", b"normalizer", b"type", b"vocab")),
}
