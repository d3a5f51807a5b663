"""The files of a run, its checkpoints, random streams and machine."""
