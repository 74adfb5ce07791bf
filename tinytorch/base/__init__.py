"""What everything else stands on: errors, whole files, the one random generator, dtypes, NumPy's OpenBLAS.

Imports NumPy alone, no other file of tinytorch: a half-written course module cannot break it.
Changed by maintainers of the project. Import its files by their full path.
"""
