"""Whether it worked, and how sure one can be."""
