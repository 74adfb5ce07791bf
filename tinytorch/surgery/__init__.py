"""Changing the parts of a trained model: watching and replacing them, folding batch normalization, removing channels.

Imports modules up to 09. Modules 17 and 18 and the room `quantized` use it. Changed by maintainers of the project.
"""
