#!/bin/sh
# Stops and disables the service and the timer. dpkg and rpm call this before an upgrade as well; then it does nothing.
set -e

case "${1:-}" in
upgrade | failed-upgrade | 1) ;;
*)
    if [ -d /run/systemd/system ]; then
        systemctl stop cratedb-retention-due.timer cratedb-retention-due.service cratedb-retention.service || true
    elif command -v rc-service >/dev/null 2>&1; then
        rc-service --quiet --ifstarted cratedb-retention stop || true
        rc-update --quiet delete cratedb-retention || true
    fi
    if command -v systemctl >/dev/null 2>&1; then
        systemctl --quiet disable cratedb-retention-due.timer cratedb-retention.service || true
    fi
    ;;
esac
