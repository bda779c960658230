//! Plain Rust kernels: right for every modulus below 2^61, on every machine.
