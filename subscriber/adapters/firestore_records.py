"""The ledger's records as an operator reads them from Firestore: page by page, in the order of an index.

The law of this file: it only reads, and holds one page. Each page begins behind the last document of the one before, so
a record that changes meanwhile is met once or, if it no longer fits, not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from google.api_core import exceptions
from google.api_core.retry import Retry, if_transient_error
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import BatchGetDocumentsRequest, Document, RunQueryRequest, StructuredQuery

from subscriber.channels import open_channel
from subscriber.documents import from_document
from subscriber.errors import ConfigError, NeighbourDown
from subscriber.firestore_values import decode, encode
from subscriber.model import Job, Record
from subscriber.queries import Plan, Wanted

__all__ = ["FirestoreRecords"]

PAGE_RECORDS = 300
"""A record takes 1 to 12 KB: a page stays below 4 MB."""

CALL_SECONDS = 30.0
"""For one page; a query that meets many documents that do not fit takes its time."""

PATIENCE_SECONDS = 60.0
"""All tries of one page together: somebody waits at a terminal."""

DIRECTIONS = {"ascending": StructuredQuery.Direction.ASCENDING, "descending": StructuredQuery.Direction.DESCENDING}
OPERATORS = {
    "==": StructuredQuery.FieldFilter.Operator.EQUAL,
    "in": StructuredQuery.FieldFilter.Operator.IN,
    ">=": StructuredQuery.FieldFilter.Operator.GREATER_THAN_OR_EQUAL,
    "<": StructuredQuery.FieldFilter.Operator.LESS_THAN,
}
ID = "__name__"


class FirestoreRecords:
    """`ports.Records` in one collection; `emulator_host` (HOST:PORT) replaces Google's endpoint."""

    def __init__(
        self,
        project: str,
        database: str,
        collection: str,
        *,
        emulator_host: str | None = None,
        page_records: int = PAGE_RECORDS,
    ) -> None:
        """Connect nothing yet. Raises ConfigError when there are no credentials."""
        self._parent = f"projects/{project}/databases/{database}/documents"
        self._collection = collection
        self._page_records = page_records
        self._metadata = [("authorization", "Bearer owner")] if emulator_host else []
        self._channel = open_channel(FirestoreGrpcTransport, emulator_host)
        self._client = FirestoreClient(transport=FirestoreGrpcTransport(channel=self._channel))
        self._patiently = Retry(if_transient_error, initial=0.2, maximum=5.0, timeout=PATIENCE_SECONDS)

    def search(self, wanted: Wanted) -> Iterator[Record]:
        """As the port says. Raises ConfigError where an index is missing, NeighbourDown."""
        plan, after = wanted.plan(), None
        while page := self._page(plan, after):
            yield from filter(wanted.holds, map(_record, page))
            if len(page) < self._page_records:
                return
            after = page[-1]

    def find(self, jobs: Sequence[Job]) -> dict[Job, Record]:
        """As the port says."""
        asked = {f"{self._parent}/{self._collection}/{job.id}": job for job in jobs}
        request = BatchGetDocumentsRequest(database=self._parent.removesuffix("/documents"), documents=list(asked))
        found = self._answered(self._client.batch_get_documents, request) if asked else []
        documents = [Document.pb(answer.found) for answer in found if answer.found.name]
        return {asked[document.name]: _record(document) for document in documents}

    def close(self) -> None:
        """Close the connection; no call may follow."""
        self._channel.close()

    def _page(self, plan: Plan, after: Any | None) -> list[Any]:
        query = _query(plan, self._collection, self._page_records)
        if after is not None:
            cursor = query._pb.start_at  # noqa: SLF001 - the bare message takes a value as it came
            cursor.values.append(after.fields[plan.ranged])
            cursor.values.add().reference_value = after.name
        answers = self._answered(self._client.run_query, RunQueryRequest(parent=self._parent, structured_query=query))
        return [Document.pb(answer.document) for answer in answers if answer.document.name]

    def _answered(self, call: Callable[..., Iterable[Any]], request: Any) -> list[Any]:
        """All that a streaming call answers. Raises as `search` does."""

        def once() -> list[Any]:
            return list(call(request=request, retry=None, timeout=CALL_SECONDS, metadata=self._metadata))

        try:
            return self._patiently(once)()
        except exceptions.FailedPrecondition as error:
            raise ConfigError("SUBSCRIBER_FIRESTORE_COLLECTION", str(error), _remedy(self._collection)) from error
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            raise NeighbourDown("firestore", "forbidden", str(error)) from error
        except exceptions.GoogleAPIError as error:
            raise NeighbourDown("firestore", "unavailable", str(error)) from error


def _query(plan: Plan, collection: str, limit: int) -> StructuredQuery:
    orders = [
        StructuredQuery.Order(field=_field(name), direction=DIRECTIONS[plan.direction]) for name in (plan.ranged, ID)
    ]
    return StructuredQuery(
        from_=[StructuredQuery.CollectionSelector(collection_id=collection)],
        where=StructuredQuery.Filter(
            composite_filter=StructuredQuery.CompositeFilter(
                op=StructuredQuery.CompositeFilter.Operator.AND, filters=list(_filters(plan))
            )
        ),
        order_by=orders,
        limit=limit,
    )


def _filters(plan: Plan) -> Iterator[StructuredQuery.Filter]:
    for field, values in plan.fixed.items():
        yield _filter(field, "==", values[0]) if len(values) == 1 else _filter(field, "in", list(values))
    if plan.first is not None:
        yield _filter(plan.ranged, ">=", plan.first)
    if plan.end is not None:
        yield _filter(plan.ranged, "<", plan.end)


def _filter(field: str, op: str, value: Any) -> StructuredQuery.Filter:
    made = StructuredQuery.FieldFilter(field=_field(field), op=OPERATORS[op])
    encode(StructuredQuery.FieldFilter.pb(made).value, value)
    return StructuredQuery.Filter(field_filter=made)


def _field(path: str) -> StructuredQuery.FieldReference:
    return StructuredQuery.FieldReference(field_path=path)


def _record(document: Any) -> Record:
    return from_document({name: decode(value) for name, value in document.fields.items()})


def _remedy(collection: str) -> str:
    return (
        "for index in firestore/indexes/*.json; do gcloud firestore indexes composite create"
        f' --collection-group={collection} --field-config="$index"; done'
    )
