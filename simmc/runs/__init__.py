"""What a run leaves behind and what it stands on: files, checkpoints, random streams, machine."""
