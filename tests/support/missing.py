"""
Why tests are skipped where a program is missing; ``tests/conftest.py`` says at the end what was not tested, and what to
do about it.
"""

from __future__ import annotations

NO_CRATEDB = "no CrateDB to run this on"
NO_BUILDAH = "no root with buildah and debootstrap to build the image"
BUILDAH_REMEDY = "Run the tests as root, after apt-get install buildah debootstrap."
NO_COMPOSE = "no Compose to check its files with"
COMPOSE_REMEDY = "Install Docker with Compose, or apt-get install docker-compose."
NO_PROMTOOL = "no promtool to check the configuration of Prometheus with"
PROMTOOL_REMEDY = "Install it, e.g. by apt-get install prometheus."
