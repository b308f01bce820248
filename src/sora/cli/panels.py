"""How the help of the commands is arranged: the panels that options stand in, and examples to try."""

from __future__ import annotations

PANELS: dict[str, tuple[str, ...]] = {
    "Make": (),
    "Change": (),
    "Jobs": (),
    "Models": (),
    "Help": (),
    "Commands": (),
    "Arguments": (),
    "What to make": (
        *("prompt", "then", "transition", "subject", "shots", "subject_reference"),
        *("camera", "motion", "last_image", "backward", "strength"),
        *("region", "mask", "frame_range", "method", "source_prompt", "draft_strength", "refine", "background"),
        *("references", "reference_background"),
        *("control", "control_kind", "control_strength", "control_frames"),
        "draft",
    ),
    "Size and length": (
        "seconds",
        "frames",
        "fps",
        "aspect",
        "size",
        "start",
        "end",
        "start_b",
        "end_b",
        "deinterlace",
    ),
    "Training": (),
    "Model and sampling": (
        *("seed", "steps", "guidance", "negative_prompt", "model", "loras", "device", "memory", "gpus", "speed"),
    ),
    "Output": (),
    "Options": (),
    "Expert": ("strict", "guidance_low", "shift", "sampler", "dtype", "disable", "threads"),
}
"""Headings of the help in the order in which they are shown -> fields of a request whose options stand under them. All
other options name their panel themselves."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        'sora generate "a red balloon floats up over a green meadow"',
        "sora help generate",
    ),
    "generate": (
        'sora generate "a red balloon over a meadow" --seconds 4 -o balloon.mp4',
        'sora generate "a red car in the {desert|forest}" --camera pan-left --seed 7',
    ),
    "image": (
        'sora image "a cat sits on a beach" -o cat.png',
        'sora image "a snowman in a forest" --size 512x512 --refine 0.4 --seed 7',
    ),
    "img2vid": (
        'sora img2vid cat.png "a cat walks on a beach" -o cat.mp4',
        "sora img2vid cat.png --motion left --seconds 3",
    ),
    "extend": (
        "sora extend balloon.mp4 --seconds 3 -o longer.mp4",
        'sora extend balloon.mp4 "a red balloon floats up" --backward',
    ),
    "loop": (
        "sora loop balloon.mp4 -o loop.gif",
        'sora loop --prompt "a blue ball bounces on a street" -o loop.mp4',
    ),
    "bridge": (
        "sora bridge balloon.mp4 cat.mp4 -o both.mp4",
        "sora bridge balloon.mp4 cat.mp4 --seconds 2 --seed 7",
    ),
    "edit": (
        'sora edit cat.mp4 "a cat walks on a beach at night" -o night.mp4',
        'sora edit balloon.mp4 "a rocket" --region 0,0,96,64 --strength 0.8',
    ),
    "finish": (
        'sora generate "a red balloon floats up" --draft -o draft.mp4',
        "sora finish draft.mp4 -o finished.mp4",
    ),
    "remake": (
        "sora remake balloon.mp4 --seed 8",
        'sora remake balloon.mp4 --prompt "a red balloon at night" -o night.mp4',
    ),
    "resume": (
        'sora generate "a red balloon floats up" --seconds 4 --stop-after 5 -o slow.mp4',
        "sora resume",
    ),
    "jobs": (
        "sora jobs",
        "sora jobs clean --older 7d",
    ),
    "jobs show": (
        'sora generate "a blue ball bounces" --stop-after 4 -o ball.mp4',
        "sora jobs show --preview -o so-far.mp4",
    ),
    "jobs rm": (
        "sora jobs",
        "sora jobs rm 1127-2de5",
    ),
    "jobs clean": (
        "sora jobs clean",
        "sora jobs clean --all",
    ),
    "decode": (
        'sora generate "a red car drives left" --stop-after 6 -o car.mp4',
        "sora decode --part",
    ),
    "train": (
        "sora train my-clips/ --out mine.safetensors --minutes 20",
        'sora generate "a wug walks on a beach" --lora mine.safetensors',
    ),
    "ideas": (
        "sora ideas",
        "sora ideas --count 20 --seed 1",
    ),
    "info": (
        "sora info balloon.mp4",
        "sora info --drift film.mp4",
    ),
    "doctor": (
        "sora doctor",
        "sora doctor --deep",
    ),
    "help": (
        "sora help generate",
        "sora help models pull",
    ),
    "models": (
        "sora models",
        "sora models show HUB_MODEL",
    ),
    "models list": (
        "sora models list",
        "sora models list --json",
    ),
    "models show": (
        "sora models show EMBEDDED_MODEL",
        "sora models show HUB_MODEL --json",
    ),
    "models pull": (
        "sora models pull HUB_MODEL",
        "sora models pull HUB_MODEL --quiet",
    ),
    "models verify": (
        "sora models verify EMBEDDED_MODEL",
        "sora models verify HUB_MODEL",
    ),
    "models remove": (
        "sora models remove HUB_MODEL",
        "sora models remove HUB_MODEL --yes",
    ),
    "models path": (
        "sora models path HUB_MODEL",
        "sora models path HUB_MODEL --json",
    ),
}
"""Two command lines to try for each command, by its name; "" is ``sora`` itself. EMBEDDED_MODEL and HUB_MODEL stand for
names of the catalog."""


def examples_of(command: str) -> tuple[str, ...]:
    """Command lines to try, with real names of models."""
    examples = EXAMPLES.get(command, ())
    if not any("_MODEL" in example for example in examples):
        return examples
    from sora import catalog  # which no other help page needs

    hub_model = next(spec.name for spec in catalog.MODELS.values() if spec.repo)
    return tuple(each.replace("EMBEDDED_MODEL", catalog.DEFAULT).replace("HUB_MODEL", hub_model) for each in examples)


def panel_of(name: str) -> str | None:
    """The panel of an option, by the name of its field; None where no panel has it."""
    return next((panel for panel, names in PANELS.items() if name in names), None)
