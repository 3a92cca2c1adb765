"""`python -m subscriber`.

The law of this file: a daemon that is told to stop while it still imports has pulled nothing, and ends in peace. In a
container it is process 1, from which the kernel keeps every signal that it does not handle: it would not even notice.
"""

import gc
import os
import signal
import sys

if sys.argv[1:2] == ["run"]:
    gc.disable()  # until all is imported: to look through what stays anyway, again and again, is a sixth of the start
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: os._exit(0))

# What takes its time to import comes after the handlers.
from subscriber.cli import main

main()
