"""Several processes, each with a device of its own, that compute the passes of one transformer together."""
