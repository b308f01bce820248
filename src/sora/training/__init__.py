"""How the embedded weights were made. Nothing here is imported while painting.

``world`` renders captioned cartoon clips (``sprites``, ``scenery``, ``captions``); ``vae``, ``text`` and ``dit`` train
the three networks on it, ``judge`` trains a classifier of pixels that scores what they paint, ``publish`` packs the
weights and their card into ``sora/assets``.
"""
