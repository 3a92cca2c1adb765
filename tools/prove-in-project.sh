#!/usr/bin/env bash
# Proves in a real Google Cloud project what no emulator can: docs/real-project.md lists it. A few minutes, a few cents.
#
#   tools/prove-in-project.sh --project=EMPTY_PROJECT --region=europe-west1
#
# It wants a project with nothing of the daemon's in it, `gcloud auth application-default login`, and roles/owner there. The daemon runs on this
# machine as the service account that setup-gcp.sh makes, so its rights are what is tried, not yours. Whisper is a local one, unless
# OPENAI_API_KEY is set. At the end it asks whether to take everything away.
#
# THIS SCRIPT HAS NEVER BEEN RUN: there was no project where it was written. shellcheck has read it, and nobody else has.
set -euo pipefail
cd "$(dirname "$0")/.."

project='' region=''
for option in "$@"; do
    case $option in
        --project=*) project=${option#*=} ;;
        --region=*) region=${option#*=} ;;
        *) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" && exit 2 ;;
    esac
done
[ -n "$project" ] && [ -n "$region" ] || { echo "--project and --region are needed" >&2; exit 2; }

python=.venv/bin/python
inbox=$project-prove-in outbox=$project-prove-out
account=subscriber@$project.iam.gserviceaccount.com
setup=(--project="$project" --region="$region" --bucket="$inbox" --output="$outbox" --cloud-run)
port=18080
work=$(mktemp -d)
daemon='' whisper=''
failures=0

main() {
    ! gcloud pubsub subscriptions describe subscriber --project="$project" >/dev/null 2>&1 ||
        { echo "project $project has a subscription 'subscriber': this wants a project of its own" >&2; exit 2; }
    trap stop_all EXIT
    k8s/setup/setup-gcp.sh "${setup[@]}"
    prove "a second setup changes nothing" second_setup_is_quiet
    become_the_workload
    start_whisper
    # A grant takes up to seven minutes to be known everywhere.
    prove "the rights of setup-gcp.sh are enough to start" within 480 starts
    prove "an upload becomes a transcript" within 120 uploaded_is_transcribed first.wav
    prove "the same event again is a duplicate and costs nothing" within 120 event_again_is_a_duplicate
    prove "a deletion is filtered by the subscription" deletion_never_arrives
    prove "a killed daemon's file is transcribed by the next" within 300 survives_a_kill
    prove "an output under a hold is never overwritten, and said to be" within 180 hold_is_respected
    prove "access taken away pauses, and fails no job" within 600 loses_access
    prove "access given back ends the pause" within 600 regains_access
    prove "the time to live is in force" within 900 ttl_is_active
    echo "$failures of these failed; what the daemon said is in $work/daemon.log"
    stop_all
    k8s/setup/teardown-gcp.sh "${setup[@]}"
    [ "$failures" = 0 ]
}

prove() {
    local what=$1 begun=$SECONDS
    shift
    if "$@"; then
        printf 'ok      %4d s  %s\n' $((SECONDS - begun)) "$what"
    else
        printf 'FAILED  %4d s  %s\n' $((SECONDS - begun)) "$what"
        failures=$((failures + 1))
    fi
}

# within SECONDS COMMAND...: again and again until it succeeds.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 3
    done
}

second_setup_is_quiet() { ! k8s/setup/setup-gcp.sh "${setup[@]}" | grep '^+ gcloud' >&2; }

become_the_workload() {
    gcloud iam service-accounts add-iam-policy-binding "$account" --project="$project" --role=roles/iam.serviceAccountTokenCreator \
        --member="user:$(gcloud config get-value account)" >/dev/null
    "$python" - "$account" "$HOME/.config/gcloud/application_default_credentials.json" >"$work/credentials.json" <<'PYTHON'
import json, pathlib, sys

account, mine = sys.argv[1:]
url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
source = json.loads(pathlib.Path(mine).read_text())
print(json.dumps({"type": "impersonated_service_account", "service_account_impersonation_url": url, "delegates": [], "source_credentials": source}))
PYTHON
}

start_whisper() {
    export OPENAI_BASE_URL=https://api.openai.com/v1
    [ -z "${OPENAI_API_KEY:-}" ] || return 0
    export OPENAI_BASE_URL=http://127.0.0.1:18000/v1
    "$python" -m subscriber whisper-server --port=18000 >"$work/whisper.log" 2>&1 &
    whisper=$!
}

