"""The `fivenines` command: dev · serve · up · version.

`serve` takes a way of its own, without click and rich: its workers are forked from this process, so whatever
is imported here would stay in the memory of every one of them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from fivenines.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Exit with 0; 2 for usage or configuration, with one line that names the cure; 1 for a failure."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["serve"]:
            from fivenines.cli.serve import serve

            serve(given[1:])
        from fivenines.cli.commands import run

        run(given)
    except ConfigurationError as error:
        print(f"fivenines: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
