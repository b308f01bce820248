"""How the embedded weights were made. Nothing here is imported while painting.

``python -m minitrain all`` makes them from nothing or goes on from published ones (``all``, ``stages``, ``sizes``).
``worlds`` draws and renders films, ``telling`` says them in words; ``render_workers`` does both in processes of its own
(``clips`` says what each clip shows), and ``clip_bank`` and ``latent_buffer`` keep what comes from them. ``vae``,
``reading``, ``dit`` and ``distil`` train the networks in the common ``loop``, which ``retry`` takes up again where it
broke off and whose states ``checkpoint`` keeps. ``judge`` answers what a clip shows, ``painter`` paints many at once,
``scores`` measures and writes the card, ``ablate`` compares settings, ``publish`` brings weights into ``sora`` and the
judge beside ``judge``. ``eval`` holds programs that measure what the published model is worth.
"""
