"""Where the files that ship with Chimera lie: in a checkout, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def configs_dir(package: Path = _PACKAGE) -> Path:
    """The folder of shipped profiles: the checkout's ``configs/`` if there is one, else the copy in the wheel."""
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "configs").is_dir():
        return checkout / "configs"
    return package / "_shipped" / "configs"


def profile_names(folder: Path | None = None) -> list[str]:
    """The profiles that ship, by name, sorted."""
    return sorted(path.stem for path in (folder or configs_dir()).glob("*.toml"))
