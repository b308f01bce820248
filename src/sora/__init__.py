"""sora paints video on your own machine.

The map of the house, in the order data flows:

- ``cli``         flags to calls; the only place that prints or exits
- ``prompts``     prompt files and variants
- ``operations``  each verb as a pure function that returns a Plan
- ``windows``     how a stretch of film is cut into canvases a model can paint
- ``engine``      ``paint``: the one sequence of phases, for every verb and every model
- ``film``, ``seams``             the film as it grows, and how what is painted meets what stands
- ``families``    what a checkpoint is and how to drive it; ``networks`` holds the plain torch modules
- ``hub``         what of the open weights is here, and fetching it
- ``sampler``     schedules and steps over a velocity field; ``circle`` closes time, ``flowedit`` goes from text to text
- ``refine``, ``tiles``           large pictures, piece by piece
- ``media``       files to frames and frames to files, published whole or not at all
- ``grid``, ``clip``, ``canvas``  what a picture is: sizes a model can paint, finished frames, known and unknown pixels
- ``recipe``      everything needed to make a file again
- ``weights``, ``placement``      checkpoint files of every layout; devices, number formats, what is in memory when
- ``measure``     how well painted film joins what stood, in numbers
- ``training``    how the embedded weights were made; nothing imports it at run time

Axis letters: F Y X pixels in time, height, width; T H W latents; C channels; B batch; N tokens; L text; D width.
"""

__version__ = "0.1.0"