start_daemon() {
    GOOGLE_APPLICATION_CREDENTIALS=$work/credentials.json GOOGLE_CLOUD_PROJECT=$project PORT=$port SUBSCRIBER_LOG_FORMAT=json \
        SUBSCRIBER_SUBSCRIPTION=subscriber,subscriber-replay SUBSCRIBER_REPLAY_TOPIC=subscriber-replay \
        SUBSCRIBER_OUTPUT=gs://$outbox SUBSCRIBER_CLAIM_SECONDS=30 \
        "$python" -m subscriber run >>"$work/daemon.log" 2>&1 &
    daemon=$!
}

# It exits with code 2 for what looks like configuration, and a right that is not known yet does.
starts() {
    kill -0 "${daemon:-0}" 2>/dev/null && [ -n "$daemon" ] || start_daemon
    state | grep '"pulling"' >/dev/null
}

state() { curl --silent --max-time 5 "http://127.0.0.1:$port/readyz" || true; }

# metric NAME PATTERN: the sum of the series that match.
metric() {
    curl --silent --max-time 5 "http://127.0.0.1:$port/metrics" |
        awk -v name="subscriber_$1" -v pattern="$2" 'index($1, name) == 1 && $0 ~ pattern { sum += $NF } END { printf "%d", sum }'
}

upload() { gcloud storage cp subscriber/recordings/doorbell.wav "gs://$inbox/$1" >/dev/null 2>&1; }
written() { gcloud storage objects describe "gs://$outbox/$1" --format='value(generation)' 2>/dev/null; }

uploaded_is_transcribed() {
    gcloud storage objects describe "gs://$inbox/$1" >/dev/null 2>&1 || upload "$1"
    [ -n "$(written "$1.json")" ]
}

event_again_is_a_duplicate() {
    local requests generation
    requests=$(metric whisper_requests_total .)
    generation=$(gcloud storage objects describe "gs://$inbox/first.wav" --format='value(generation)')
    gcloud pubsub topics publish recordings --project="$project" >/dev/null \
        --attribute="eventType=OBJECT_FINALIZE,payloadFormat=NONE,bucketId=$inbox,objectId=first.wav,objectGeneration=$generation"
    within 60 counted_duplicate && [ "$(metric whisper_requests_total .)" = "$requests" ]
}

counted_duplicate() { [ "$(metric deliveries_total 'outcome="duplicate"')" -ge 1 ]; }

deletion_never_arrives() {
    local ignored
    ignored=$(metric deliveries_total 'outcome="ignored"')
    gcloud storage rm "gs://$inbox/first.wav" >/dev/null 2>&1
    sleep 30
    [ "$(metric deliveries_total 'outcome="ignored"')" = "$ignored" ]
}

survives_a_kill() {
    if [ ! -e "$work/killed" ]; then
        upload killed.wav
        within 60 in_work || true
        kill -KILL "$daemon"
        wait "$daemon" 2>/dev/null || true
        touch "$work/killed"
        start_daemon
    fi
    [ -n "$(written killed.wav.json)" ]
}

in_work() { [ "$(metric jobs_in_flight .)" -ge 1 ]; }

hold_is_respected() {
    if [ ! -e "$work/held" ]; then
        gcloud storage objects update "gs://$outbox/killed.wav.json" "gs://$outbox/killed.wav.txt" --temporary-hold >/dev/null 2>&1
        written killed.wav.json >"$work/held"
        upload killed.wav
    fi
    [ "$(metric jobs_total 'reason="output_locked"')" -ge 1 ] && [ "$(written killed.wav.json)" = "$(cat "$work/held")" ]
}

loses_access() {
    if [ ! -e "$work/taken" ]; then
        gcloud storage objects update "gs://$outbox/killed.wav.json" "gs://$outbox/killed.wav.txt" --no-temporary-hold >/dev/null 2>&1
        metric jobs_total 'result="dead"' >"$work/taken"
        gcloud storage buckets remove-iam-policy-binding "gs://$outbox" --member="serviceAccount:$account" --role=roles/storage.objectUser >/dev/null
    fi
    upload "while-away-$SECONDS.wav"
    [ "$(metric provider_paused 'reason="forbidden"')" = 1 ] && [ "$(metric jobs_total 'result="dead"')" = "$(cat "$work/taken")" ]
}

regains_access() {
    k8s/setup/setup-gcp.sh "${setup[@]}" >/dev/null
    state | grep '"pulling"' >/dev/null
}

ttl_is_active() {
    gcloud firestore fields ttls list --collection-group=transcriptions --project="$project" --format='value(ttlConfig.state)' | grep -x ACTIVE >/dev/null
}

stop_all() {
    local one
    for one in $daemon $whisper; do
        kill "$one" 2>/dev/null || true
        wait "$one" 2>/dev/null || true
    done
    daemon='' whisper=''
}

main
