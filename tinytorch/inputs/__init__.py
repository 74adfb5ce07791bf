"""Checks and conversions of what a caller passes to the classes of the course, with an explanation if it does not fit.

    parameters    lists of parameters and saved states, for an optimizer
    prompts       the beginning of a text, for a language model
    samples       the samples of a data set, for a DataLoader
    states        the state dicts of programs for PyTorch, for `load_state_dict`

Imports modules up to 04 and `base`. Changed by maintainers, when a class accepts another kind of input.
"""
