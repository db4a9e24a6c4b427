"""The proof: the whole system under kills, cuts and full disks, and what was promised held against what is there."""
