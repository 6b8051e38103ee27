"""The README's catalogue: made from the rows, between two marks. Run as a program, writes it."""

import re
from pathlib import Path

from celery_statsd.catalogue import as_markdown

README = Path(__file__).parent.parent / "README.md"
_CATALOGUE = re.compile(r"(?<=<!-- catalogue -->\n).*?(?=<!-- /catalogue -->)", re.DOTALL)


def with_catalogue(text: str) -> str:
    """`text` with the catalogue as the rows have it now."""
    return _CATALOGUE.sub(lambda _: f"\n{as_markdown()}\n\n", text)


if __name__ == "__main__":
    README.write_text(with_catalogue(README.read_text()))
