"""Tests are sentences: read their names."""
