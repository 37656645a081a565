# volly-fed, for homeservers and edge nodes alike: the command says which.
#
#   docker build -t volly-fed .                                # OpenSSL's algorithms, as on any machine
#   docker build -t volly-fed --build-arg LIBOQS=0.16.0 .      # liboqs, fetched by the build, where it is faster
#   docker run -v ./example.com:/srv/homeserver -p 5223:5223 volly-fed
#
# Every Python package is one of requirements/lock.txt, by its hash; pybloom-live is built from its source, with the
# setuptools of the day.

FROM python:3.13-slim-trixie AS base
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# The native liboqs, if a version is named: without one this stage leaves an empty folder.
FROM base AS liboqs
ARG LIBOQS=""
RUN mkdir -p /opt/liboqs && if [ -n "$LIBOQS" ]; then \
        apt-get update && apt-get install -y --no-install-recommends ca-certificates cmake curl g++ libssl-dev ninja-build && \
        curl -fsSL "https://github.com/open-quantum-safe/liboqs/archive/refs/tags/$LIBOQS.tar.gz" | tar -xz -C /tmp && \
        cmake -S "/tmp/liboqs-$LIBOQS" -B /tmp/build -G Ninja -DBUILD_SHARED_LIBS=ON -DOQS_BUILD_ONLY_LIB=ON \
            -DOQS_MINIMAL_BUILD="KEM_ml_kem_768;SIG_ml_dsa_65" -DCMAKE_INSTALL_PREFIX=/opt/liboqs && \
        cmake --build /tmp/build --target install; \
    fi

FROM base AS wheel
COPY . /src
RUN pip wheel --no-deps --wheel-dir /wheels /src

FROM base AS volly-fed
ARG LIBOQS=""
COPY requirements/lock.txt requirements/liboqs.txt /tmp/
COPY --from=wheel /wheels /tmp/wheels
COPY --from=liboqs /opt/liboqs /opt/liboqs
ENV OQS_INSTALL_PATH=/opt/liboqs
RUN python -m venv /opt/volly-fed && \
    /opt/volly-fed/bin/pip install --require-hashes -r /tmp/lock.txt && \
    /opt/volly-fed/bin/pip install --no-index --no-deps /tmp/wheels/*.whl && \
    if [ -n "$LIBOQS" ]; then /opt/volly-fed/bin/pip install --require-hashes --no-deps -r /tmp/liboqs.txt; fi && \
    rm -r /tmp/lock.txt /tmp/liboqs.txt /tmp/wheels && \
    useradd --uid 10001 --user-group --no-create-home --home-dir /srv --shell /usr/sbin/nologin volly-fed && \
    mkdir -p /srv/homeserver /srv/edge && chown volly-fed:volly-fed /srv/homeserver /srv/edge
ENV PATH=/opt/volly-fed/bin:$PATH
USER 10001:10001
WORKDIR /srv
EXPOSE 5222 5223 5224
CMD ["volly-fed", "serve", "--config", "/srv/homeserver/volly-fed.toml"]

# What docker-compose.federation.yml needs besides: a name server that signs, and tools to make keys. Not for use.
FROM volly-fed AS testbed
USER root
RUN apt-get update && apt-get install -y --no-install-recommends knot knot-dnsutils openssl && rm -rf /var/lib/apt/lists/*
