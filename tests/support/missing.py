"""
Why tests are skipped where a program is missing; ``tests/conftest.py`` says at the end what was not tested, and what to
do about it.
"""

from __future__ import annotations

NO_CRATEDB = "no CrateDB to run this on"
NO_RRDTOOL = "no RRDtool to compare with"
NO_CHROMIUM = "no Chromium to look at the pages with"
NO_PACKAGING = "no tools to build Linux packages with"
NO_ROOT = "no clean Debian root to install a package in"
NO_BUILDAH = "no root with buildah and debootstrap to build the image"
NO_COMPOSE = "no Compose to check its files with"
NO_PROMTOOL = "no promtool to check the configuration of Prometheus with"
NO_DEPLOYING = "no tool to check a deployment with"
NO_MANDOC = "no mandoc to read man pages with"
# What the end of the output says where tests were skipped: a title, the reason of these skips, what to do about it.
NOT_TESTED = (
    (
        "NOT TESTED ON CRATEDB",
        NO_CRATEDB,
        "Unpack a CrateDB and set CRATEDB_HOME to its directory, or set CRATEDB_URI to a server for tests, e.g."
        " crate://localhost:4200/; tests of a cluster need CRATEDB_HOME.",
    ),
    (
        "NOT COMPARED WITH RRDTOOL",
        NO_RRDTOOL,
        "Install the command rrdtool, e.g. by apt-get install rrdtool.",
    ),
    (
        "PAGES NOT TESTED IN A BROWSER",
        NO_CHROMIUM,
        "Install a Chromium, e.g. by apt-get install chromium.",
    ),
    (
        "LINUX PACKAGES NOT BUILT OR NOT LOOKED AT",
        NO_PACKAGING,
        "Install nfpm or Go, patchelf, binutils and rpm, e.g. by apt-get install golang patchelf binutils rpm.",
    ),
    (
        "LINUX PACKAGE NOT INSTALLED",
        NO_ROOT,
        "Run as root, on Debian, with debootstrap: apt-get install debootstrap.",
    ),
    (
        "IMAGE NOT BUILT",
        NO_BUILDAH,
        "Run the tests as root, after apt-get install buildah debootstrap.",
    ),
    (
        "COMPOSE FILES NOT CHECKED BY COMPOSE",
        NO_COMPOSE,
        "Install Docker with Compose, or apt-get install docker-compose.",
    ),
    (
        "PROMETHEUS NOT CHECKED BY PROMTOOL",
        NO_PROMTOOL,
        "Install it, e.g. by apt-get install prometheus.",
    ),
    (
        "DEPLOYMENTS NOT RENDERED OR CHECKED",
        NO_DEPLOYING,
        "Install Go, kubectl or kustomize, helm (go install helm.sh/helm/v4/cmd/helm@v4.3.1), and kubernetes-validate"
        " (pipx install kubernetes-validate==1.37.0).",
    ),
    (
        "MAN PAGES NOT CHECKED",
        NO_MANDOC,
        "Install the command mandoc, e.g. by apt-get install mandoc.",
    ),
)
