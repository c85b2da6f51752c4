"""Pages of the site that are files elsewhere in the repository, and the links to them."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    **{
        f"examples/{path.name}": f"examples/{path.stem}.md"
        for path in sorted((ROOT / "examples").iterdir())
        if path.suffix in (".py", ".ipynb")
    },
}
"""Path in the repository to path on the site."""
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for here, there in PAGES.items():
        text = (ROOT / here).read_text()
        content = {".md": lambda name, text: text, ".py": of_program, ".ipynb": of_notebook}[Path(here).suffix](
            here, text
        )
        files.append(File.generated(config, there, content=content))
    return files


def of_notebook(name: str, notebook: str) -> str:
    """A notebook's texts and programs."""
    cells = ((cell["cell_type"], "".join(cell["source"])) for cell in json.loads(notebook)["cells"])
    return "\n\n".join(text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells)


def of_program(name: str, program: str) -> str:
    """A program under its name."""
    title = Path(name).stem.replace("_", " ")
    return f"# Example: {title}\n\n`{name}`:\n\n```python\n{program}```\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    written = {there: here for here, there in PAGES.items()}
    source = written.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def of_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        target = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or '.')}"

    return LINK.sub(of_site, markdown)
