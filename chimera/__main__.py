"""``python -m chimera`` is the command ``chimera``."""

from chimera.cli import main

raise SystemExit(main())
