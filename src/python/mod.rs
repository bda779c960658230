//! The Python extension module `pycrcnn._native`.
//!
//! Wrappers of a few lines each: arguments are turned into Rust values, the GIL is released, the work
//! is done by the modules below, the results are wrapped. Everything that users type is Python code on
//! top of it.

use pyo3::prelude::*;

mod affine;
mod affine_map;
mod arguments;
mod benchmark;
mod cancellation;
mod client;
mod compute;
mod context;
mod encoders;
mod encryption;
mod errors;
mod evaluator;
mod expectation;
mod explanation;
mod http;
mod keys;
mod network;
mod program;
mod values;
mod work;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::affine::affine;
    #[pymodule_export]
    use super::affine_map::AffineMap;
    #[pymodule_export]
    use super::benchmark::{backend, bench_kernels};
    #[pymodule_export]
    use super::cancellation::Cancellation;
    #[pymodule_export]
    use super::client::Client;
    #[pymodule_export]
    use super::compute::{ComputeRequest, ReplyHeader, compute_reply};
    #[pymodule_export]
    use super::context::{Context, bfv_default_primes, create_primes, security_limits};
    #[pymodule_export]
    use super::encoders::{BatchEncoder, CkksEncoder, FractionalEncoder, IntegerEncoder, ScalarEncoder};
    #[pymodule_export]
    use super::encryption::{decrypt, encrypt, noise_budget};
    #[pymodule_export]
    use super::evaluator::Evaluator;
    #[pymodule_export]
    const ERROR_MARGIN: f64 = crate::plan::expectation::MARGIN;
    #[pymodule_export]
    use super::expectation::expected_error;
    #[pymodule_export]
    use super::http::Http;
    #[pymodule_export]
    use super::keys::{EvaluationKeys, PublicKey, SecretKey, generate_evaluation_keys, generate_keys, public_key_set};
    #[pymodule_export]
    use super::network::{Network, NormalForm};
    #[pymodule_export]
    use super::program::{PreparedKeys, Program};
    #[pymodule_export]
    use super::values::{Ciphertext, Plaintext};
}
