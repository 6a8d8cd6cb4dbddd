//! Batches as one JSON parameter.
