"""
Repositories that are directories: which names are plain paths, rather than addresses of something else.
"""

from __future__ import annotations

import re
import sys

_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*:")
_EXPANDED = ("~", "$", "%")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_WINDOWS = sys.platform == "win32"


def why_no_directory(name: str) -> str | None:
    """
    Why a repository's name is no plain directory; None if it is one.

    What a shell or an object store would understand is refused, rather than taken for a folder of that name.
    """
    if _ADDRESS.match(name) and not (_WINDOWS and _DRIVE.match(name)):
        return f"repository {name!r} is an address, and only directories are supported; name a directory"
    if name.startswith(_EXPANDED if _WINDOWS else (*_EXPANDED, "\\")):
        return f"repository {name!r} begins with {name[0]!r}, which is not expanded; write the directory's full path"
    if not name.strip() or not name.isprintable():
        return f"repository {name!r} is no name of a directory; name a directory"
    return None
