"""Array physics: a NumPy twin defines each kernel, the compiled module makes it fast."""
