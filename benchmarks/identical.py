"""Whether a change of the code changes a film: ``python benchmarks/identical.py --save before.json``, then the change,
then ``python benchmarks/identical.py --against before.json``.

Paints a fixed list of films and pictures without loss, by every verb, with the embedded model and with tiny Wan
checkpoints of random weights, and prints the SHA-256 of each one's decoded frames. Everything goes through
``python -m sora`` in processes of its own, so the script judges any checkout (``--checkout``), whatever its files and
functions are called. Digests hold for one machine and one version of torch; the table names both.

Exit status: 0 all as before, 1 a film differs, is missing or could not be painted, 2 the tables cannot be compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent.parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
NOISE_CHANGES = "noise changes on purpose"


@dataclass(frozen=True)
class Painting:
    """One command. Its words are those of a shell, but for the prompt; ``output`` is the file that is digested."""

    name: str
    verb: str
    words: tuple[str, ...]  # prompts, which may hold blanks
    options: str = ""
    ending: str = ".mkv"
    second: bool = False  # of two files that --count makes, the second is digested
    note: str = ""  # why a difference is reported and does not fail
    same_as: str = ""  # another painting whose frames these must be

    @property
    def output(self) -> str:
        return f"{self.name}-2{self.ending}" if self.second else self.name + self.ending

    def argv(self, models: Path) -> list[str]:
        """What follows ``python -m sora``."""
        options = [str(models / o.removeprefix("wan:")) if o.startswith("wan:") else o for o in self.options.split()]
        return [self.verb, *self.words, *options, "-o", self.name + self.ending]


BALLOON, ROBOT = "a red balloon floats up over a green meadow", "a blue robot walks to the right in the snow"
BOAT, CAT = "a yellow boat sails on the sea at sunset", "an orange cat sits in the desert"
SMALL = "--size 128x128"

MINI = (
    Painting("balloon", "generate", (BALLOON,), "--seed 1"),
    Painting("boat", "generate", (BOAT,), f"{SMALL} --frames 9 --seed 2"),
    Painting("robot", "generate", (ROBOT,), f"{SMALL} --frames 9 --seed 3 --motion right"),
    Painting("guided", "generate", (BOAT,), f"{SMALL} --frames 9 --guidance 4 --steps 3 --seed 4"),
    Painting("resized", "generate", (CAT,), "--size 150x90 --frames 7 --steps 2 --seed 5 --camera pan-left"),
    Painting("long", "generate", (ROBOT,), f"{SMALL} --frames 60 --steps 2 --seed 6"),
    Painting(
        "cut", "generate", (BOAT, "--then", CAT, "--transition", "cut"), f"{SMALL} --frames 18 --steps 2 --seed 7"
    ),
    Painting(
        "flow", "generate", (BOAT, "--then", CAT, "--transition", "flow"), f"{SMALL} --frames 36 --steps 2 --seed 8"
    ),
    Painting("lora", "generate", (CAT,), f"{SMALL} --frames 9 --steps 2 --seed 9 --lora random.safetensors:0.5"),
    Painting("draft", "generate", (BALLOON,), "--draft --frames 9 --seed 10"),
    Painting("finish", "finish", ("draft.mkv",)),
    Painting("picture", "image", (CAT,), "--seed 11", ".png"),
    Painting("pair", "image", (BALLOON,), "--steps 2 --seed 12 --count 2", ".png", second=True),
    Painting("enlarged", "image", (BOAT,), "--size 512x384 --seed 13", ".png"),
    Painting(
        "refined", "image", (ROBOT,), "--size 512x512 --refine 0.3 --steps 2 --seed 14", ".png", note=NOISE_CHANGES
    ),
    Painting("img2vid", "img2vid", ("picture.png", CAT), "--frames 9 --steps 2 --seed 15"),
    Painting("img2vid-last", "img2vid", ("picture.png", CAT, "--last", "pair-1.png"), f"{SMALL} --frames 13 --seed 16"),
    Painting("extend", "extend", ("boat.mkv", BOAT), "--frames 8 --seed 17"),
    Painting("extend-backward", "extend", ("boat.mkv", BOAT), "--backward --frames 40 --steps 2 --seed 18"),
    Painting("loop-clip", "loop", ("boat.mkv", "--prompt", BOAT), "--frames 40 --steps 2 --seed 19"),
    Painting("loop-words", "loop", ("--prompt", BOAT), f"{SMALL} --frames 16 --steps 2 --seed 20"),
    Painting("bridge", "bridge", ("boat.mkv", "robot.mkv", ROBOT), "--frames 40 --steps 2 --seed 21"),
    Painting("edit-noise", "edit", ("boat.mkv", CAT), "--method noise --strength 0.6 --seed 22"),
    Painting("edit-flow", "edit", ("boat.mkv", CAT), "--method flow --seed 23"),
    Painting("edit-region", "edit", ("boat.mkv", CAT), "--region 16,24,64,72 --seed 24"),
    Painting("edit-stretch", "edit", ("extend.mkv", CAT), "--frames 5:12 --seed 25"),
    Painting("edit-mask", "edit", ("boat.mkv", CAT), "--mask mask.png --steps 2 --seed 26"),
    Painting("remake", "remake", ("balloon.mkv",), same_as="balloon"),
)

TWO = "--steps 2"
TINY = f"--size 64x64 {TWO}"
WAN = (
    Painting("wan-t2v", "generate", ("a red cat",), f"{TINY} --frames 6 --seed 1 --model wan:t2v"),
    Painting("wan-t2v-b", "generate", ("the sea",), f"{TINY} --frames 6 --seed 2 --model wan:t2v"),
    Painting(
        "wan-t2v-flow",
        "generate",
        ("a red cat", "--then", "the night sea", "--transition", "flow"),
        f"{TINY} --frames 18 --seed 3 --model wan:t2v",
    ),
    Painting("wan-t2v-draft", "generate", ("a boat",), f"{TINY} --draft --frames 5 --seed 4 --model wan:t2v"),
    Painting("wan-t2v-finish", "finish", ("wan-t2v-draft.mkv",), TWO),
    Painting(
        "wan-t2v-backward", "extend", ("wan-t2v.mkv", "walks"), f"--backward --frames 5 {TWO} --seed 5 --model wan:t2v"
    ),
    Painting("wan-t2v-circle", "loop", ("--prompt", "the sea"), f"{TINY} --frames 8 --seed 6 --model wan:t2v"),
    Painting(
        "wan-t2v-noise",
        "edit",
        ("wan-t2v.mkv", "a boat"),
        f"--method noise --strength 0.6 {TWO} --seed 7 --model wan:t2v",
    ),
    Painting("wan-t2v-edit-flow", "edit", ("wan-t2v.mkv", "a boat"), f"--method flow {TWO} --seed 8 --model wan:t2v"),
    Painting("wan-t2v-region", "edit", ("wan-t2v.mkv", "a boat"), f"--region 0,0,32,32 {TWO} --seed 9 --model wan:t2v"),
    Painting("wan-a14b", "generate", ("a red cat",), f"{TINY} --frames 5 --steps 4 --seed 10 --model wan:t2v-a14b"),
    Painting("wan-ti2v-picture", "image", ("a boat",), f"{TINY} --seed 11 --model wan:ti2v", ".png"),
    Painting("wan-ti2v", "img2vid", ("wan-ti2v-picture.png", "walks"), f"{TINY} --frames 6 --seed 12 --model wan:ti2v"),
    Painting("wan-i2v", "img2vid", ("wan-ti2v-picture.png", "walks"), f"{TINY} --frames 6 --seed 13 --model wan:i2v"),
    Painting(
        "wan-i2v-last",
        "img2vid",
        ("wan-ti2v-picture.png", "walks", "--last", "mask.png"),
        f"{TINY} --frames 9 --seed 14 --model wan:i2v",
    ),
    Painting("wan-i2v-extend", "extend", ("wan-t2v.mkv", "walks"), f"--frames 5 {TWO} --seed 15 --model wan:i2v"),
    Painting(
        "wan-vace-loop", "loop", ("wan-t2v.mkv", "--prompt", "walks"), f"--frames 5 {TWO} --seed 16 --model wan:vace"
    ),
    Painting(
        "wan-vace-bridge",
        "bridge",
        ("wan-t2v.mkv", "wan-t2v-b.mkv", "walks"),
        f"--frames 5 {TWO} --seed 17 --model wan:vace",
    ),
    Painting("wan-vace-mask", "edit", ("wan-t2v.mkv", "a boat"), f"--mask mask.png {TWO} --seed 18 --model wan:vace"),
    Painting("wan-vace-stretch", "edit", ("wan-t2v.mkv", "a boat"), f"--frames 2:5 {TWO} --seed 19 --model wan:vace"),
    Painting("wan-vace-remake", "remake", ("wan-vace-bridge.mkv",), same_as="wan-vace-bridge"),
)

# -- tiny Wan checkpoints ----------------------------------------------------------------------------------------------

WORDS = ("a", "red", "cat", "boat", "walks", "the", "sea", "night")
TEXT, SEEN = 24, 20  # widths of the text encoder and of the image encoder
SEES: dict[str, Any] = {"image_dim": SEEN, "added_kv_proj_dim": 24}


def randomised(network: Any, seed: int, scale: float = 1.0) -> Any:
    """``network`` with weights that depend on the seed and its parameters' names and shapes alone."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(cast(nn.Module, network).named_parameters()):
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale * fan_in**-0.5)
            if ("norm" in name and name.endswith("weight")) or name.endswith("gamma"):
                parameter.add_(1.0)
    return network.eval()


