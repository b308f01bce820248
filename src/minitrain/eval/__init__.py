"""What the embedded model is worth, measured: one program a question, ``python -m minitrain.eval.score``.

``worth``    how well it paints what held-out captions ask for, as a judge of pixels sees it
``verbs``    what each command must hold: seams, sameness by the pixel, a minute of film, shapes
``quality``  what it costs the picture to paint faster
``paint``    paints held-out captions and keeps the clips, to be judged later
``examples`` the README's examples, each over many seeds
``everyday`` prompts as people type them, and what the program answers
``lora``     whether a LoRA of eight clips shows a subject that the model never saw
``sheet``    a contact sheet of prompts

``verdicts`` prints what was found, for these programs and for those in ``benchmarks``; ``report`` adds contact sheets.
"""
