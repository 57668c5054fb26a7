"""`make prove-demo`: the demo as CI runs it, ending with one line and an exit code."""

from __future__ import annotations

import os

from fivenines.lab.demo import main

if __name__ == "__main__":
    os.environ["CI"] = "true"
    raise SystemExit(main())
