"""Synthetic walkers, and perturbations of stored windows."""
