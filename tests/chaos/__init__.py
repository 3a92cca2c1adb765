"""Chaos: several daemons over many files, while a seeded hand kills, stops, pauses, repeats and cuts off.

The law of this package: it looks at the daemon only from outside. The provider answers with the hash of what it was
sent, so a chunk that is swapped, missing, repeated or foreign is seen in the transcript. A seed fixes the files and
what the hand does in which order; when the machine lets each thing happen is the machine's.

`python -m tests.chaos --seed 7` (`make chaos`) runs it and prints one table; test_chaos.py is a short run.
"""