def text_parts() -> dict[str, Any]:
    """A tokenizer of a few words and letters, and an encoder of two layers."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *(("▁" + word, -3.0) for word in WORDS)]
    pieces += [(letter, -7.0) for letter in "▁abcdefghijklmnopqrstuvwxyz,.&'"]
    tokenizer: Any = Tokenizer(models.Unigram(pieces, unk_id=2))  # type: ignore[call-arg]
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])  # type: ignore[call-arg]
    sizes: dict[str, Any] = {"d_model": TEXT, "d_kv": 6, "d_ff": 32, "num_layers": 2, "num_heads": 4}
    config = UMT5Config(vocab_size=len(pieces), feed_forward_proj="gated-gelu", **sizes)
    marks = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return {
        "tokenizer": PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks),
        "text_encoder": randomised(UMT5EncoderModel(config), 1, 0.8),
    }


def common_parts(second: bool = False) -> dict[str, Any]:
    """Text, scheduler and the autoencoder of Wan 2.1, or with ``second`` that of Wan 2.2's 5B."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

    sizes: dict[str, Any] = {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1}
    if second:
        sizes |= {"decoder_base_dim": 6, "z_dim": 8, "is_residual": True, "patch_size": 2, "scale_factor_spatial": 16}
        sizes |= {"in_channels": 12, "out_channels": 12}
        sizes |= {"latents_mean": [0.1 * i - 0.3 for i in range(8)], "latents_std": [0.6 + 0.1 * i for i in range(8)]}
    schedule = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return {**text_parts(), "vae": randomised(AutoencoderKLWan(**sizes), 2, 0.7), "scheduler": schedule}


