"""What every part of the program keeps on disk: files that are there whole or not at all, and the folders they are in.

``atomic``      files that appear in one step
``staging``     everything temporary, swept when its owner is dead
``publishing``  finished files and folders come to their place, whole after a kill or a power cut
``rename``      what ``os`` lacks for that
``refusal``     why a system does not write, in words
``regular``     files of others, opened: regular ones alone, bounded
``cache``       the folder of what only saves time
``state``       the folder that outlives a process: jobs, and who stages what
"""
