"""The catalogue in the documents: made from the rows, between two marks. Run as a program, writes
it."""

import re
from pathlib import Path

from celery_statsd.catalogue import as_markdown

README = Path(__file__).parent.parent / "README.md"
DOCUMENTS = (README, README.parent / "docs" / "metrics.md")
"""Those that have it."""

_CATALOGUE = re.compile(r"(?<=<!-- catalogue -->\n).*?(?=<!-- /catalogue -->)", re.DOTALL)


def with_catalogue(text: str) -> str:
    """`text` with the catalogue as the rows have it now."""
    return _CATALOGUE.sub(lambda _: f"\n{as_markdown()}\n\n", text)


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(with_catalogue(document.read_text()))
