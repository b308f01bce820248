"""``sora models``: which models there are, which are here, and fetching, checking and removing them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sora import catalog
from sora import models as families
from sora.catalog import download, hub, repositories
from sora.catalog.repositories import Fetched
from sora.catalog.spec import MEMORY, Fetchable, ModelSpec
from sora.cli import duration
from sora.cli import options as o
from sora.cli.help_pages import Command, Group
from sora.cli.info import print_facts
from sora.cli.progress import note, print_path
from sora.errors import ModelError, SoraError, UsageError, printable
from sora.plan.geometry import wxh
from sora.plan.options import MAX_REFERENCES
from sora.plan.request import Request

if TYPE_CHECKING:
    from sora.jobs.forecast import Forecast

app = typer.Typer(cls=Group, invoke_without_command=True, rich_markup_mode=None, add_completion=False)

VERBS = "generate, image, img2vid, extend, loop, bridge, edit"
CONDITIONING = {
    "channels": "next to the noise, as channels of the input",
    "tokens": "by a time of their own: known tokens are at rest",
    "control": "through a branch of its own, made for any frames and regions",
    "renoise": "put back at every step, as noisy as the rest",
}


@app.callback()
def models(ctx: typer.Context, as_json: o.AsJson = False) -> None:
    """List the models, show one, fetch, check and remove them. Without a command, list them."""
    if ctx.invoked_subcommand is None:
        list_models(as_json)
    elif as_json:
        raise UsageError(f"--json goes after the command: sora models {ctx.invoked_subcommand} --json")


@app.command("list", cls=Command)
def list_models(as_json: o.AsJson = False) -> None:
    """List the models. Each with its licence, whether its files are here, and its default clip."""
    width = max(map(len, catalog.MODELS))
    for spec in catalog.MODELS.values():
        row = _facts(spec)
        if as_json:
            typer.echo(json.dumps(row))
            continue
        typer.echo(f"{spec.name.ljust(width)}  {spec.licence}  {_state(spec, hub.local_copy(spec))}")
        typer.echo(f"    {spec.summary}")
        typer.echo(f"    by default {_by_default(spec)}")
    for fetched in repositories.all_recorded():
        if as_json:
            typer.echo(json.dumps(_facts_of(fetched)))
        else:
            typer.echo(printable(f"{fetched.name}  {fetched.licence or 'its own licence'}  {_state_of(fetched)}"))
            typer.echo(printable(f"    {_notes(fetched)[0]}"))


@app.command(cls=Command)
def show(model: o.Model, as_json: o.AsJson = False) -> None:
    """Show a model. Sizes, licence, memory, what it was trained on, what is here, what fits this machine."""
    fetched = _recorded(model)
    if fetched is not None and fetched.kind == repositories.LORA:
        facts = _facts_of(fetched) | {"use": _notes(fetched)[0]}
        typer.echo(json.dumps(facts)) if as_json else print_facts({key: str(value) for key, value in facts.items()})
        return
    spec = catalog.find(model)
    expected = _expected(model)
    row = _facts(spec) | {
        "repo": spec.repo,
        "revision": spec.revision,
        "files": spec.files,
        "checked": hub.checked(spec),
        "grid": [spec.grid.time, spec.grid.space, spec.grid.channels, spec.grid.patch],
        "verbs": VERBS.split(", "),
        "known": spec.conditioning,
        "takes": spec.accepts,
        "references": MAX_REFERENCES if spec.takes_references else 0,
        "control": spec.takes_control,
        "control_layers": spec.control_layers,
        "memory": dict(spec.memory),
        "speeds": dict(spec.speeds),
        **_repertoire(spec),
        **_machine_facts(spec),
        "seconds": duration.facts(expected),
    }
    if as_json:
        typer.echo(json.dumps(row))
    else:
        print_facts(_described(spec, row) | ({} if expected is None else {"time here": duration.line(expected)}))
    if spec.folder is not None:
        hub.check(spec)


def _described(spec: ModelSpec, row: dict[str, Any]) -> dict[str, Any]:
    """The facts of ``show``, for a person. row: of ``--json``."""
    found = hub.local_copy(spec)
    facts = {
        "name": spec.name,
        "": spec.summary,
        "licence": spec.licence,
        "hub": f"{spec.repo} at {spec.revision}" if spec.repo else "",
        "size": hub.gigabytes(spec.bytes or found.bytes),
        "state": _state(spec, found),
        "checked": "{} of {} files have the hub's digest".format(*row["checked"]) if row["checked"][1] else "",
        "folder": ", ".join(map(str, spec.own_paths or ([found.folder] if found.folder else []))),
        "by default": _by_default(spec),
        "grid": _grid(spec),
        "paints": VERBS,
        "trained on": spec.accepts,
        "known": CONDITIONING.get(spec.conditioning, spec.conditioning),
        "references": f"up to {row['references']} pictures" if row["references"] else "none",
        "control": f"a clip or a picture, by {spec.control_layers} layers" if spec.takes_control else "",
        "camera": ", ".join(spec.camera),
        "motion": ", ".join(spec.motion),
        **{name: ", ".join(words) for name, words in _repertoire(spec).items() if name != "motions"},
        "memory": ", ".join(f"{plan} {gb:g} GB" for plan, gb in spec.memory.items()),
        "fits here": _fits(row),
        **{f"speed {mode}": cost for mode, cost in spec.speeds.items()},
    }
    return {name: value for name, value in facts.items() if value}


@app.command(cls=Command)
def pull(model: o.Model, as_json: o.AsJson = False, quiet: o.Quiet = False) -> None:
    """Fetch a model's files. From the Hugging Face hub, only what is missing; a stopped download goes on. ORG/REPO or
    ORG/REPO:FILE fetches any model or LoRA there that sora recognises."""
    wanted = _to_fetch(model, quiet)
    before = hub.local_copy(wanted)
    if before.state == hub.COMPLETE:
        note(f"{wanted.name} is here already", quiet)
    elif wanted.repo and not hub.is_offline():
        already = f", of which {hub.gigabytes(before.bytes)} are here" if before.bytes else ""
        licence = wanted.licence or "of a licence that it does not name"
        note(f"{wanted.name}: {hub.gigabytes(wanted.bytes)}{already}, from {wanted.repo}, {licence}", quiet)
    try:
        with _download_bar(f"fetching {wanted.name}", quiet) as on_progress:
            download.pull(wanted, on_progress, lambda text: note(text, quiet))
    except KeyboardInterrupt as stop:
        stop.args = (f"stopped; what has come stays, go on with: sora models pull {model}",)
        raise
    for line in _notes(wanted) if isinstance(wanted, Fetched) else ():
        note(line, quiet)
    _print_place(wanted, as_json)


def _to_fetch(model: str, quiet: bool) -> ModelSpec | Fetched:
    """A row, weights of one's own, what is here of a repository, or what the hub has."""
    repository = repositories.parse(model)
    if repository is None or model in catalog.MODELS or Path(model).exists():
        return catalog.find(model)
    try:
        return _recorded(model) or catalog.find(model)
    except ModelError:  # not here in all
        fetched = download.inspect(repository, lambda text: note(text, quiet))
    repositories.record(fetched)
    return fetched


