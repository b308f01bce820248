"""Fine-tuning: a LoRA of any family on a person's own clips.

``dataset``   a folder as clips and pictures with words, checked without torch
``examples``  clips cut to what the model paints at once, in its latents
``fit``       the training: one loss over the family's own velocity field
"""
