"""From a trained network to numbers."""
