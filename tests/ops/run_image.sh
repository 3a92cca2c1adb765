#!/usr/bin/env bash
# Builds the image without a Docker engine, and runs it as a cluster would: by its number, without any capability, on a read-only root.
#
#   tests/ops/run_image.sh [WORK]
#
# Needs root and buildah; mmdebstrap for a Debian base, unless PYTHON_IMAGE names one; the project's virtual environment, and the
# emulators, for the last step. The build container gets this machine's settings of pip and its certificates, for a place behind a
# proxy needs them there, and they belong in no layer; BUILD_FLAGS adds more flags for `buildah build`.
# WORK keeps the images between runs; without it everything is removed again.
: "${BUILD_FLAGS:=}"
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '\n== %s\n' "$*"; }

keep=${1:-}
work=${keep:-$(mktemp -d)}
work=$(mkdir -p "$work" && cd "$work" && pwd)
container=
bud() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
cleanup() {
    if [ -n "$container" ]; then
        bud rm "$container" >/dev/null
    fi
    if [ -z "$keep" ]; then
        rm -rf "$work"
    fi
}
trap cleanup EXIT

base=${PYTHON_IMAGE:-localhost/python-of-debian}
if [ -z "${PYTHON_IMAGE:-}" ] && ! bud inspect --type image "$base" >/dev/null 2>&1; then
    # As the official slim images are made: without manuals and translations, and with /usr merged from the start instead of by a
    # package that needs all of Perl.
    say "making a base: Debian bookworm with its Python, slim"
    mmdebstrap --quiet --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --include=usr-is-merged,python3,python3-venv,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/base.tar" >"$work/base.log" 2>&1 || { tail -n 40 "$work/base.log"; exit 1; }
    scratch=$(bud from scratch)
    bud add --quiet "$scratch" "$work/base.tar" / >/dev/null
    bud commit --quiet --rm "$scratch" "$base" >/dev/null
    rm "$work/base.tar"
fi

say "building on $base"
for ours in /etc/pip.conf /etc/ssl/certs; do
    [ ! -e "$ours" ] || BUILD_FLAGS+=" --volume $ours:$ours:ro"
done
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' subscriber/__init__.py)
# BUILD_FLAGS is a list of words.
# shellcheck disable=SC2086
bud build --isolation chroot --network host $BUILD_FLAGS --build-arg "PYTHON_IMAGE=$base" --build-arg "VERSION=$version" \
    --tag localhost/subscriber . >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; exit 1; }

container=$(bud from localhost/subscriber)
root=$(bud mount "$container")
read -r user <<<"$(bud inspect --format '{{.OCIv1.Config.User}}' "$container")"
mapfile -t variables < <(bud inspect --format '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' "$container" | sed '/^$/d')
mapfile -t entrypoint < <(bud inspect --format '{{range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}' "$container" | sed '/^$/d')
bud inspect --format '{{println .OCIv1.Config.Labels}}' "$container"
of() { du --summarize --block-size=1MB "$1" | cut -f1; }
packed() { echo $(($(tar --create --directory "$1" . | gzip --fast | wc --bytes) / 1000000)); }
printf '%s MB, of which the virtual environment has %s; as layers %s MB and %s\n' \
    "$(of "$root")" "$(of "$root/venv")" "$(packed "$root")" "$(packed "$root/venv")"
[ -n "${PYTHON_IMAGE:-}" ] || [ "$(of "$root")" -lt 400 ] || { echo "that is 400 MB or more"; exit 1; }

# What the kubelet does before the first instruction: the key as a file that one group may read, a small /tmp, /proc and /dev;
# then no new privileges, the image's user, and the image's variables with nothing of ours among them.
install -d -m 0755 "$root/secrets/openai"
install -m 0440 -o 0 -g "${user#*:}" /dev/stdin "$root/secrets/openai/api-key" <<<'sk-of-a-stub'
cat >"$work/inside" <<'INSIDE'
#!/usr/bin/env bash
# inside ROOT USER COMMAND...: this very process becomes COMMAND, so that a signal sent to it arrives.
set -euo pipefail
if [ -z "${UNSHARED:-}" ]; then
    UNSHARED=1 exec unshare --mount "$0" "$@"
fi
root=$1 user=$2
shift 2
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc -o ro proc "$root/proc"
mount -t tmpfs -o size=64m,mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups="${user#*:}" "$root" /usr/bin/env --ignore-environment "$@"
INSIDE
chmod +x "$work/inside"
inside() { "$work/inside" "$root" "$user" "${variables[@]}" "$@"; }

say "who it is and what it may"
inside /venv/bin/python - <<'PYTHON'
import errno, importlib.util, os, pathlib, shutil, sys

assert (os.getuid(), os.getgid(), os.getgroups()) == (65532, 65532, [65532]), (os.getuid(), os.getgid(), os.getgroups())
status = dict(line.split(":\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0, status["CapEff"]
assert status["NoNewPrivs"] == "1"
for folder in ("/", "/venv", "/etc", "/var/tmp"):
    try:
        pathlib.Path(folder, "written").touch()
    except OSError as refused:
        assert refused.errno in (errno.EROFS, errno.EACCES), refused
    else:
        sys.exit(f"{folder} can be written")
pathlib.Path.home().joinpath("written").touch()
assert os.statvfs("/").f_flag & os.ST_RDONLY
left = [name for name in ("gcc", "cc", "make") if shutil.which(name)]
assert not left, left
assert not pathlib.Path("/venv/bin/pip").exists()
sources = list(pathlib.Path("/venv/lib").rglob("*.py"))
bare = [one for one in sources if not pathlib.Path(importlib.util.cache_from_source(str(one))).exists()]
assert sources and not bare, bare
print(f"uid {os.getuid()}, gid {os.getgid()}, no capability, read-only root, {len(sources)} modules compiled, {sys.version.split()[0]}")
PYTHON

say "it imports, and says its version"
inside "${entrypoint[@]}" --version
inside /venv/bin/subscriber --help >/dev/null

# A node that has just pulled the image has read none of it. What is dropped here is this image's part of the page cache only.
say "one file, from the bucket to the transcript, with nothing of the image in memory"
python3 - "$root" <<'PYTHON'
import os, pathlib, sys

os.sync()
for path in pathlib.Path(sys.argv[1]).rglob("*"):
    if path.is_file() and not path.is_symlink():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
PYTHON
command=("$work/inside" "$root" "$user" "${variables[@]}")
"${PYTHON:-.venv/bin/python}" -m tests.ops.transcribe_one "${command[@]}" OPENAI_API_KEY_FILE=/secrets/openai/api-key -- "${entrypoint[@]}" run
