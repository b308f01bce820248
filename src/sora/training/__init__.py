"""How the embedded weights were made. Nothing here is imported while painting.

``python -m sora.training all`` makes them from nothing (``all``, ``stages``, ``sizes``). ``worlds`` draws and renders
films, ``telling`` says them in words, ``films`` hands both to the trainings; ``vae``, ``reading``, ``dit`` (from the
``pool``) and ``distil`` train the networks in the common ``loop``, whose states ``checkpoint`` keeps. ``judge`` answers
what a clip shows, ``scores`` measures with it, ``ablate`` compares settings, ``publish`` brings weights into the
package.
"""
