"""Readers of the raw formats, one module for each dataset; each returns a list of `Recording`."""
