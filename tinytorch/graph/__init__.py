"""What the backward pass needs to know of the recorded operations, besides their derivatives in module 06.

    reads    the inputs whose values a derivative reads, and the check that they have not been changed in place

Imports modules up to 05 and `base`. Changed by maintainers, together with the derivatives.
"""
