"""Puts the framework's wheel into vendor/, and its name and hash into the requirements.

cruft runs hooks again at every update, in temporary folders: this one reads the template and writes here, and does
nothing else. No network, no git, no virtual environment.
"""

import hashlib
import json
import runpy
from pathlib import Path

(ROOT,) = map(Path, json.loads(r"""[{{ fivenines_root|tojson }}]"""))

build_wheel = runpy.run_path(str(ROOT / "cookiecutter_fivenines.py"))["build_wheel"]
name, data = build_wheel(ROOT)

vendor = Path("vendor")
vendor.mkdir(exist_ok=True)
for other in vendor.glob("fivenines-*.whl"):  # of the version before, when generation goes over an older project
    other.unlink()
(vendor / name).write_bytes(data)

digest = hashlib.sha256(data).hexdigest()
for path in sorted(Path().glob("requirements*")):
    line = f"./vendor/{name}" + (f" \\\n    --hash=sha256:{digest}" if path.suffix == ".lock" else "")
    text = path.read_text(encoding="utf-8").replace("@FIVENINES_WHEEL@", line)
    path.write_text(text, encoding="utf-8", newline="\n")
