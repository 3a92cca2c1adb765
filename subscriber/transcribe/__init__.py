"""From a recording to a validated answer: the shared slots, the models' profiles, the request itself."""
