//! PyO3 wrappers.
