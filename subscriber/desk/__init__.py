"""The desk: what the person on call asks and does. The daemon imports nothing of it."""
