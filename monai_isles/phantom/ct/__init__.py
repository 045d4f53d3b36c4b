"""The CT perfusion phantom."""
