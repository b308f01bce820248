"""The parts of ``python -m minitrain.eval.verbs``, which measures what each command must guarantee.

``eval_model``  the loaded model and its judge
``cases``       the clips that are measured: rendered, generated, made with ffmpeg; all from seeds, none selected
``joins``       extend, loop, bridge
``edits``       edit
``lengths``     a minute of video, shots
``drafts``      drafts and their finish
``shapes``      every command at every shape
``film_memory`` a process of its own that generates one clip and prints how much memory it used
"""
