"""Synthetic walkers and perturbations of real data."""
