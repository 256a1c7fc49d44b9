"""Put up all walls once, to see whether this machine has them; say "ok", or which one it does not have."""

import json
import os
import sys

if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    sys.path[:] = settings["path"]
    from interpwidgets.grading.inside import walls

    walls.quiet()
    try:
        walls.leave(settings["user"])
        if (child := os.fork()) == 0:
            walls.enclose(room=1 << 20, seconds=5, memory=1 << 30)
            os.write(1, b"ok")
            os._exit(0)
        os.waitpid(child, 0)
    except OSError as error:
        sys.stderr.write(str(error.args[-1]))
        os._exit(1)
