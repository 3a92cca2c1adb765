#!/usr/bin/env bash
# Takes away what setup-gcp.sh has made. It asks before each thing that holds data, and never touches the bucket of the recordings,
# but for the notification.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=names.sh
. ./names.sh

usage() {
    echo "usage: teardown-gcp.sh --project=… --region=… --bucket=… --output=… [OPTION…]"
    options
    echo "    --yes                    answer every question with yes"
}

main() {
    read_options "$@"
    notifications
    queues
    rights
    data
}

# asked QUESTION: yes is typed in full, because there is no way back.
asked() {
    local answer
    $assume_yes && return
    $dry_run && return
    read -r -p "$1 Type yes: " answer || true
    [ "$answer" = yes ]
}

# Events stop coming before what would hold them goes.
notifications() {
    local id
    for id in $(gcloud storage buckets notifications list "gs://$bucket" --format=json 2>/dev/null |
        awk -v ours="projects/$project/topics/$topic\"" -F '"' '$2 == "id" { id = $4 } $2 == "topic" && index($0, ours) { print id }'); do
        run storage buckets notifications delete "projects/_/buckets/$bucket/notificationConfigs/$id"
    done
}

queues() {
    local name
    asked "Delete the subscriptions, with every message that waits in them, dead letters too?" || return 0
    for name in subscriber "$replay" "$hold"; do
        if there pubsub subscriptions describe "$name" --project="$project"; then
            run pubsub subscriptions delete "$name" --project="$project"
        fi
    done
    for name in "$topic" "$dead_topic" "$replay" "$results"; do
        if there pubsub topics describe "$name" --project="$project"; then
            run pubsub topics delete "$name" --project="$project"
        fi
    done
}

rights() {
    revoke roles/storage.objectViewer storage buckets "gs://$bucket"
    revoke roles/storage.objectUser storage buckets "gs://$output_bucket"
    revoke roles/secretmanager.secretAccessor secrets "$secret"
    revoke roles/datastore.user projects "$project" --all
    revoke roles/monitoring.metricWriter projects "$project" --all
    if $cloud_run && there iam service-accounts describe "$account" --project="$project"; then
        run iam service-accounts delete "$account" --project="$project" --quiet
    fi
}

# revoke ROLE KIND... RESOURCE [--all]: with it, whatever the condition.
revoke() {
    local role=$1 all=()
    shift
    if [ "${*: -1}" = --all ]; then
        all=(--all)
        set -- "${@:1:$#-1}"
    fi
    granted "$workload" "$role" "$@" || return 0
    local project_flag=(--project="$project")
    [ "$1" != projects ] || project_flag=()
    run "${@:1:$#-1}" remove-iam-policy-binding "${@:$#}" "${project_flag[@]}" --member="$workload" --role="$role" "${all[@]}"
}

data() {
    if there secrets describe "$secret" --project="$project" && asked "Delete the secret $secret with the provider's key?"; then
        run secrets delete "$secret" --project="$project" --quiet
    fi
    if asked "Delete the ledger, database $database, collection $collection? Without it every recording counts as new."; then
        run firestore bulk-delete --collection-ids="$collection" --database="$database" --project="$project" --quiet
    fi
    if there storage ls "gs://$output_bucket/${output_prefix}.chunks/" &&
        asked "Delete the paid chunks in gs://$output_bucket/${output_prefix}.chunks/?"; then
        run storage rm "gs://$output_bucket/${output_prefix}.chunks/" --recursive
    fi
    echo "The transcripts in gs://$output and the database $database itself are left: delete them by hand if you mean it."
}

main "$@"
