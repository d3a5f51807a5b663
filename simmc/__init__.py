"""Person re-identification from 3D skeletons, without labels."""

__version__ = "0.1.0"
