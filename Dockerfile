# The daemon's image: a Python base, one virtual environment, nothing else. docs/building.md shows how to build, pin and check it.
#
# Any Debian-like image with Python 3.11 or newer and its venv module will do. The default is a tag, and a tag can move: release
# builds pass a digest that you looked up yourself, which also fixes what both stages start from:
#   --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# `python3` and not a path: the official images keep it in /usr/local/bin, Debian's in /usr/bin.
RUN python3 -m venv /venv
COPY requirements/runtime.txt /build/requirements.txt
# Wheels only: a dependency that would have to be compiled fails here instead of asking for a compiler.
RUN /venv/bin/pip install --no-cache-dir --no-compile --only-binary=:all: --require-hashes -r /build/requirements.txt
# Copied, not built into a wheel: the package is pure Python and names its version itself, so a build backend would only add
# downloads that the runtime lock does not hold. The command takes the place of the wheel's console script.
COPY subscriber /build/subscriber
# The version is written in the package; who hands one over for the label must mean the same.
ARG VERSION=unversioned
RUN [ "$VERSION" = unversioned ] || grep -qxF "__version__ = \"$VERSION\"" /build/subscriber/__init__.py
RUN cp -R /build/subscriber "$(/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && printf '#!/bin/sh\nexec /venv/bin/python -m subscriber "$@"\n' > /venv/bin/subscriber \
    && chmod 0755 /venv/bin/subscriber \
    && /venv/bin/pip check \
    && /venv/bin/pip uninstall --quiet --yes pip setuptools
# At run time the root is read-only, so bytecode is written now. Unchecked: nothing edits a source in an image, and no start
# should pay for comparing thousands of files. Readable for all: the checkout's umask must not decide whether the daemon starts.
RUN /venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /venv/lib \
    && chmod -R a+rX /venv

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
ARG VERSION=unversioned
ARG REVISION=unknown
LABEL org.opencontainers.image.title="subscriber" \
      org.opencontainers.image.description="Transcribes every audio object that lands in a bucket exactly once" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=build /venv /venv
# HOME: this uid has no passwd entry, and libraries that look for a home directory must find the one place that is writable.
# PYTHONSAFEPATH: nothing in the working directory can take the place of a module.
ENV PATH="/venv/bin:${PATH}" \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1
# Numeric, so that Kubernetes can prove runAsNonRoot without reading the image's passwd file.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
# Exec form: the daemon is process 1 and gets SIGTERM itself.
ENTRYPOINT ["/venv/bin/python", "-m", "subscriber"]
CMD ["run"]
