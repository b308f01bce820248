"""The parts of ``python benchmarks/verbs.py``, which measures what the verbs must hold.

``report``  rows of the table, contact sheets
``studio``  the loaded model and its judge; a plan becomes a clip
``cases``   the clips that are measured: rendered, painted, made with ffmpeg; all from seeds, none picked
``joins``   extend, loop, bridge
``edits``   edit
``lengths`` a minute of film, shots
``drafts``  drafts and their finish
``shapes``  every command at every shape
``film``    a process of its own that paints one film and says how much memory it holds
"""
