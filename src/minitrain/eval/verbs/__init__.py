"""The parts of ``python -m minitrain.eval.verbs``, which measures what the verbs must hold.

``studio``  the loaded model and its judge; a plan becomes a clip
``cases``   the clips that are measured: rendered, painted, made with ffmpeg; all from seeds, none picked
``joins``   extend, loop, bridge
``edits``   edit
``lengths`` a minute of film, shots
``drafts``  drafts and their finish
``shapes``  every command at every shape
``film``    a process of its own that paints one film and says how much memory it holds
"""
