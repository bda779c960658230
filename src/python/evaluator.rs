//! Operations on lists of ciphertexts.

use std::borrow::Cow;
use std::sync::Arc;

use pyo3::prelude::*;

use super::context::Context;
use super::keys::EvaluationKeys;
use super::values::{Ciphertext, Plaintext};
use super::{arguments, work};
use crate::encryption::ReceivedKeySet;
use crate::error::{Error, Result};
use crate::evaluator::{self, batch};
use crate::plan::reply::{self, Rerandomizer};
use crate::protocol::LIMIT;
use crate::scheme::{self, Form, Scheme};

/// Operations on ciphertexts that need no secret key. Each takes lists and works on their elements in parallel.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Evaluator {
    pub inner: Arc<evaluator::Evaluator>,
}

type Ciphertexts<'py> = Vec<PyRef<'py, Ciphertext>>;

#[pymethods]
impl Evaluator {
    #[new]
    fn new(context: &Context) -> Self {
        Self { inner: Arc::new(evaluator::Evaluator::new(context.inner.clone())) }
    }

    /// Whether the parameters have room for re-randomised answers.
    #[getter]
    fn rerandomizes(&self) -> bool {
        let context = self.inner.context();
        context.parameters().scheme() == Scheme::Bfv && reply::has_room(context, context.data_primes())
    }

    /// BFV: each re-randomised under the public key of a key set, flooded with all the noise budget that is left, and at the
    /// lowest level that decrypts, so that nothing but the message tells how it was computed.
    #[pyo3(signature = (a, key_set, threads=0))]
    fn rerandomize(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        key_set: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        let given: Vec<_> = a.iter().map(|x| x.inner.clone()).collect();
        let context = self.inner.context();
        let hidden = work::run(py, threads, |cancellation| {
            let answers = given.iter().map(|x| self.usual(x).map(Cow::into_owned)).collect::<Result<Vec<_>>>()?;
            let set = ReceivedKeySet::read(context, key_set, LIMIT)?;
            set.check(cancellation)?;
            Rerandomizer::new(context, &set.public_key()?)?.bfv(&self.inner, &answers, None, cancellation)
        })?;
        Ok(hidden.into_iter().map(Into::into).collect())
    }

    /// a + b, element by element.
    #[pyo3(signature = (a, b, threads=0))]
    fn add(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        b: Ciphertexts<'_>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        self.pairs(py, threads, &a, &b, |e, x, y| e.add(x, y))
    }

    /// a - b, element by element.
    #[pyo3(signature = (a, b, threads=0))]
    fn sub(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        b: Ciphertexts<'_>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        self.pairs(py, threads, &a, &b, |e, x, y| e.sub(x, y))
    }

    /// a * b, element by element.
    #[pyo3(signature = (a, b, threads=0))]
    fn multiply(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        b: Ciphertexts<'_>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        self.pairs(py, threads, &a, &b, |e, x, y| e.multiply(x, y))
    }

    /// a * a for each element. BFV's squares are in NTT form, which affine maps work on.
    #[pyo3(signature = (a, threads=0))]
    fn square(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        let a = a.iter().map(|x| x.inner.clone()).collect();
        self.map(py, threads, a, |x| match self.inner.context().parameters().scheme() {
            Scheme::Bfv => self.inner.scale_down(self.inner.tensor_square(&self.inner.lift(x)?)?, Form::Ntt),
            Scheme::Ckks => self.inner.square(x),
        })
    }

    /// -a for each element.
    #[pyo3(signature = (a, threads=0))]
    fn negate(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        self.each(py, threads, &a, |e, x| e.negate(x))
    }

    /// a + p, element by element.
    #[pyo3(signature = (a, plaintexts, threads=0))]
    fn add_plain(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        plaintexts: Vec<PyRef<'_, Plaintext>>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        self.with_plaintexts(py, threads, &a, &plaintexts, |e, x, p| e.add_plain(x, p))
    }

    /// a - p, element by element.
    #[pyo3(signature = (a, plaintexts, threads=0))]
    fn sub_plain(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        plaintexts: Vec<PyRef<'_, Plaintext>>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        self.with_plaintexts(py, threads, &a, &plaintexts, |e, x, p| e.sub_plain(x, p))
    }

    /// a * p, element by element.
    #[pyo3(signature = (a, plaintexts, threads=0))]
    fn multiply_plain(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        plaintexts: Vec<PyRef<'_, Plaintext>>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        self.with_plaintexts(py, threads, &a, &plaintexts, |e, x, p| e.multiply_plain(x, p))
    }

    /// Each element back to two polynomials.
    #[pyo3(signature = (a, keys, threads=0))]
    fn relinearize(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        keys: &EvaluationKeys,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        let keys = keys.inner.clone();
        self.each(py, threads, &a, move |e, x| e.relinearize(x, &keys))
    }

