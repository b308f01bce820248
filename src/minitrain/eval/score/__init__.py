"""The parts of ``python -m minitrain.eval.score``, which measures what the embedded model is worth.

``easel``   the loaded models and their judge; captions of held-out films; a caption becomes a clip
``records`` what the judge said of each painted clip, and the rows of the table that follow from it
``painted`` paints held-out captions, at the defaults and in another way
``kept``    judges clips that are there already, and holds the judge against a person's labels
``whole``   the judge on rendered clips, the autoencoder, long films and what comes out from behind, times
"""
