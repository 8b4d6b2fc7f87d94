#!/bin/sh
# Creates the user of the service, whose group owns the configuration, before files are unpacked.
set -e

if ! id -u cratedb-retention >/dev/null 2>&1; then
    if command -v useradd >/dev/null 2>&1; then
        groupadd --force --system cratedb-retention
        useradd --system --gid cratedb-retention --no-create-home --home-dir /var/lib/cratedb-retention \
            --shell /usr/sbin/nologin --comment "Retention for CrateDB" cratedb-retention
    else
        # BusyBox, on Alpine.
        addgroup -S cratedb-retention 2>/dev/null || true
        adduser -S -D -H -h /var/lib/cratedb-retention -s /sbin/nologin -G cratedb-retention \
            -g "Retention for CrateDB" cratedb-retention
    fi
fi
