"""sora paints video on your own machine.

The map of the house, from the ground up; no room imports one above it:

- ``errors``, ``atomic``  what can go wrong, in a person's words; files that are there whole or not at all
- ``plan``      a request as data, and what becomes of it: prompts, sizes, windows, a Plan, a recipe. No torch
- ``weights``   checkpoint files of every layout and number format, and LoRA files
- ``catalog``   every model as a row of data, and the hub that brings its files. No torch
- ``media``     files to frames and frames to files, published whole or not at all
- ``networks``  plain torch modules; ``runtime`` is how they run: threads, kernels, number formats, offloading, LoRAs
- ``memory``    devices, and what is in memory when
- ``engine``    ``paint``: the one sequence of phases, for every verb and every model, and the protocols a model fulfils
- ``models``    one package for each family, which drives its networks
- ``finetune``  learning a LoRA
- ``jobs``      from a request to files: what it means, and painting it
- ``cli``       flags to requests; the only room that prints or exits

How the embedded weights are made and scored is ``minitrain``, a package of the repository that nothing here imports.

Axis letters: F Y X pixels in time, height, width; T H W latents; C channels; B batch; N tokens; L text; D width.
"""

__version__ = "0.1.0"
