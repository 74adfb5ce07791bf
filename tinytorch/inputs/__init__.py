"""Checks and conversions of what a caller passes to the classes of the course, with an explanation if it does not fit.

    parameters    lists of parameters and saved states, for an optimizer
    samples       the samples of a data set, for a DataLoader

Imports modules up to 05 and `base`. Changed by maintainers, when a class accepts another kind of input.
"""
