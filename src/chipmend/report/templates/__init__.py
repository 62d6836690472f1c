"""Pages from templates: one HTML file each, with all that it needs inside."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from chipmend.report.svg import percent


def rendered(template: str, filters: Mapping[str, Callable[..., str]], **content: Any) -> str:
    """A page.

    Args:
        template: Name of its file.
        filters: What the template writes values with, beside ``percent``.
        content: What it speaks of; ``svg`` lets a drawing through as it is.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, **filters)
    return environment.get_template(template).render(svg=Markup, **content)
