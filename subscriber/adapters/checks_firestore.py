"""What `check` asks Firestore: whether writes are let through, without writing, and what its administration says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core import exceptions
from google.cloud.firestore_admin_v1 import FirestoreAdminClient
from google.cloud.firestore_admin_v1.services.firestore_admin.transports import FirestoreAdminGrpcTransport
from google.cloud.firestore_admin_v1.types import Field, Index, ListFieldsRequest
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import CommitRequest, Document, Precondition, Write

from subscriber.channels import open_channel
from subscriber.desk.facts import LedgerFacts, Unseen
from subscriber.errors import NeighbourDown

__all__ = ["FirestoreFacts"]

CALL_SECONDS = 10.0
NOBODYS = "subscriber-check-of-a-document-that-is-not-there"
OVERRIDDEN = "indexConfig.usesAncestorConfig:false OR ttlConfig:*"
"""The only filter that ListFields takes: the fields that differ from the database's defaults."""


class FirestoreFacts:
    """One collection; `emulator_host` (HOST:PORT) replaces Google's endpoint."""

    def __init__(self, project: str, database: str, collection: str, *, emulator_host: str | None) -> None:
        """Connect nothing yet. Raises ConfigError when there are no credentials."""
        self._project = project
        self._database = f"projects/{project}/databases/{database}"
        self._collection = collection
        self._emulator_host = emulator_host
        self._channel = open_channel(FirestoreGrpcTransport, emulator_host)
        self._client = FirestoreClient(transport=FirestoreGrpcTransport(channel=self._channel))

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def prove_writing(self) -> None:
        """Return if writes are let through, and leave no trace: the write must fail for want of its document.

        Rights are looked at before preconditions. Raises Unseen, NeighbourDown.
        """
        name = f"{self._database}/documents/{self._collection}/{NOBODYS}"
        write = Write(update=Document(name=name), current_document=Precondition(exists=True))
        metadata = [("authorization", "Bearer owner")] if self._emulator_host else []
        request = CommitRequest(database=self._database, writes=[write])
        grant = (
            f"gcloud projects add-iam-policy-binding {self._project} --member=MEMBER --role=roles/datastore.user"
            " --condition=None"
        )
        with _edge(grant):
            try:
                self._client.commit(request=request, retry=None, timeout=CALL_SECONDS, metadata=metadata)
            except (exceptions.NotFound, exceptions.FailedPrecondition):
                return

    def administration(self) -> LedgerFacts:
        """TTL, exemptions and indexes of the collection. Raises Unseen, NeighbourDown."""
        if self._emulator_host:
            raise Unseen("TTL policy, exempt fields, indexes: the emulator has no answer to that")
        channel = open_channel(FirestoreAdminGrpcTransport, None)
        try:
            with _edge(""):
                return self._facts(FirestoreAdminClient(transport=FirestoreAdminGrpcTransport(channel=channel)))
        finally:
            channel.close()

    def _facts(self, client: FirestoreAdminClient) -> LedgerFacts:
        parent = f"{self._database}/collectionGroups/{self._collection}"
        request = ListFieldsRequest(parent=parent, filter=OVERRIDDEN)
        fields = list(client.list_fields(request=request, timeout=CALL_SECONDS))
        indexes = client.list_indexes(parent=parent, timeout=CALL_SECONDS)
        ttl = {_name(field) for field in fields if field.ttl_config.state == Field.TtlConfig.State.ACTIVE}
        bare = {_name(field) for field in fields if "index_config" in field and not field.index_config.indexes}
        ready = {_fields(index) for index in indexes if index.state == Index.State.READY}
        return LedgerFacts(frozenset(ttl), frozenset(bare), frozenset(ready))


def _name(field: Field) -> str:
    return field.name.rpartition("/")[2]


def _fields(index: Index) -> tuple[tuple[str, str], ...]:
    """As `queries.Index` says it; Firestore adds `__name__`, which goes the way of the last field."""
    return tuple(
        (one.field_path, Index.IndexField.Order(one.order).name.lower())
        for one in index.fields
        if one.field_path != "__name__"
    )


@contextmanager
def _edge(grant: str) -> Iterator[None]:
    try:
        yield
    except exceptions.PermissionDenied as error:
        if grant:
            raise NeighbourDown("firestore", "forbidden", f"{error.message}; {grant}") from error
        raise Unseen(f"TTL policy and indexes cannot be read: {error.message}") from error
    except exceptions.GoogleAPICallError as error:
        raise NeighbourDown("firestore", "unavailable", str(error)) from error
