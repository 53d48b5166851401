"""Links from a page to a file of the repository that is no page: on the site their text stays, with the path.

The same Markdown is read on a code host, where such a link works, and on the site, which has the pages alone.
A path that does not exist is an error in both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Called by mkdocs for every page, before it is rendered.

    Raises:
        FileNotFoundError: a link to a file that is not there.
    """
    docs = Path(config.docs_dir).resolve()
    here = (docs / page.file.src_uri).parent

    def plain(link: re.Match[str]) -> str:
        target = (here / link[2]).resolve()
        if target.is_relative_to(docs):
            return link[0]
        if not target.exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {link[2]}, which is not there")
        path = target.relative_to(docs.parent).as_posix()
        return link[1] if path in link[1] else f"{link[1]} (`{path}` in the repository)"

    return LINK.sub(plain, markdown)
