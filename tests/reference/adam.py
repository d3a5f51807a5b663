"""TensorFlow 1's Adam: epsilon is added to the root of the second moment without its correction."""

import math


def update(value, gradient, first, second, step, lr):
    """Step 1, 2, ... of numbers or tensors: the new value and moments."""
    first = 0.9 * first + (1 - 0.9) * gradient
    second = 0.999 * second + (1 - 0.999) * gradient**2
    rate = lr * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    return value - rate * first / (second**0.5 + 1e-8), first, second
