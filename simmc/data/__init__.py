"""From raw skeleton files to windows ready for training.

`raw/` reads recordings, `windows` cuts them, `splits` gives them roles, `store` writes and reads
the public ``.npy`` layout, `preprocess` puts these in a row, `loaders` brings an experiment into
memory.

Shape letters used everywhere: N windows, f frames of a window, T frames of a recording, J joints.
"""
