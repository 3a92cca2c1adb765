# shellcheck shell=bash
# The names are for the scripts that source this one:
# shellcheck disable=SC2034
# What setup-gcp.sh makes and teardown-gcp.sh takes away: the names, the options, and how a command is run. Sourced, never run.

project='' region='' bucket='' output='' prefix=''
topic=recordings
database='(default)'
collection=transcriptions
namespace=subscriber
cloud_run=false
dry_run=false
assume_yes=false

options() {
    cat <<OPTIONS
    --project=PROJECT        the project of everything but, perhaps, the buckets
    --region=REGION          of the database and of buckets that are made, such as europe-west1
    --bucket=BUCKET          where recordings are uploaded
    --output=BUCKET[/PREFIX] where transcripts are written, as SUBSCRIBER_OUTPUT has it without gs://
    --prefix=PREFIX          only objects below it are announced; needed where both buckets are one
    --topic=NAME             of the notifications (recordings)
    --database=NAME          of the ledger ((default))
    --collection=NAME        of the ledger (transcriptions)
    --namespace=NAME         of the pods (subscriber)
    --cloud-run              for Cloud Run, which needs a service account, instead of GKE, which needs none
    --dry-run                look, and print what would be run; change nothing
OPTIONS
}

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

read_options() {
    local option
    for option in "$@"; do
        case $option in
            --project=* | --region=* | --bucket=* | --output=* | --prefix=* | --topic=* | --database=* | --collection=* | --namespace=*)
                local name=${option%%=*}
                printf -v "${name#--}" '%s' "${option#*=}"
                ;;
            --cloud-run) cloud_run=true ;;
            --dry-run) dry_run=true ;;
            --yes) assume_yes=true ;;
            --help) usage && exit 0 ;;
            *) fail "unknown option $option; --help lists them" ;;
        esac
    done
    [ -n "$project" ] && [ -n "$region" ] && [ -n "$bucket" ] && [ -n "$output" ] ||
        fail "--project, --region, --bucket and --output are needed; --help lists all"
    [[ $bucket$output != *gs://* ]] || fail "name buckets without gs://"
    derive_names
}

derive_names() {
    output_bucket=${output%%/*}
    output_prefix=''
    if [[ $output == */* ]]; then
        output_prefix=${output#*/}
        output_prefix=${output_prefix%/}/
    fi
    # The daemon would read its own transcripts' announcements, and, with no prefix at all, pause.
    if [ "$bucket" = "$output_bucket" ] && [[ $output_prefix == "$prefix"* ]]; then
        fail "OUTPUT gs://$output lies below what is watched, gs://$bucket/$prefix: give it a bucket of its own, or --prefix"
    fi
    number=$(gcloud projects describe "$project" --format='value(projectNumber)')
    [ -n "$number" ] || fail "project $project cannot be seen by this account"
    dead_topic=$topic-dead
    hold=$dead_topic-hold
    replay=subscriber-replay
    results=subscriber-results
    secret=subscriber-openai
    account=subscriber@$project.iam.gserviceaccount.com
    storage_agent=serviceAccount:service-$number@gs-project-accounts.iam.gserviceaccount.com
    pubsub_agent=serviceAccount:service-$number@gcp-sa-pubsub.iam.gserviceaccount.com
    if $cloud_run; then
        workload=serviceAccount:$account
    else
        workload=principal://iam.googleapis.com/projects/$number/locations/global/workloadIdentityPools/$project.svc.id.goog
        workload+=/subject/ns/$namespace/sa/subscriber
    fi
}

# Everything that changes something goes through here, and is shown as it could be typed.
run() {
    printf '+ gcloud%s\n' "$(printf ' %q' "$@")"
    $dry_run || gcloud "$@"
}

there() { gcloud "$@" >/dev/null 2>&1; }

# granted MEMBER ROLE KIND... RESOURCE: whether the policy of that resource says so already.
granted() {
    local member=$1 role=$2
    shift 2
    # Not grep -q: it would end before gcloud has, whose broken pipe would then count as "no".
    policy "$@" 2>/dev/null | grep -xF "$role,$member" >/dev/null
}

policy() {
    gcloud "${@:1:$#-1}" get-iam-policy "${@:$#}" --project="$project" \
        --flatten='bindings[].members[]' --format='csv[no-heading](bindings.role,bindings.members)'
}
