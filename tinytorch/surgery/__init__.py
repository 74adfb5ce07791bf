"""Surgery on a trained model: observing and replacing its parts, and removing channels.

Imports modules up to 09. Used by modules 17 and 18 and the package `quantized`. Changed by maintainers of the project.
"""
