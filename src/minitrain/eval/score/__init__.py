"""The parts of ``python -m minitrain.eval.score``, which measures the quality of the embedded model.

``generator``   the loaded models and their judge; captions of held-out films; generates a caption's clip
``records``     the judge's answers about each generated clip, and the rows of the table that follow from them
``generated``   generates held-out captions, with the defaults and with other options
``saved_clips`` judges saved clips, and compares the judge with human labels
``components``  the judge on rendered clips, the autoencoder, long clips and occlusion, times
"""
