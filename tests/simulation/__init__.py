"""Whole daemons on a virtual clock: what no timetable of a test could bring about, ten thousand times a run.

    pytest tests/simulation                            every history, and every mutation
    python -m tests.simulation 687                     history 687 again, line by line
    python -m tests.simulation 687 keeps the epoch     the same with the code broken by that mutation

A history is made of its seed alone. In it one to three pods - `app.Daemon` as production wires it: pull loop,
pipeline, keepers, registry, slots, outages, drain - share a ledger, a subscription, buckets and a provider in memory.
Some are killed, stopped and let go on, told to end, cut off; calls get lost before or after they happen; messages come
twice, out of order, or again after their ack; sources are replaced and deleted; clocks are wrong. After each step the
promises in `promises.py` are looked at, and at the end, when the faults have stopped, all must have come to its end.
The first promise that is broken ends the history, and its lines tell how.

    clockwork.py     the virtual clock; threads are greenlets     threads.py    `threading`, `time` and kin on it
    wire.py          what gets lost between a pod and others      pod.py        a daemon in its process
    ledger.py subscription.py bucket.py provider.py               the neighbours
    world.py         all of these together                        history.py    what happens, from a seed
    watch.py         whether each is kept                         mutations.py  the code broken, promise by promise
    promises.py      what is promised                             patches.py    one thing in another's place

What it cannot find: races between two lines of one process (a thread is interrupted only where it waits), what a real
SDK does (tests/contract, tests/process), clocks that do not run at one second a second, anything about sound.
"""
