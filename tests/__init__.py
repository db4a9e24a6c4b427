"""Tests that start nothing: what starts processes is in tests/integration."""