@app.command(cls=Command)
def verify(model: o.Model, as_json: o.AsJson = False, quiet: o.Quiet = False) -> None:
    """Check a model's files. Every byte against the digests of the hub, and that no file is missing."""
    spec = _recorded(model) or catalog.find(model)
    with _download_bar(f"checking {spec.name}", quiet) as on_progress:
        checked = list(hub.verify(spec, on_progress))
    bad = [file for file in checked if file.problem]
    if as_json:
        files = [{"file": file.name, "bytes": file.bytes, "problem": file.problem} for file in checked]
        typer.echo(json.dumps({"name": spec.name, "ok": not bad, "files": files}))
    for file in [] if as_json else bad:
        typer.echo(printable(f"{file.name}  {file.problem}"))
    if bad:
        raise ModelError(f"{spec.name} is not well ({_file_names(bad)}); {_remedy(spec)}")
    if not as_json:
        size = hub.gigabytes(sum(file.bytes for file in checked))
        typer.echo(f"{printable(spec.name)}  ok  {len(checked)} files, {size}")


@app.command(cls=Command)
def remove(model: o.Model, yes: o.Yes = False, as_json: o.AsJson = False) -> None:
    """Delete a model's files from this disk."""
    spec = _recorded(model) or catalog.find(model)
    found = hub.local_copy(spec)
    if spec.repo and found.state != hub.ABSENT and not yes:
        what = f"{spec.name}, {hub.gigabytes(found.bytes)}"
        if not typer.confirm(printable(f"Delete {what} in {found.folder or hub.cache()}?"), err=True):
            raise typer.Exit(1)
    freed = repositories.remove(spec) if isinstance(spec, Fetched) else hub.remove(spec)
    typer.echo(
        json.dumps({"name": spec.name, "freed": freed})
        if as_json
        else f"{printable(spec.name)} is gone, {hub.gigabytes(freed)} are free again"
    )


@app.command(cls=Command)
def path(model: o.Model, as_json: o.AsJson = False) -> None:
    """Print where a model's files are."""
    _print_place(_recorded(model) or catalog.find(model), as_json)


def _recorded(model: str) -> Fetched | None:
    """What was fetched of a repository under this name."""
    repository = repositories.parse(model)
    return repositories.recorded(repository.text) if repository and not Path(model).exists() else None


def _print_place(wanted: ModelSpec | Fetched, as_json: bool) -> None:
    place = hub.local_path(wanted)
    if as_json:
        typer.echo(json.dumps({"name": wanted.name, **_location(hub.local_copy(wanted))}))
    else:
        for each in [wanted.path] if isinstance(wanted, Fetched) else wanted.own_paths or [place]:
            print_path(each)


