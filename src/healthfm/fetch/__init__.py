"""Files from their owners' servers, on request only: one downloader for data and for weights."""
