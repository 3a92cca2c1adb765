#!/usr/bin/env bash
# Makes what the daemon needs in a Google Cloud project: what is there already is left as it is, so it may run at any time again.
# Each right is granted on the one thing that it is for, and to the workload itself: on GKE no service account is made and no key exists.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=names.sh
. ./names.sh

usage() {
    echo "usage: setup-gcp.sh --project=… --region=… --bucket=… --output=… [OPTION…]"
    options
}

left_to_do=()

main() {
    read_options "$@"
    services
    buckets
    topics
    subscriptions
    notification
    ledger
    secret
    workload
    report
}

services() {
    local enabled name
    enabled=$(gcloud services list --enabled --project="$project" --format='value(config.name)')
    for name in pubsub storage firestore secretmanager iam monitoring; do
        grep -qx "$name.googleapis.com" <<<"$enabled" || run services enable "$name.googleapis.com" --project="$project"
    done
}

buckets() {
    local name
    for name in "$bucket" "$output_bucket"; do
        there storage buckets describe "gs://$name" --project="$project" ||
            run storage buckets create "gs://$name" --project="$project" --location="$region" \
                --uniform-bucket-level-access --public-access-prevention
    done
    lifecycle
}

# Paid chunks are of use while a job may come again; after a week they are not.
lifecycle() {
    local rules chunks=${output_prefix}.chunks/
    rules=$(gcloud storage buckets describe "gs://$output_bucket" --project="$project" --format='json(lifecycle_config)' 2>/dev/null || true)
    if grep -qF "\"$chunks\"" <<<"$rules"; then
        return
    fi
    if grep -q '"action"' <<<"$rules"; then
        # An update would replace the rules that somebody else has made.
        left_to_do+=("gs://$output_bucket has lifecycle rules of its own: add one that deletes $chunks after 7 days")
        return
    fi
    local file
    file=$(mktemp)
    # The name is made now: no local variable is left when the script ends.
    # shellcheck disable=SC2064
    trap "rm -f '$file'" EXIT
    printf '{"rule": [{"action": {"type": "Delete"}, "condition": {"age": 7, "matchesPrefix": ["%s"]}}]}\n' "$chunks" >"$file"
    run storage buckets update "gs://$output_bucket" --project="$project" --lifecycle-file="$file"
}

topics() {
    local name
    for name in "$topic" "$dead_topic" "$replay" "$results"; do
        there pubsub topics describe "$name" --project="$project" || run pubsub topics create "$name" --project="$project"
    done
}

subscriptions() {
    # A dead-letter topic without a subscription loses what it is given.
    subscription "$hold" "$dead_topic"
    # No retry policy: its backoff would add to the daemon's own, and delay the hand-over at a shutdown.
    local dead_letters=(--dead-letter-topic="$dead_topic" --max-delivery-attempts=100)
    subscription subscriber "$topic" "${dead_letters[@]}" --message-filter='attributes.eventType="OBJECT_FINALIZE"'
    # Of its own, so that other readers of the bucket's topic see no invented events.
    subscription "$replay" "$replay" "${dead_letters[@]}"
    agent_of_pubsub
    grant "$pubsub_agent" roles/pubsub.publisher pubsub topics "$dead_topic"
    local name
    for name in subscriber "$replay"; do
        grant "$pubsub_agent" roles/pubsub.subscriber pubsub subscriptions "$name"
    done
}

# subscription NAME TOPIC FLAG...
subscription() {
    there pubsub subscriptions describe "$1" --project="$project" ||
        run pubsub subscriptions create "$1" --project="$project" --topic="$2" --ack-deadline=60 --expiration-period=never \
            --message-retention-duration=31d "${@:3}"
}

agent_of_pubsub() {
    # A project that never used it has no such agent yet, and nobody who does not exist can be granted anything.
    granted "$pubsub_agent" roles/pubsub.publisher pubsub topics "$dead_topic" ||
        run beta services identity create --service=pubsub.googleapis.com --project="$project"
}

notification() {
    granted "$storage_agent" roles/pubsub.publisher pubsub topics "$topic" || run storage service-agent --project="$project"
    grant "$storage_agent" roles/pubsub.publisher pubsub topics "$topic"
    # Listed first: a second configuration is taken without a word, and every event comes twice from then on.
    if gcloud storage buckets notifications list "gs://$bucket" --format=json 2>/dev/null |
        grep -F "projects/$project/topics/$topic\"" >/dev/null; then
        return
    fi
    run storage buckets notifications create "gs://$bucket" --topic="projects/$project/topics/$topic" \
        --event-types=OBJECT_FINALIZE --payload-format=json --skip-topic-setup ${prefix:+--object-prefix="$prefix"}
}

