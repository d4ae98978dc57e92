"""`python -m tests.dev.duckling`: says what it was started with, and stays or ends with a status."""

from __future__ import annotations

import json
import os
import sys
import time

if __name__ == "__main__":
    started = {
        "arguments": sys.argv[1:],
        "animal": os.environ.get("ANIMAL"),
        "colour": os.environ.get("COLOUR"),
        "group": os.getpgid(0),
        "pid": os.getpid(),
    }
    print(json.dumps(started), flush=True)
    if "--stay" in sys.argv:
        print("stays", flush=True)
        time.sleep(600)  # until it is ended
    sys.exit(int(sys.argv[-1]))
