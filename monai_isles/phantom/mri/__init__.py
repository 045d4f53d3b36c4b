"""The MRI phantoms: sub-acute lesions (SISS) and penumbra (SPES)."""