ledger() {
    local at=(--database="$database" --project="$project") field
    there firestore databases describe "${at[@]}" ||
        run firestore databases create "${at[@]}" --location="$region" --type=firestore-native --delete-protection
    gcloud firestore fields ttls list --collection-group="$collection" "${at[@]}" --format='value(name)' 2>/dev/null |
        grep '/expires_at$' >/dev/null ||
        run firestore fields ttls update expires_at --collection-group="$collection" "${at[@]}" --enable-ttl --async
    # An index on what grows with time limits a collection to 500 writes a second, and nobody asks by these fields.
    for field in expires_at renewed_at progress; do
        exempt "$field" || run firestore indexes fields update "$field" --collection-group="$collection" "${at[@]}" --disable-indexes
    done
    composite_indexes
}

# What `subscriber jobs` and `explain` ask by. Listed first: an index that is there cannot be created again.
composite_indexes() {
    local known file index field flags
    known=$(gcloud firestore indexes composite list "${at[@]}" --format=json 2>/dev/null | fields_of_indexes) || true
    for file in ../../firestore/indexes/*.json; do
        index=$(awk -F '"' '$2 == "field-path" { path = $4 } $2 == "order" { printf "%s:%s ", path, $4 }' "$file")
        [ -n "$index" ] || fail "$file declares no index"
        if grep -qxF "$index" <<<"$known"; then
            continue
        fi
        flags=()
        for field in $index; do
            flags+=("--field-config=field-path=${field%:*},order=${field#*:}")
        done
        # Building one takes minutes; `subscriber check` tells when it is ready.
        run firestore indexes composite create --collection-group="$collection" "${at[@]}" "${flags[@]}" --async
    done
}

# A line for each index of the collection that is listed: its fields as `path:order `, without the name that Firestore adds.
fields_of_indexes() {
    awk -F '"' -v ours="/collectionGroups/$collection/indexes/" '
        $2 == "fieldPath" { path = $4 }
        $2 == "order" && path != "__name__" { fields = fields path ":" tolower($4) " " }
        $2 == "name" { if (index($4, ours)) print fields; fields = "" }'
}

# A field with no exemption inherits its indexes; one that has none left has no `indexes` at all.
exempt() {
    local config
    config=$(gcloud firestore indexes fields describe "$1" --collection-group="$collection" "${at[@]}" --format='json(indexConfig)' \
        2>/dev/null) || return
    ! grep -q '"indexes"\|"usesAncestorConfig": true' <<<"$config"
}

secret() {
    there secrets describe "$secret" --project="$project" ||
        run secrets create "$secret" --project="$project" --replication-policy=automatic
    [ -n "$(gcloud secrets versions list "$secret" --project="$project" --format='value(name)' 2>/dev/null)" ] ||
        left_to_do+=("the provider's key: gcloud secrets versions add $secret --project=$project --data-file=KEY_FILE")
}

workload() {
    if $cloud_run; then
        there iam service-accounts describe "$account" --project="$project" ||
            run iam service-accounts create subscriber --project="$project" --display-name='subscriber on Cloud Run'
    fi
    local name
    for name in subscriber "$replay"; do
        grant "$workload" roles/pubsub.subscriber pubsub subscriptions "$name"
        # Consuming is not seeing: `subscriber check` looks at the subscription as well.
        grant "$workload" roles/pubsub.viewer pubsub subscriptions "$name"
    done
    for name in "$replay" "$results"; do
        grant "$workload" roles/pubsub.publisher pubsub topics "$name"
    done
    grant "$workload" roles/storage.objectViewer storage buckets "gs://$bucket"
    grant "$workload" roles/storage.objectUser storage buckets "gs://$output_bucket"
    grant "$workload" roles/secretmanager.secretAccessor secrets "$secret"
    grant_ledger
    $cloud_run && metrics_of_cloud_run
    return 0
}

# A role for one database exists as a condition only.
grant_ledger() {
    granted "$workload" roles/datastore.user projects "$project" ||
        run projects add-iam-policy-binding "$project" --member="$workload" --role=roles/datastore.user \
            --condition="expression=resource.name==\"projects/$project/databases/$database\",title=subscriber-ledger"
}

metrics_of_cloud_run() {
    granted "$workload" roles/monitoring.metricWriter projects "$project" ||
        run projects add-iam-policy-binding "$project" --member="$workload" --role=roles/monitoring.metricWriter --condition=None
    local name
    for name in subscriber-run-monitoring subscriber-collector; do
        if there secrets describe "$name" --project="$project"; then
            grant "$workload" roles/secretmanager.secretAccessor secrets "$name"
        fi
    done
}

# grant MEMBER ROLE KIND... RESOURCE
grant() {
    granted "$@" || run "${@:3:$#-3}" add-iam-policy-binding "${@:$#}" --project="$project" --member="$1" --role="$2"
}

report() {
    local one
    for one in "${left_to_do[@]}"; do
        printf 'left to do: %s\n' "$one"
    done
    cat <<SETTINGS
settings:
GOOGLE_CLOUD_PROJECT=$project
SUBSCRIBER_SUBSCRIPTION=subscriber,$replay
SUBSCRIBER_REPLAY_TOPIC=$replay
SUBSCRIBER_OUTPUT=gs://$output
SUBSCRIBER_FIRESTORE_DATABASE=$database
SUBSCRIBER_FIRESTORE_COLLECTION=$collection
SETTINGS
}

main "$@"
