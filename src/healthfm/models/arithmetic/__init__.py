"""Other ways to compute the same: oneDNN, OpenVINO, attention to a shared prefix."""
