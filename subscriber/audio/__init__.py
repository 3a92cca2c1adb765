"""Any recording becomes chunks of at most 30 s: decode (in a process of its own), cut, encode.

PyAV appears here and nowhere else. Read on in `pool.py` (the daemon's side), `decoder.py` (the other), `cut.py`.
"""
