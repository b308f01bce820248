"""Fine-tuning: training a LoRA for any family on a person's own clips.

``dataset``       a folder of clips and pictures with captions, checked without torch
``examples``      clips cut to what the model paints at once, encoded to its latents
``unfinished``    what a folder's training was asked for, so that the same command goes on with it
``lora_trainer``  the training loop's step: one loss over the family's own velocity
"""
