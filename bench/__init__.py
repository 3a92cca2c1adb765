"""Measurements, printed as tables. Nothing here is a test: a busy machine is slower."""
