"""Refuses, in one line that names the cure, a name that could not be imported."""

import json
import keyword
import re
import sys

(SLUG,) = json.loads(r"""[{{ cookiecutter.project_slug|tojson }}]""")

# Folders and modules of the generated project, and the packages that it imports.
TAKEN = {
    "app",
    "click",
    "fivenines",
    "gunicorn",
    "hiredis",
    "httpx2",
    "msgspec",
    "mypy",
    "pip",
    "pybreaker",
    "pytest",
    "pytest_fivenines",
    "redis",
    "rich",
    "ruff",
    "setuptools",
    "starlette",
    "tenacity",
    "tests",
    "uvloop",
    "vendor",
}


def complaint(slug):
    if not re.fullmatch(r"[a-z][a-z0-9_]*", slug):
        suggestion = re.sub(r"[^a-z0-9]+", "_", slug.lower()).strip("_").lstrip("0123456789_") or "orders"
        return (
            "is no name for a Python package: use lower-case letters, digits and underscores, beginning with a letter, "
            f"such as {suggestion!r}"
        )
    if len(slug) > 40:
        return f"is {len(slug)} characters long: use at most 40, such as {slug[:40].strip('_')!r}"
    if keyword.iskeyword(slug) or keyword.issoftkeyword(slug):
        return f"is a word of the Python language: choose another, such as {slug + '_service'!r}"
    if slug in sys.stdlib_module_names:
        return f"would hide a module of Python's standard library: choose another, such as {slug + '_service'!r}"
    if slug in TAKEN:
        return f"is the name of something that the service itself uses: choose another, such as {slug + '_service'!r}"
    return None


if sys.version_info < (3, 11):  # noqa: UP036  (this runs under cookiecutter's Python, whichever that is)
    sys.exit(f"The template needs Python 3.11 or newer to run cookiecutter, and this is {sys.version.split()[0]}.")
if problem := complaint(SLUG):
    sys.exit(f"project_slug={SLUG!r} {problem}.")