def transformer(channels: int, out: int, seed: int = 3, **more: Any) -> Any:
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
    from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel

    sizes: dict[str, Any] = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32}
    sizes |= {"in_channels": channels, "out_channels": out, "text_dim": TEXT, "freq_dim": 32, **more}
    kind: Any = WanVACETransformer3DModel if "vace_layers" in more else WanTransformer3DModel
    return randomised(kind(**sizes), seed)


def image_parts() -> dict[str, Any]:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    sizes: dict[str, Any] = {
        "hidden_size": SEEN,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    encoder = CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=224, patch_size=56))
    return {"image_encoder": randomised(encoder, 5), "image_processor": CLIPImageProcessor()}


def pipelines() -> dict[str, Callable[[], Any]]:
    """Each kind of checkpoint, as a pipeline of diffusers."""
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    set_verbosity_error()  # before the imports below, which remark on image processors
    disable_progress_bar()
    from diffusers.pipelines.wan.pipeline_wan import WanPipeline
    from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
    from diffusers.pipelines.wan.pipeline_wan_vace import WanVACEPipeline

    vace = {"vace_layers": [0, 1], "vace_in_channels": 96}
    experts = {"transformer": (16, 16, 3), "transformer_2": (16, 16, 4)}
    return {
        "t2v": lambda: WanPipeline(**common_parts(), transformer=transformer(16, 16)),
        "t2v-a14b": lambda: WanPipeline(
            **common_parts(), **{name: transformer(*sizes) for name, sizes in experts.items()}, boundary_ratio=0.875
        ),
        "i2v": lambda: WanImageToVideoPipeline(
            **common_parts(), **image_parts(), transformer=transformer(36, 16, **SEES)
        ),
        "ti2v": lambda: WanPipeline(**common_parts(second=True), transformer=transformer(8, 8), expand_timesteps=True),
        "vace": lambda: WanVACEPipeline(**common_parts(), transformer=transformer(16, 16, **vace)),
    }


