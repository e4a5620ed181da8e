"""Mathematics with neither models nor files: windows, layers, likelihoods, counts, networks."""
