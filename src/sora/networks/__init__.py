"""Plain torch modules: sizes in, tensors out. No policy, no files, no devices chosen here.

``layers`` holds what several networks share; every other file is one whole network, readable from top to bottom.
"""
