"""Time and memory of the clustering, beside the dense routine of the published programs.

`measure` runs every measurement in a process of its own (`worker`) and keeps them in one JSON file
(`record`); `summary`, `tables` and `plots` read that file and nothing else.
"""
