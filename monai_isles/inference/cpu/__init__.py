"""Fast forms of networks on a CPU, behind one function."""