    /// CKKS: value and scale of each element divided by its last prime.
    #[pyo3(signature = (a, threads=0))]
    fn rescale(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        self.each(py, threads, &a, |e, x| e.rescale_to_next(x))
    }

    /// Each element at the level with `primes` primes.
    #[pyo3(signature = (a, primes, threads=0))]
    fn mod_switch(
        &self,
        py: Python<'_>,
        a: Ciphertexts<'_>,
        #[pyo3(from_py_with = arguments::count)] primes: usize,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<Ciphertext>> {
        self.each(py, threads, &a, move |e, x| e.mod_switch_to(x, primes))
    }

    /// A transparent encryption of zero at the level with `primes` primes.
    fn zero(&self, #[pyo3(from_py_with = arguments::count)] primes: usize, scale: f64) -> PyResult<Ciphertext> {
        let context = self.inner.context();
        if !(1..=context.data_primes()).contains(&primes) {
            let reason = format!("{primes} primes; 1 to {} are there", context.data_primes());
            return Err(Error::InvalidArgument { name: "primes", reason }.into());
        }
        Ok(scheme::Ciphertext::zero(context, 2, primes, self.usual_form(), scale).into())
    }
}

impl Evaluator {
    fn usual_form(&self) -> Form {
        match self.inner.context().parameters().scheme() {
            Scheme::Bfv => Form::Coefficient,
            Scheme::Ckks => Form::Ntt,
        }
    }

    /// The ciphertext in the form that the scheme's operations take; affine maps leave BFV's in the other one.
    fn usual<'a>(&self, ciphertext: &'a scheme::Ciphertext) -> Result<Cow<'a, scheme::Ciphertext>> {
        if ciphertext.form() == self.usual_form() {
            return Ok(Cow::Borrowed(ciphertext));
        }
        Ok(Cow::Owned(match self.usual_form() {
            Form::Coefficient => self.inner.to_coefficients(ciphertext)?,
            Form::Ntt => self.inner.to_ntt(ciphertext)?,
        }))
    }

    fn each(
        &self,
        py: Python<'_>,
        threads: usize,
        a: &[PyRef<'_, Ciphertext>],
        operation: impl Fn(&evaluator::Evaluator, &scheme::Ciphertext) -> Result<scheme::Ciphertext> + Sync + Send,
    ) -> PyResult<Vec<Ciphertext>> {
        let a: Vec<_> = a.iter().map(|x| x.inner.clone()).collect();
        self.map(py, threads, a, |x| operation(&self.inner, &*self.usual(x)?))
    }

    fn pairs(
        &self,
        py: Python<'_>,
        threads: usize,
        a: &[PyRef<'_, Ciphertext>],
        b: &[PyRef<'_, Ciphertext>],
        operation: impl Fn(&evaluator::Evaluator, &scheme::Ciphertext, &scheme::Ciphertext) -> Result<scheme::Ciphertext>
        + Sync
        + Send,
    ) -> PyResult<Vec<Ciphertext>> {
        same_length(a.len(), b.len())?;
        let pairs: Vec<_> = a.iter().zip(b).map(|(x, y)| (x.inner.clone(), y.inner.clone())).collect();
        self.map(py, threads, pairs, |(x, y)| operation(&self.inner, &*self.usual(x)?, &*self.usual(y)?))
    }

    fn with_plaintexts(
        &self,
        py: Python<'_>,
        threads: usize,
        a: &[PyRef<'_, Ciphertext>],
        plaintexts: &[PyRef<'_, Plaintext>],
        operation: impl Fn(&evaluator::Evaluator, &scheme::Ciphertext, &scheme::Plaintext) -> Result<scheme::Ciphertext>
        + Sync
        + Send,
    ) -> PyResult<Vec<Ciphertext>> {
        same_length(a.len(), plaintexts.len())?;
        let pairs: Vec<_> = a.iter().zip(plaintexts).map(|(x, p)| (x.inner.clone(), p.inner.clone())).collect();
        self.map(py, threads, pairs, |(x, p)| operation(&self.inner, &*self.usual(x)?, p))
    }

    fn map<T: Send + Sync>(
        &self,
        py: Python<'_>,
        threads: usize,
        items: Vec<T>,
        operation: impl Fn(&T) -> Result<scheme::Ciphertext> + Sync + Send,
    ) -> PyResult<Vec<Ciphertext>> {
        let results = if let [item] = &items[..] {
            // Operators on single ciphertexts take microseconds: no thread is worth starting.
            vec![py.detach(|| operation(item))?]
        } else {
            work::run(py, threads, |cancellation| batch::map(&items, cancellation, operation))?
        };
        Ok(results.into_iter().map(Into::into).collect())
    }
}

fn same_length(left: usize, right: usize) -> Result<()> {
    if left == right {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        operation: "element-wise operation",
        expected: format!("lists of {left} elements"),
        got: vec![right],
    })
}
