//! Encryption parameters with everything that is computed from them once.

use std::sync::Arc;

use pyo3::prelude::*;

use super::arguments;
use crate::error::Error;
use crate::ring::primes;
use crate::scheme::{self, Parameters, Scheme, security};

/// BFV or CKKS parameters with their precomputed tables.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Context {
    pub inner: Arc<scheme::Context>,
}

impl Context {
    fn new(parameters: Parameters) -> PyResult<Self> {
        Ok(Self { inner: scheme::Context::new(parameters)? })
    }

    fn parameters(&self) -> &Parameters {
        self.inner.parameters()
    }
}

#[pymethods]
impl Context {
    /// BFV parameters; without key switching all primes carry data.
    #[staticmethod]
    #[pyo3(signature = (degree, moduli, plain_modulus, key_switching=false))]
    fn bfv(
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::count)] degree: usize,
        #[pyo3(from_py_with = arguments::count)] moduli: Vec<u64>,
        #[pyo3(from_py_with = arguments::count)] plain_modulus: u64,
        key_switching: bool,
    ) -> PyResult<Self> {
        py.detach(|| Self::new(Parameters::bfv(degree, moduli, key_switching, plain_modulus)?))
    }

    /// CKKS parameters.
    #[staticmethod]
    #[pyo3(signature = (degree, moduli, key_switching=true))]
    fn ckks(
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::count)] degree: usize,
        #[pyo3(from_py_with = arguments::count)] moduli: Vec<u64>,
        key_switching: bool,
    ) -> PyResult<Self> {
        py.detach(|| Self::new(Parameters::ckks(degree, moduli, key_switching)?))
    }

    /// `"bfv"` or `"ckks"`.
    #[getter]
    fn scheme(&self) -> &'static str {
        match self.parameters().scheme() {
            Scheme::Bfv => "bfv",
            Scheme::Ckks => "ckks",
        }
    }

    /// The polynomial degree.
    #[getter]
    fn degree(&self) -> usize {
        self.inner.degree()
    }

    /// All primes of the coefficient modulus, the key-switching prime (if any) last.
    #[getter]
    fn moduli(&self) -> Vec<u64> {
        self.parameters().moduli().to_vec()
    }

    /// How many primes a fresh ciphertext has.
    #[getter]
    fn data_primes(&self) -> usize {
        self.inner.data_primes()
    }

    /// The plaintext modulus of BFV, 0 for CKKS.
    #[getter]
    fn plain_modulus(&self) -> u64 {
        self.parameters().plain_modulus()
    }

    /// Whether the last prime is set aside for key switching.
    #[getter]
    fn key_switching(&self) -> bool {
        self.parameters().key_switching()
    }

    /// Bits of the whole coefficient modulus: what security depends on.
    #[getter]
    fn modulus_bits(&self) -> u32 {
        self.parameters().modulus_bits()
    }

    /// SEAL's identity of the parameters that keys have, in hexadecimal.
    #[getter]
    fn parms_id(&self) -> String {
        self.inner.key_parms_id().iter().map(|word| format!("{word:016x}")).collect()
    }

    fn __repr__(&self) -> String {
        let p = self.parameters();
        let t = match p.scheme() {
            Scheme::Bfv => format!(", plain_modulus={}", p.plain_modulus()),
            Scheme::Ckks => String::new(),
        };
        format!(
            "Context({}, degree={}, {} primes of {} bits in all{t})",
            self.scheme(),
            p.degree(),
            p.moduli().len(),
            p.modulus_bits()
        )
    }
}

/// One prime congruent to 1 modulo 2 `degree` for each size in bits, as SEAL's `CoeffModulus::Create`.
#[pyfunction]
pub fn create_primes(
    #[pyo3(from_py_with = arguments::count)] degree: usize,
    #[pyo3(from_py_with = arguments::count)] bit_sizes: Vec<u32>,
) -> PyResult<Vec<u64>> {
    let (min, max) = (Parameters::MIN_DEGREE, Parameters::MAX_DEGREE);
    if !(min..=max).contains(&degree) {
        return Err(Error::InvalidDegree { degree, min, max }.into());
    }
    Ok(primes::create(degree, &bit_sizes)?)
}

/// SEAL's default coefficient modulus for BFV; None where it has none.
#[pyfunction]
pub fn bfv_default_primes(
    #[pyo3(from_py_with = arguments::count)] degree: usize,
    #[pyo3(from_py_with = arguments::count)] security: u32,
) -> Option<Vec<u64>> {
    primes::bfv_default(degree, security).map(<[u64]>::to_vec)
}

/// The largest coefficient modulus, in bits: (2018 standard, 2024 guideline), each None where the
/// publication gives no value.
#[pyfunction]
pub fn security_limits(
    #[pyo3(from_py_with = arguments::count)] degree: usize,
    #[pyo3(from_py_with = arguments::count)] security: u32,
) -> (Option<u32>, Option<u32>) {
    (security::standard_2018(degree, security), security::guideline_2024(degree, security))
}
