"""Evaluation of the published embedded model, one program a question: ``python -m minitrain.eval.score``.

``score``    how well it shows what held-out captions ask for, as a judge of pixels sees it
``verbs``    what each command must guarantee: seams, identical source pixels, a minute of video, shapes
``quality``  what the faster modes cost in quality
``paint``    generates clips of held-out captions and saves them, to be judged later
``examples`` the README's examples, each over many seeds
``everyday`` prompts as people type them, and what the program answers
``lora``     whether a LoRA of eight clips shows a subject that the model never saw
``sheet``    a contact sheet of prompts

``verdicts`` prints results, for these programs and for those in ``benchmarks``; ``report`` adds contact sheets.
"""
