"""DICOM: files, pixels, lookup tables, pictures, series, and an index of headers."""
