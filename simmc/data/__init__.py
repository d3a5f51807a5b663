"""From raw skeleton files to windows ready for training.

`raw/` reads recordings, `splits` assigns them to splits, `windows` cuts them, `store` writes and
reads the public ``.npy`` layout, `preprocess` calls these; `experiment/load` loads an experiment.

Shape letters used everywhere: N windows, f frames of a window, T frames of a recording, J joints.
"""
