"""From a request to files: what it means, whether it can be, and the films themselves.

``delivery``  where files go, what they are called and how many there are
``variants``  the words and the seed of each file
``inputs``    what a film is made of, in files and in memory
``sources``   clips that a film is made of, and their sound
``loras``     ``--lora``, checked
``advice``    what a model of a closed vocabulary makes of the words
``verbs``     what each verb needs, and its Plan
``resolve``   all of these: a complete request and its Plan, in milliseconds and without torch
``replay``    a file's recipe as a request
``paint``     the model, and the frames; the only file here that needs torch
``job``       what is on disk of a request that is being painted; ``journal`` and ``canvas_journal`` keep it up to date
              while it is, ``checkpoints`` are its files, ``decode`` makes films of them
``session``   the model kept in memory, and all that is painted with it; the command line and Python paint through it
``verb_methods``, ``keywords``, ``signatures``, ``arguments``   the verbs as Python calls them
``video``, ``notebook``   what they return, and how notebooks show it
"""
