"""Where entries live. Each store keeps bytes under a name until they expire."""
