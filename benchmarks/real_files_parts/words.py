"""Words and flags: prompts of any form and encoding, terminals that are not UTF-8, weights and LoRAs in prompts, seeds,
standard output, and command lines as people type them."""

from __future__ import annotations

import contextlib
import io
import json
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import sora
from real_files_parts import words_flags
from real_files_parts.case import Case, Outcome, run, says
from real_files_parts.commands import compared, here, judged, on_terminal, says_so
from sora import catalog, media, models
from sora.cli import streams
from sora.jobs import lora_tags
from sora.jobs.delivery import InMemory
from sora.jobs.resolve import resolve
from sora.models.mini.model import word_ids
from sora.models.wan import prompts as wan_prompts
from sora.models.wan import text as wan_text
from sora.plan import prompts
from sora.plan.request import Request

SMALL = ("--size", "64x64", "--steps", "1", "--seed", "1")
SHORT: dict[str, Any] = {"size": (64, 64), "steps": 2, "anyway": True}
ENCODINGS = ("cp1252", "latin-1", "ascii", "cp437", "gbk", "shift_jis", "utf-16")
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
MIXED = "a red ball “球” … → é"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # one picture of three people

SAME_WORDS = {
    "a byte order mark": "\ufeffa red ball",
    "zero-width spaces": "a\u200b red\u200b ba\u200bll\u200b",
    "word joiners and soft hyphens": "a red\u2060 bal\u00adl",
    "no-break spaces": "a\u00a0red\u202fball",
    "ideographic spaces": "a\u3000red\u3000ball",
    "marks of direction": "\u202aa red ball\u202c\u200e",
    "a stray joiner": "a red\u200d ball\u200c",
    "lines of a text box": "a red\r\n\u2028ball\u0085",
}
PROSE = ("a cat (black)", "a clock (at 10:30)", "a screen (16:9)", r"a ball \(red:1.5\)", "a cat :) sits")
MARKS = ("((big))", "[big]", "__colour__", "(big)+", "big++", "BREAK", "embedding:bad", "<hypernet:x:1>")


def cases() -> Iterator[Case]:
    yield from _encodings()
    yield from _prompt_files()
    yield from _invisible()
    yield from _weights()
    yield from _marks()
    yield from _loras()
    yield from words_flags.cases()


# Terminals and pipes ------------------------------------------------------------------------------------------------


def _encodings() -> Iterator[Case]:
    kind = "output of another encoding"
    for encoding in ENCODINGS:
        yield Case(kind, f"{encoding}, a note and a bar", "decodes, no error", partial(_stream, encoding))
    for encoding in ("cp1252", "ascii", "cp437"):
        yield Case(kind, f"{encoding}, lists as JSON", "JSON", partial(_json, encoding))
    yield Case(kind, "cp1252, a film is painted", "exit 0, says so", partial(_paints, {"PYTHONIOENCODING": "cp1252"}))
    yield Case(kind, "the C locale, a film is painted", "exit 0, says so", partial(_paints, C_LOCALE))
    yield Case(kind, "ascii, a terminal with a bar", "exit 0, ASCII", _terminal)
    yield Case(kind, "cp1252, a file name that is not UTF-8", "exit 3, says so", _bad_name)


def _stream(encoding: str, folder: Path) -> Outcome:  # noqa: ARG001
    from sora.cli.bar import steps
    from sora.cli.progress import note
    from sora.engine.progress import ProgressEvent

    taken = io.BytesIO()
    stream = io.TextIOWrapper(taken, encoding=encoding, errors="strict", write_through=True)
    stream.isatty = lambda: True  # type: ignore[method-assign]
    with contextlib.redirect_stderr(stream), contextlib.redirect_stdout(stream):
        streams.install()
        note(f"{MIXED} \udcff", quiet=False)
        with steps(lambda _: None, MIXED) as on_event:
            on_event(ProgressEvent("sample", 1, 2))
    text = taken.getvalue().decode(encoding)
    return Outcome("decodes, no error" if "red ball" in text and "painting" in text else text[:100], "painting" in text)


def _json(encoding: str, folder: Path) -> Outcome:
    out = run(folder, "ideas", "--json", "--count", "3", more={"PYTHONIOENCODING": encoding}).out
    return compared("JSON", "JSON" if json.loads(out.decode(encoding))["prompts"] else "none")


def _paints(more: dict[str, str], folder: Path) -> Outcome:
    return says(run(folder, "generate", MIXED, "--frames", "2", *SMALL, more=more), 0, "painted in", "a-red-ball")


def _terminal(folder: Path) -> Outcome:
    status, out = on_terminal(folder, "image", MIXED, *SMALL, encoding="ascii")
    return compared("exit 0, ASCII", f"exit {status}, {'ASCII' if out.isascii() and b'Traceback' not in out else out}")


def _bad_name(folder: Path) -> Outcome:
    return says(run(folder, "info", "\udcff é.mp4", more={"PYTHONIOENCODING": "cp1252"}), 3, "cannot read \\udcff")


# Prompts ------------------------------------------------------------------------------------------------------------


