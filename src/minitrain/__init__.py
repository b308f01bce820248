"""The trainer of the embedded model ``mini``: its synthetic data, its networks' training, and its evaluation.

``python -m minitrain all`` trains every stage from scratch or continues from published weights (``full_training``,
``stages``, ``presets``). Nothing of this package is imported when a video is generated.

Data         ``worlds`` draws films from seeds and renders them; ``captions`` describes them in English and Chinese;
             ``clips`` draws training clips with their known and unknown parts (``hole_masks``); ``render_workers``
             renders in processes of its own, ``clip_bank`` and ``latent_buffer`` keep the results on the device
Training     ``vae``, ``text_encoder_training``, ``dit`` and ``distil`` train one network each in the shared
             ``training_loop``; ``retry`` restarts a training that failed; ``checkpoint`` stores its state
Evaluation   ``judge`` classifies what a clip shows (``judge_training``, ``judge_evaluation``); ``pipeline`` samples
             many prompts at once; ``scores`` measures a model and writes its card; ``ablate`` compares settings;
             ``eval`` holds programs that evaluate the published model
Release      ``publish`` copies weights into ``sora`` and the judge into this package
"""
