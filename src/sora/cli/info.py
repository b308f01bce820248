"""``sora info``: what a file holds, and how it was made."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from sora.cli import film_drift
from sora.cli import options as o
from sora.errors import InputError, ModelError, UsageError, printable
from sora.plan import shot_lines
from sora.plan.flags import spelled
from sora.plan.recipe import from_record, record_of
from sora.plan.request import to_data

MAX_NAME_WIDTH = 40  # characters of the first column; a longer name pushes its own value alone

MADE_BY_A_MODEL = {"trainedAlgorithmicMedia": "yes", "compositeWithTrainedAlgorithmicMedia": "in part"}
"""What IPTC's digital source types say of that."""
Facts = dict[str, Any]


def info(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A film, a picture, a LoRA or a model.", show_default=False)
    ],
    drift: Annotated[
        bool, typer.Option("--drift", help="Measure how far colors, contrast and sharpness drift.")
    ] = False,
    as_json: o.AsJson = False,
) -> None:
    """Show what a file holds, and how sora made it."""
    from sora.weights import facts as weights
    from sora.weights import lora_file

    file = lora_file.located(file) if file.is_dir() and lora_file.peft_folder(file) else file
    if weights.is_weights(file) or _holds_model(file):
        if drift:
            raise UsageError(f"{file} holds weights; --drift measures films, expected one")
        facts = weights_facts(file) if weights.is_weights(file) else model_facts(file)
        typer.echo(json.dumps(facts)) if as_json else print_facts({k: v for k, v in facts.items() if v})
        return
    facts, made_with = media_facts(file)
    if drift:
        film_drift.report(file, facts, as_json=as_json)
        return
    if as_json:
        typer.echo(json.dumps(facts))
        return
    source_type = facts["source_type"] or ""
    by_a_model = MADE_BY_A_MODEL.get(source_type, "")
    tracks = [_described(track) for track in facts.pop("sound_tracks")]
    facts |= {"size": "x".join(map(str, facts["size"])), "sound": "; ".join(tracks)}
    facts |= {"interlaced": "yes" if facts["interlaced"] else ""}
    facts |= {"source_type": source_type, "made by a model": by_a_model}
    problem = facts.pop("problem", "" if by_a_model else "sora did not make this file")
    del facts["recipe"]
    if made_with is None:
        facts["recipe"] = f"none; {problem}" if problem else "none"
    print_facts({name: value for name, value in facts.items() if value})  # a picture has no rate and no length
    if made_with is not None:
        typer.echo("\nmade by sora with")
        print_facts(made_with)


def media_facts(file: Path) -> tuple[Facts, Facts | None]:
    """(facts about a film or a picture, its recipe for a person). ``problem`` says why a recipe cannot be read. Raises
    InputError."""
    from sora import media

    found = media.probe(file)
    record, made_with, problem = None, None, ""
    if found.recipe:
        try:
            record = record_of(found.recipe)
            made_with = describe_recipe(record)
        except InputError as error:  # whatever another program wrote
            record, problem = None, str(error)
    facts: Facts = {
        "path": str(file),
        "kind": found.kind,
        "size": [found.width, found.height],
        "frames": found.frames,
        "fps": found.fps,
        "seconds": found.seconds,
        "codec": found.codec,
        "pix_fmt": found.pix_fmt,
        "colors": found.colors,
        "interlaced": found.interlaced,
        "sound": found.sound,
        "sound_tracks": [
            {"codec": track.codec, "channels": track.layout, "language": track.language, "default": track.default}
            for track in found.sound_tracks
        ],
        "incomplete": found.incomplete,
        "source_type": found.source_type,
        "recipe": record,
    }
    return facts | ({"problem": problem} if problem else {}), made_with


def _described(track: Facts) -> str:
    """A sound track for a person, as in "aac stereo eng (default)"."""
    words = [track["codec"], track["channels"], track["language"], "(default)" if track["default"] else ""]
    return " ".join(filter(None, words))


def weights_facts(file: Path) -> Facts:
    """About a LoRA or a checkpoint: what its header says, and for a checkpoint what sora would paint with it. Raises
    ModelError."""
    from sora.weights import facts as weights

    found = weights.facts(file)
    facts: Facts = {"path": str(file), "kind": found.kind}
    facts |= {"tensors": found.tensors, "parameters": found.parameters, "formats": found.formats}
    if found.kind == "weights":
        try:
            facts |= {"model": _base_model(file)}
        except ModelError as error:
            facts |= {"model": None, "problem": str(error)}
    return facts | {"metadata": found.metadata}


def model_facts(folder: Path) -> Facts:
    """About a model folder. Raises ModelError for one that sora cannot paint with."""
    return {"path": str(folder), "kind": "model", "model": _base_model(folder)}


def _base_model(path: Path) -> str:
    """The row of the catalog that weights are most like."""
    from sora import catalog

    return catalog.find(str(path.absolute())).base_model


def _holds_model(folder: Path) -> bool:
    """Whether a folder is one of weights, in any layout that is read."""
    try:
        if not folder.is_dir():
            return False
        marks = ("model_index.json", "high_noise_model", "*.safetensors", "*.gguf", "HighNoise/*.gguf")
        return any(any(folder.glob(mark)) for mark in marks)
    except OSError:  # what cannot be looked at is not looked into
        return False


def describe_recipe(record: Facts) -> Facts:
    """A recipe's facts for a person: its request among them, and a command that asks for the same. Raises
    InputError."""
    if record.get("format", 1) == 1:
        argv = record.get("argv")
        return record | {"argv": shlex.join(["sora", *map(str, argv)])} if isinstance(argv, list) else record
    request = from_record(record).request
    rest = {name: value for name, value in record.items() if name != "request"}
    shots = {"shots": [shot_lines.spelled(shot) for shot in request.shots]} if request.shots else {}
    return rest | to_data(request) | shots | {"command": shlex.join(["sora", *spelled(request)])}


def print_facts(facts: Facts) -> None:
    """Name and value in two columns."""
    width = min(MAX_NAME_WIDTH, max((len(printable(name)) for name in facts), default=0))
    for name, value in facts.items():
        shown = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
        typer.echo(f"{printable(name).ljust(width)}  {printable(shown)}")
