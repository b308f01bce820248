"""The parts of ``python benchmarks/real_files.py``: each makes inputs of some kinds, as people have them.

``case``      what every part is made of, and how a command is tried
``clips``     clips with gaps, changes midway, fields, several sound tracks, and half downloads, with ``numbered``,
              which makes films whose frames say their numbers
``colour``    HDR, other gamuts and ranges, colour profiles, alpha, HEIC; with ``colour_video`` and ``colour_pictures``
``numbers``   NaN and infinity in weights, LoRAs, latents and frames
``lora``      LoRAs of every trainer, strength and kind, with ``lora_inputs``, which makes their files
``seconds``   clips of rates that no model paints at, pictures of any shape, seams
``weights``   models without a part, as two files, in ggml's formats and on the hub, with ``tiny_wan``, which makes them
``words``     prompts, terminals, weights and LoRAs in prompts; ``words_flags``: seeds, outputs, command lines;
              ``commands`` tries a command in this process or on a terminal
"""
