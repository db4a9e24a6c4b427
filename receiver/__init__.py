"""Payment callbacks in, one normalized event stream out."""
