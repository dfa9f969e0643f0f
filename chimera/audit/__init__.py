"""The audit log: every privileged act, chained by hashes, with an anchor outside the log."""

from .anchor import Anchor, AnchorFile
from .auditor import Auditor
from .chain import GENESIS, Draft, check_chain, link
from .log import STREAM, AuditLog

__all__ = ["GENESIS", "STREAM", "Anchor", "AnchorFile", "AuditLog", "Auditor", "Draft", "check_chain", "link"]
