"""The programs are read as text and run with either framework; pytest must not import them, because they need torch."""

collect_ignore_glob = ["programs/*"]
