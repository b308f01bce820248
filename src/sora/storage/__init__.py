"""What every part of the program keeps on disk: files that are there whole or not at all, and the folder of its state.

``atomic``  files and folders that appear in one step
``regular``  files of others, opened: regular ones alone, bounded
``state``   the folder that outlives a process: jobs, and who stages what
"""
