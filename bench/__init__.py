"""A comparison of Ulak with a bare Flask view and with the pipeline that people usually write. See README.md."""
