# knot: signs the zone that prepare.py writes, and serves it.
FROM debian:trixie-slim
RUN apt-get update && apt-get install --yes --no-install-recommends knot knot-dnssecutils && rm -rf /var/lib/apt/lists/*
COPY names.sh /usr/local/bin/names.sh
ENTRYPOINT ["sh", "/usr/local/bin/names.sh"]
