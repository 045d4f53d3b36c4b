"""Export bundles in the specification's layout with graphs, nnU-Net data sets, and challenge submissions."""
