"""The foundation of everything else: errors, atomic files, the random generator, dtypes, and NumPy's OpenBLAS.

Imports only NumPy and no other file of tinytorch, so a half-written course module cannot break it.
Changed by maintainers of the project. Import its files by their full path.
"""
