"""Fast forms of the networks on a processor, behind one function."""
