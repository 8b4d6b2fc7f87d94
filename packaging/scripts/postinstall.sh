#!/bin/sh
# Nothing is enabled or started: there is no database yet. After an upgrade, a running service is restarted.
set -e

# In Arch's packages files have no owners by name.
for file in environment config.toml; do
    if [ "$(stat -c %U:%G "/etc/cratedb-retention/$file" 2>/dev/null)" = root:root ]; then
        chgrp cratedb-retention "/etc/cratedb-retention/$file"
    fi
done

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    systemctl try-restart cratedb-retention.service || true
elif command -v rc-service >/dev/null 2>&1; then
    rc-service --quiet --ifstarted cratedb-retention restart || true
fi
