"""What is generated from the code and committed: written with ``just fix``, compared with ``just check``."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def generated() -> dict[Path, str]:
    """Path to content of everything that is generated."""
    from chimera.documents import DOCUMENTS, render_document

    folder = ROOT / "configs" / "documents"
    files = {folder / name: render_document(make()) for name, make in DOCUMENTS.items()}
    files[folder / "reference.md"] = reference()
    return files


def reference() -> str:
    """The reference page: commands, settings, metrics."""
    parts = ["# Reference\n\nGenerated from the code (`just fix`); do not edit.\n"]
    for title, topic in (("Commands", "commands"), ("Settings", "settings"), ("Metrics", "metrics")):
        parts.append(f"## {title}\n\n{_printed('docs', topic).strip()}\n")
    return "\n".join(parts)


def _printed(*arguments: str) -> str:
    from chimera.cli import main

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        main(arguments)
    return text.getvalue()


def main() -> int:
    """Write everything, or with ``--check`` say what differs."""
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not current: just fix", file=sys.stderr)
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated()[path])
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
