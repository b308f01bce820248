"""Texts that somebody crafted to stand in a film's metadata. @PERSON@, @FIFO@, @SOCKET@ and @FILM@ stand for paths,
@SHA@ and @KEEPSAKE@ for digests, of the scene that ``test_crafted_recipes`` sets."""

from __future__ import annotations

import json
from typing import Any

REQUEST: dict[str, Any] = {"verb": "generate", "prompt": "a red ball", "draft": True, "seed": 1, "steps": 1}
REQUEST |= {"frames": 2, "size": "64x48"}
RECIPE: dict[str, Any] = {
    "format": 2,
    "sora": "0.1",
    "request": REQUEST,
    "prompts": ["a red ball"],
    "weights": "ab" * 32,
}
RECIPE |= {"frames": 2, "fps": 8, "painted": [64, 48], "size": [64, 48], "device": "cuda", "dtype": "float32"}
RECIPE |= {"torch": "2.6", "inputs": [], "threads": 1}


def asks(inputs: Any = (), **request: Any) -> str:
    """A recipe of today whose request says more. inputs: as it lists them."""
    return json.dumps(RECIPE | {"request": REQUEST | request, "inputs": inputs})


def says(**record: Any) -> str:
    """A recipe of today with other facts."""
    return json.dumps(RECIPE | record)


def runs(*argv: Any, **record: Any) -> str:
    """A recipe of format 1, which held a command line."""
    own = {"format": 1, "argv": list(argv), "prompt": "a red ball", "verb": "generate"}
    kept = {name: value for name, value in RECIPE.items() if name not in ("format", "request", "prompts")}
    return json.dumps(kept | own | record)


def reads(path: str, digest: str = "ab" * 32, **request: Any) -> str:
    """A recipe that goes on from a file, which it lists."""
    return asks([[path, digest]], **({"verb": "extend", "clip": path, "size": None} | request))


def names(name: str, digest: str = "ab" * 32) -> str:
    """A recipe of format 3 that goes on from a file which it names."""
    return json.dumps(json.loads(reads(name, digest)) | {"format": 3})


CLEAR = "\x1b[2J\x1b]0;owned\x07\r\b"
"""What a terminal would do something at."""

