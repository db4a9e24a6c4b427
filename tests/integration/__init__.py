"""Tests on real processes: Redis, gunicorn, RQ workers, the command line."""