def _prompt_files() -> Iterator[Case]:
    kind, lines = "prompt file", "# films\r\na red ball é --seed 7\r\n\r\na blue ball\r\n"
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        attempt = partial(_lines, lines.encode(encoding))
        yield Case(kind, f"{encoding} with a byte order mark, CRLF", "2:a red ball é, 4:a blue ball", attempt)
    big_endian = "\ufeff".encode("utf-16-be") + lines.encode("utf-16-be")
    yield Case(kind, "utf-16 big-endian", "2:a red ball é, 4:a blue ball", partial(_lines, big_endian))
    latin = lines.encode("cp1252")
    attempt = _file_says(latin, "is not valid UTF-8 (line 2: 'a red ball \\xe9'", "save it as UTF-8")
    yield Case(kind, "cp1252", "exit 2, says so", attempt)
    for encoding in ("cp1252", "gbk", "utf-16"):
        words = "一个红球" if encoding == "gbk" else "a red ball “café”"
        yield Case("prompt on stdin", encoding, words, partial(_stdin, words, encoding))


def _lines(data: bytes, folder: Path) -> Outcome:
    from sora.cli import batch

    (folder / "lines.txt").write_bytes(data)
    found = prompts.parse_file(batch.read_prompt_file(str(folder / "lines.txt")))
    return compared("2:a red ball é, 4:a blue ball", ", ".join(f"{line.number}:{line.prompt}" for line in found))


def _file_says(data: bytes, *words: str) -> Callable[[Path], Outcome]:
    def attempt(folder: Path) -> Outcome:
        (folder / "lines.txt").write_bytes(data)
        return judged(here(folder, "generate", "-f", "lines.txt"), 2, *words)

    return attempt


def _stdin(words: str, encoding: str, folder: Path) -> Outcome:
    more = {} if encoding == "utf-16" else {"PYTHONIOENCODING": f"{encoding}:strict"}
    argv = ("generate", "-", "--anyway", "--frames", "1", *SMALL, "-o", "a.mkv", "-q")
    run(folder, *argv, more=more, stdin=words.encode(encoding))
    return compared(words, json.loads(media.read_recipe(folder / "a.mkv") or "{}").get("request", {}).get("prompt"))


def _invisible() -> Iterator[Case]:
    kind = "invisible characters"
    for name, text in SAME_WORDS.items():
        yield Case(kind, name, "the tokens of the clean prompt", partial(_same_tokens, text, "a red ball"))
    decomposed = unicodedata.normalize("NFD", "a café über Ålesund")
    yield Case(kind, "accents as a Mac types them", "the tokens of the clean prompt", partial(
        _same_tokens, decomposed, "a café über Ålesund"
    ))  # fmt: skip
    for name, text in (
        ("emoji that a joiner makes one", FAMILY),
        ("Persian", "می\u200cخواهم"),
        ("Hindi", "क्\u200dष"),
        ("typographic quotes", "a “red” ball’s"),
    ):
        yield Case(f"{kind} that change words", name, ascii(text), partial(_kept, text))


def _same_tokens(text: str, clean: str, folder: Path) -> Outcome:  # noqa: ARG001
    mini: Any = models.load(catalog.find("mini"), torch.device("cpu"), torch.float32)
    ids = [word_ids(mini.tokenizer, [words], 32).tolist() for words in (prompts.clean(text), clean)]
    same = ids[0] == ids[1] and wan_prompts.clean(prompts.clean(text)) == wan_prompts.clean(clean)
    return Outcome("the tokens of the clean prompt" if same else f"{ids}", same)


def _kept(text: str, folder: Path) -> Outcome:  # noqa: ARG001
    return compared(ascii(text), ascii(prompts.clean(text)))


# Weights, marks and LoRAs -------------------------------------------------------------------------------------------


def _weights() -> Iterator[Case]:
    kind = "weights of words"
    yield Case(kind, "weight 1, mini", "the same film", partial(_films, "a (red ball:1) in snow", "a red ball in snow"))
    yield Case(
        kind, "weight 0, mini", "the film without", partial(_near, "a red ball in the (snow:0)", "a red ball in the")
    )
    yield Case(
        kind, "weight 1.5, mini", "another film", partial(_films, "a ball in the (snow:1.5)", "a ball in the snow")
    )
    yield Case(kind, "nested, Wan's text encoder", "1 1.5 0.75 1 of 4 tokens", _wan)
    yield Case(kind, "too large", "exit 2, says so", says_so(["generate", "a (red:11) ball"], 2, "expected 0 to 10"))
    for text in PROSE:
        yield Case("parentheses of prose", text, "no weights", partial(_prose, text))


def _painted(prompt: str) -> np.ndarray:
    return sora.image(prompt, seed=1, **SHORT).frames.astype(int)


def _films(one: str, other: str, folder: Path) -> Outcome:  # noqa: ARG001
    same = np.array_equal(_painted(one), _painted(other))
    return Outcome("the same film" if same else "another film", same == ("1)" in one))


