"""
Builds the documents as a site: README.md is its first page; docs/, benchmarks/ and what they link to lie as in the
checkout.

    python .ci/docs.py  # build/site/index.html, readable without a server or a network

Fails on a link or an anchor that leads nowhere.
"""

import shutil
import sys
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config


PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from common.markdown import anchor_of, links_of  # noqa: E402


CONFIG = PROJECT / ".ci" / "mkdocs.yml"
DOCUMENTS = ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "metrics/**/*.md")
TEMPLATES = ("model_card.md",)  # filled in by a run
SITE, PAGES = PROJECT / "build" / "site", PROJECT / "build" / "pages"


def gather(folder: Path) -> None:
    """Copies the documents, and the files of the project that they link to or show, into a folder of their own."""
    found = {path for pattern in DOCUMENTS for path in PROJECT.glob(pattern)} - {PROJECT / name for name in TEMPLATES}
    for document in list(found):
        links = links_of(document.read_text(encoding="utf-8"))
        found |= {(document.parent / file).resolve() for file, _ in links if file}
    for path in found:
        if path.is_file():  # one that is missing is a dead link, which mkdocs names
            copy = folder / path.relative_to(PROJECT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def main() -> None:
    """Builds the site."""
    shutil.rmtree(PAGES, ignore_errors=True)
    gather(PAGES)
    config = load_config(str(CONFIG), strict=True, docs_dir=str(PAGES), site_dir=str(SITE))
    config.mdx_configs["toc"] = {"slugify": lambda title, _: anchor_of(title), "toc_depth": 3}
    build(config)
    print(f"{sum(1 for _ in SITE.rglob('*.html'))} pages: {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