def _facts_of(fetched: Fetched) -> dict[str, Any]:
    """A line of ``--json`` about what was fetched of a repository."""
    found = hub.local_copy(fetched)
    facts = {
        "name": fetched.name,
        "kind": fetched.kind,
        "licence": fetched.licence,
        "here": found.state == hub.COMPLETE,
    }
    return facts | _location(found) | {"bytes": fetched.bytes, "files": fetched.files, "repo": fetched.repo}


def _notes(fetched: Fetched) -> list[str]:
    """What it is, and how it is used, for a person."""
    if fetched.kind == repositories.LORA:
        return [f"a LoRA; add it to a model with --lora {fetched.name}"]
    use = f"a model of the kind of {fetched.like}; use it with --model {fetched.name}"
    return [use, fetched.note] if fetched.note else [use]


def _file_names(bad: list[hub.FileCheck]) -> str:
    names = ", ".join(file.name for file in bad[:3])
    return names if len(bad) <= 3 else f"{names} and {len(bad) - 3} more"


def _remedy(spec: Fetchable) -> str:
    if not spec.repo:
        return "put the files back" if spec.folder else "reinstall sora"
    return f"delete what is damaged, then: sora models pull {spec.name}"


def _facts(spec: ModelSpec) -> dict[str, Any]:
    """A line of ``--json``. size: [width, height] in pixels. bytes: to fetch in all, bytes_here: on this disk."""
    defaults, found = spec.defaults, hub.local_copy(spec)
    height, width = spec.film_size()
    return {
        "name": spec.name,
        "licence": spec.licence,
        "here": found.state == hub.COMPLETE,
        **_location(found),
        "bytes": spec.bytes or found.bytes,
        "summary": spec.summary,
        "frames": defaults.frames,
        "size": [width, height],
        "fps": defaults.fps,
        "steps": defaults.steps,
        "guidance": defaults.guidance,
        "guidance_low": defaults.guidance_low,
        "shift": defaults.shift,
        "sampler": defaults.sampler,
    }


def _location(found: hub.LocalCopy) -> dict[str, Any]:
    return {"state": found.state, "path": str(found.folder) if found.folder else None, "bytes_here": found.bytes}


def _state_of(fetched: Fetched) -> str:
    return _state(fetched, hub.local_copy(fetched))


def _state(spec: Fetchable, found: hub.LocalCopy) -> str:
    if found.state == hub.COMPLETE:
        return "here"
    if not spec.repo:
        return "not here" if found.state == hub.ABSENT else f"here but for {hub.abbreviate(found.missing, 8)}"
    if found.state == hub.ABSENT:
        return f"not here, {hub.gigabytes(spec.bytes)} to fetch"
    return f"here in part, {hub.gigabytes(found.bytes)} of {hub.gigabytes(spec.bytes)}"


def _by_default(spec: ModelSpec) -> str:
    d = spec.defaults
    summary = f"{d.frames} frames of {wxh(spec.film_size())} at {d.fps:g} fps, {d.steps} steps"
    low = "" if d.guidance_low is None else f", then {d.guidance_low:g}"
    return f"{summary}, guidance {d.guidance:g}{low}"


def _grid(spec: ModelSpec) -> str:
    grid = spec.grid
    return f"frames in steps of {grid.time}, sides in steps of {grid.multiple}, {grid.channels} latent channels"


def _repertoire(spec: ModelSpec) -> dict[str, list[str]]:
    """Of a model of a closed vocabulary: what there is of subjects, settings and motions."""
    found = families.repertoire(spec)
    return {} if found is None else {name: found.lists[name] for name in ("subjects", "settings", "motions")}


def _machine_facts(spec: ModelSpec) -> dict[str, Any]:
    """The best device here, its memory in bytes, and which of the plans fit it."""
    from sora import memory as placement

    device = placement.choose_device(None)
    memory = _device_memory(device.type)
    fits = [plan for plan in MEMORY if plan in spec.memory and spec.memory[plan] * 1e9 <= memory]
    return {"device": device.type, "device_memory": memory, "fits": fits}


def _expected(model: str) -> Forecast | None:
    """How long a clip by default takes here; None where that is not known, and where it does not fit in memory."""
    from sora.cli import dry_run
    from sora.jobs.delivery import InMemory
    from sora.jobs.resolve import resolve

    try:
        resolved = resolve(Request(verb="generate", prompt="anything", model=model), InMemory(anyway=True))
        return dry_run.expected(resolved)
    except SoraError:  # of what is missing or damaged, which is shown otherwise
        return None


def _device_memory(device: str) -> int:
    """Bytes that a device has in all."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    if device == "mps":
        return torch.mps.recommended_max_memory()
    return _system_memory()


def _system_memory() -> int:
    """Bytes of this machine's memory, 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _fits(row: dict[str, Any]) -> str:
    if not row["memory"]:
        return ""
    available = f"{hub.gigabytes(row['device_memory'])} of {row['device']} memory"
    return f"{', '.join(row['fits']) or 'none of these'} ({available})"


@contextmanager
def _download_bar(label: str, quiet: bool) -> Iterator[hub.Progress | None]:
    """A listener for bytes, with a bar on a terminal; None elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from sora.cli import bar

    with bar.downloads(label) as on_progress:
        yield on_progress