def _near(one: str, other: str, folder: Path) -> Outcome:  # noqa: ARG001
    first, second, snow = _painted(one), _painted(other), _painted("a red ball in the snow")
    off = [float(np.abs(frames - second).mean()) for frames in (first, snow)]
    return Outcome(
        f"the film {'without' if off[0] < 0.05 else 'with'}, {off[0]:.2g} of {off[1]:.2g} grey levels off",
        off[0] < 0.05 < 1 < off[1],
    )


def _wan(folder: Path) -> Outcome:
    from tokenizers import Tokenizer
    from tokenizers import models as kinds
    from tokenizers.pre_tokenizers import Metaspace

    words = ["a", "red", "ball", "rolls"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *((f"▁{word}", -3.0) for word in words), ("▁", -9.0)]
    made: Any = Tokenizer(kinds.Unigram(pieces, unk_id=2))  # type: ignore[call-arg]
    made.pre_tokenizer = Metaspace(prepend_scheme="always")
    made.save(str(folder / "tokenizer.json"))
    tokenizer = wan_text.T5Tokenizer(folder / "tokenizer.json")
    rows = {"a red ball rolls": torch.ones(1, 8, 4), "": torch.zeros(1, 8, 4)}
    found = wan_text.embed_prompts(["a (red (ball:0.5):1.5) rolls"], tokenizer, lambda texts: rows[texts[0]])
    return compared("1 1.5 0.75 1 of 4 tokens", " ".join(f"{x:g}" for x in found[0, :4, 0].tolist()) + " of 4 tokens")


def _prose(text: str, folder: Path) -> Outcome:  # noqa: ARG001
    from sora.plan.weighting import spans

    return compared("no weights", "no weights" if [s.weight for s in spans(text)] == [1] else spans(text))


def _marks() -> Iterator[Case]:
    for mark in MARKS:
        yield Case("mark of another program", mark, f"a note on {mark}", partial(_named, mark))


def _named(mark: str, folder: Path) -> Outcome:  # noqa: ARG001
    request = Request(verb="generate", prompt=f"a red ball, {mark} and snow")
    notes = resolve(request, InMemory(anyway=True)).notes
    return compared(f"a note on {mark}", next((f"a note on {mark}" for line in notes if line.startswith(mark)), notes))


def _loras() -> Iterator[Case]:
    kind = "LoRA in a prompt"
    yield Case(kind, "<lora:NAME:0.8>", "the film of --lora", _lora_film)
    yield Case(kind, "next to the prompt file", "exit 0, says so", _lora_line)
    refused = says_so(["generate", "a ball <lora:none:1>"], 3, "names no LoRA", "none.safetensors", "--lora FILE")
    yield Case(kind, "a name that is not there", "exit 3, says so", refused)
    yield Case(kind, "in a recipe", "opens nothing", _lora_recipe)


def _lora(file: Path) -> None:
    """A LoRA that changes what mini paints."""
    mini: Any = models.load(catalog.find("mini"), torch.device("cpu"), torch.float32)
    name, layer = next((n, m) for n, m in mini.dit.named_modules() if n.endswith("attn1.to_out.0"))
    out_features, in_features = layer.weight.shape
    random = torch.Generator().manual_seed(0)
    tensors = {
        f"{name}.lora_A.weight": torch.randn(4, in_features, generator=random) * 0.3,
        f"{name}.lora_B.weight": torch.randn(out_features, 4, generator=random) * 0.3,
    }
    save_file(tensors, file)


def _lora_film(folder: Path) -> Outcome:
    _lora(folder / "style.safetensors")
    argv = ("--frames", "1", "--size", "64x64", "--steps", "2", "--seed", "1", "-q", "-o")
    for name, extra in (("tag", ()), ("flag", ("--lora", "style.safetensors:0.8")), ("plain", ())):
        prompt = "a red ball <lora:style:0.8>" if name == "tag" else "a red ball"
        assert here(folder, "generate", prompt, *extra, *argv, f"{name}.mkv").exit_code == 0
    tag, flag, plain = (media.read_clip(folder / f"{n}.mkv").frames_FYXC for n in ("tag", "flag", "plain"))
    right = np.array_equal(tag, flag) and not np.array_equal(tag, plain)
    return Outcome("the film of --lora" if right else "another film", right)


def _lora_line(folder: Path) -> Outcome:
    (folder / "prompts").mkdir()
    _lora(folder / "prompts" / "style.safetensors")
    (folder / "prompts" / "lines.txt").write_text("a red ball <lora:style:0.8>\n", encoding="utf-8")
    return judged(here(folder, "generate", "-f", "prompts/lines.txt", "--dry-run"), 0, "a red ball")


def _lora_recipe(folder: Path) -> Outcome:
    assert here(folder, "generate", "a red ball", "--frames", "1", *SMALL, "-o", "a.mkv").exit_code == 0
    from sora.jobs import replay

    recipe = replay.recipe_of(folder / "a.mkv")
    request, _ = replay.remake_request(folder / "a.mkv", recipe, {})
    tagged = Request(verb="generate", prompt="a red ball <lora:/etc/passwd:1>")
    is_data = lora_tags.followed(tagged, names=()) is tagged and request.loras == ()
    return compared("opens nothing", "opens nothing" if is_data else "follows it")
