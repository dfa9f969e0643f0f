"""What runs under a lease: once told to go, it says through a socket which devices it uses, until it is ended.

Started as ``python -S worker.py SOCKET WORDS deaf|docile``; imports next to nothing, for many are started.
"""

from __future__ import annotations

import signal
import socket
import sys
import time


def main() -> None:
    """Use the devices. A connection lives as long as the process: the kernel closes it, whoever forgets to."""
    path, words, manners = sys.argv[1:4]
    if manners == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not sys.stdin.readline():  # whoever started it is gone
        return
    with socket.socket(socket.AF_UNIX) as device:
        device.connect(path)
        while True:
            device.sendall(f"{words}\n".encode())
            time.sleep(0.05)


if __name__ == "__main__":
    main()
