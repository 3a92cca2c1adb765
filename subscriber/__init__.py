"""A daemon that turns every audio object of a bucket into exactly one transcript."""

__version__ = "0.1.0"
