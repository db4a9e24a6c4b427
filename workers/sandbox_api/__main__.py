"""``python -m workers.sandbox_api PORT``: the played APIs on 127.0.0.1."""

import sys

from werkzeug.serving import run_simple

from workers.sandbox_api import create_api

if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), create_api(), threaded=True)
