"""How records are shown: figures and pages, made from records alone, offline.

records -> history (tables) -> figures, exhibits (pieces of a page) -> pages (HTML files)
"""
