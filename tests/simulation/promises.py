"""The promises of the blueprint by their names, and the complaint that one is broken."""

from __future__ import annotations

__all__ = ["INVARIANTS", "Violation"]

INVARIANTS = {
    "one believer": "never two pods at once that both have reason to believe in their claim on a job",
    "fence": "only the newest claim's owner changes a record, and nobody changes a final one",
    "epochs grow": "an epoch grows by one with each claim and never else",
    "attempts": "an attempt is counted for a failure of the job, never for a shutdown, a loss, a pause or a wait",
    "no theft": "no claim is granted while another's has not expired on the ledger's clock",
    "own commit": "whoever did not hear of his own commit, and asks again, is told that it was his",
    "ack after end": "a message is acked only when its job's end is recorded, or it asks nothing of us",
    "told before ack": "listeners are told of an end before its message is acked",
    "newer outputs stay": "an output is never replaced by one of an older generation or epoch",
    "complete set": "while NAME.json is there, so is every file that it lists, in that version or a newer one",
    "paid once": "a chunk is paid again only if its earlier request was lost with its pod, its claim or its answer",
    "slots": "one pod has no more requests on the wire than it has slots",
    "gate": "after a 429 a pod sends nothing until its time has passed",
    "fairness": "a free slot goes to the job with the fewest requests in flight, then to the oldest",
    "lease kept": "a lease ends only if its pod is dead, was stopped or could not reach Pub/Sub",
    "claim kept": "a claim is taken over only if its pod is dead, was stopped or could not reach the ledger",
    "drain": "after SIGTERM a pod ends within its grace, and no request that it sent since is left behind",
    "all settles": "once the faults stop, each generation has one transcript or one reason, and no message is left",
}


class Violation(AssertionError):
    """A promise that was broken; `invariant` is its name."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what} ({INVARIANTS[invariant]})")
        self.invariant = invariant