CRAFTED: dict[str, tuple[str, str]] = {
    # --- other commands
    "models remove": (runs("models", "remove", "mini", "--yes"), "`sora models`"),
    "models pull": (runs("models", "pull", "wan2.1-1.3b"), "`sora models`"),
    "train": (runs("train", "@PERSON@", "-o", "@PERSON@/keepsake.txt", "--force"), "`sora train`"),
    "doctor": (runs("doctor"), "`sora doctor`"),
    "info": (runs("info", "@PERSON@/clip.webp"), "`sora info`"),
    "remake of itself": (runs("remake", "film.webp"), "`sora remake`"),
    "a shell": (runs("sh", "-c", "rm -rf @PERSON@"), "`sora sh`"),
    "a flag before the verb": (runs("--profile", "@PERSON@/keepsake.txt", "generate", "a"), "paints nothing"),
    "finish of itself": (runs("finish", "--", "@FILM@"), "does not list"),
    "finish of itself, listed": (runs("finish", "--", "@FILM@", inputs=[["@FILM@", "0"]]), "was finished"),
    "finish of a device": (runs("finish", "--", "/dev/zero", inputs=[["/dev/zero", "0"]]), "not a regular file"),
    "finish of a pipe": (runs("finish", "--", "@FIFO@", inputs=[["@FIFO@", "0"]]), "not a regular file"),
    "finish of what it does not list": (runs("finish", "--", "@PERSON@/clip.webp"), "does not list"),
    "finish of a person's film": (
        runs("finish", "--", "@PERSON@/clip.webp", inputs=[["@PERSON@/clip.webp", "0"]]),
        "holds no recipe",
    ),
    # --- where to write and how often
    "argv --output --force": (runs("generate", "--output", "@PERSON@/keepsake.txt", "--force", "--", "a"), "--output"),
    "argv -o": (runs("generate", "-o", "@PERSON@/keepsake.txt", "--", "a"), "words without a flag"),
    "argv --count": (runs("generate", "--count", "1000", "--", "a"), "--count"),
    "argv --dry-run": (runs("generate", "--dry-run", "--", "a"), "--dry-run"),
    "argv --json": (runs("generate", "--json", "--", "a"), "--json"),
    "argv --profile": (runs("generate", "--profile", "@PERSON@/keepsake.txt", "--", "a"), "--profile"),
    "argv -f": (runs("generate", "-f", "@PERSON@/keepsake.txt"), "words without a flag"),
    "argv --file": (runs("generate", "--file", "@PERSON@/keepsake.txt"), "--file"),
    "argv --anyway": (runs("generate", "--anyway", "--", "a"), "--anyway"),
    "request output": (asks(output="@PERSON@/keepsake.txt"), "unknown field"),
    "request force": (asks(force=True), "unknown field"),
    "request count": (asks(count=1000), "unknown field"),
    "request stem": (asks(stem="../person/keepsake"), "unknown field"),
    "request argv": (asks(argv=["models", "remove", "mini"]), "unknown field"),
    "request verb": (asks(verb="models"), "Invalid enum value"),
    # --- what to read
    "/dev/zero": (reads("/dev/zero"), "not a regular file"),
    "/dev/random": (reads("/dev/random"), "not a regular file"),
    "/dev/tty": (reads("/dev/tty"), "not a regular file"),
    "/dev/stdin": (reads("/dev/stdin"), "/dev/stdin"),
    "/proc/kmsg": (reads("/proc/kmsg"), "not a regular file"),
    "/proc/kcore": (reads("/proc/kcore"), "/proc/kcore"),
    "/proc": (reads("/proc"), "/proc"),
    "a pipe": (reads("@FIFO@"), "not a regular file"),
    "a socket": (reads("@SOCKET@"), "not a regular file"),
    "a folder with a pipe": (reads("@PERSON@/pipes"), "not a regular file"),
    "a folder with a linked folder with a pipe": (reads("@PERSON@/deep"), "not a regular file"),
    "a folder of itself": (reads("@PERSON@/round"), "round"),
    "a link to a device": (reads("@PERSON@/zero"), "not a regular file"),
    "an empty file": (reads("@PERSON@/empty"), "not a regular file"),
    "what is not listed": (asks(verb="extend", clip="@PERSON@/clip.webp"), "does not list"),
    "what is listed and not used": (asks([["/dev/zero", "0"]]), "has no use"),
    "what has another digest": (reads("@PERSON@/clip.webp"), "has changed since"),
    "two digests": (
        asks([["@PERSON@/clip.webp", "@SHA@"], ["@PERSON@/clip.webp", "0"]], verb="extend", clip="@PERSON@/clip.webp"),
        "has changed since",
    ),
    "a text as a clip": (reads("@PERSON@/keepsake.txt", "@KEEPSAKE@"), "text file"),
    "~": (reads("~/keepsake.txt"), "no absolute path"),
    "a relative path": (reads("keepsake.txt"), "no absolute path"),
    "..": (reads("../person/keepsake.txt"), "no absolute path"),
    "an empty path": (reads(""), "no absolute path"),
    "- as a clip": (reads("-"), "no absolute path"),
    "a network address": (reads("https://example.org/a.mp4"), "no absolute path"),
    "ffmpeg's own protocols": (reads("concat:/dev/zero|/dev/zero"), "no absolute path"),
    "a zero in a path": (reads("/a\0b"), "cannot be read"),
    "a path that does something to a terminal": (reads(f"/{CLEAR}\n\u202egpj.exe"), "gone"),
    "an endless path": (reads("/" + "a" * 4000), "cannot be read"),
    "a device as a picture": (reads("/dev/zero", verb="img2vid", clip=None, image="/dev/zero"), "not a regular"),
    "a device as the last picture": (reads("/dev/zero", clip=None, last_image="/dev/zero"), "not a regular"),
    "a device as a mask": (reads("/dev/zero", verb="edit", clip=None, mask="/dev/zero"), "not a regular"),
    "a device as the second clip": (reads("/dev/zero", verb="bridge", clip=None, clip_b="/dev/zero"), "not a regular"),
    "a device as a draft": (reads("/dev/zero", clip=None, draft_file="/dev/zero"), "not a regular"),
    "a device as a LoRA": (reads("/dev/zero", verb="generate", clip=None, loras=["/dev/zero:1"]), "not a regular"),
    "a LoRA that is none": (
        reads("@PERSON@/keepsake.txt", "@KEEPSAKE@", verb="generate", clip=None, loras=["@PERSON@/keepsake.txt:1"]),
        "keepsake.txt",
    ),
    "a LoRA of endless strength": (asks(loras=["/x:1e9"]), "out of range"),
    "a LoRA without a name": (reads("", verb="generate", clip=None, loras=[":1"]), "names no file"),
    "a device as a model": (asks(model="/dev/zero"), "not a regular file"),
    "a pipe as a model": (asks(model="@FIFO@"), "not a regular file"),
    "a pickle as a model": (asks(model="@PERSON@/model/pytorch_model.bin"), "pickle"),
    "a folder with a pickle as a model": (asks(model="@PERSON@/model"), "model"),
    "a model that there is not": (asks(model="nobody/nothing"), "no such repository is here"),
    "a model in ~": (asks(model="~/model"), "no absolute path"),
    # --- names, as files hold them
    "a path among names": (names("@PERSON@/clip.webp"), "no file's name alone"),
    "a name out of the folder": (names("../person/clip.webp"), "no file's name alone"),
    "a name of a folder above": (names(".."), "no file's name alone"),
    "a name on a drive": (names("C:clip.webp"), "no file's name alone"),
    "a name with a backslash": (names("..\\person\\clip.webp"), "no file's name alone"),
    "a name of nothing": (names(""), "no file's name alone"),
    "a name with a zero": (names("a\0b"), "no file's name alone"),
    "a name without a digest": (names("clip.webp", ""), "no digest"),
    "a name with weights' digest": (names("clip.webp", "weights:" + "ab" * 32), "no digest"),
    "a name of what is not there": (names("clip.webp"), "not found beside it"),
    "a name of the film itself": (names("film.webp"), "has changed since"),
    "a name that is not listed": (says(format=3, request=REQUEST | {"loras": ["x.safetensors:1"]}), "does not list"),
    "weights that are not listed": (says(format=3, request=REQUEST | {"model": "own"}), "does not list"),
    "weights by a path": (says(format=3, request=REQUEST | {"model": "@PERSON@/model"}), "does not list"),
    "weights out of the folder": (
        says(format=3, request=REQUEST | {"model": "../model"}, inputs=[["../model", "weights:" + "ab" * 32]]),
        "no file's name alone",
    ),
    "two digests of a name": (
        says(format=3, request=REQUEST | {"image": "a.png"}, inputs=[["a.png", "ab" * 32], ["a.png", "cd" * 32]]),
        "two digests",
    ),
    # --- words and numbers
    "eight films in the words": (asks(prompt="{a|b}{a|b}{a|b}"), "several films"),
    "films without number": (asks(prompt="{a|b}" * 4000), "cannot be painted"),
    "films in the shots": (asks(then=["{a|b}"] * 200), "several films"),
    "a stray brace": (asks(prompt="{"), "cannot be painted"),
    "a prompt of 10 MB": (asks(prompt="a" * 10_000_000), "characters"),
    "a long prompt": (asks(prompt="a" * 70_000), "cannot be painted"),
    "an empty prompt": (asks(prompt=" "), "cannot be painted"),
    "half characters": (asks(prompt="\ud800"), "cannot be painted"),
    "a long verb": (runs("x" * 300_000), "paints nothing"),
    "a field that does something to a terminal": (asks(**{f"{CLEAR}\u2066": 1}), "unknown field"),
    "a long field": (asks(**{"x" * 300_000: 1}), "unknown field"),
    "a verb that does something to a terminal": (runs(f"{CLEAR}\n\u202e"), "paints nothing"),
    "a million inputs": (says(inputs=[["a", "b"]] * 1_000_000), "characters"),
    "thousands of inputs": (says(inputs=[["a", "b"]] * 5000), "incomplete"),
    "a million words": (runs(*["--"] * 100_000), "no list of words"),
    "no words": (runs(argv=[], prompt=3), "lacks its prompt"),
    "words of the wrong kind": (runs("generate", 3, None), "no list of words"),
    "before there were command lines": (runs(verb="extend", seed="x" * 300_000), "older sora"),
    "a size of text": (asks(size=f"{CLEAR}9x9"), "no size"),
    "a size of 1x1": (asks(size="1x1"), "16 to 8192"),
    "an aspect of 1:0": (asks(size=None, aspect="1:0"), "no shape"),
    "no frames": (asks(frames=0), "no length"),
    "frames without number": (asks(frames=10**400), "too many"),
    "both lengths": (asks(seconds=1.0), "--seconds and --frames"),
    "a seed below 0": (asks(seed=-1), "seed"),
    "a thousand million steps": (asks(steps=10**9), "steps"),
    "a number that is none": (asks(guidance=float("nan")), "not finite"),
    "an endless number": (asks(seconds=float("inf")), "not finite"),
    "a number too large for any": (says(fps="@1e999@").replace('"@1e999@"', "1e999"), "not finite"),
    "a plan that there is not": (asks(memory=CLEAR), "no memory plan"),
    "a speed that there is not": (asks(speed="/dev/zero"), "speed"),
    "a way that there is not": (asks(disable=["\x1b[2J"]), "disable"),
    # --- text that is no recipe
    "deep lists": ('{"format":2,"a":' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON"),
    "lists deep enough": ('{"format":2,"a":' + "[" * 900 + "]" * 900 + "}", "levels deep"),
    "an endless whole number": ('{"format":2,"a":' + "9" * 5000 + "}", "not JSON"),
    "format 0": (says(format=0), "no whole number"),
    "format -1": (says(format=-1), "no whole number"),
    "format 99": (says(format=99), "upgrade sora"),
    'format "2"': (says(format="2"), "no whole number"),
    "format 2.5": (says(format=2.5), "no whole number"),
    "format true": (says(format=True), "no whole number"),
    "format null": (says(format=None), "no whole number"),
    "a request twice": (says()[:-1] + ', "request": {"verb": "models"}}', "Invalid enum value"),
    "a request of the wrong kind": (says(request=[1]), "Expected `object`"),
    "facts of the wrong kind": (says(painted="64x48", size={}, prompts=3), "incomplete"),
    "a side of 2^40": (says(size=[2**40, 2**40]), "incomplete"),
    "threads without number": (says(threads=10**400), "incomplete"),
    "nothing": ("{}", "lacks its prompt"),
    "half a recipe": (says()[:200], "not JSON"),
}
"""Name -> (the text in the film's metadata, a part of the line in which `remake` refuses it)."""

HARMLESS: dict[str, str] = {
    "facts that nobody reads": says(output="@PERSON@/keepsake.txt", force=True, argv=["models", "remove", "mini"]),
    "- as words": asks(prompt="-"),
    "8192x8192, 100000 frames": asks(size="8192x8192", frames=100_000, steps=1000, fps=240),
    "256 shots": asks(then=["a red ball"] * 256, frames=90_000),
    "threads": asks(threads=1024),
    "words that do something to a terminal": asks(prompt=f"a red ball {CLEAR}\u202e"),
    "facts that do something to a terminal": says(sora=CLEAR, **{f"\u2066{CLEAR}\n": ["\u202e", "\x9b2J"]}),
    "a name as wide as a house": says(**{"x" * 200_000: 1}, **{f"n{i}": i for i in range(5000)}),
}
"""What asks for a film that may be painted, had nothing else in mind, and is at most a lot of work."""
