"""The foundation of everything else: errors, atomic files, random numbers, dtypes, NumPy's OpenBLAS, counts of pairs.

Imports only NumPy and no other file of tinytorch, so a half-written course module cannot break it.
Changed by maintainers of the project. Import its files by their full path.
"""
