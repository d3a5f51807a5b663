"""Readers of the raw formats, one module a dataset; each returns a list of `Recording`."""