# -- what the commands read besides each other's films -----------------------------------------------------------------


def random_lora() -> dict[str, Tensor]:
    """Of rank 4, for the attention of two of mini's blocks: (4, 384) and (384, 4)."""
    generator = torch.Generator().manual_seed(6)
    tensors: dict[str, Tensor] = {}
    for module in (
        f"blocks.{block}.{attention}.to_{x}" for block in (0, 5) for attention in ("attn1", "attn2") for x in "qv"
    ):
        tensors[f"transformer.{module}.lora_A.weight"] = 0.05 * torch.randn(4, 384, generator=generator)
        tensors[f"transformer.{module}.lora_B.weight"] = 0.05 * torch.randn(384, 4, generator=generator)
    return tensors


def write_inputs(folder: Path) -> str:
    """The checkpoints, the LoRA and the mask, in ``folder``; returns the digest of all weights and pixels."""
    save_file(random_lora(), folder / "random.safetensors", {"family": "mini"})
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[8:40, 16:56] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    for kind, made in pipelines().items():
        torch.manual_seed(0)
        made().save_pretrained(folder / "models" / kind)
    digest = hashlib.sha256(mask.tobytes())
    for file in sorted(folder.rglob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


# -- painting and comparing --------------------------------------------------------------------------------------------


def environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": str(checkout / "src")}


def require_checkout(checkout: Path) -> None:
    """Exits unless ``python -m sora`` is that of the checkout."""
    found = subprocess.run(
        [sys.executable, "-c", "import sora; print(sora.__file__)"],
        env=environment(checkout),
        capture_output=True,
        text=True,
    ).stdout.strip()
    if not found or not Path(found).is_relative_to(checkout):
        print(
            f"python -m sora is {found or 'absent'}, not that of {checkout}; expected a folder with src/sora",
            file=sys.stderr,
        )
        raise SystemExit(2)


def digest_of(path: Path) -> dict[str, Any]:
    """{"sha256", "frames", "size"} of a film's or a picture's frames as ffmpeg decodes them to rgb24."""
    frames: Iterator[Any] = imageio_ffmpeg.read_frames(str(path), output_params=["-fps_mode", "passthrough"])
    size = next(frames)["size"]
    digest, count = hashlib.sha256(), 0
    for count, frame in enumerate(frames, 1):  # noqa: B007
        digest.update(frame)
    return {"sha256": digest.hexdigest(), "frames": count, "size": "x".join(map(str, size))}


def paint(painting: Painting, folder: Path, checkout: Path) -> dict[str, Any]:
    """The digest of what the command wrote, or {"error": its last line}."""
    argv = [sys.executable, "-m", "sora", *painting.argv(folder / "models")]
    done = subprocess.run(argv, cwd=folder, env=environment(checkout), capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["nothing on stderr"]
        return {"error": f"exit {done.returncode}: {lines[-1]}"}
    return digest_of(folder / painting.output)


def paint_all(folder: Path, checkout: Path) -> dict[str, Any]:
    """The table: what it was made with, and a row for each painting."""
    weights = write_inputs(folder)
    rows: dict[str, dict[str, Any]] = {}
    for painting in (*MINI, *WAN):
        row = rows[painting.name] = paint(painting, folder, checkout)
        if painting.same_as and "error" not in row and row["sha256"] != rows[painting.same_as].get("sha256"):
            row["error"] = f"its frames are not those of {painting.same_as}"
        summary = row.get("error") or f"{row['sha256']} {row['frames']:3} frames {row['size']}"
        print(f"{painting.name:18} {summary}{'  (' + painting.note + ')' if painting.note else ''}", flush=True)
    return {"torch": torch.__version__, "machine": platform.platform(), "weights": weights, "paintings": rows}


def compare(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Prints what differs; returns the exit status."""
    if before["weights"] != after["weights"]:
        print("the checkpoints differ from those of the other table (another diffusers or torch?)", file=sys.stderr)
        return 2
    for fact in ("torch", "machine"):
        if before[fact] != after[fact]:
            print(f"note: {fact} was {before[fact]} and is {after[fact]}", file=sys.stderr)
    excused = {p.name for p in (*MINI, *WAN) if p.note}
    then, now = before["paintings"], after["paintings"]
    differ = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    for name in differ:
        print(f"differs: {name}{' (' + NOISE_CHANGES + ')' if name in excused else ''}")
    print(f"{len({**then, **now}) - len(differ)} of {len({**then, **now})} identical")
    return int(any(name not in excused for name in differ))


def run(arguments: argparse.Namespace, folder: Path) -> int:
    began = time.perf_counter()
    table = paint_all(folder, arguments.checkout)
    print(f"{len(table['paintings'])} commands in {time.perf_counter() - began:.0f} s")
    failed = [name for name, row in table["paintings"].items() if "error" in row]
    if failed:
        print(f"not painted as expected: {', '.join(failed)}", file=sys.stderr)
    if arguments.save:
        arguments.save.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    status = compare(json.loads(arguments.against.read_text(encoding="utf-8")), table) if arguments.against else 0
    return status or int(bool(failed))


def main() -> int:
    parser = argparse.ArgumentParser(description="Paint fixed films and compare their frames with those of before.")
    parser.add_argument("--save", type=Path, metavar="FILE.json", help="write the table of digests")
    parser.add_argument("--against", type=Path, metavar="FILE.json", help="compare with a table that was written")
    parser.add_argument("--checkout", type=Path, default=HERE, help="whose src/sora paints (default: this one)")
    parser.add_argument("--folder", type=Path, help="an empty folder to paint in and keep (default: a temporary one)")
    arguments = parser.parse_args()
    arguments.checkout = arguments.checkout.resolve()
    require_checkout(arguments.checkout)
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        if any(arguments.folder.iterdir()):
            parser.error(f"{arguments.folder} is not empty; choose a new folder")
        return run(arguments, arguments.folder.resolve())
    with tempfile.TemporaryDirectory(prefix="identical-") as made:
        return run(arguments, Path(made))


if __name__ == "__main__":
    raise SystemExit(main())
