# syntax=docker/dockerfile:1
# volly-fed, homeserver and edge node in one image. Every Python package has its hash in requirements/; what else there
# is comes from the base image, and the native liboqs, where it is asked for, from a tag of its source.
#
#   docker build --tag volly-fed .
#   docker build --tag volly-fed --build-arg LIBOQS=0.16.0 .    # with the native liboqs, built from its source
#   docker run --volume volly:/var/lib/volly-fed volly-fed serve --config /var/lib/volly-fed/volly-fed.toml

ARG PYTHON=3.13
ARG LIBOQS=none

# Wheels of everything: pip checks each hash. pybloom-live alone has none to download, and is built by pinned tools too.
FROM python:${PYTHON}-slim AS wheels
WORKDIR /source
COPY requirements requirements
RUN pip install --no-cache-dir --only-binary :all: --require-hashes --requirement requirements/release.txt
RUN pip wheel --no-cache-dir --require-hashes --requirement requirements/lock.txt --wheel-dir /wheels \
    --only-binary :all: --no-binary pybloom-live --no-build-isolation
COPY pyproject.toml README.md LICENSE ./
COPY volly_fed volly_fed
RUN python -m build --wheel --no-isolation --outdir /wheels

FROM python:${PYTHON}-slim AS environment
RUN --mount=from=wheels,source=/wheels,target=/wheels \
    python -m venv --without-pip /opt/volly-fed \
 && pip --python /opt/volly-fed/bin/python install --no-cache-dir --no-index --no-deps /wheels/*.whl \
 && pip --python /opt/volly-fed/bin/python check

# --- liboqs: none, or a release of it -------------------------------------------------------------------------------
FROM environment AS liboqs-none

FROM environment AS liboqs-0.16.0
COPY requirements/liboqs.txt /tmp/
RUN apt-get update && apt-get install --yes --no-install-recommends cmake gcc g++ git libc6-dev libssl-dev ninja-build \
 && git clone --depth 1 --branch 0.16.0 https://github.com/open-quantum-safe/liboqs /liboqs \
 && cmake -S /liboqs -B /liboqs/build -G Ninja -DBUILD_SHARED_LIBS=ON -DOQS_BUILD_ONLY_LIB=ON \
    -DOQS_MINIMAL_BUILD="KEM_ml_kem_768;SIG_ml_dsa_65" -DCMAKE_INSTALL_PREFIX=/opt/volly-fed/liboqs \
 && cmake --build /liboqs/build --target install \
 && pip --python /opt/volly-fed/bin/python install --no-cache-dir --no-deps --require-hashes --requirement /tmp/liboqs.txt

FROM liboqs-${LIBOQS} AS chosen

# --- what runs -------------------------------------------------------------------------------------------------------
FROM python:${PYTHON}-slim
RUN useradd --system --uid 5223 --home-dir /var/lib/volly-fed --create-home --shell /usr/sbin/nologin volly-fed \
 && chmod 0700 /var/lib/volly-fed
COPY --from=chosen /opt/volly-fed /opt/volly-fed
ENV PATH=/opt/volly-fed/bin:$PATH \
    OQS_INSTALL_PATH=/opt/volly-fed/liboqs \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 5223:5223
WORKDIR /var/lib/volly-fed
VOLUME /var/lib/volly-fed
# other homeservers, edge nodes, devices
EXPOSE 5223 5224 5222
STOPSIGNAL SIGTERM
ENTRYPOINT ["volly-fed"]
CMD ["serve"]
