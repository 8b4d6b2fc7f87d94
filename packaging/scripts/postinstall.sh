#!/bin/sh
# Nothing is enabled or started: there is no database yet. After an upgrade, a service that runs goes on as the new one.
set -e

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    systemctl try-restart cratedb-retention.service || true
elif command -v rc-service >/dev/null 2>&1; then
    rc-service --quiet --ifstarted cratedb-retention restart || true
fi
