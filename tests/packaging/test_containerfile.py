"""What the container image is built from."""

from __future__ import annotations

import cratedb_retention
from support.markdown import ROOT


def test_a_wrong_version_is_no_image() -> None:
    """The Containerfile names no version of its own, and compares that of the label with the program's."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    assert cratedb_retention.__version__ not in text.replace("0.0.0.0", "")
    assert 'echo "VERSION is ${VERSION}, but this is ${found}" >&2; exit 1' in text


def test_docker_gets_what_buildah_gets() -> None:
    """Docker reads another file than buildah to learn what stays outside; both say the same."""
    assert (ROOT / ".dockerignore").read_bytes() == (ROOT / ".containerignore").read_bytes()
