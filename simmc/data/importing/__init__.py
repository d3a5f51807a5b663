"""From recordings in files or arrays to a dataset: `simmc import` and `simmc.import_recordings`."""
