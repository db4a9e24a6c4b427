"""``gunicorn wsgi:app``: with ULAK_CONFIG and REDIS_URL set, a complete receiver."""

import sys

from receiver.app import create_app
from receiver.errors import ConfigError

try:
    app = create_app()
except ConfigError as exc:
    for fault in exc.faults:
        sys.stderr.write(f"ulak: {fault}\n")
    # gunicorn's own code for an application that cannot be loaded; with any other it would start it for ever.
    sys.exit(4)
